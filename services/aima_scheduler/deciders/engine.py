"""Puts the deciders together: told what happens, it says what goes where.

It holds the waiting jobs, the machines and what runs on them. What it decides counts as done at once; whoever could
not carry a decision out says so with `withdraw` or `ended`. A shape that fits nowhere is parked until something is
freed that it could fit on, so that a saturated fleet costs nothing.
"""

import math
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from aima_common.contracts.media import Priority
from aima_scheduler.deciders import placement, preemption, reservation
from aima_scheduler.deciders.fairness import Amounts, Usage
from aima_scheduler.deciders.fleet import Fleet
from aima_scheduler.deciders.model import Job, Machine, Placement, Shape, Shortfall, Slot
from aima_scheduler.deciders.placement import Data
from aima_scheduler.deciders.preemption import Crowd, Lost, Preempt, Preemption, Spending, Way, since_start
from aima_scheduler.deciders.queue import Key, Waiting, place_of
from aima_scheduler.deciders.reservation import STALE_SECONDS, Ends, EndsOfOne, Reservation, Running
from aima_scheduler.deciders.rooms import fits
from aima_scheduler.deciders.round import Round
from aima_scheduler.deciders.settings import SEED_RULES, SHORT_FIRST, Settings
from aima_scheduler.deciders.withholding import Withholding

__all__ = ["SEED_RULES", "SHORT_FIRST", "Decision", "Engine", "Settings", "Unschedulable"]


STARTED = 1_000
"""So many jobs that started last are remembered."""


@dataclass(frozen=True, slots=True)
class Unschedulable:
    """A job that no machine here can ever run; it waits no more."""

    job: str
    shortfall: Shortfall


Decision = Placement | Unschedulable


class Engine:
    """Decides; clocks, stores and machines are somebody else's business."""

    def __init__(self, settings: Settings | None = None, machines: Sequence[Machine] = ()) -> None:
        self.settings = settings or Settings()
        self.fleet = Fleet()
        self.waiting = Waiting(self.settings.ordering)
        self.running: dict[str, Running] = {}
        self.started: deque[Job] = deque(maxlen=STARTED)
        """Jobs that started last, whether or not they run yet: they tell what comes."""
        self.usage = Usage(self.settings.weights, self.settings.half_life)
        self._on: dict[str, dict[str, Running]] = {}
        self._ends: dict[str, EndsOfOne] = {}
        """What `Ends` keeps."""
        self._parked: dict[Shape, Shortfall | None] = {}
        self._possible: dict[Shape, Shortfall | None] = {}
        """What shapes lack of the whole fleet, where they could never run."""
        self.absent: tuple[Machine, ...] = ()
        """Machines that are away, and are expected back."""
        self._refused: list[Unschedulable] = []
        self._reservations: dict[str, Reservation] = {}
        self._withholding = Withholding(self.fleet)
        self._unfilled: set[str] = set()
        """Reservations whose machines nobody has looked at since something changed."""
        self._next_turn, self._next_drain = self.settings.starvation_every - 1, 0
        """At how many placements the oldest that may fit has a turn of its own, and it is tried to drain machines."""
        self._some_are_old = False
        """Whether somebody may have waited for too long, as far as this decision goes."""
        self._draining: str | None = None
        """Who has waited for too long and has a start kept free on machines where nothing begins before it."""
        self._placed = 0
        self.spending = Spending()
        """Work that was lost lately because jobs gave way."""
        for machine in machines:
            self.machine_added(machine)

    @property
    def reservations(self) -> Sequence[Reservation]:
        """List the starts that are kept free."""
        return tuple(self._reservations.values())

    def runs_on(self, machine_id: str) -> Sequence[Running]:
        """List what runs on a machine."""
        return tuple(self._on.get(machine_id, {}).values())

    # ---------------------------------------------------------------------------------- what happens

    def submit(self, job: Job) -> None:
        """Let a job wait, or refuse it with the next decisions where no machine could ever run it."""
        if job.id in self.running:
            raise ValueError(f"job {job.id} runs already")
        if (shortfall := self._never(job.shape)) is not None:
            self._refused.append(Unschedulable(job.id, shortfall))
            return
        self.waiting.add(job)
        self._unfilled.update(self._reservations)
        self.fleet.saw(job.shape)

    def withdraw(self, job_id: str) -> Job | None:
        """Let a job wait no more; None where it did not."""
        self._forget_reservation(job_id)
        return self.waiting.remove(job_id)

    def change(self, job: Job) -> None:
        """Let a job that waits have another urgency, or other needs."""
        if self.withdraw(job.id) is not None:
            self.submit(job)

    def adopt(self, job: Job, slots: Sequence[Slot], started_at: float) -> None:
        """Count a job in that runs already; raise `ValueError` where there is no room for it."""
        self._withholding.release_machines({slot.machine for slot in slots})
        self.fleet.take(job.shape, slots)
        self._note(Running(job, tuple(slots), started_at), started_at)

    def slot_for(self, job: Job, machine_id: str) -> Slot | None:
        """Give a slot for a job that is known to be on a machine, whatever is kept free there; None without room."""
        self._withholding.release_machines({machine_id})
        return reservation.slot_on(self.fleet, machine_id, job.shape)

    def ended(self, job_id: str, now: float) -> Job | None:
        """Count a job out that runs no more; None where it did not run."""
        one = self.running.pop(job_id, None)
        if one is None:
            return None
        machines = {slot.machine for slot in one.slots}
        self._withholding.release_machines(machines)
        self.fleet.release(one.job.shape, one.slots)
        self.usage.release(one.job.priority, one.job.tenant, one.job.shape, now)
        for machine in machines:
            self._on[machine].pop(job_id, None)
            self._ends.pop(machine, None)
        self._freed(machines)
        return one.job

    def machine_added(self, machine: Machine) -> None:
        """Count a machine in; raise `ValueError` where it is here already."""
        self.fleet.add(machine)
        self._on[machine.id] = {}
        self._count(machine, 1)
        self._possible.clear()
        self._freed({machine.id})

    def machines_absent(self, machines: Sequence[Machine]) -> None:
        """Count on the return of these machines: what only they could run waits for them, and is not refused."""
        if (known := tuple(machines)) != self.absent:
            self.absent = known
            self._possible.clear()
            self._refuse_what_never_fits_now()

    def machine_removed(self, machine_id: str, now: float) -> list[Job]:
        """Let a machine go; the jobs that ran there run no more, and are given back."""
        lost = [job for one in list(self.runs_on(machine_id)) if (job := self.ended(one.job.id, now)) is not None]
        self._withholding.release_machines({machine_id})
        self._count(self.fleet.machine(machine_id), -1)
        self.fleet.remove(machine_id)
        self._possible.clear()
        del self._on[machine_id]
        self._ends.pop(machine_id, None)
        for job_id in [key for key, kept in self._reservations.items() if machine_id in kept.machines]:
            self._forget_reservation(job_id)
        self._refuse_what_never_fits_now()
        return lost

    # ---------------------------------------------------------------------------------- what follows

    def decide(self, now: float, most: int | None = None) -> list[Decision]:
        """Say what goes where now, at most so many jobs."""
        now = self.waiting.advance(now)
        self._renew_reservations(now)
        if self.settings.head_blocks:
            self._parked.clear()
        decisions: list[Decision] = [*self._refused]
        self._refused.clear()
        every, too_long = self.settings.starvation_every, self.settings.starvation_after
        self._some_are_old = every > 0 and now - self.waiting.since() >= too_long
        usage = self.usage if self.settings.fair else None
        turn = Round(self.settings.ordering, usage, now, self._parked.__contains__)
        for shape in self.waiting.shapes():
            if shape not in self._parked:
                turn.offer(shape, self.waiting.lanes(shape))
        while most is None or len(decisions) < most:
            placed = self._next(turn, now)
            if placed is None:
                break
            decisions.append(placed)
        self._reserve(now)
        decisions += self._backfill(now)
        return decisions

    def preempt(self, now: float, lost: Lost = since_start) -> list[Preempt]:
        """Let blocked jobs start in the room of less urgent ones, which wait again; to be asked after `decide`.

        `lost` tells what it costs that a job gives way. Nobody does so for a job that will start sooner than that by
        itself, nor on a machine that is kept free for a job before it.
        """
        rule = self.settings.preemption
        if rule is None:
            return []
        now, tried = self.waiting.advance(now), set[str]()
        done: list[Preempt] = []
        left = rule.budget - self.spending.within_the_hour(now)
        crowd: Crowd | None = None
        while (job := self._first_that_may_preempt(rule, tried, now)) is not None:
            tried.add(job.id)
            crowd = crowd or Crowd(rule, self.running.values(), lost, left, now)
            if (way := self._way_for(job, crowd, left, now)) is not None:
                left -= way.cost
                crowd.gone(way)
                done.append(self._give_way(job, way, now))
        return done

    def blocked_by(self, shape: Shape) -> Shortfall | None:
        """Tell what a shape that is parked lacks, or None where it is not parked."""
        if shape not in self._parked:
            return None
        if (known := self._parked[shape]) is None:
            known = self._parked[shape] = placement.blocked_by(self.fleet, shape)
        return known

    def fleet_for(self, job_id: str) -> Fleet:
        """Give the fleet as it is for a job, for what-if: what is kept free for it is free."""
        return self._withholding.fleet_without() if job_id in self._reservations else self.fleet.copy()

    def copy(self) -> "Engine":
        """Make another engine that knows the same, for what-if and for other threads."""
        other = Engine(self.settings, self.fleet.machines)
        other.machines_absent(self.absent)
        for one in self.running.values():
            other.adopt(one.job, one.slots, one.started_at)
        for job in self.waiting:
            other.submit(job)
        for job_id, kept in self._reservations.items():
            other._reservations[job_id] = kept
            other._withholding.withhold(job_id, set(kept.machines))
        return other

    def head(self, now: float) -> Job | None:
        """Give the job that comes first of all that wait, whether it fits or not."""
        found = self._blocked_heads(now)
        return min(found, key=lambda pair: pair[0])[1] if found else None

    # ---------------------------------------------------------------------------------- the steps

    def _next(self, turn: Round, now: float) -> Placement | None:
        """Place one job; shapes that do not fit are parked on the way."""
        while (self._some_are_old or self._draining) and (starving := self._starving(now)) is not None:
            if (placed := self._try(starving, now)) is not None:
                turn.served(starving)
                return placed
            turn.refused(starving.shape)
        while (found := turn.next()) is not None:
            job, lane = found
            if job.id in turn.went:
                turn.again(lane)
                continue
            placed = self._try(job, now)
            if placed is not None:
                turn.again(lane)
                return placed
            turn.refused(job.shape)
            if self.settings.head_blocks:
                return None
        return None

    def _starving(self, now: float) -> Job | None:
        """Give the job that has waited for longest, of those that may fit, where it is its turn."""
        if self._draining and (job := self._reservations[self._draining].job).shape not in self._parked:
            return job
        if not self._some_are_old:
            return None
        rules = self.settings
        if self._placed >= self._next_turn and now - self.waiting.since() >= rules.drain_after:
            oldest, too_long = self.waiting.oldest(self._parked), rules.drain_after
            # Whether or not there is one: every lane is asked.
            self._next_turn = self._placed + rules.starvation_every
        elif (self._placed + 1) % rules.starvation_every == 0:
            oldest, too_long = self.waiting.oldest(), rules.starvation_after
        else:
            return None
        if oldest is None or oldest.shape in self._parked or now - oldest.queued_at < too_long:
            return None
        return oldest

    def _try(self, job: Job, now: float) -> Placement | None:
        kept = self._reservations.get(job.id)
        stale = kept is not None and now - kept.planned_at >= STALE_SECONDS
        if kept is not None and (stale or job.id == self._draining or len(kept.machines) > 1):
            self._forget_reservation(job.id)  # what is kept free may be enough, with what is free elsewhere
            kept = None
        data = Data(job.data_location, job.data_bytes) if job.data_location else None
        slots = placement.find(self.fleet, job.shape, self.settings.scoring, data=data, prices=self.settings.prices)
        if slots is None:
            self._parked[job.shape] = None
            if kept is None and len(self._reservations) < self.settings.reservations:
                # Before anybody behind it takes what it waits for.
                self._keep_free(job, Ends(self.runs_on, now, self._ends))
            return None
        if kept is not None:
            self._forget_reservation(job.id)
        return self._place(job, slots, now)

    def _place(self, job: Job, slots: tuple[Slot, ...], now: float) -> Placement:
        self.waiting.remove(job.id)
        self.fleet.take(job.shape, slots)
        self._note(Running(job, slots, now), now)
        self._placed += 1
        self.started.append(job)
        return Placement(job.id, slots)

    def _note(self, one: Running, now: float) -> None:
        self.running[one.job.id] = one
        for slot in one.slots:
            self._on[slot.machine][one.job.id] = one
            if self._ends:
                self._ends.pop(slot.machine, None)
        self.usage.take(one.job.priority, one.job.tenant, one.job.shape, now)

    # ---------------------------------------------------------------------------------- reservations

    def _reserve(self, now: float) -> None:
        """Keep starts free for the first blocked jobs, for critical ones, and for who has waited too long."""
        if not self.settings.reservations and not self.settings.critical_reservations:
            return
        heads = sorted(self._blocked_heads(now), key=lambda pair: pair[0])
        wanted = [job for _, job in heads[: self.settings.reservations]]
        critical = [job for _, job in heads if job.priority is Priority.CRITICAL and job not in wanted]
        wanted += critical[: self.settings.critical_reservations]
        self._drain(now)
        if self._draining:
            wanted.append(self._reservations[self._draining].job)
        for job_id in [key for key in self._reservations if key not in {job.id for job in wanted}]:
            self._forget_reservation(job_id)
        ends = Ends(self.runs_on, now, self._ends)
        for job in wanted:
            if job.id not in self._reservations:
                self._keep_free(job, ends)

    def _drain(self, now: float) -> None:
        """Keep a start free for who has waited too long: its score grows no more, and whoever is smaller passes it."""
        every, too_long = self.settings.starvation_every, self.settings.drain_after
        if self._draining or not every or self._placed < self._next_drain or now - self.waiting.since() < too_long:
            return
        oldest = self.waiting.oldest()
        if oldest is None or now - oldest.queued_at < too_long or oldest.shape not in self._parked:
            return
        for job_id in list(self._reservations):
            self._forget_reservation(job_id)
        self._keep_free(oldest, Ends(self.runs_on, now, self._ends))
        if oldest.id in self._reservations:
            self._draining = oldest.id
        else:
            self._next_drain = self._placed + every  # nowhere, as things are

    def _keep_free(self, job: Job, ends: Ends) -> None:
        kept = reservation.plan(self.fleet, job, ends)
        if kept is not None:
            self._reservations[job.id] = kept
            self._unfilled.add(job.id)
            self._withholding.withhold(job.id, set(kept.machines))

    def _blocked_heads(self, now: float) -> list[tuple[Key, Job]]:
        """Give the first job of every lane that waits."""
        lanes = [lane for shape in self.waiting.shapes() for lane in self.waiting.lanes(shape)]
        return [found for lane in lanes if (found := lane.best(self.settings.ordering, now)) is not None]

    def _backfill(self, now: float) -> list[Placement]:
        """Let those use what is withheld who are gone before it is needed, or leave enough of it."""
        placed = []
        unfilled = self._unfilled - {self._draining}
        for kept in [kept for job_id, kept in self._reservations.items() if job_id in unfilled]:
            placed += self._backfill_one(kept, now)
        self._unfilled.clear()
        return placed

    def _backfill_one(self, kept: Reservation, now: float) -> list[Placement]:
        placed: list[Placement] = []
        self._withholding.release(kept.job.id)
        for machine in sorted(set(kept.machines)):
            while (found := self._best_backfill(kept, machine, now)) is not None:
                placed.append(self._place(found[0], (found[1],), now))
        self._withholding.withhold(kept.job.id, set(kept.machines))
        return placed

    def _best_backfill(self, kept: Reservation, machine: str, now: float) -> tuple[Job, Slot] | None:
        """Choose the first job, of those looked at, that may use this machine meanwhile."""
        best: tuple[Key, Job, Slot] | None = None
        for shape in [shape for shape in self.waiting.shapes() if shape.members == 1 and shape in self._parked]:
            slot = reservation.slot_on(self.fleet, machine, shape)
            if slot is None:
                continue
            spare = reservation.leaves_room(self.fleet, kept, shape, slot, self.runs_on(machine), now)
            seconds = float("inf") if spare else kept.at - now
            for lane in self.waiting.lanes(shape):
                found = lane.first_within(seconds, self.settings.ordering, now, but=kept.job.id)
                if found is not None and (best is None or found[0] < best[0]):
                    best = *found, slot
        return (best[1], best[2]) if best else None

    def _renew_reservations(self, now: float) -> None:
        """Plan anew what does not hold any more: the start has come, or something ended on a machine that is kept."""
        ends = Ends(self.runs_on, now, self._ends)
        for job_id, kept in list(self._reservations.items()):
            if now < kept.at and self._withholding.covers(job_id, kept.machines):
                continue
            if job_id == self._draining:
                # Anew on the same machines: they have been drained so far, and on others it would begin once more.
                self._withholding.release(job_id)
                self._withholding.withhold(job_id, set(kept.machines))
                self._reservations[job_id] = reservation.later(kept, ends)
                continue
            self._forget_reservation(job_id)
            if kept.job.shape in self._parked:
                self._keep_free(kept.job, ends)

    def _forget_reservation(self, job_id: str) -> None:
        kept = self._reservations.pop(job_id, None)
        if kept is not None:
            self._draining = None if job_id == self._draining else self._draining
            self._withholding.release(job_id)
            self._freed({machine for machine in kept.machines if machine in self.fleet})

    # ---------------------------------------------------------------------------------- giving way

    def _first_that_may_preempt(self, rule: Preemption, tried: Collection[str], now: float) -> Job | None:
        """Give the first job of the classes that may preempt, of those that were not tried."""
        lanes = [lane for shape in self.waiting.shapes() if shape.members == 1 for lane in self.waiting.lanes(shape)]
        heads = [lane.best(self.settings.ordering, now) for lane in lanes if lane.priority in rule.preempting]
        # The others of a lane wait behind its first.
        untried = [head for head in heads if head is not None and head[1].id not in tried]
        patient = [head for head in untried if now - head[1].queued_at >= rule.patience]
        return min(patient, key=lambda pair: pair[0])[1] if patient else None

    def _way_for(self, job: Job, crowd: Crowd, left: float, now: float) -> Way | None:
        mine = self._reservations.get(job.id)
        own = (
            [preemption.free_room(self.fleet.machine(one), self.runs_on(one)) for one in mine.machines] if mine else []
        )
        if any(fits(room, job.shape) for room in own) or placement.find(self.fleet, job.shape) is not None:
            return None  # it starts with the next decisions
        planned = mine or reservation.plan(self.fleet, job, Ends(self.runs_on, now, self._ends))
        wait = planned.at - now if planned else math.inf
        place = place_of(job, self.settings.ordering, now)
        kept = {machine for one in self._reservations.values() for machine in one.machines}
        before = [one for one in self._reservations.values() if place_of(one.job, self.settings.ordering, now) < place]
        closed = {machine for one in before for machine in one.machines}
        way = crowd.cheapest_way(self.fleet, job.shape, self.runs_on, min(left, wait), closed=closed, kept=kept)
        return way if way is not None and way.cost < wait else None

    def _give_way(self, job: Job, way: Way, now: float) -> Preempt:
        for one in way.victims:
            self.ended(one.running.job.id, now)
        self._forget_reservation(job.id)
        self._place(job, (way.slot,), now)
        for one in way.victims:
            self.waiting.add(replace(one.running.job, preempted=one.running.job.preempted + 1))
        self._unfilled.update(self._reservations)
        self.spending.add(now, way.cost)
        victims = tuple(one.running.job.id for one in way.victims)
        return Preempt(job.id, (way.slot,), victims, way.cost)

    # ---------------------------------------------------------------------------------- bookkeeping

    def _never(self, shape: Shape) -> Shortfall | None:
        if not len(self.fleet):
            return None  # no machine is known yet: that is nobody's fault
        if shape not in self._possible:
            missing = placement.shortfall(self.fleet, shape)
            if missing is not None and self.absent:
                away = [one for one in self.absent if one.id not in self.fleet]
                whole = Fleet((*self.fleet.machines, *away))
                missing = missing if placement.shortfall(whole, shape) is not None else None
            self._possible[shape] = missing
        return self._possible[shape]

    def _refuse_what_never_fits_now(self) -> None:
        for shape in self.waiting.shapes():
            if (shortfall := self._never(shape)) is not None:
                for job in [job for job in self.waiting if job.shape == shape]:
                    self.withdraw(job.id)
                    self._refused.append(Unschedulable(job.id, shortfall))

    def _freed(self, machines: set[str]) -> None:
        """Wake the parked shapes that may fit now."""
        if not self._parked:
            return
        rooms = [self.fleet.free(machine) for machine in machines if machine in self.fleet]
        for shape in list(self._parked):
            if any(fits(room, shape) for room in rooms):
                del self._parked[shape]
            else:
                self._parked[shape] = None

    def _count(self, machine: Machine, sign: int) -> None:
        whole = Amounts(machine.cpu_milli, machine.memory_mib, 1000 * len(machine.gpus))
        self.usage.whole = self.usage.whole.plus(whole, sign)
