"""Why a job went where it went: what there was to choose from at that moment, and by which rule it was chosen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aima_scheduler.deciders.engine import Decision, Engine, Settings
from aima_scheduler.deciders.model import Job, Machine, Placement, Shape, Slot
from aima_scheduler.deciders.preemption import free_room
from aima_scheduler.deciders.rooms import fits
from aima_scheduler.deciders.scoring import Scoring

COUNTED_MACHINES = 64
"""Of more machines than so many nobody counts on how many a job had room."""


@dataclass(frozen=True, slots=True)
class Mix:
    """What kinds of machines there are."""

    with_gpus: bool
    without_gpus: bool
    priced: bool
    """Whether one machine costs more than another."""


def mix_of(machines: Sequence[Machine]) -> Mix:
    """Tell what kinds of machines these are."""
    with_gpus = {bool(one.gpus) for one in machines}
    return Mix(True in with_gpus, False in with_gpus, len({one.cost_per_hour for one in machines}) > 1)


@dataclass(frozen=True, slots=True)
class Choices:
    """What there was to choose from for jobs that were placed together."""

    others: Mapping[str, int]
    """Job -> how many other machines had room for it, kept free or not; nothing where nobody counted."""
    contested: bool
    """Whether something was kept free for others, or may have been for a moment."""
    kept: frozenset[str]
    """Machines that are kept free for jobs that wait."""
    mix: Mix

    def reason(self, settings: Settings, job: Job, machine: Machine, slot: Slot) -> str:
        """Say why a job went to this machine."""
        others = self.others.get(job.id)
        if others == 0:
            words = [f"{machine.id} was the only machine with room for it"]
        elif machine.id in self.kept:
            words = [f"{machine.id} is kept free for another job, and has room for this one before that, or beside it"]
        else:
            words = self._chosen(settings, job, machine, others)
        if job.shape.gpu_count:
            kind = machine.gpus[slot.gpus[0]].type or "unknown"
            words.append(f"it has {job.shape.gpu_count} of its GPUs, type {kind}")
        if job.data_location == machine.location and job.data_location:
            words.append("its input lies there")
        return "; ".join(words)

    def _chosen(self, settings: Settings, job: Job, machine: Machine, others: int | None) -> list[str]:
        free = " that were not kept free for others" if self.contested else ""
        spares = not job.shape.gpu_count and self.mix.with_gpus and not machine.gpus
        bare = " without GPUs" if spares else ""
        rule = f"{machine.id} {self._rule(settings.scoring, job, machine)}"
        if others is None:
            words = [f"of the machines{bare} with room for it{free}, {rule}"]
        else:
            words = [f"{others + 1} machines had room for it", f"of those{bare}{free}, {rule}"]
        if spares:
            words.append("machines with GPUs are left to those who need them")
        elif not job.shape.gpu_count and machine.gpus and self.mix.without_gpus:
            words.append(f"no machine without GPUs{free.replace('were', 'was')} had room for it")
        return words

    def _rule(self, scoring: Scoring, job: Job, machine: Machine) -> str:
        """Say what the machine was best in; equal ones go by the order in which they came."""
        if scoring is Scoring.FIRST_FIT:
            return "came first"
        if scoring is not Scoring.BEST_FIT and not machine.gpus and not job.data_location:
            return "costs least" if self.mix.priced else "came first"  # there is no GPU to lose: all else is equal
        counted = ["what machines cost"] if self.mix.priced else []
        counted += ["the way of its input"] if job.data_location else []
        also = f", with {' and '.join(counted)} counted in" if counted else ""
        if scoring is Scoring.BEST_FIT:
            return f"is left with the least of cores and GPUs{also}"
        return f"loses the least GPUs for the usual jobs, or hardly more{also}"  # scores are rounded


NO_CHOICES = Choices({}, contested=False, kept=frozenset(), mix=mix_of(()))


def choices(engine: Engine, decisions: Sequence[Decision], mix: Mix, *, was_kept: bool) -> Choices:
    """Tell what there was to choose from for those that `decide` has placed just now.

    `was_kept` tells whether anything was kept free before.
    """
    placed = [one for one in decisions if isinstance(one, Placement)]
    if not placed:
        return NO_CHOICES
    kept = frozenset(machine for one in engine.reservations for machine in one.machines)
    return Choices(
        _others(engine, placed) if len(engine.fleet) <= COUNTED_MACHINES else {},
        # Whoever is blocked may have had a start kept free that was dropped again.
        contested=was_kept or bool(kept) or len(engine.waiting) > 0,
        kept=kept,
        mix=mix,
    )


def _others(engine: Engine, placed: Sequence[Placement]) -> dict[str, int]:
    """Count, for each, the other machines that had room for it: taken back one by one, the last one first."""
    machines = {one.id: one for one in engine.fleet.machines}
    running = {name: {one.job.id: one for one in engine.runs_on(name)} for name in machines}
    rooms = {name: free_room(machines[name], running[name].values()) for name in machines}
    roomy: dict[Shape, int] = {}
    others: dict[str, int] = {}
    for one in reversed(placed):
        name = one.slots[0].machine
        shape = running[name].pop(one.job).job.shape
        before, after = rooms[name], free_room(machines[name], running[name].values())
        rooms[name] = after
        for known in roomy:
            roomy[known] += fits(after, known) - fits(before, known)
        if shape not in roomy:
            roomy[shape] = sum(fits(room, shape) for room in rooms.values())
        others[one.job] = roomy[shape] - 1
    return others
