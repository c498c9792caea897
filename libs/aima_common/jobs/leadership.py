"""One of several equal processes does what only one may do at a time: held by a lease, like a job."""

import time
from collections.abc import Callable

from aima_common.ports.documents import Document, Documents, Expect, Insert, Lease

COLLECTION = "leaderships"

LEASE_SECONDS = 10.0
"""How long the others wait for a leader that died."""

TRUSTED_SECONDS = LEASE_SECONDS / 3
"""How long a confirmed lease is relied upon without asking again; ends well before the lease does."""

SETTLING_SECONDS = 2.0
"""So long whoever takes over does nothing yet: what the one before had sent to the store when its lease ended, which a
clock that was set may have done at any moment, is written by then, and is seen. A write takes some milliseconds; the
rest is for a store that is slow."""


class Leadership:
    """The right to do something alone, by the store's clock."""

    def __init__(
        self, documents: Documents, name: str, holder: str, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._documents = documents
        self._name = name
        self._holder = holder
        self._monotonic = monotonic
        self._confirmed_at: float | None = None
        self._settled_at = 0.0
        """When the writes of the one before are done, by the monotonic clock."""
        self.term = 0
        """How often this process has taken the lead: whatever it knew in an earlier term, others have changed since."""

    async def held(self) -> bool:
        """Take or keep the leadership; False while another process has it, or may still be writing.

        Asks the store only now and again.
        """
        asked = self._monotonic()
        if self._confirmed_at is None or asked - self._confirmed_at >= TRUSTED_SECONDS:
            self._confirmed_at = asked if await self._take() else None
        return self._confirmed_at is not None and self._monotonic() >= self._settled_at

    async def confirmed(self) -> bool:
        """Tell whether nobody else has taken over by now; for just before what two leaders must not both do.

        `held` may be mistaken where this process stood still, or where the store's clock was set forward. What is read
        here was so a moment ago: it narrows what may happen twice to what is under way in that moment.
        """
        known = await self._documents.load(COLLECTION, self._name)
        if known is not None and known.holder == self._holder:
            return True
        self._confirmed_at = None
        return False

    async def give_up(self) -> None:
        """Let another process lead at once."""
        self._confirmed_at = None
        known = await self._documents.load(COLLECTION, self._name)
        if known and known.holder == self._holder:
            expect = Expect(epoch=known.epoch)
            await self._documents.transition(COLLECTION, self._name, expect=expect, release=True)

    @staticmethod
    async def inherit(documents: Documents) -> None:
        """End what earlier processes led; only for the one process that owns the store alone, as `Ledger.inherit`."""
        for known in await documents.find(COLLECTION, {}):
            if known.holder is not None:
                await documents.transition(COLLECTION, known.id, expect=Expect(epoch=known.epoch), release=True)

    async def _take(self) -> bool:
        known = await self._documents.load(COLLECTION, self._name)
        if known is None:
            await self._documents.insert(COLLECTION, Insert(self._name, "", "open", {}))
            known = await self._documents.load(COLLECTION, self._name)
        return known is not None and await self._lease(known)

    async def _lease(self, known: Document) -> bool:
        mine = known.holder == self._holder
        lease = Lease(self._holder, LEASE_SECONDS, renew=mine)
        taken_over = known.holder is not None and not mine
        expect = Expect(epoch=known.epoch, lease_expired=taken_over)
        done = await self._documents.transition(COLLECTION, self._name, expect=expect, lease=lease)
        if done.applied and not mine:
            self.term += 1
        if done.applied and taken_over:
            self._settled_at = self._monotonic() + SETTLING_SECONDS
        return done.applied
