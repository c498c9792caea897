"""Where a shape fits, and which machine and GPUs are chosen for it; why not, where it does not fit.

Equal scores go to the machine that came first, so that the same fleet always gives the same answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import islice

from aima_scheduler.deciders.candidates import Candidates
from aima_scheduler.deciders.fleet import Fleet
from aima_scheduler.deciders.model import Shape, Shortfall, Slot
from aima_scheduler.deciders.rooms import Room, could_run, fits
from aima_scheduler.deciders.scoring import Rule, Scoring, rule_of


@dataclass(frozen=True, slots=True)
class Data:
    """Where a job's input lies, and how many bytes there are."""

    location: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Prices:
    """What seconds of transfer and money are worth, next to how well a shape packs."""

    bandwidth: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """Bytes per second from a location to another."""
    default_bandwidth: float = 125e6
    """Bytes per second between locations that the table does not name: 1 Gbit/s."""
    per_transfer_second: float = 0.001
    per_cost: float = 0.01
    """For each unit of a machine's cost per hour."""

    def transfer_seconds(self, data: Data | None, location: str) -> float:
        """How long a job's input is on its way to a location; nothing where it lies already."""
        if data is None or data.location == location:
            return 0.0
        return data.bytes / self.bandwidth.get((data.location, location), self.default_bandwidth)


DEFAULT_PRICES = Prices()


def find(
    fleet: Fleet,
    shape: Shape,
    scoring: Scoring = Scoring.AIMA,
    *,
    data: Data | None = None,
    prices: Prices = DEFAULT_PRICES,
) -> tuple[Slot, ...] | None:
    """Choose a slot for every member, or None where not all of them fit now. The fleet is left as it was."""
    if shape.members == 1:
        slot = _find_one(fleet, shape, scoring, data, prices)
        return None if slot is None else (slot,)
    one = replace(shape, members=1)
    slots: list[Slot] = []
    try:
        for _ in range(shape.members):
            slot = _find_one(fleet, one, scoring, data, prices)
            if slot is None:
                return None
            fleet.take(one, (slot,))
            slots.append(slot)
    finally:
        for slot in slots:
            fleet.release(one, (slot,))
    return tuple(slots)


def shortfall(fleet: Fleet, shape: Shape) -> Shortfall | None:
    """Tell why a shape would not fit even if nothing ran, or None where it would."""
    able = (machine for machine in fleet.machines if could_run(machine, shape))
    if len(list(islice(able, shape.members))) == shape.members:
        return None  # with a machine for each member nothing needs to be tried
    empty = Fleet(fleet.machines)
    return None if find(empty, shape, Scoring.FIRST_FIT) is not None else blocked_by(empty, shape)


def blocked_by(fleet: Fleet, shape: Shape) -> Shortfall:
    """Tell what is missing now, and on which machine least is missing."""
    rooms = [(machine.id, fleet.free(machine.id)) for machine in fleet.machines]
    fitting = [machine_id for machine_id, room in rooms if fits(room, shape)]
    if fitting:
        return Shortfall("members", f"{shape.members} members together", fitting[0], "room for fewer of them")
    misses = [(_misses(room, shape), machine_id) for machine_id, room in rooms]
    if not misses:
        return Shortfall("cpu", f"{shape.cpu_milli} milli-CPU", None, "no machine at all")
    empty = Fleet(fleet.machines)

    def distance(miss: tuple[list[tuple[str, float, str, str]], str]) -> tuple[bool, bool, int, float]:
        lacks, machine_id = miss
        no_gpu = shape.gpu_count > 0 and not fleet.machine(machine_id).gpus
        return not fits(empty.free(machine_id), shape), no_gpu, len(lacks), sum(lack for _, lack, _, _ in lacks)

    missing, nearest = min(misses, key=distance)
    dimension, _, wanted, available = max(missing, key=lambda each: each[1])
    return Shortfall(dimension, wanted, nearest, available)


def _find_one(fleet: Fleet, shape: Shape, scoring: Scoring, data: Data | None, prices: Prices) -> Slot | None:
    candidates: Candidates | None = fleet.candidates.get((shape, scoring, prices.per_cost))
    if candidates is None or candidates.version != fleet.workload.version:
        candidates = _candidates(fleet, shape, scoring, prices.per_cost)
    if data is None or scoring is Scoring.FIRST_FIT:
        chosen = candidates.best()
        return None if chosen is None else fleet.slot(chosen[2], candidates.gpus(chosen[3]))
    best = candidates.best_by_location()
    if not best:
        return None
    waits = {place: prices.per_transfer_second * prices.transfer_seconds(data, place) for place in best}
    place = min(best, key=lambda place: (best[place][0], best[place][1] + waits[place], best[place][2]))
    return fleet.slot(best[place][2], candidates.gpus(best[place][3]))


def _candidates(fleet: Fleet, shape: Shape, scoring: Scoring, per_cost: float) -> Candidates:
    """Begin anew with what is typical now."""
    version = fleet.workload.version
    rules: dict[object, Rule] = fleet.catalogue.known
    if (scoring, version) not in rules:
        rules[scoring, version] = rule_of(scoring, fleet.workload)
    cost = 0.0 if scoring is Scoring.FIRST_FIT else per_cost
    found = fleet.candidates[shape, scoring, per_cost] = Candidates(
        fleet, shape, rules[scoring, version], cost, version
    )
    return found


def _misses(room: Room, shape: Shape) -> list[tuple[str, float, str, str]]:
    """List what a room lacks: dimension, how much of what is wanted, what is wanted, what is there."""
    found: list[tuple[str, float, str, str]] = []
    if shape.locations and room.kind.location not in shape.locations:
        found.append(("location", 1.0, f"one of {', '.join(shape.locations)}", room.kind.location))
    for dimension, wanted, there, unit in (
        ("cpu", shape.cpu_milli, room.cpu_milli, "milli-CPU"),
        ("memory", shape.memory_mib, room.memory_mib, "MiB of memory"),
    ):
        if there < wanted:
            found.append((dimension, (wanted - there) / wanted, f"{wanted} {unit}", f"{there} {unit}"))
    return found + _gpu_misses(room, shape)


def _gpu_misses(room: Room, shape: Shape) -> list[tuple[str, float, str, str]]:
    wanted = shape.gpu_count
    typed = [gpu for gpu in room.gpus if not shape.gpu_types or gpu.type in shape.gpu_types]
    roomy = [gpu for gpu in typed if gpu.memory_mib >= shape.gpu_memory_mib]
    usable = [gpu for gpu in roomy if gpu.milli >= shape.gpu_milli]
    if len(usable) >= wanted:
        return []
    lack = (wanted - len(usable)) / wanted
    if len(typed) < wanted <= len(room.gpus):
        there = ", ".join(sorted({gpu.type for gpu in room.gpus}))
        return [("gpu_type", lack, f"{wanted} GPUs of {' or '.join(shape.gpu_types)}", f"GPUs of {there}")]
    if len(roomy) < wanted <= len(typed):
        largest = max(gpu.memory_mib for gpu in typed)
        return [("gpu_memory", lack, f"{shape.gpu_memory_mib} MiB of GPU memory", f"{largest} MiB of GPU memory")]
    share = "" if shape.gpu_milli == 1000 else f" with {shape.gpu_milli} thousandths free"
    return [("gpu", lack, f"{wanted} GPUs{share}", f"{len(usable)} GPUs{share}")]
