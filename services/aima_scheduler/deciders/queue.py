"""The jobs that wait, kept so that the next one is found in microseconds, however many there are.

Jobs of one shape, tenant and standing (class, and what the order gives for the length) share a *lane*. In a lane the
score depends on the wait and the deadline alone, so that three kinds of jobs keep their order for ever: those
without a deadline that counts, those whose deadline counts for all it ever will, and none else; the hot ones between
are few, and looked at anew (see `ordering`). The order is exactly that of sorting all jobs by score, age and id.
"""

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from aima_common.contracts.media import Priority
from aima_common.urgency import WAIT_STEP_SECONDS
from aima_scheduler.deciders.model import Job, Mode, Shape, expected_seconds
from aima_scheduler.deciders.ordering import HOT_SECONDS, MISSED_SECONDS, Order, Ordering, age_key

Key = tuple[float, float, str]
"""The place of a job: less is earlier. Its score, negative; when it came; its id."""

LOOK = 200
"""So many jobs of each part of a lane are looked at, most of them its oldest, for one that is short enough."""


class _Part(IntEnum):
    """Where in its lane a job waits."""

    PLAIN = 0
    """Its deadline counts for nothing, or it has none."""
    HOT = 1
    """Its deadline counts for more every minute."""
    LATE = 2
    """Its deadline counts for all it ever will."""


class _Hot:
    """Jobs whose places change with every minute: compared all at once."""

    def __init__(self) -> None:
        self._jobs: list[Job] = []
        self._at: dict[str, int] = {}
        self._times: npt.NDArray[np.float64] = np.empty((2, 8))
        """When each came, and its deadline, s."""
        self._leaders: list[Job] = []
        """Who came first when all were compared, as long as nobody was added and none of them went."""
        self._compared_at = math.inf
        self._lead = 1.0
        """By what factor the leaders were ahead of everybody else then."""

    def __len__(self) -> int:
        return len(self._jobs)

    def add(self, job: Job) -> None:
        """Take a job in."""
        self._leaders = []
        count = len(self._jobs)
        if count == self._times.shape[1]:
            self._times = np.concatenate([self._times, np.empty_like(self._times)], axis=1)
        self._times[:, count] = job.queued_at, job.deadline or 0.0
        self._at[job.id] = count
        self._jobs.append(job)

    def remove(self, job_id: str) -> None:
        """Let a job go: the last one takes its place."""
        if any(leader.id == job_id for leader in self._leaders):
            self._leaders = []
        place, last = self._at.pop(job_id), self._jobs.pop()
        if last.id != job_id:
            self._jobs[place], self._at[last.id] = last, place
            self._times[:, place] = self._times[:, len(self._jobs)]

    def some(self, most: int) -> list[Job]:
        """Give so many jobs, in no order."""
        return self._jobs[:most]

    def candidates(self, now: float) -> Sequence[Job]:
        """Give the job that comes first, with those that may be its equals by score."""
        if not self._leaders or not self._still_ahead(now):
            self._compare(now)
        return self._leaders

    def _still_ahead(self, now: float) -> bool:
        """Tell whether nobody can have caught up: a minute of waiting or of nearing adds to a score only so much."""
        passed = now - self._compared_at
        most = (1 + passed / WAIT_STEP_SECONDS) * (1 + passed / MISSED_SECONDS)
        return passed >= 0 and most * (1 + 1e-6) < self._lead

    def _compare(self, now: float) -> None:
        queued, deadline = self._times[:, : len(self._jobs)]
        waits = np.clip((now - queued) / WAIT_STEP_SECONDS, 1.0, 10.0)
        urgency = waits * np.clip(HOT_SECONDS / np.maximum(deadline - now, MISSED_SECONDS), 1.0, None)
        most = urgency.max()
        # Within rounding: the exact comparison is the ordering's own.
        ahead = urgency >= most * (1 - 1e-9)
        self._leaders = [self._jobs[int(place)] for place in np.flatnonzero(ahead)]
        self._compared_at, self._lead = now, most / max(np.max(urgency, where=~ahead, initial=0.0), 1e-9)


class Lane:
    """Jobs of one shape, tenant and standing."""

    __slots__ = ("_hot", "_late", "_plain", "_table", "count", "priority", "shape", "shortest", "standing", "tenant")

    def __init__(self, table: dict[str, "_Entry"], job: Job, standing: float) -> None:
        self._table = table
        self.shape, self.tenant, self.priority, self.standing = job.shape, job.tenant, job.priority, standing
        self.count = 0
        """Jobs that wait in it."""
        self.shortest = math.inf
        """No job in it is taken to run shorter, s."""
        self._plain: list[tuple[float, str]] = []
        self._late: list[tuple[float, str]] = []
        self._hot: _Hot | None = None

    def best(self, ordering: Ordering, now: float) -> tuple[Key, Job] | None:
        """Give the job that comes first, with its place among all jobs."""
        found: tuple[Key, Job] | None = None
        for heap, part in ((self._plain, _Part.PLAIN), (self._late, _Part.LATE)):
            if heap and (job := self._head(heap, part)) is not None:
                found = _earlier(found, (place_of(job, ordering, now), job))
        if self._hot:
            for job in self._hot.candidates(now):
                found = _earlier(found, (place_of(job, ordering, now), job))
        return found

    def first_within(self, seconds: float, ordering: Ordering, now: float, *, but: str) -> tuple[Key, Job] | None:
        """Give the first job, `but` one, that is taken to run no longer; where the first is not it, of some."""
        if self.shortest > seconds:
            return None
        found = self.best(ordering, now)
        if found is None or (found[1].id != but and expected_seconds(found[1]) <= seconds):
            return found
        short = (job for job in self._some(LOOK) if expected_seconds(job) <= seconds and job.id != but)
        return min(((place_of(job, ordering, now), job) for job in short), key=lambda pair: pair[0], default=None)

    def _some(self, most: int) -> Iterator[Job]:
        """Give so many jobs of each part, most of them of the first: a heap's beginning holds its smallest."""
        for heap, part in ((self._late, _Part.LATE), (self._plain, _Part.PLAIN)):
            for queued_at, job_id in heap[:most]:
                entry = self._table.get(job_id)
                if entry and entry.lane is self and entry.part is part and entry.job.queued_at == queued_at:
                    yield entry.job
        if self._hot:
            yield from self._hot.some(most)

    def put(self, job: Job, part: _Part) -> None:
        """Let a job wait in one part of the lane."""
        self.shortest = min(self.shortest, expected_seconds(job))
        if part is _Part.HOT:
            self._hot = self._hot or _Hot()
            self._hot.add(job)
        else:
            heapq.heappush(self._plain if part is _Part.PLAIN else self._late, age_key(job))

    def drop(self, job: Job, part: _Part) -> None:
        """Let a job go; from a heap it falls out when it comes to the top."""
        if part is _Part.HOT and self._hot is not None:
            self._hot.remove(job.id)

    def _head(self, heap: list[tuple[float, str]], part: _Part) -> Job | None:
        while heap:
            entry = self._table.get(heap[0][1])
            if entry is not None and entry.lane is self and entry.part is part and entry.job.queued_at == heap[0][0]:
                return entry.job
            heapq.heappop(heap)
        return None


@dataclass(slots=True)
class _Entry:
    job: Job
    lane: Lane
    part: _Part


class Waiting:
    """All jobs that wait."""

    def __init__(self, ordering: Ordering) -> None:
        self.ordering = ordering
        self._table: dict[str, _Entry] = {}
        self._lanes: dict[Shape, dict[tuple[str, Priority, float], Lane]] = {}
        self._turns: list[tuple[float, str]] = []
        """When a job goes to another part of its lane."""
        self._oldest: list[tuple[float, str]] = []
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
            lane = lanes[key] = Lane(self._table, job, key[2])
        lane.count += 1
        part = self._part(job)
        self._table[job.id] = _Entry(job, lane, part)
        lane.put(job, part)
        self._plan_turn(job)
        heapq.heappush(self._oldest, age_key(job))

    def remove(self, job_id: str) -> Job | None:
        """Let a job go; None where it does not wait here."""
        entry = self._table.pop(job_id, None)
        if entry is None:
            return None
        self._leave(entry)
        if len(self._oldest) > 2 * len(self._table) + 1000:
            self._tidy()
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

    def oldest(self) -> Job | None:
        """Give the job that has waited for longest."""
        while self._oldest:
            entry = self._table.get(self._oldest[0][1])
            if entry is not None and entry.job.queued_at == self._oldest[0][0]:
                return entry.job
            heapq.heappop(self._oldest)
        return None

    def _leave(self, entry: _Entry) -> None:
        lane = entry.lane
        lane.drop(entry.job, entry.part)
        lane.count -= 1
        if not lane.count:
            lanes = self._lanes[lane.shape]
            del lanes[lane.tenant, lane.priority, lane.standing]
            if not lanes:
                del self._lanes[lane.shape]

    def _part(self, job: Job) -> _Part:
        if job.deadline is None or self.ordering.order in {Order.FIFO, Order.SHORTEST}:
            return _Part.PLAIN
        left = job.deadline - self._now
        if left >= HOT_SECONDS or (left <= 0 and self.ordering.mode is Mode.SEED):
            return _Part.PLAIN
        return _Part.HOT if left > MISSED_SECONDS else _Part.LATE

    def _plan_turn(self, job: Job) -> None:
        if job.deadline is None:
            return
        for ahead in (HOT_SECONDS, MISSED_SECONDS, 0.0):
            if job.deadline - ahead > self._now:
                heapq.heappush(self._turns, (job.deadline - ahead, job.id))
                return

    def _turn(self, entry: _Entry) -> None:
        part = self._part(entry.job)
        if part is not entry.part:
            entry.lane.drop(entry.job, entry.part)
            entry.part = part
            entry.lane.put(entry.job, part)
        self._plan_turn(entry.job)

    def _tidy(self) -> None:
        self._oldest = [age_key(entry.job) for entry in self._table.values()]
        heapq.heapify(self._oldest)


def place_of(job: Job, ordering: Ordering, now: float) -> Key:
    """Tell a job's place among all jobs; less is earlier."""
    return -ordering.score(job, now), job.queued_at, job.id


def _earlier(first: tuple[Key, Job] | None, second: tuple[Key, Job]) -> tuple[Key, Job]:
    return second if first is None or second[0] < first[0] else first
