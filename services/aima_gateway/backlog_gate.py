"""The door for new work, as one gateway process sees it: looks at what waits, and asks clients to come back."""

import asyncio
import datetime
import itertools
import random
from collections.abc import Awaitable, Callable

from aima_common.contracts.media import Priority
from aima_common.errors import TransientError, UnavailableError
from aima_common.jobs import JobKind
from aima_common.jobs.store_time import StoreTime
from aima_common.ports import Ports
from aima_common.ports.documents import Document
from aima_common.problems import away, later
from aima_common.urgency import readable_time
from aima_gateway.backlog import URGENCY, BacklogLimits, Door, Waiting, come_back_seconds, door_after

LOOK_SECONDS = 1.0
"""How old an answer of the store may be: one look serves all requests of a second."""

OUTBOX_SECONDS = 5.0
"""The same for the outbox, which is asked of every collection."""

ANSWER_SECONDS = 3.0
"""How long the store may take to answer before it counts as away."""

AGE = ("resting_until", "submitted_at")
"""The order of a queue in the store."""


class BacklogGate:
    """Lets new work in while AIMA keeps up. Asks the store when somebody wants in, at most once a second."""

    def __init__(self, ports: Ports, limits: BacklogLimits, jitter: Callable[[], float] = random.random) -> None:
        self._documents = ports.documents
        self._monotonic = ports.clock.monotonic
        self._time = StoreTime(ports.documents, ports.clock)
        self._limits = limits
        self._jitter = jitter
        self._door = Door()
        self._away: UnavailableError | None = None
        self._looked_at = float("-inf")
        self._outbox_since: datetime.datetime | None = None
        self._outbox_at = float("-inf")
        self._looking = asyncio.Lock()

    async def check(self, priority_of: Callable[[], Awaitable[Priority]]) -> None:
        """Raise `ProblemError` (503) while too much waits for new work to be taken in.

        `priority_of` is asked only where it matters. Raises `UnavailableError` when the store does not say what waits.
        """
        door = await self.door()
        if door.is_open:
            return
        priority = await priority_of()
        if reason := door.reason(priority):
            raise later(503, "backlog", f"AIMA is behind: {reason}", self._come_back(door, priority))

    async def door(self) -> Door:
        """Look whether the door is open; raise `UnavailableError` when the store does not say what waits."""
        if not self._limits.oldest_seconds:
            return self._door
        async with self._looking:
            if self._monotonic() - self._looked_at >= LOOK_SECONDS:
                await self._look()
        if self._away is not None:
            raise UnavailableError(str(self._away), code=self._away.code)
        return self._door

    async def told(self) -> str:
        """Say in one line how it is, whatever that is."""
        try:
            return (await self.door()).told()
        except UnavailableError as error:
            return f"uploads are asked to come back: {away(error)}"

    def _come_back(self, door: Door, priority: Priority) -> int:
        if door.bus_is_behind:
            return come_back_seconds(door.outbox_seconds, self._limits.outbox_seconds, self._jitter())
        opens_at = self._limits.oldest_seconds * self._limits.reopened_share
        return come_back_seconds(door.held_up[priority], opens_at, self._jitter())

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                self._door = door_after(await self._waiting(), self._limits, self._door)
            self._away = None
        except TransientError as error:
            self._away = UnavailableError(str(error), code=error.code)
        except TimeoutError:
            self._away = UnavailableError(f"no answer within {ANSWER_SECONDS:.0f} s", code="documents_slow")
        self._looked_at = self._monotonic()

    async def _waiting(self) -> Waiting:
        now = await self._time.now()
        queues = list(itertools.product(URGENCY, JobKind))
        ages: dict[Priority, list[float]] = {priority: [] for priority in URGENCY}
        answers = await asyncio.gather(*(self._ages(priority, kind, now) for priority, kind in queues))
        for (priority, _), found in zip(queues, answers, strict=True):
            ages[priority] += found
        return Waiting(ages, await self._oldest_message(now))

    async def _ages(self, priority: Priority, kind: JobKind, now: datetime.datetime) -> list[float]:
        """Tell for how long the oldest jobs of one queue have waited; this is read from one index.

        Those that have a machine already are about to begin; of one that does not say since when, nobody can tell.
        Those that rest are read last, so that they hide nobody.
        """
        where = {"kind": kind.value, "state": "ready", "machine": None, "priority": priority.value}
        found = await self._documents.find("jobs", where, order=AGE, limit=self._limits.fewest)
        # What waits on purpose, before it is tried again, is not behind; but where a server is away, nothing goes on.
        return [(now - since).total_seconds() for job in found if (since := _since(job)) and since <= now]

    async def _oldest_message(self, now: datetime.datetime) -> float:
        if self._monotonic() - self._outbox_at >= OUTBOX_SECONDS:
            self._outbox_since = await self._documents.outbox_since()
            self._outbox_at = self._monotonic()
        return (now - self._outbox_since).total_seconds() if self._outbox_since else 0.0


def _since(job: Document) -> datetime.datetime | None:
    """Tell since when a job could have begun, or since when a server that is away has kept it from being done."""
    if away := readable_time(job.body.get("away_since")):
        return away
    submitted, not_before = (readable_time(job.body.get(name)) for name in ("submitted_at", "not_before"))
    return max(submitted, not_before) if submitted and not_before else None
