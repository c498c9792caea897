"""Whom a blocked critical job may send back to wait, so that it starts now. Off unless an operator wants it.

What is sent back is begun anew: what it has cost since its last checkpoint is lost, and an hour may cost only so much.
A job with one member alone makes others give way, on one machine; of others only those with one member give way.
"""

import math
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from aima_common.contracts.media import Priority
from aima_common.urgency import WEIGHTS
from aima_scheduler.deciders.fleet import Fleet
from aima_scheduler.deciders.model import Machine, Shape, Slot
from aima_scheduler.deciders.reservation import Running
from aima_scheduler.deciders.rooms import FreeGpu, Room, all_free, could_run, fits, kind_of, tightest_gpus, usable_gpus

HOUR_SECONDS = 3600.0

BUDGET_SECONDS = 600.0
"""Work that may be lost in an hour, s: a sixth of what one core does in it, so that a fleet hardly feels it."""

SETS_LOOKED_AT = 500
"""So many sets of jobs are compared on one machine; where there are more, the cheapest of these is taken."""

MACHINES_LOOKED_AT = 32
"""Of the machines where enough runs so many are compared, those with the cheapest job: as for reservations."""


@dataclass(frozen=True, slots=True)
class Preemption:
    """Who may make whom give way, and at what price."""

    preempting: frozenset[Priority] = frozenset({Priority.CRITICAL})
    preempted: frozenset[Priority] = frozenset({Priority.LOW, Priority.BATCH})
    budget: float = BUDGET_SECONDS
    """Lost work of any hour, s. With 0 only those give way who have not begun, or lose nothing."""
    patience: float = 5.0
    """How long a job has to have waited, s: what ends by itself, or makes room beside, comes first."""
    most_times: int = 3
    """A job that gave way so often does so no more: it comes to its end whatever else comes."""

    def __post_init__(self) -> None:
        """Refuse rules by which equals would chase each other, and amounts that are less than nothing."""
        if max(map(WEIGHTS.__getitem__, self.preempted)) >= min(map(WEIGHTS.__getitem__, self.preempting)):
            raise ValueError("only lower classes may be made to give way")
        if min(self.budget, self.patience, self.most_times) < 0:
            raise ValueError("a budget, a patience or a number of times is less than nothing")


@dataclass(frozen=True, slots=True)
class Preempt:
    """A job starts at once in the room of others, which wait again."""

    job: str
    slots: tuple[Slot, ...]
    victims: tuple[str, ...]
    cost: float
    """The work that is lost, s."""


@dataclass(frozen=True, slots=True)
class Victim:
    """A job that may be made to give way, and what would be lost, s."""

    running: Running
    cost: float


@dataclass(frozen=True, slots=True)
class Way:
    """Who gives way, and where the job goes then."""

    slot: Slot
    victims: tuple[Victim, ...]
    cost: float


@dataclass
class Spending:
    """What was lost lately: when, and how much, s."""

    entries: deque[tuple[float, float]] = field(default_factory=deque)

    def add(self, at: float, cost: float) -> None:
        """Count a loss."""
        if cost > 0:
            self.entries.append((at, cost))

    def within_the_hour(self, now: float) -> float:
        """Sum up the losses of the last hour, s, and forget older ones."""
        self.entries = deque(entry for entry in self.entries if entry[0] > now - HOUR_SECONDS)
        return math.fsum(cost for _, cost in self.entries)


Lost = Callable[[Running, float], float | None]
"""Given a job that runs, and the time: how many seconds of work are lost when it gives way; None: it may not."""


def since_start(one: Running, now: float) -> float | None:
    """Lose what was done since the start: no job keeps part of its work yet."""
    return max(0.0, now - one.started_at)


@dataclass(slots=True)
class _Here:
    """Who may be made to give way on one machine, and what all of them have."""

    victims: list[Victim] = field(default_factory=list)
    cpu_milli: int = 0
    memory_mib: int = 0
    gpus: int = 0

    def change(self, one: Running, sign: int) -> None:
        shape = one.job.shape
        self.cpu_milli += sign * shape.cpu_milli
        self.memory_mib += sign * shape.memory_mib
        self.gpus += sign * shape.gpu_count

    def may_be_enough(self, room: Room, shape: Shape) -> bool:
        """Tell, quickly, whether there may be room beside what is free when all are gone."""
        return (
            room.cpu_milli + self.cpu_milli >= shape.cpu_milli
            and room.memory_mib + self.memory_mib >= shape.memory_mib
            and (not shape.gpu_count or len(usable_gpus(room, shape)) + self.gpus >= shape.gpu_count)
        )


class Crowd:
    """Who may be made to give way for so many seconds of work at most, by machine, and at what price."""

    def __init__(self, rule: Preemption, running: Iterable[Running], lost: Lost, most: float, now: float) -> None:
        self._on: dict[str, _Here] = defaultdict(_Here)
        preempted, most_times = rule.preempted, rule.most_times
        for one in running:
            job = one.job
            if job.priority not in preempted or not job.checkpointable or job.preempted >= most_times:
                continue
            if job.shape.members == 1 and (cost := lost(one, now)) is not None and cost <= most:
                here = self._on[one.slots[0].machine]
                here.victims.append(Victim(one, cost))
                here.change(one, 1)
        self._order = sorted((min(each.cost for each in here.victims), name) for name, here in self._on.items())

    def gone(self, way: Way) -> None:
        """Count those out who have given way."""
        here = self._on[way.slot.machine]
        for each in way.victims:
            here.victims.remove(each)
            here.change(each.running, -1)

    def cheapest_way(
        self,
        fleet: Fleet,
        shape: Shape,
        runs_on: Callable[[str], Sequence[Running]],
        most: float,
        *,
        closed: Collection[str] = (),
        kept: Collection[str] = (),
    ) -> Way | None:
        """Find those whose going makes room on one machine and loses least, `most` s at most; None where nobody's does.

        Of equal losses the one with the fewest jobs is taken, then the machine that comes first by name. Nobody is
        among them without whom there would be room as well. Machines that are `closed` are left alone; on those that
        are `kept` the fleet does not tell what is free.
        """
        best: tuple[tuple[float, int, str], Way] | None = None
        looked_at = 0
        # Whatever is found on a machine loses at least what its cheapest job loses.
        for least, name in self._order:
            if least > most or looked_at == MACHINES_LOOKED_AT:
                break
            here, machine = self._on[name], fleet.machine(name)
            if name in closed or not (name in kept or here.may_be_enough(fleet.free(name), shape)):
                continue
            if not could_run(machine, shape):
                continue
            looked_at += 1
            way = _way_on(machine, shape, here.victims, runs_on(name), most)
            if way is not None and (best is None or (way.cost, len(way.victims), name) < best[0]):
                best = (way.cost, len(way.victims), name), way
                most = way.cost
        return best[1] if best else None


def free_room(machine: Machine, running: Iterable[Running]) -> Room:
    """Tell what is free beside what runs on a machine, whether it is withheld or not; GPUs by their numbers."""
    room = Room(kind_of(machine), machine.cpu_milli, machine.memory_mib, all_free(machine.gpus))
    for one in running:
        room = _changed(room, one, machine.id, -1)
    return room


def _way_on(
    machine: Machine, shape: Shape, victims: Sequence[Victim], running: Sequence[Running], most: float
) -> Way | None:
    room = free_room(machine, running)
    if fits(room, shape):
        return None  # nobody needs to give way here
    able = sorted((each for each in victims if _helps(room, shape, each)), key=_by_cost)
    chosen = _Search(room, shape, machine.id, able, most).best()
    if chosen is None:
        return None
    for each in chosen:
        room = _changed(room, each.running, machine.id, 1)
    slot = Slot(machine.id, tightest_gpus(room, shape))
    return Way(slot, tuple(chosen), math.fsum(each.cost for each in chosen))


class _Search:
    """Compares sets of jobs of one machine: of those that are alike the cheapest go first."""

    def __init__(self, room: Room, shape: Shape, machine: str, able: Sequence[Victim], most: float) -> None:
        self._room, self._shape, self._machine, self._able, self._most = room, shape, machine, able, most
        alike: dict[object, list[Victim]] = defaultdict(list)
        for each in able:
            gpus = [slot.gpus for slot in each.running.slots]
            alike[each.running.job.shape, tuple(gpus)].append(each)
        self._groups = list(alike.values())
        self._behind = [(0, 0)]
        """What the groups from one on have of cores and memory, the last first."""
        for group in reversed(self._groups):
            cpu, memory = self._behind[-1]
            freed = group[0].running.job.shape
            self._behind.append((cpu + len(group) * freed.cpu_milli, memory + len(group) * freed.memory_mib))
        self._behind.reverse()
        self._best: tuple[float, int, tuple[str, ...]] | None = None
        self._chosen: list[Victim] | None = None
        self._left = SETS_LOOKED_AT

    def best(self) -> list[Victim] | None:
        """Give the cheapest set; None where none is cheap enough, or all together would not make room."""
        all_gone = self._room
        for each in self._able:
            all_gone = _changed(all_gone, each.running, self._machine, 1)
        if not fits(all_gone, self._shape):
            return None
        # Something to be better than, whatever number of sets there is.
        self._note(self._needed(list(self._able)))
        self._descend(0, self._room, [])
        # Whatever was noted is needed: sets with one fewer that are alike were tried before.
        return self._chosen

    def _descend(self, group: int, room: Room, chosen: list[Victim]) -> None:
        self._left -= 1
        if fits(room, self._shape):
            self._note(chosen)
            return
        cpu, memory = self._behind[group]
        short = room.cpu_milli + cpu < self._shape.cpu_milli or room.memory_mib + memory < self._shape.memory_mib
        if short or group == len(self._groups) or self._left < 0:
            return
        self._descend(group + 1, room, chosen)
        limit = self._best[0] if self._best else self._most
        for count, each in enumerate(self._groups[group], start=1):
            more = [*chosen, *self._groups[group][:count]]
            if math.fsum(one.cost for one in more) > limit:
                return
            room = _changed(room, each.running, self._machine, 1)
            self._descend(group + 1, room, more)

    def _note(self, chosen: list[Victim]) -> None:
        cost = math.fsum(each.cost for each in chosen)
        key = cost, len(chosen), tuple(sorted(each.running.job.id for each in chosen))
        if cost <= self._most and (self._best is None or key < self._best):
            self._best, self._chosen = key, chosen

    def _needed(self, chosen: list[Victim]) -> list[Victim]:
        """Spare whoever need not go, the dearest first."""
        room, kept = self._room, list(chosen)
        for each in kept:
            room = _changed(room, each.running, self._machine, 1)
        for each in sorted(chosen, key=_by_cost, reverse=True):
            without = _changed(room, each.running, self._machine, -1)
            if fits(without, self._shape):
                room = without
                kept.remove(each)
        return kept


def _by_cost(each: Victim) -> tuple[float, str]:
    return each.cost, each.running.job.id


def _helps(room: Room, shape: Shape, each: Victim) -> bool:
    """Tell whether a job has any of what is missing."""
    freed = each.running.job.shape
    return (
        (room.cpu_milli < shape.cpu_milli and freed.cpu_milli > 0)
        or (room.memory_mib < shape.memory_mib and freed.memory_mib > 0)
        or (freed.gpu_count > 0 and len(usable_gpus(room, shape)) < shape.gpu_count)
    )


def _changed(room: Room, one: Running, machine: str, sign: int) -> Room:
    """Give the room without (1) or with (-1) a job that runs there."""
    shape, gpus = one.job.shape, list(room.gpus)
    slots = [slot for slot in one.slots if slot.machine == machine]
    for number in [number for slot in slots for number in slot.gpus]:
        gpu = gpus[number]
        gpus[number] = FreeGpu(
            gpu.type, gpu.milli + sign * shape.gpu_milli, gpu.memory_mib + sign * shape.gpu_memory_mib
        )
    count = sign * len(slots)
    cpu, memory = room.cpu_milli + count * shape.cpu_milli, room.memory_mib + count * shape.memory_mib
    return Room(room.kind, cpu, memory, tuple(gpus))
