"""When and where a blocked job will start, if nothing else gets in its way (EASY backfilling).

The machines of a reservation are withheld: only what ends before the reserved start, or leaves room for it, may use
them meanwhile (Lifka 1995; Mu'alem and Feitelson 2001).
"""

import math
import operator
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from aima_scheduler.deciders.fleet import Fleet
from aima_scheduler.deciders.model import Job, Machine, Shape, Slot, expected_seconds
from aima_scheduler.deciders.rooms import FreeGpu, Room, could_run, fits, usable_gpus

STALE_SECONDS = 1.0
"""A start that was planned so long ago is planned anew when its job is looked at: what runs ends as it likes."""

MACHINES_LOOKED_AT = 32
"""Of a large fleet so many machines are compared: the best of them is hardly later than the best of all."""


_first = operator.itemgetter(0)


class Running(NamedTuple):
    """A job that runs; a tuple, as one is made for every job that starts."""

    job: Job
    slots: tuple[Slot, ...]
    started_at: float

    def ends_at(self, now: float) -> float:
        """Tell when it ends as far as is known; one that overran its time is given half as much again."""
        expected = expected_seconds(self.job)
        ran = now - self.started_at
        return self.started_at + (expected if ran < expected else 1.5 * ran + 1)

    def has_overrun(self, now: float) -> bool:
        """Tell whether it runs for longer than was expected."""
        return now - self.started_at >= expected_seconds(self.job)


@dataclass(frozen=True, slots=True)
class Reservation:
    """A start that is kept free for a job."""

    job: Job
    machines: tuple[str, ...]
    """One for each member, in no order; a machine that takes several is named as often."""
    at: float
    planned_at: float
    """When that was found out."""


class Ends:
    """When what runs on each machine ends, as far as is known at one moment.

    Who plans again and again passes `kept`: what is true of a machine until something begins or ends there, or overruns
    its time. Whoever begins or ends something takes the machine out of it.
    """

    def __init__(
        self, runs_on: Callable[[str], Sequence[Running]], now: float, kept: dict[str, "EndsOfOne"] | None = None
    ) -> None:
        self.now = now
        self._runs_on = runs_on
        self._kept = {} if kept is None else kept

    def on(self, machine_id: str) -> "EndsOfOne":
        """List what runs on a machine with when it ends, the first to end first."""
        found = self._kept.get(machine_id)
        if found is None or (found and found[0][0] <= self.now):
            running = self._runs_on(machine_id)
            found = sorted([(one.ends_at(self.now), one) for one in running], key=_first)
            if not any(one.has_overrun(self.now) for one in running):
                self._kept[machine_id] = found
        return found


EndsOfOne = list[tuple[float, Running]]
"""What runs on a machine with when it ends, s since the epoch, the first to end first."""


def plan(fleet: Fleet, job: Job, ends: Ends) -> Reservation | None:
    """Find the earliest start of a job; None where it fits on none of the machines that were looked at."""
    starts: list[tuple[float, str]] = []
    for machine in _some(fleet.machines, job):
        before = starts[-1] if len(starts) == job.shape.members else (math.inf, "")
        found = _starts(fleet, machine, job.shape, ends, before)
        if found:
            starts = sorted([*starts, *((at, machine.id) for at in found)])[: job.shape.members]
    if len(starts) < job.shape.members:
        return None
    return Reservation(job, tuple(machine for _, machine in starts), starts[-1][0], ends.now)


def later(kept: Reservation, ends: Ends) -> Reservation:
    """Tell anew when a start on the same machines will be, where nothing else begins there: when all is over."""
    lasts = [at for machine in set(kept.machines) for at, _ in ends.on(machine)]
    return replace(kept, at=max(lasts, default=ends.now), planned_at=ends.now)


def slot_on(fleet: Fleet, machine_id: str, shape: Shape) -> Slot | None:
    """Give a slot for one member on this very machine, on the GPUs with the least to spare; None where none fits."""
    room = _room(fleet, fleet.machine(machine_id))
    if not fits(room, shape):
        return None
    tightest = sorted(usable_gpus(room, shape), key=lambda number: room.gpus[number][1:])
    return Slot(machine_id, tuple(sorted(tightest[: shape.gpu_count])))


def leaves_room(
    fleet: Fleet, reservation: Reservation, shape: Shape, slot: Slot, running: Sequence[Running], now: float
) -> bool:
    """Tell whether the reserved start holds with one more such job beside what runs there, however long it takes.

    Nothing of the machine may be withheld meanwhile.
    """
    machine = fleet.machine(slot.machine)
    room = _without(_room(fleet, machine), shape, [slot])
    for ended in running:
        if ended.ends_at(now) <= reservation.at:
            room = _with(room, ended, machine)
    return _members_that_fit(room, reservation.job.shape) >= reservation.machines.count(machine.id)


def _some(machines: Sequence[Machine], job: Job) -> Iterator[Machine]:
    """Give machines that could run a job if nothing else ran there, all or some."""
    count = len(machines)
    # Which ones differs from job to job, and is the same at every call; the stride leads past every machine.
    place, stride = zlib.crc32(job.id.encode()) % max(count, 1), max(1, round(0.618 * count))
    while math.gcd(stride, count) > 1:
        stride += 1
    given = 0
    for _ in range(count):
        place = (place + stride) % count
        if could_run(machines[place], job.shape):
            yield machines[place]
            given += 1
            if given >= MACHINES_LOOKED_AT:
                return


def _starts(fleet: Fleet, machine: Machine, shape: Shape, ends: Ends, before: tuple[float, str]) -> list[float]:
    """List when there will be room on a machine for one member, for two, ..., as far as that is now or `before`.

    `before` is a start on a machine: of two that are as early the one on the machine that is named first counts.
    """
    ending = ends.on(machine.id)
    in_time = bool(ending) and (ending[0][0], machine.id) < before
    if not in_time and not fits(fleet.free(machine.id), shape):
        return []
    room = _room(fleet, machine)
    starts = [ends.now] * _members_that_fit(room, shape)
    for at, ended in ending:
        if len(starts) >= shape.members or (at, machine.id) >= before:
            break
        room = _with(room, ended, machine)
        starts += [at] * (_members_that_fit(room, shape) - len(starts))
    return starts[: shape.members]


def _room(fleet: Fleet, machine: Machine) -> Room:
    """Tell what is free, with the GPUs by their numbers."""
    free = fleet.free(machine.id)
    return Room(free.kind, free.cpu_milli, free.memory_mib, tuple(fleet.gpus(machine.id)))


def _members_that_fit(room: Room, shape: Shape) -> int:
    count = 0
    while count < shape.members and fits(room, shape):
        room = _without(room, shape, [Slot("", tuple(usable_gpus(room, shape))[: shape.gpu_count])])
        count += 1
    return count


def _with(room: Room, ended: Running, machine: Machine) -> Room:
    slots = ended.slots
    if len(slots) > 1:
        slots = tuple(slot for slot in slots if slot.machine == machine.id)
    return _changed(room, ended.job.shape, slots, 1)


def _without(room: Room, shape: Shape, slots: Sequence[Slot]) -> Room:
    return _changed(room, shape, slots, -1)


def _changed(room: Room, shape: Shape, slots: Sequence[Slot], sign: int) -> Room:
    gpus = room.gpus
    for slot in slots:
        if slot.gpus:
            gpus = _changed_gpus(gpus, shape, slot.gpus, sign)
    count = sign * len(slots)
    cpu, memory = room.cpu_milli + count * shape.cpu_milli, room.memory_mib + count * shape.memory_mib
    return Room(room.kind, cpu, memory, gpus)


def _changed_gpus(gpus: tuple[FreeGpu, ...], shape: Shape, numbers: Sequence[int], sign: int) -> tuple[FreeGpu, ...]:
    changed = list(gpus)
    for number in numbers:
        gpu = gpus[number]
        milli, memory = gpu.milli + sign * shape.gpu_milli, gpu.memory_mib + sign * shape.gpu_memory_mib
        changed[number] = FreeGpu(gpu.type, milli, memory)
    return tuple(changed)
