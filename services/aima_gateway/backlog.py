"""Whether more can be taken in: by the age of the oldest work that waits, so that a slow stage slows its clients down.

Work that is accepted is never lost, but it must not pile up without end either. Reads are always answered.
"""

import datetime
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from aima_common.contracts.media import Priority
from aima_common.jobs import JobKind
from aima_common.ports import Ports
from aima_common.ports.documents import Document
from aima_common.problems import later

LOOK_SECONDS = 1.0
"""How old an answer of the store may be: one look serves all requests of a second."""

HEAD = 10
"""Jobs at the head of each queue that are looked at; those that wait on purpose are passed over."""

QUEUES = (JobKind.PREPARE, JobKind.ANALYSE)
"""What uploads turn into; folding and writing follow by themselves."""

URGENT = frozenset({Priority.HIGH, Priority.CRITICAL})


@dataclass(frozen=True)
class BacklogLimits:
    """When the door for uploads closes, and when it opens again."""

    oldest_seconds: float = 0.0
    """Age of the oldest waiting job above which nothing more is taken in; 0 is no limit."""
    reopened_share: float = 0.7
    """Part of that age below which the door opens again, so that it does not flutter."""
    fewest: int = 50
    """With fewer jobs waiting the door stays open: one that is stuck is no backlog."""
    urgent_factor: float = 4.0
    """How many times older the work may be while cases of priority high and above are still taken in."""


@dataclass(frozen=True)
class Backlog:
    """What waits now."""

    oldest_seconds: float = 0.0
    waiting: int = 0


def is_closed(backlog: Backlog, limits: BacklogLimits, *, was_closed: bool, urgent: bool = False) -> bool:
    """Decide whether the door is closed. Pure."""
    if not limits.oldest_seconds or backlog.waiting < limits.fewest:
        return False
    limit = limits.oldest_seconds * (limits.urgent_factor if urgent else 1.0)
    return backlog.oldest_seconds > limit * (limits.reopened_share if was_closed else 1.0)


def come_back_seconds(backlog: Backlog, limits: BacklogLimits, jitter: float) -> int:
    """Say when to try again: the further behind, the later, from 2 s up to 60; `jitter` in 0..1 spreads the clients."""
    behind = backlog.oldest_seconds - limits.oldest_seconds * limits.reopened_share
    return round(min(60.0, max(2.0, behind / 2)) * (1.0 + jitter / 2))


class BacklogGate:
    """The door, as one gateway process sees it."""

    def __init__(
        self,
        ports: Ports,
        limits: BacklogLimits,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._documents = ports.documents
        self._monotonic = ports.clock.monotonic
        self._limits = limits
        self._jitter = jitter
        self._seen = Backlog()
        self._looked_at: float | None = None
        self._closed = False

    async def check(self, tenant: str, case: str | None) -> None:
        """Raise `ProblemError` (503) while too much waits for an upload to this case to be taken in."""
        if not self._limits.oldest_seconds:
            return
        await self._look()
        if not self._closed:
            return
        if await self._urgent(tenant, case) and not is_closed(self._seen, self._limits, was_closed=False, urgent=True):
            return
        seconds = come_back_seconds(self._seen, self._limits, self._jitter())
        raise later(503, "backlog", f"work waits for {self._seen.oldest_seconds:.0f} s already", seconds)

    async def state(self) -> str:
        """Tell "ok", or that uploads are asked to come back."""
        if self._limits.oldest_seconds:
            await self._look()
        return (
            "ok"
            if not self._closed
            else f"uploads are asked to come back: work waits {self._seen.oldest_seconds:.0f} s"
        )

    async def _look(self) -> None:
        now = self._monotonic()
        if self._looked_at is not None and now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        self._seen = await self._backlog()
        self._closed = is_closed(self._seen, self._limits, was_closed=self._closed)

    async def _backlog(self) -> Backlog:
        now = await self._documents.now()
        oldest = 0.0
        for kind in QUEUES:
            for priority in Priority:
                wanted = {"kind": kind.value, "state": "ready", "priority": priority.value}
                head = await self._documents.find("jobs", wanted, order=["submitted_at"], limit=HEAD)
                oldest = max(oldest, _oldest(head, now))
        if oldest <= self._limits.oldest_seconds * self._limits.reopened_share:
            # The usual answer; how many wait is counted only where it matters.
            return Backlog(oldest)
        kinds = {"kind": [kind.value for kind in QUEUES], "state": "ready"}
        return Backlog(oldest, await self._documents.count("jobs", kinds))

    async def _urgent(self, tenant: str, case: str | None) -> bool:
        found = await self._documents.load("cases", case) if case else None
        return found is not None and found.tenant == tenant and found.body["options"]["priority"] in URGENT


def _oldest(head: Sequence[Document], now: datetime.datetime) -> float:
    """Tell for how long the first of these jobs that may start has waited."""
    for job in head:
        since = max(
            datetime.datetime.fromisoformat(job.body["submitted_at"]),
            datetime.datetime.fromisoformat(job.body["not_before"]),
        )
        if since <= now:
            return (now - since).total_seconds()
    return 0.0
