"""Documents in memory: a client's plug for a `MemoryStore`.

Between the two lies a `Link`, over which calls may come late, unanswered, or not at all.
"""

import datetime
from collections.abc import Callable, Sequence

from aima_common.ports.bus import Record
from aima_common.ports.documents import (
    Body,
    Change,
    Document,
    Entry,
    Expect,
    HistoryLine,
    Insert,
    Lease,
    OutboxEntry,
    Transitioned,
    Where,
)
from tests.simulation.memory_store import MemoryStore
from tests.simulation.network import Link


class MemoryDocuments:
    """The plug of `Documents` in one process."""

    def __init__(self, store: MemoryStore, link: Link) -> None:
        self._store = store
        self._link = link
        self._listener: Callable[[], None] = lambda: None

    def on_outbox(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever this process wrote something new into the outbox."""
        self._listener = listener

    async def load(self, collection: str, document_id: str) -> Document | None:
        return await self._link.ask(lambda: self._store.load(collection, document_id))

    async def find(
        self,
        collection: str,
        where: Where,
        *,
        order: Sequence[str] = (),
        limit: int = 1000,
        lease_expired: bool = False,
    ) -> Sequence[Document]:
        return await self._link.ask(
            lambda: self._store.find(collection, where, order=order, limit=limit, lease_expired=lease_expired)
        )

    async def count(self, collection: str, where: Where) -> int:
        return await self._link.ask(lambda: self._store.count(collection, where))

    async def insert(
        self, collection: str, document: Insert, *, outbox: Sequence[Record] = (), inbox: str | None = None
    ) -> bool:
        made = await self._link.change(lambda: self._store.insert(collection, document, outbox, inbox))
        if made and outbox:
            self._listener()
        return made

    async def transition(
        self,
        collection: str,
        document_id: str,
        *,
        expect: Expect = Expect(),  # noqa: B008 - frozen
        change: Change = Change(),  # noqa: B008 - frozen
        lease: Lease | None = None,
        release: bool = False,
        outbox: Sequence[Record] = (),
        inbox: str | None = None,
    ) -> Transitioned:
        done = await self._link.change(
            lambda: self._store.transition(collection, document_id, expect, change, lease, release, outbox, inbox)
        )
        if done.applied and outbox:
            self._listener()
        return done

    async def delete(self, collection: str, document_id: str) -> bool:
        return await self._link.change(lambda: self._store.delete(collection, document_id))

    async def outbox(self, limit: int = 500) -> Sequence[OutboxEntry]:
        return await self._link.ask(lambda: self._store.outbox(limit))

    async def published(self, tokens: Sequence[str]) -> None:
        await self._link.change(lambda: self._store.published(tokens))

    async def outbox_since(self) -> datetime.datetime | None:
        return await self._link.ask(self._store.outbox_since)

    async def history(self, collection: str, document_id: str | Sequence[str] | None = None) -> Sequence[HistoryLine]:
        return await self._link.ask(lambda: self._store.history(collection, document_id))

    async def append(self, stream: str, entry_id: str, body: Body) -> int:
        return await self._link.change(lambda: self._store.append(stream, entry_id, body))

    async def read(self, stream: str, after: int = 0, limit: int = 1000) -> Sequence[Entry]:
        return await self._link.ask(lambda: self._store.read(stream, after, limit))

    async def now(self) -> datetime.datetime:
        return await self._link.ask(self._store.now)
