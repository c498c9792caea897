"""What the deciders know, brought in line with the store before they decide: jobs, machines, and what runs where. Pure.

The store is right, always: what stands on the board is put there from documents, and put there anew whenever they
say something else.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from aima_common.contracts.media import Confidentiality, Priority
from aima_scheduler import reading
from aima_scheduler.deciders.engine import Decision, Engine, Settings, Unschedulable
from aima_scheduler.deciders.model import Job, Machine, Placement, Shape, Slot, expected_seconds
from aima_scheduler.deciders.preemption import Preempt, free_room
from aima_scheduler.deciders.queue import place_of
from aima_scheduler.deciders.reasons import NO_CHOICES, Choices, Mix, choices, mix_of
from aima_scheduler.deciders.reservation import Reservation, Running, slot_on
from aima_scheduler.deciders.rooms import Room, could_run, fits, usable_gpus
from aima_scheduler.reading import NonsenseError

QUEUE_AHEAD = 2
"""Jobs per machine that may be placed beyond its cores, so that a finishing worker finds the next at once."""

INTERACTIVE = frozenset({Priority.CRITICAL, Priority.HIGH})
"""Somebody waits for these: one of them may exceed a machine's cores, so as not to wait for what takes minutes."""

REMEMBERED_RUNS = 50
"""So many durations of an analyzer tell how long its next job will take."""

MOST_LEARNED = 100
"""Of so many jobs that ended since the last look, at most, it is read how long they took: more would say the same."""

Read = TypeVar("Read")


@dataclass(frozen=True)
class Facts:
    """A job or a machine as its document has it."""

    id: str
    tenant: str
    body: Mapping[str, Any]
    state: str = ""


Decided = Placement | Unschedulable | Preempt

Nonsense = Mapping[str, str]
"""Documents that say what cannot be meant, by their ids, with what that is."""


@dataclass
class Paces:
    """How long jobs take, learned from those that ended.

    Where none of a kind was ever done, those that failed for good say for how long such a job has its room; where some
    were, they say nothing: a job that failed at once is not a short one.
    """

    _seconds: dict[str, deque[float]] = field(default_factory=dict)
    _failed: dict[str, deque[float]] = field(default_factory=dict)

    def learn(self, kind: str, seconds: float, *, failed: bool = False) -> None:
        """Count a job that is done, or that failed for good."""
        known = self._failed if failed else self._seconds
        known.setdefault(kind, deque(maxlen=REMEMBERED_RUNS)).append(max(0.0, seconds))

    def copy(self) -> "Paces":
        """Make another that knows the same, for other threads."""
        return Paces(_copied(self._seconds), _copied(self._failed))

    def expected(self, kind: str) -> tuple[float, float] | None:
        """Give the mean, and what nine of ten do not exceed, s; None while nothing is known."""
        known = sorted(self._seconds.get(kind) or self._failed.get(kind) or ())
        if not known:
            return None
        return sum(known) / len(known), known[math.ceil(0.9 * len(known)) - 1]


class Board:
    """An engine that knows what the store knows."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.engine = Engine(settings)
        self.paces = Paces()
        self._mix: Mix | None = None
        """What kinds of machines there are; None: they have changed since that was looked at."""
        self._choices = NO_CHOICES
        """What there was to choose from with the last decisions."""
        self._machines: dict[str, Machine] = {}
        self._some_are_elsewhere = False
        """Whether there are machines that have their input sent."""
        self._beyond: dict[str, str] = {}
        """Jobs that take less of a machine than they need, with the machine: it has no more."""
        self._claimed: dict[str, float] = {}
        """Jobs that are worked on, and since when."""
        self._doubted: dict[str, Machine] = {}
        """Machines that say nonsense now, as they were when they were understood last."""
        self._on_machines: dict[str, Facts] = {}
        """Jobs that were on machines when it was looked last; what was decided since is not among them."""

    def set_machines(self, found: Iterable[Facts], now: float) -> Nonsense:
        """Have these machines, and no others; tell of those that say nonsense, and are none therefore."""
        wanted, nonsense = sorted_out(found, machine_of)
        believed = {**self._doubted, **self._machines}
        self._doubted = {name: believed[name] for name in nonsense if name in believed}
        gone = [name for name, known in self._machines.items() if wanted.get(name) != known]
        if gone or not self._machines:
            # Nothing waits meanwhile: a machine that only changed is gone for a moment, and whoever fits nowhere
            # else must not be told that it will never run; whoever came before there was any machine is looked at
            # anew. `set_waiting` follows.
            for job in list(self.engine.waiting):
                self.engine.withdraw(job.id)
        self._mix = None if gone or len(wanted) != len(self._machines) else self._mix
        for name in gone:
            for lost in self.engine.machine_removed(name, now):
                self._beyond.pop(lost.id, None)
            del self._machines[name]
        for name, machine in wanted.items():
            if name not in self._machines:
                self.engine.machine_added(machine)
                self._machines[name] = machine
        place = self.engine.settings.data_location
        self._some_are_elsewhere = any(machine.location != place for machine in self._machines.values())
        return nonsense

    def set_absent(self, found: Iterable[Facts]) -> None:
        """Count on the return of these machines, and on those that say nonsense now: they may say something else soon.

        Who can run on them only is not told that it will never run.
        """
        machines = {**sorted_out(found, machine_of)[0], **self._doubted}
        self.engine.machines_absent([machines[name] for name in sorted(machines)])

    def set_running(self, found: Sequence[Facts], now: float) -> Nonsense:
        """Have these jobs on their machines, and no others; tell of those that say nonsense, and take no room."""
        on = {one.id: one.body.get("machine") for one in found}
        for name, known in list(self.engine.running.items()):
            # Who is elsewhere by now failed here, or was taken back, and another scheduler placed it meanwhile.
            if on.get(name) != known.slots[0].machine:
                self._ended(name, now)
        here = [one for one in found if one.body.get("machine") in self._machines]
        self._on_machines = {one.id: one for one in here}
        anew = [one for one in here if one.id not in self.engine.running or one.id in self._beyond]
        jobs, nonsense = sorted_out(anew, self.job_of)
        began, unclear = sorted_out(here, _claimed_at)
        # Who cannot wait comes last: that is who exceeds the cores where there are more than a machine has.
        for one in sorted(here, key=lambda one: one.body.get("priority") in INTERACTIVE):
            if one.id in jobs:
                self._adopt(jobs[one.id], one, began.get(one.id), now)
        self._claimed = {name: since for name, since in began.items() if since is not None}
        return {**unclear, **nonsense}

    def set_waiting(self, found: Sequence[Facts], now: float = math.inf) -> Nonsense:
        """Let these jobs wait, and no others; tell of those that say nonsense, and do not wait therefore.

        Who says to have come later than `now` has come now: a clock was ahead, or went back meanwhile.
        """
        wanted, nonsense = sorted_out((one for one in found if one.id not in self.engine.running), self.job_of)
        for job in [job for job in self.engine.waiting if job.id not in wanted]:
            self.engine.withdraw(job.id)
        for name, job in wanted.items():
            before = self.engine.waiting.get(name)
            if before is None:
                self.engine.submit(job if job.queued_at <= now else replace(job, queued_at=now))
            elif _differ(before, job):
                self.engine.change(job)
        return nonsense

    def gone(self, found: Iterable[Facts]) -> list[str]:
        """Name jobs that have ended, or left their machines, where these are all that are on machines now."""
        here = {one.id for one in found}
        names = [name for name in self.engine.running if name not in here]
        # Some from everywhere: those that began first took longest.
        return names[:: math.ceil(len(names) / MOST_LEARNED) or 1]

    def learn(self, found: Iterable[Facts]) -> None:
        """Learn how long jobs take from what the store says of those that are gone, by its own clock.

        Who was cancelled, gave way, was given back or lost its holder says nothing of that, nor does who gave up on a
        server that was away.
        """
        for one in found:
            failed = one.state == "dead" and not one.body.get("away_since")
            if one.state == "done" or failed:
                began, ended = _time(one.body, "claimed_at"), _time(one.body, "finished_at")
                if began is not None and ended is not None:
                    self.paces.learn(str(one.body.get("analyzer")), ended - began, failed=failed)

    def decide(self, now: float, *, reasons: bool = True) -> list[Decided]:
        """Say what goes where, and who gives way; whoever cannot carry that out says so with `undo`."""
        was_kept = bool(self.engine.reservations)
        fitting = self.engine.decide(now)
        # Now, as what comes next changes what there was to choose from.
        self._choices = self._choices_for(fitting, was_kept=was_kept) if reasons else NO_CHOICES
        decisions: list[Decided] = [*fitting, *self._beyond_the_cores(now)]
        # Last, so that nobody gives way to whom beside the cores there is room for.
        return [*decisions, *self.engine.preempt(now, self._lost)]

    def reason(self, placement: Placement) -> str | None:
        """Say why a job goes where it goes, by the last decisions; None where it does not any more."""
        one = self.engine.running.get(placement.job)
        if one is None:
            return None
        (slot, *_) = placement.slots
        if placement.job in self._beyond:
            return f"somebody waits for it, so it may exceed the cores of {slot.machine}"
        return self._choices.reason(self.engine.settings, one.job, self._machines[slot.machine], slot)

    def _choices_for(self, decisions: Sequence[Decision], *, was_kept: bool) -> Choices:
        self._mix = self._mix or mix_of(self.engine.fleet.machines)
        return choices(self.engine, decisions, self._mix, was_kept=was_kept)

    def undo(self, job_id: str, now: float) -> None:
        """Take a placement back: the job is not to be had any more, or was changed meanwhile."""
        self.engine.ended(job_id, now)
        self._beyond.pop(job_id, None)

    def job_of(self, facts: Facts) -> Job:
        """Read a job's document; raise `NonsenseError`."""
        body = facts.body
        expected = self.paces.expected(str(body.get("analyzer")))
        return Job(
            facts.id,
            facts.tenant,
            reading.priority(body),
            self._shape_of(body),
            reading.seconds(body, "submitted_at") or 0.0,
            reading.seconds(body, "deadline"),
            estimate=expected[0] if expected else None,
            longest=expected[1] if expected else None,
            # Whatever it leaves behind is found or written again under the same names.
            checkpointable=True,
            preempted=reading.count(body, "preemptions"),
            **self._data_of(body),
        )

    def _data_of(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Tell where a job's input lies and how large it is; nothing where no machine is elsewhere."""
        if not self._some_are_elsewhere:
            return {}
        return {"data_location": self.engine.settings.data_location, "data_bytes": reading.input_bytes(body)}

    def _shape_of(self, body: Mapping[str, Any]) -> Shape:
        # CPU is soft: a laptop never refuses a film (model.md, "States").
        most = max((one.cpu_milli for one in self._machines.values()), default=0) - 1000 * QUEUE_AHEAD
        locations = allowed_locations(str(body.get("confidentiality", "")))
        return reading.shape(body, most if most > 0 else None, locations)

    def _adopt(self, job: Job, facts: Facts, claimed_at: float | None, now: float) -> None:
        machine, known = str(facts.body["machine"]), self.engine.running.get(job.id)
        if known is None:
            self.engine.withdraw(job.id)
            self._take(job, job.shape, machine, claimed_at or placed_at(facts.body) or 0.0)
        elif (more := self._more_for(job, known.job.shape, machine)) is not None:
            self.engine.ended(job.id, now)
            self._take(job, more, machine, known.started_at)

    def _more_for(self, job: Job, less: Shape, machine: str) -> Shape | None:
        """Tell what a job should take that took less than it needs, or None where there is no more than before.

        Nobody else may be given it. The cores alone may stay exceeded, by one who cannot wait.
        """
        room = free_room(self.engine.fleet.machine(machine), self.engine.runs_on(machine))
        cpu = less.cpu_milli if job.priority in INTERACTIVE else job.shape.cpu_milli
        has_more = (
            (less.cpu_milli < cpu and room.cpu_milli > 0)
            or (less.memory_mib < job.shape.memory_mib and room.memory_mib > 0)
            or (less.gpu_count < job.shape.gpu_count <= len(usable_gpus(room, job.shape)))
        )
        return replace(job.shape, cpu_milli=cpu) if has_more else None

    def _take(self, job: Job, shape: Shape, machine: str, began: float) -> None:
        """Count a job in with this shape, or with as much of it as there is: lest that be given to a third.

        There is less than was thought on a machine that shrank, or where somebody could not wait.
        """
        slot = self.engine.slot_for(replace(job, shape=shape), machine)
        if slot is None:
            shape, slot = self._rest_for(shape, machine)
        self.engine.adopt(replace(job, shape=shape), (slot,), began)
        if shape == job.shape:
            self._beyond.pop(job.id, None)
        else:
            self._beyond[job.id] = machine

    def _rest_for(self, shape: Shape, machine: str) -> tuple[Shape, Slot]:
        """Give as much of a shape as a machine has room for; its GPUs all or none."""
        room = self.engine.fleet.free(machine)
        cpu, memory = min(shape.cpu_milli, room.cpu_milli), min(shape.memory_mib, room.memory_mib)
        less = replace(shape, cpu_milli=cpu, memory_mib=memory)
        if (slot := slot_on(self.engine.fleet, machine, less)) is not None:
            return less, slot
        return Shape(cpu, memory), Slot(machine)

    def _ended(self, name: str, now: float) -> None:
        self.engine.ended(name, now)
        self._beyond.pop(name, None)

    def _lost(self, one: Running, now: float) -> float | None:
        """Tell how many seconds of work are lost when a job gives way: all since it was claimed, none before that.

        None for one whose class is another by now, and for one that was placed a moment ago: nobody has written so.
        """
        facts = self._on_machines.get(one.job.id)
        if facts is None or facts.body.get("priority") != one.job.priority.value:
            return None
        return max(0.0, now - self._claimed.get(one.job.id, now))

    def _beyond_the_cores(self, now: float) -> list[Placement | Unschedulable]:
        """Let one who cannot wait exceed the cores of each machine, the most urgent first; its memory must be there."""
        placed: list[Placement | Unschedulable] = []
        waiting = [job for job in self.engine.waiting if job.priority in INTERACTIVE and not job.shape.gpu_count]
        score = self.engine.settings.ordering.score
        names = sorted(self._machines) if waiting else []
        nowhere = set[Shape]()
        for job in sorted(waiting, key=lambda job: (-score(job, now), job.queued_at, job.id)):
            if job.shape in nowhere:
                continue
            machine = self._with_room_beyond(job, names, now)
            if machine is None:
                nowhere.add(job.shape)
                continue
            self.engine.withdraw(job.id)
            self._take(job, replace(job.shape, cpu_milli=0), machine, now)
            placed.append(Placement(job.id, (Slot(machine),)))
        return placed

    def _with_room_beyond(self, job: Job, names: Sequence[str], now: float) -> str | None:
        taken, bare = set(self._beyond.values()), replace(job.shape, cpu_milli=0)
        held = {machine for one in self.engine.reservations for machine in one.machines}
        others = [one for one in self.engine.reservations if one.job.id != job.id]
        for name in names:
            if name in taken or not could_run(self._machines[name], bare):
                continue
            if name in held:
                # What is kept free there is taken by nobody: it is free for one who comes first, and the rest is asked.
                room = free_room(self._machines[name], self.engine.runs_on(name))
                here = [one for one in others if name in one.machines]
                if fits(room, bare) and all(self._leaves_memory(job, room, one, name, now) for one in here):
                    return name
            elif fits(self.engine.fleet.free(name), bare):
                return name
        return None

    def _leaves_memory(self, job: Job, room: Room, kept: Reservation, machine: str, now: float) -> bool:
        """Tell whether a start that is kept free for one who comes first still holds; its cores may be exceeded."""
        ordering = self.engine.settings.ordering
        if place_of(job, ordering, now) < place_of(kept.job, ordering, now) or now + expected_seconds(job) <= kept.at:
            return True
        ended = [one for one in self.engine.runs_on(machine) if one.ends_at(now) <= kept.at]
        there = room.memory_mib - job.shape.memory_mib + sum(one.job.shape.memory_mib for one in ended)
        return there >= kept.job.shape.memory_mib * kept.machines.count(machine)


def machine_of(facts: Facts) -> Machine:
    """Read a machine's document; what may be placed ahead of its cores counts as cores. Raise `NonsenseError`."""
    return reading.machine(facts.id, facts.body, QUEUE_AHEAD)


def placed_at(body: Mapping[str, Any]) -> float | None:
    """Tell when a job was placed, s; None where its document does not say so."""
    said = body.get("placed_at")
    return float(said) if isinstance(said, int | float) and math.isfinite(said) else None


def allowed_locations(confidentiality: str) -> tuple[str, ...]:
    """Tell where work may run: what is not public stays on one's own machines; absent or unknown is confidential."""
    return () if confidentiality == Confidentiality.PUBLIC else ("local",)


def _differ(before: Job, job: Job) -> bool:
    """Tell whether a job that waits is to be looked at as another one; that it is known how long it takes counts once.

    Of what was submitted together much waits for long, and nothing may have been known when it came.
    """
    if before.estimate is None and job.estimate is not None:
        return True
    return (before.priority, before.deadline, before.shape) != (job.priority, job.deadline, job.shape)


def _copied(known: Mapping[str, deque[float]]) -> dict[str, deque[float]]:
    return {kind: deque(some, maxlen=REMEMBERED_RUNS) for kind, some in known.items()}


def _time(body: Mapping[str, Any], field: str) -> float | None:
    try:
        return reading.seconds(body, field)
    except NonsenseError:
        return None


def _claimed_at(facts: Facts) -> float | None:
    return reading.seconds(facts.body, "claimed_at")


def sorted_out(found: Iterable[Facts], read: Callable[[Facts], Read]) -> tuple[dict[str, Read], dict[str, str]]:
    """Read documents; tell of those that say nonsense."""
    understood, nonsense = dict[str, Read](), dict[str, str]()
    for one in found:
        try:
            understood[one.id] = read(one)
        except NonsenseError as error:
            nonsense[one.id] = str(error)
    return understood, nonsense
