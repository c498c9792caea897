"""One look at the queue: hands out job after job in order, across classes by score, inside a class by fairness."""

import heapq
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from aima_common.contracts.media import Priority
from aima_scheduler.deciders.fairness import Usage
from aima_scheduler.deciders.model import Job, Shape
from aima_scheduler.deciders.ordering import Ordering
from aima_scheduler.deciders.queue import Key, Lane

_place = operator.itemgetter(0)

EVERYBODY = ""
"""The tenant of all, where shares do not count."""


Entry = tuple[Key, Job, Lane]
"""A lane, with its first job and the place of that among all jobs."""


@dataclass(slots=True)
class _Class:
    """A class in this round: its tenants by share, and each tenant's lanes by their first job."""

    tenants: list[tuple[float, str]] = field(default_factory=list)
    present: set[str] = field(default_factory=set)
    lanes: dict[str, list[Entry]] = field(default_factory=dict)
    turn: list[Entry] | None = None
    """Lanes of the tenant whose turn it is, the first of them one to be looked at; empty where nobody is left, None
    where it is not known."""


class Round:
    """Offers jobs at one moment; `skip` tells shapes that need not be looked at."""

    def __init__(self, ordering: Ordering, usage: Usage | None, now: float, skip: Callable[[Shape], bool]) -> None:
        self._ordering = ordering
        self._usage = usage
        self._now = now
        self._skip = skip
        self._classes: dict[Priority, _Class] = {}
        self._offered: dict[Shape, Sequence[Lane]] = {}
        self._refused: set[Lane] = set()
        """Lanes of shapes that may have to be skipped, though they had not when they were offered."""
        self.went: set[str] = set()
        """Jobs that went though it was not their turn."""
        self._first: list[Entry] = []
        """Lanes of whom it was whose turn was given last."""
        self._chosen: _Class | None = None
        """The class of that one; None where something has changed for the others since they were compared."""
        self._others: Key | None = None
        """The place of the first of the other classes; None where none of them has anybody."""

    def offer(self, shape: Shape, lanes: Sequence[Lane]) -> None:
        """Let the jobs of a shape's lanes take part; it is none to be skipped."""
        self._offered[shape], self._chosen = lanes, None
        for lane in lanes:
            if (found := lane.best(self._ordering, self._now)) is None:
                continue
            tenant = lane.tenant if self._usage else EVERYBODY
            kind = self._classes.setdefault(lane.priority if self._usage else Priority.NORMAL, _Class())
            kind.turn = None
            if tenant not in kind.present:
                kind.present.add(tenant)
                heapq.heappush(kind.tenants, (self._share(lane.priority, tenant), tenant))
            heapq.heappush(kind.lanes.setdefault(tenant, []), (*found, lane))

    def next(self) -> tuple[Job, Lane] | None:
        """Give the job whose turn it is, with its lane; None when nobody is left.

        It stays its turn until `again` or `refused` tells what became of it.
        """
        if (chosen := self._chosen) is not None:
            # As a rule one class has many turns in a row, and nothing changes for the others meanwhile.
            turn = chosen.turn = self._bid(chosen)
            if turn and (self._others is None or turn[0][0] < self._others):
                chosen.turn, self._first = None, turn
                return turn[0][1:]
        return self._choose()

    def _choose(self) -> tuple[Job, Lane] | None:
        """Compare all classes."""
        for kind in self._classes.values():
            if kind.turn is None:
                kind.turn = self._bid(kind)
        bids = sorted([(kind.turn[0][0], kind) for kind in self._classes.values() if kind.turn], key=_place)
        if not bids:
            return None
        chosen = self._chosen = bids[0][1]
        self._others = bids[1][0] if len(bids) > 1 else None
        self._first, chosen.turn = chosen.turn or [], None
        return self._first[0][1:]

    def again(self, lane: Lane) -> None:
        """Let the lane whose turn it was take part with its next job, and its tenant with the share it has now."""
        found = lane.best(self._ordering, self._now)
        if found is None:
            heapq.heappop(self._first)
        else:
            heapq.heapreplace(self._first, (*found, lane))

    def served(self, job: Job) -> None:
        """Be told that a job went whose turn it was not: its tenant has another share now."""
        self.went.add(job.id)
        self._chosen = None
        if (kind := self._classes.get(job.priority)) is not None:
            kind.turn = None

    def refused(self, shape: Shape) -> None:
        """Be told that a shape, asked about or not, is one to be skipped from now on."""
        self._chosen = None
        self._refused.update(self._offered.get(shape, ()))
        for kind in self._classes.values():
            if kind.turn and kind.turn[0][2].shape == shape:
                kind.turn = None

    def _share(self, priority: Priority, tenant: str) -> float:
        return self._usage.share(priority, tenant, self._now) if self._usage else 0.0

    def _bid(self, kind: _Class) -> list[Entry]:
        """Give the lanes of the tenant whose turn it is, the first of them one to be looked at."""
        usage = self._usage
        while kind.tenants:
            share, tenant = kind.tenants[0]
            lanes = kind.lanes[tenant]
            # Most are known not to be skipped, which a lane tells sooner than a shape.
            while lanes and lanes[0][2] in self._refused and self._skip(lanes[0][2].shape):
                heapq.heappop(lanes)
            if not lanes:
                kind.present.discard(heapq.heappop(kind.tenants)[1])
                continue
            now = usage.share(lanes[0][2].priority, tenant, self._now) if usage else 0.0
            if now <= share:
                return lanes
            heapq.heapreplace(kind.tenants, (now, tenant))
        return []
