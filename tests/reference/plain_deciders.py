"""The scheduler's parts without anything that makes them fast: every question looks at everything there is."""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from aima_common.contracts.media import Priority
from aima_scheduler.deciders.fairness import Amounts
from aima_scheduler.deciders.fleet import Fleet
from aima_scheduler.deciders.model import Job, Shape, Slot, expected_seconds
from aima_scheduler.deciders.ordering import Ordering
from aima_scheduler.deciders.placement import DEFAULT_PRICES, Data, Prices
from aima_scheduler.deciders.queue import Key, place_of
from aima_scheduler.deciders.rooms import fits
from aima_scheduler.deciders.scoring import Rule, Scoring, rule_of


@dataclass(frozen=True, slots=True)
class PlainLane:
    """The jobs of one shape, tenant and standing, all of them looked at for each question."""

    waiting: "PlainWaiting"
    shape: Shape
    tenant: str
    priority: Priority
    standing: float

    def jobs(self) -> list[Job]:
        """List what waits in it."""
        return self.waiting.jobs_of(self)

    def best(self, ordering: Ordering, now: float) -> tuple[Key, Job] | None:
        """Compare all jobs."""
        return min(((place_of(job, ordering, now), job) for job in self.jobs()), default=None, key=lambda one: one[0])

    def first_within(self, seconds: float, ordering: Ordering, now: float, *, but: str) -> tuple[Key, Job] | None:
        """Compare all jobs that are short enough."""
        short = [job for job in self.jobs() if expected_seconds(job) <= seconds and job.id != but]
        return min(((place_of(job, ordering, now), job) for job in short), default=None, key=lambda one: one[0])


class PlainWaiting:
    """The jobs that wait, lane by lane, in no order."""

    def __init__(self, ordering: Ordering) -> None:
        self.ordering = ordering
        self._jobs: dict[str, Job] = {}
        self._lanes: dict[Shape, dict[PlainLane, list[Job]]] = {}
        self._now = float("-inf")

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._jobs

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs.values())

    def add(self, job: Job) -> None:
        """Let a job wait."""
        assert job.id not in self._jobs
        self._jobs[job.id] = job
        self._lanes.setdefault(job.shape, {}).setdefault(self._lane(job), []).append(job)

    def remove(self, job_id: str) -> Job | None:
        """Let a job go."""
        job = self._jobs.pop(job_id, None)
        if job is not None:
            self._lanes[job.shape][self._lane(job)].remove(job)
        return job

    def advance(self, now: float) -> float:
        """Let time pass, never backwards."""
        self._now = max(self._now, now)
        return self._now

    def shapes(self) -> list[Shape]:
        """List the shapes of the jobs that wait."""
        return [shape for shape in self._lanes if self.lanes(shape)]

    def lanes(self, shape: Shape) -> list[PlainLane]:
        """List the lanes of a shape."""
        return [lane for lane, jobs in self._lanes[shape].items() if jobs]

    def jobs_of(self, lane: PlainLane) -> list[Job]:
        """List the jobs of a lane."""
        return self._lanes[lane.shape][lane]

    def since(self) -> float:
        """Compare all jobs."""
        return min((job.queued_at for job in self), default=float("inf"))

    def oldest(self, but: Container[Shape] = ()) -> Job | None:
        """Compare all jobs."""
        some = (job for job in self if job.shape not in but)
        return min(some, key=lambda job: (job.queued_at, job.id), default=None)

    def _lane(self, job: Job) -> PlainLane:
        return PlainLane(self, job.shape, job.tenant, job.priority, self.ordering.standing(job))


class PlainUsage:
    """Shares of tenants, computed from the amounts at every question."""

    def __init__(self, weights: Mapping[str, float], half_life: float) -> None:
        self.whole = Amounts()
        self._weights, self._half_life = weights, half_life
        self._running: dict[tuple[Priority, str], Amounts] = {}
        self._past: dict[tuple[Priority, str], tuple[float, float]] = {}

    def take(self, priority: Priority, tenant: str, shape: Shape, now: float) -> None:
        """Count a job in."""
        self._change((priority, tenant), Amounts.of(shape), now)

    def release(self, priority: Priority, tenant: str, shape: Shape, now: float) -> None:
        """Count a job out."""
        self._change((priority, tenant), Amounts().plus(Amounts.of(shape), -1), now)

    def share(self, priority: Priority, tenant: str, now: float) -> float:
        """Tell what it has and what it had, for its weight."""
        whose = priority, tenant
        share = self._running.get(whose, Amounts()).share_of(self.whole) + self._faded(whose, now)
        return share / self._weights.get(tenant, 1.0)

    def _faded(self, whose: tuple[Priority, str], now: float) -> float:
        past, at = self._past.get(whose, (0.0, now))
        left: float = 2 ** (-max(0.0, now - at) / self._half_life)
        return past * left + self._running.get(whose, Amounts()).share_of(self.whole) * (1 - left)

    def _change(self, whose: tuple[Priority, str], amounts: Amounts, now: float) -> None:
        self._past[whose] = self._faded(whose, now), max(now, self._past.get(whose, (0.0, now))[1])
        self._running[whose] = self._running.get(whose, Amounts()).plus(amounts)


class PlainRound:
    """One look at the queue that compares every class, tenant and lane for every job."""

    def __init__(self, ordering: Ordering, usage: PlainUsage | None, now: float, skip: Callable[[Shape], bool]) -> None:
        self._ordering, self._usage, self._now, self._skip = ordering, usage, now, skip
        self._entries: list[tuple[Key, Job, PlainLane]] = []
        self.went: set[str] = set()

    def offer(self, _shape: Shape, lanes: Iterable[PlainLane]) -> None:
        """Let the jobs of a shape's lanes take part."""
        for lane in lanes:
            self.again(lane)

    def again(self, lane: PlainLane) -> None:
        """Let a lane take part with the job that comes first in it now."""
        if (found := lane.best(self._ordering, self._now)) is not None:
            self._entries.append((*found, lane))

    def served(self, job: Job) -> None:
        """Remember who went though it was not its turn."""
        self.went.add(job.id)

    def refused(self, shape: Shape) -> None:
        """Nothing is remembered that this could change."""

    def next(self) -> tuple[Job, PlainLane] | None:
        """Let every class bid with the first job of the tenant that has least; take the best of them."""
        bids = [bid for kind in Priority if (bid := self._bid(kind)) is not None]
        if not bids:
            return None
        first = min(bids, key=lambda entry: entry[0])
        self._entries.remove(first)
        return first[1], first[2]

    def _bid(self, kind: Priority) -> tuple[Key, Job, PlainLane] | None:
        of_class = [entry for entry in self._entries if not self._usage or entry[2].priority is kind]
        shares = {lane.tenant: self._share(lane) for _, _, lane in of_class}
        while of_class:
            bid = min(of_class, key=lambda entry: (*shares[entry[2].tenant], entry[0]))
            if not self._skip(bid[2].shape):
                return bid
            of_class.remove(bid)
            self._entries.remove(bid)
        return None

    def _share(self, lane: PlainLane) -> tuple[float, str]:
        return (self._usage.share(lane.priority, lane.tenant, self._now), lane.tenant) if self._usage else (0.0, "")


class PlainFinding:
    """Where a shape fits: on the best of all machines, each of them scored for every question."""

    def __init__(self) -> None:
        self._rules: dict[tuple[Scoring, int], Rule] = {}

    def __call__(
        self,
        fleet: Fleet,
        shape: Shape,
        scoring: Scoring = Scoring.AIMA,
        *,
        data: Data | None = None,
        prices: Prices = DEFAULT_PRICES,
    ) -> tuple[Slot, ...] | None:
        """Choose a slot for every member, one after the other, on a copy of the fleet."""
        copy, one = fleet.copy(), replace(shape, members=1)
        slots: list[Slot] = []
        for _ in range(shape.members):
            slot = self._one(copy, one, scoring, data, prices)
            if slot is None:
                return None
            copy.take(one, [slot])
            slots.append(slot)
        return tuple(slots)

    def _one(self, fleet: Fleet, shape: Shape, scoring: Scoring, data: Data | None, prices: Prices) -> Slot | None:
        version = scoring, fleet.workload.version
        rule = self._rules.setdefault(version, self._rules.get(version) or rule_of(scoring, fleet.workload))
        found = []
        for place, machine in enumerate(fleet.machines):
            room = fleet.free(machine.id)
            if not fits(room, shape):
                continue
            score, numbers = rule(room, shape)
            if scoring is not Scoring.FIRST_FIT:
                score += prices.per_cost * machine.cost_per_hour
                score += prices.per_transfer_second * prices.transfer_seconds(data, machine.location)
            gpus = fleet.gpus(machine.id)
            order = sorted(range(len(gpus)), key=gpus.__getitem__)
            slot = Slot(machine.id, tuple(sorted(order[number] for number in numbers)))
            found.append((not shape.gpu_count and bool(machine.gpus), score, place, slot))
        return min(found)[3] if found else None
