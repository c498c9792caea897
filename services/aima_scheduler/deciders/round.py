"""One look at the queue: hands out job after job in order, across classes by score, inside a class by fairness."""

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from aima_common.contracts.media import Priority
from aima_scheduler.deciders.fairness import Usage
from aima_scheduler.deciders.model import Job, Shape
from aima_scheduler.deciders.ordering import Ordering
from aima_scheduler.deciders.queue import Key, Lane

EVERYBODY = ""
"""The tenant of all, where shares do not count."""


@dataclass(slots=True)
class _Class:
    """A class in this round: its tenants by share, and each tenant's lanes by their first job."""

    tenants: list[tuple[float, str]] = field(default_factory=list)
    present: set[str] = field(default_factory=set)
    lanes: dict[str, list[tuple[Key, Job, Lane]]] = field(default_factory=dict)
    turn: list[tuple[Key, Job, Lane]] | None = None
    """Lanes of the tenant whose turn it is, as long as nothing has happened in the class."""


class Round:
    """Offers jobs at one moment; `skip` tells shapes that need not be looked at."""

    def __init__(self, ordering: Ordering, usage: Usage | None, now: float, skip: Callable[[Shape], bool]) -> None:
        self._ordering = ordering
        self._usage = usage
        self._now = now
        self._skip = skip
        self._classes: dict[Priority, _Class] = {}

    def offer(self, lanes: Iterable[Lane]) -> None:
        """Let the jobs of lanes take part."""
        for lane in lanes:
            self._push(lane)

    def again(self, lane: Lane) -> None:
        """Let a lane take part again after its first job went, and its tenant with the share that it has now."""
        self._push(lane)

    def served(self, job: Job) -> None:
        """Be told that a job went whose turn it was not: its tenant has another share now."""
        if (kind := self._classes.get(job.priority)) is not None:
            kind.turn = None

    def next(self) -> tuple[Job, Lane] | None:
        """Take the job whose turn it is, with its lane; None when nobody is left."""
        first: _Class | None = None
        for kind in self._classes.values():
            if not kind.turn or self._skip(kind.turn[0][2].shape):
                kind.turn = self._bid(kind)
            if kind.turn and (first is None or first.turn is None or kind.turn[0][0] < first.turn[0][0]):
                first = kind
        if first is None or first.turn is None:
            return None
        _, job, lane = heapq.heappop(first.turn)
        first.turn = None
        return job, lane

    def _push(self, lane: Lane) -> None:
        found = lane.best(self._ordering, self._now)
        if found is None:
            return
        tenant = lane.tenant if self._usage else EVERYBODY
        kind = self._classes.setdefault(lane.priority if self._usage else Priority.NORMAL, _Class())
        kind.turn = None
        mine = kind.lanes.setdefault(tenant, [])
        if tenant not in kind.present:
            kind.present.add(tenant)
            heapq.heappush(kind.tenants, (self._share(lane.priority, tenant), tenant))
        heapq.heappush(mine, (*found, lane))

    def _share(self, priority: Priority, tenant: str) -> float:
        return self._usage.share(priority, tenant, self._now) if self._usage else 0.0

    def _bid(self, kind: _Class) -> list[tuple[Key, Job, Lane]] | None:
        """Give the lanes of the tenant whose turn it is, the first of them one to be looked at."""
        while kind.tenants:
            share, tenant = kind.tenants[0]
            lanes = kind.lanes[tenant]
            while lanes and self._skip(lanes[0][2].shape):
                heapq.heappop(lanes)
            if not lanes:
                kind.present.discard(heapq.heappop(kind.tenants)[1])
                continue
            now = self._share(lanes[0][2].priority, tenant)
            if now <= share:
                return lanes
            heapq.heapreplace(kind.tenants, (now, tenant))
        return None
