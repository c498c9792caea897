"""The jobs that wait, kept so that the next one is found in microseconds, however many there are.

Jobs of one shape, tenant and standing (class, and what the order gives for the length) share a *lane*. In a lane the
score depends on the wait and the deadline alone, so that two kinds of jobs keep their order for ever: those without
a deadline that counts, and those whose deadline counts for all it ever will. The others, the dated ones, are looked
at anew, all at once and seldom. The order is exactly that of sorting all jobs by score, age and id.
"""

import heapq
import itertools
import math
import operator
from array import array
from collections import deque
from collections.abc import Container, Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from aima_common.contracts.media import Priority
from aima_common.urgency import DEADLINE_MINUTES, LARGEST_WAIT_FACTOR, WAIT_STEP_SECONDS
from aima_scheduler.deciders.model import Job, Mode, Shape, expected_seconds
from aima_scheduler.deciders.ordering import HOT_SECONDS, MISSED_SECONDS, Order, Ordering, age_key

Key = tuple[float, float, str]
"""The place of a job: less is earlier. Its score, negative; when it came; its id."""

LOOK = 200
"""So many jobs of each part of a lane are looked at, most of them its oldest, for one that is short enough."""

TIDY = 1000
"""So many jobs more than twice those that wait are remembered of those that left before they came to the top."""

LEADERS = 64
"""So many dated jobs are known by their order after they were compared; when all of them went it is done again."""

ASKED = 8
"""So many leaders are asked again at most: with more of them close together all are compared, which costs no more."""

_place = operator.itemgetter(0)


class _Part(IntEnum):
    """Where in its lane a job waits."""

    PLAIN = 0
    """Its deadline counts for nothing any more, or never did."""
    DATED = 1
    """Its deadline counts, or will, for more every minute."""
    LATE = 2
    """Its deadline counts for all it ever will."""
    GONE = 3
    """It waits no more."""


class _Dated:
    """Jobs of one standing whose places change with every minute: compared all at once, and then not for a while.

    A score grows only so much in so much time. Who came first when all were compared is therefore asked again, and
    only those behind who may have caught up.
    """

    def __init__(self, standing: float) -> None:
        self._standing = standing
        self.jobs: list[Job] = []
        self._at: dict[str, int] = {}
        # Flat numbers, which grow in place and which numpy reads where they lie.
        self._queued, self._deadlines = array("d"), array("d")
        self._leaders: list[tuple[Key, Job]] = []
        """Who came first when all were compared, in order, with their places then; who went since is skipped."""
        self._passed = 0
        """So many of the leaders went, from the first on."""
        self._behind = 0.0
        """The first part of the place that nobody else was before then."""
        self._oldest: list[tuple[tuple[float, str], Job]] = []
        """The oldest of the far ones, whose deadline did not count when all were compared; the oldest comes last."""
        self._younger = False
        """Whether there were more of these then."""
        self._compared_at, self._far_until = math.inf, -math.inf
        """When all were compared, and until when no far one's deadline counts."""

    def __len__(self) -> int:
        return len(self.jobs)

    def add(self, job: Job) -> None:
        """Take a job in."""
        self._far_until = -math.inf
        self._at[job.id] = len(self.jobs)
        self.jobs.append(job)
        self._queued.append(job.queued_at)
        self._deadlines.append(job.deadline or 0.0)

    def remove(self, job_id: str) -> None:
        """Let a job go: the last one takes its place."""
        place, last = self._at.pop(job_id), self.jobs.pop()
        queued, deadline = self._queued.pop(), self._deadlines.pop()
        if last.id != job_id:
            self.jobs[place], self._at[last.id] = last, place
            self._queued[place], self._deadlines[place] = queued, deadline

    def some(self, most: int) -> list[Job]:
        """Give so many jobs, in no order."""
        return self.jobs[:most]

    def oldest(self) -> Job:
        """Give the job that has waited for longest; raise `ValueError` where there is none."""
        queued = np.frombuffer(self._queued)
        return min((self.jobs[one] for one in np.flatnonzero(queued == queued.min()).tolist()), key=age_key)

    def best(self, ordering: Ordering, now: float) -> tuple[Key, Job]:
        """Give the job that comes first, with its place among all jobs; raise `LookupError` where there is none."""
        if (found := self._known(ordering, now)) is None:
            self._compare(ordering, now)
            found = self._known(ordering, now)
        if found is None:
            raise LookupError("no job with a deadline waits here")
        return found

    def _known(self, ordering: Ordering, now: float) -> tuple[Key, Job] | None:
        """Tell who comes first by what was found when all were compared, or None where that does not tell."""
        if not self._compared_at <= now < self._far_until:
            return None
        certain, found = self._leader(ordering, now)
        while self._oldest and self._oldest[-1][1].id not in self._at:
            self._oldest.pop()
        if not certain or (self._younger and not self._oldest):
            return None
        if not self._oldest:
            return found
        oldest = self._oldest[-1][1]
        return _earlier(found, (place_of(oldest, ordering, now, self._standing), oldest))

    def _leader(self, ordering: Ordering, now: float) -> tuple[bool, tuple[Key, Job] | None]:
        """Tell who comes first of those whose deadline is near, if anybody; and whether that is certain."""
        leaders, there = self._leaders, self._at
        while self._passed < len(leaders) and leaders[self._passed][1].id not in there:
            self._passed += 1
        if self._passed == len(leaders):
            return self._behind == 0.0, None
        if now == self._compared_at:
            return True, leaders[self._passed]
        # A minute of waiting or of nearing multiplies a score by so much at most; the rest is for rounding.
        passed = now - self._compared_at
        growth = (1 + passed / WAIT_STEP_SECONDS) * (1 + passed / MISSED_SECONDS) * (1 + 1e-6)
        found: tuple[Key, Job] | None = None
        for number in range(self._passed, len(leaders)):
            (score, _, job_id), job = leaders[number]
            if found is not None and found[0][0] < score * growth:
                return True, found
            if number >= self._passed + ASKED:
                return False, None
            if job_id in there:
                found = _earlier(found, (place_of(job, ordering, now, self._standing), job))
        return found is not None and found[0][0] < self._behind * growth, found

    def _compare(self, ordering: Ordering, now: float) -> None:
        scores, queued = self._scores(ordering, now), np.frombuffer(self._queued)
        deadlines = np.frombuffer(self._deadlines)
        # The second is a margin: what is about to count is taken as what counts, which is as exact.
        is_far = deadlines >= now + HOT_SECONDS + 1.0
        near, far = np.flatnonzero(~is_far), np.flatnonzero(is_far)
        self._lead(near, scores[near], queued[near])
        oldest = far
        if len(far) > LEADERS:
            oldest = far[queued[far] <= np.partition(queued[far], LEADERS)[LEADERS]]
        jobs = [self.jobs[one] for one in oldest.tolist()]
        self._oldest = sorted([(age_key(job), job) for job in jobs], key=_place, reverse=True)
        self._younger = len(oldest) < len(far)
        self._compared_at = now
        self._far_until = float(deadlines[far].min()) - HOT_SECONDS if len(far) else math.inf

    def _lead(
        self, near: npt.NDArray[np.intp], scores: npt.NDArray[np.float64], queued: npt.NDArray[np.float64]
    ) -> None:
        """Note who comes first of those whose deadline is near."""
        ahead = np.arange(len(near))
        self._behind = 0.0
        if len(near) > LEADERS:
            least = np.partition(scores, -LEADERS)[-LEADERS]
            ahead = np.flatnonzero(scores >= least)
            if len(ahead) > 2 * LEADERS:  # most of them are equals by score: the oldest of these come first
                above, equal = np.flatnonzero(scores > least), np.flatnonzero(scores == least)
                youngest = np.partition(queued[equal], LEADERS)[LEADERS]
                ahead = np.concatenate([above, equal[queued[equal] <= youngest]])
            if len(ahead) < len(near):
                self._behind = -float(least)
        jobs = [self.jobs[one] for one in near[ahead].tolist()]
        places = [(-score, job.queued_at, job.id) for score, job in zip(scores[ahead].tolist(), jobs, strict=True)]
        self._leaders, self._passed = sorted(zip(places, jobs, strict=True), key=_place), 0

    def _scores(self, ordering: Ordering, now: float) -> npt.NDArray[np.float64]:
        """Score as `ordering` does, operation by operation, so that what comes out is the same to the last bit."""
        queued, deadline = np.frombuffer(self._queued), np.frombuffer(self._deadlines)
        waits = np.clip((now - queued) / WAIT_STEP_SECONDS, 1.0, LARGEST_WAIT_FACTOR)
        factors = np.maximum(DEADLINE_MINUTES / np.maximum((deadline - now) / 60, 1.0), 1.0)
        if ordering.mode is Mode.SEED:
            factors[deadline <= now] = 1.0
        scores: npt.NDArray[np.float64] = self._standing * waits * factors
        return scores


@dataclass(slots=True)
class _Entry:
    """A job that waits, or did."""

    job: Job
    lane: "Lane"
    part: _Part

    def __lt__(self, other: "_Entry") -> bool:
        return age_key(self.job) < age_key(other.job)


class _ByAge:
    """Jobs by their age, those of some parts alone: who left these falls out when it comes to the top.

    Whoever is younger than all before is put behind them, as nearly everybody is; the others go to a heap.
    """

    __slots__ = ("_parts", "_tidy_at", "heap", "run")

    def __init__(self, *parts: _Part) -> None:
        self._parts = parts
        self.run: deque[_Entry] = deque()
        self.heap: list[tuple[float, str, _Entry]] = []
        self._tidy_at = TIDY

    def push(self, entry: _Entry) -> None:
        """Take a job in."""
        job, run = entry.job, self.run
        if not run or run[-1].job.queued_at < job.queued_at or not entry < run[-1]:
            run.append(entry)
        else:
            heapq.heappush(self.heap, (job.queued_at, job.id, entry))
        if len(run) + len(self.heap) > self._tidy_at:
            self._tidy()

    def first(self) -> Job | None:
        """Give the job that came first."""
        parts, run, heap = self._parts, self.run, self.heap
        while run and run[0].part not in parts:
            run.popleft()
        while heap and heap[0][2].part not in parts:
            heapq.heappop(heap)
        if heap and not (run and run[0] < heap[0][2]):
            return heap[0][2].job
        return run[0].job if run else None

    def since(self) -> float:
        """Tell since when at most anybody waits: nobody who does came before; infinite where nobody does."""
        since = self.run[0].job.queued_at if self.run else math.inf
        return min(since, self.heap[0][0]) if self.heap else since

    def some(self, most: int) -> Iterator[Job]:
        """Give jobs out of so many of the oldest, and out of as many of those that came out of order."""
        first = itertools.chain(itertools.islice(self.run, most), (entry for _, _, entry in self.heap[:most]))
        return (entry.job for entry in first if entry.part in self._parts)

    def _tidy(self) -> None:
        """Forget who left, so that nobody is remembered for long."""
        self.run = deque(entry for entry in self.run if entry.part in self._parts)
        self.heap = [one for one in self.heap if one[2].part in self._parts]
        heapq.heapify(self.heap)
        self._tidy_at = 2 * (len(self.run) + len(self.heap)) + TIDY


class Lane:
    """Jobs of one shape, tenant and standing."""

    __slots__ = ("_dated", "_late", "_plain", "count", "priority", "shape", "shortest", "standing", "tenant")

    def __init__(self, job: Job, standing: float) -> None:
        self.shape, self.tenant, self.priority, self.standing = job.shape, job.tenant, job.priority, standing
        self.count = 0
        """Jobs that wait in it."""
        self.shortest = math.inf
        """No job in it is taken to run shorter, s."""
        self._plain, self._late = _ByAge(_Part.PLAIN), _ByAge(_Part.LATE)
        self._dated: _Dated | None = None

    def best(self, ordering: Ordering, now: float) -> tuple[Key, Job] | None:
        """Give the job that comes first, with its place among all jobs."""
        found: tuple[Key, Job] | None = None
        if (job := self._plain.first()) is not None:
            found = (-ordering.grown(self.standing, job, now), job.queued_at, job.id), job
        late, dated = self._late, self._dated
        if (late.run or late.heap) and (job := late.first()) is not None:
            found = _earlier(found, (place_of(job, ordering, now, self.standing), job))
        return _earlier(found, dated.best(ordering, now)) if dated is not None and dated.jobs else found

    def first_within(self, seconds: float, ordering: Ordering, now: float, *, but: str) -> tuple[Key, Job] | None:
        """Give the first job, `but` one, that is taken to run no longer; where the first is not it, of some."""
        if self.shortest > seconds:
            return None
        found = self.best(ordering, now)
        if found is None or (found[1].id != but and expected_seconds(found[1]) <= seconds):
            return found
        short = (job for job in self._some(LOOK) if expected_seconds(job) <= seconds and job.id != but)
        return min(((place_of(job, ordering, now), job) for job in short), key=lambda pair: pair[0], default=None)

    def oldest(self) -> Job:
        """Give the job that has waited for longest; no lane is kept that has none."""
        parts = (self._plain.first(), self._late.first(), self._dated.oldest() if self._dated else None)
        return min((job for job in parts if job is not None), key=age_key)

    def _some(self, most: int) -> Iterator[Job]:
        """Give some jobs of each part, the oldest of those whose deadline does not change."""
        yield from self._late.some(most)
        yield from self._plain.some(most)
        if self._dated:
            yield from self._dated.some(most)

    def put(self, entry: _Entry) -> None:
        """Let a job wait in its part of the lane."""
        self.shortest = min(self.shortest, expected_seconds(entry.job))
        if entry.part is _Part.DATED:
            if self._dated is None:
                self._dated = _Dated(self.standing)
            self._dated.add(entry.job)
        elif entry.part is _Part.LATE:
            self._late.push(entry)
        else:
            self._plain.push(entry)

    def move(self, entry: _Entry, part: _Part) -> None:
        """Let a job leave its part of the lane, for another or for good."""
        if entry.part is _Part.DATED and self._dated is not None:
            self._dated.remove(entry.job.id)
        entry.part = part
        if part is not _Part.GONE:
            self.put(entry)


class Waiting:
    """All jobs that wait."""

    def __init__(self, ordering: Ordering) -> None:
        self.ordering = ordering
        self._table: dict[str, _Entry] = {}
        self._lanes: dict[Shape, dict[tuple[str, Priority, float], Lane]] = {}
        self._turns: list[tuple[float, str]] = []
        """When a job goes to another part of its lane."""
        self._oldest = _ByAge(_Part.PLAIN, _Part.DATED, _Part.LATE)
        self._now = float("-inf")

    def __len__(self) -> int:
        return len(self._table)

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._table

    def __iter__(self) -> Iterator[Job]:
        return (entry.job for entry in self._table.values())

    def get(self, job_id: str) -> Job | None:
        """Give a job, or None where it does not wait here."""
        entry = self._table.get(job_id)
        return entry.job if entry else None

    def add(self, job: Job) -> None:
        """Let a job wait; raise `ValueError` where one of its id waits already."""
        if job.id in self._table:
            raise ValueError(f"job {job.id} waits already")
        lanes = self._lanes.setdefault(job.shape, {})
        key = (job.tenant, job.priority, self.ordering.standing(job))
        lane = lanes.get(key)
        if lane is None:
            lane = lanes[key] = Lane(job, key[2])
        lane.count += 1
        entry = self._table[job.id] = _Entry(job, lane, self._part(job))
        lane.put(entry)
        self._plan_turn(job)
        self._oldest.push(entry)

    def remove(self, job_id: str) -> Job | None:
        """Let a job go; None where it does not wait here."""
        entry = self._table.pop(job_id, None)
        if entry is None:
            return None
        lane = entry.lane
        if entry.part is _Part.DATED:
            lane.move(entry, _Part.GONE)
        else:
            entry.part = _Part.GONE  # it falls out when it comes to the top
        lane.count -= 1
        if not lane.count:
            self._close(lane)
        return entry.job

    def advance(self, now: float) -> float:
        """Let time pass, never backwards; return the time that counts."""
        self._now = max(self._now, now)
        while self._turns and self._turns[0][0] <= self._now:
            _, job_id = heapq.heappop(self._turns)
            entry = self._table.get(job_id)
            if entry is not None:
                self._turn(entry)
        return self._now

    def shapes(self) -> list[Shape]:
        """List the shapes of the jobs that wait."""
        return list(self._lanes)

    def lanes(self, shape: Shape) -> list[Lane]:
        """List the lanes of a shape."""
        return list(self._lanes.get(shape, {}).values())

    def since(self) -> float:
        """Tell since when at most anybody waits: nobody who does came before."""
        return self._oldest.since()

    def oldest(self, but: Container[Shape] = ()) -> Job | None:
        """Give the job that has waited for longest, of those of no shape of these."""
        first = self._oldest.first()
        if first is None or first.shape not in but:
            return first
        lanes = [lane for shape, some in self._lanes.items() if shape not in but for lane in some.values()]
        return min((lane.oldest() for lane in lanes), key=age_key, default=None)

    def _close(self, lane: Lane) -> None:
        lanes = self._lanes[lane.shape]
        del lanes[lane.tenant, lane.priority, lane.standing]
        if not lanes:
            del self._lanes[lane.shape]

    def _part(self, job: Job) -> _Part:
        if job.deadline is None or self.ordering.order in {Order.FIFO, Order.SHORTEST}:
            return _Part.PLAIN
        left = job.deadline - self._now
        if left <= 0 and self.ordering.mode is Mode.SEED:
            return _Part.PLAIN
        return _Part.DATED if left > MISSED_SECONDS else _Part.LATE

    def _plan_turn(self, job: Job) -> None:
        if job.deadline is None:
            return
        for ahead in (MISSED_SECONDS, 0.0):
            if job.deadline - ahead > self._now:
                heapq.heappush(self._turns, (job.deadline - ahead, job.id))
                return

    def _turn(self, entry: _Entry) -> None:
        part = self._part(entry.job)
        if part is not entry.part:
            entry.lane.move(entry, part)
        self._plan_turn(entry.job)


def place_of(job: Job, ordering: Ordering, now: float, standing: float | None = None) -> Key:
    """Tell a job's place among all jobs; less is earlier. Who knows the job's standing need not have it told anew."""
    return -ordering.grown(ordering.standing(job) if standing is None else standing, job, now), job.queued_at, job.id


def _earlier(first: tuple[Key, Job] | None, second: tuple[Key, Job]) -> tuple[Key, Job]:
    return second if first is None or second[0] < first[0] else first
