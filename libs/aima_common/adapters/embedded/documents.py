"""Documents in SQLite: one table per collection, the body as JSON, indexes on declared fields."""

import contextlib
import datetime
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from aima_common.adapters.embedded import document_tables as tables
from aima_common.adapters.embedded.database import Database
from aima_common.contracts.codec import dumps, loads
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
    Outcome,
    Transitioned,
    Where,
    has_expired,
)


class SqliteDocuments:
    """The embedded plug of `Documents`.

    `fencing` and `inbox` exist for the crash harness alone: with either switched off the checker of
    invariants must find what breaks.
    """

    def __init__(
        self, database: Database, clock: Callable[[], float], *, fencing: bool = True, inbox: bool = True
    ) -> None:
        self._database = database
        self._clock = clock
        self._fencing = fencing
        self._inbox = inbox
        self._listener: Callable[[], None] = lambda: None

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, path: Path, *, clock: Callable[[], float] = time.time, fencing: bool = True, inbox: bool = True
    ) -> AsyncIterator[Self]:
        """Open the store at `path`, making what is missing."""
        async with Database.open(path, tables.tables()) as database:
            await database.write(tables.complete)
            yield cls(database, clock, fencing=fencing, inbox=inbox)

    def on_outbox(self, listener: Callable[[], None]) -> None:
        """Call `listener`, on the event loop, whenever something new waits in the outbox."""
        self._listener = listener

    async def load(self, collection: str, document_id: str) -> Document | None:
        """Read one document."""
        found = await self._database.read(lambda c: _find(c, collection, document_id))
        return found[1] if found else None

    async def find(
        self,
        collection: str,
        where: Where,
        *,
        order: Sequence[str] = (),
        limit: int = 1000,
        lease_expired: bool = False,
    ) -> Sequence[Document]:
        """Read the documents that match."""
        now = self._clock() if lease_expired else None
        query, values = tables.selection(collection, where, order, expired_at=now)
        rows = await self._database.read(lambda c: c.execute(query, [*values, limit]).fetchall())
        return [_document(row) for row in rows]

    async def count(self, collection: str, where: Where) -> int:
        """Count the documents that match."""
        clause, values = tables.condition(collection, where)
        query = f"SELECT count(*) FROM {tables.table(collection)} WHERE {clause}"  # noqa: S608
        return int((await self._database.read(lambda c: c.execute(query, values).fetchone()))[0])

    async def insert(
        self, collection: str, document: Insert, *, outbox: Sequence[Record] = (), inbox: str | None = None
    ) -> bool:
        """Add a document once."""

        def work(c: sqlite3.Connection) -> bool:
            now = self._clock()
            own = [document.id, document.tenant, document.state, 0, 1, None, None, _text(document.body)]
            try:
                added = c.execute(tables.insertion(collection), own + tables.values_of(collection, document.body))
            except sqlite3.IntegrityError:
                return False
            _remember(c, collection, document.id, inbox)
            _enqueue(c, collection, document.id, outbox, now)
            _log(c, collection, added.lastrowid, (1, None, document.state, 0, None, inbox, now, None))
            return True

        made = await self._database.write(work)
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
        """Change one document, its inbox, outbox and history in one transaction."""

        def work(c: sqlite3.Connection) -> Transitioned:
            now = self._clock()
            found = _find(c, collection, document_id)
            if found is None:
                return Transitioned(Outcome.MISSING, None)
            number, before = found
            if inbox and self._inbox and _remembers(c, collection, document_id, inbox):
                return Transitioned(Outcome.REPEATED, before)
            if not self._holds(before, expect, lease, now):
                return Transitioned(Outcome.REFUSED, before)
            after = _changed(before, change, lease, now, release=release)
            try:
                _save(c, collection, number, before, after)
            except sqlite3.IntegrityError:
                # A unique value is taken: nothing has been written yet, so nothing changed.
                return Transitioned(Outcome.REFUSED, before)
            _remember(c, collection, document_id, inbox)
            _enqueue(c, collection, document_id, outbox, now)
            epoch = before.epoch if expect.epoch is None else expect.epoch
            # Who renews writes under the epoch it believes in; fencing is what makes that the newest.
            written_by = after.epoch if lease and not lease.renew else epoch
            holder = after.holder or before.holder
            until = _stamp(after.lease_until)
            line = (after.version, before.state, after.state, written_by, holder, inbox, now, until)
            _log(c, collection, number, line)
            return Transitioned(Outcome.APPLIED, after)

        done = await self._database.write(work)
        if done.applied and outbox:
            self._listener()
        return done

    def _holds(self, document: Document, expect: Expect, lease: Lease | None, now: float) -> bool:
        if not self._fencing:
            return True
        states = [expect.state] if isinstance(expect.state, str) else expect.state
        if states is not None and document.state not in states:
            return False
        if expect.epoch is not None and document.epoch != expect.epoch:
            return False
        if expect.version is not None and document.version != expect.version:
            return False
        if expect.lease_expired and not has_expired(document.lease_until, _time(now)):
            return False
        return not (lease and lease.renew and document.holder != lease.holder)

    async def delete(self, collection: str, document_id: str) -> bool:
        """Remove a document and everything that belongs to it."""

        def work(c: sqlite3.Connection) -> bool:
            for table in ("inbox", "outbox"):
                c.execute(f"DELETE FROM {table} WHERE collection=? AND document=?", (collection, document_id))  # noqa: S608
            found = _find(c, collection, document_id)
            if found is None:
                return False
            c.execute("DELETE FROM lines WHERE collection=? AND number=?", (collection, found[0]))
            c.execute(f"DELETE FROM {tables.table(collection)} WHERE number=?", (found[0],))  # noqa: S608
            return True

        return await self._database.write(work)

    async def outbox(self, limit: int = 500) -> Sequence[OutboxEntry]:
        """Read the oldest entries that wait."""
        query = "SELECT sequence, topic, key, value, headers, written_at FROM outbox ORDER BY sequence LIMIT ?"
        rows = await self._database.read(lambda c: c.execute(query, (limit,)).fetchall())
        return [OutboxEntry(str(r[0]), Record(r[1], r[2], r[3], json.loads(r[4])), _time(r[5])) for r in rows]

    async def published(self, tokens: Sequence[str]) -> None:
        """Remove entries that were published."""
        numbers = [(int(token),) for token in tokens]
        await self._database.write(lambda c: c.executemany("DELETE FROM outbox WHERE sequence=?", numbers))

    async def outbox_since(self) -> datetime.datetime | None:
        """Tell since when the oldest entry waits."""
        query = "SELECT written_at FROM outbox ORDER BY sequence LIMIT 1"
        row = await self._database.read(lambda c: c.execute(query).fetchone())
        return _time(row[0]) if row else None

    async def history(self, collection: str, document_id: str | Sequence[str] | None = None) -> Sequence[HistoryLine]:
        """Read transitions, oldest first."""
        wanted = [document_id] if isinstance(document_id, str) else document_id
        one = "" if wanted is None else f" AND d.id IN ({', '.join('?' * len(wanted))})"
        values = [collection, *(wanted or ())]
        query = (
            "SELECT d.id, l.version, l.state_before, l.state_after, l.epoch, l.holder, l.inbox, l.at, l.lease_until "  # noqa: S608
            f"FROM lines l JOIN {tables.table(collection)} d ON d.number = l.number "
            f"WHERE l.collection=?{one} ORDER BY l.sequence"
        )
        rows = await self._database.read(lambda c: c.execute(query, values).fetchall())
        return [
            HistoryLine(r[0], r[1], r[2], r[3], r[4], r[5], r[6], _time(r[7]), _time(r[8]) if r[8] else None)
            for r in rows
        ]

    async def append(self, stream: str, entry_id: str, body: Body) -> int:
        """Add a line to a stream once."""

        def work(c: sqlite3.Connection) -> int:
            known = c.execute("SELECT sequence FROM streams WHERE stream=? AND entry=?", (stream, entry_id)).fetchone()
            if known:
                return int(known[0])
            query = "SELECT coalesce(max(sequence), 0) + 1 FROM streams WHERE stream=?"
            (sequence,) = c.execute(query, (stream,)).fetchone()
            c.execute("INSERT INTO streams VALUES (?,?,?,?)", (stream, sequence, entry_id, _text(body)))
            return int(sequence)

        return await self._database.write(work)

    async def read(self, stream: str, after: int = 0, limit: int = 1000) -> Sequence[Entry]:
        """Read the lines behind a sequence number."""
        query = "SELECT sequence, entry, body FROM streams WHERE stream=? AND sequence>? ORDER BY sequence LIMIT ?"
        rows = await self._database.read(lambda c: c.execute(query, (stream, after, limit)).fetchall())
        return [Entry(row[0], row[1], loads(row[2])) for row in rows]

    async def now(self) -> datetime.datetime:
        """Tell the store's time."""
        return _time(self._clock())


def _find(c: sqlite3.Connection, collection: str, document_id: str) -> tuple[int, Document] | None:
    query = f"SELECT {tables.COLUMNS}, number FROM {tables.table(collection)} WHERE id=?"  # noqa: S608
    row = c.execute(query, (document_id,)).fetchone()
    return (row[-1], _document(row[:-1])) if row else None


def _document(row: tuple[Any, ...]) -> Document:
    identity, tenant, state, epoch, version, holder, lease_until, body = row
    until = _time(lease_until) if lease_until is not None else None
    return Document(identity, tenant, state, epoch, version, loads(body), holder, until)


def _changed(before: Document, change: Change, lease: Lease | None, now: float, *, release: bool) -> Document:
    body = dict(before.body)
    for path, value in change.set.items():
        parent, leaf = _parent(body, path)
        parent[leaf] = value
    for path, number in change.add.items():
        parent, leaf = _parent(body, path)
        parent[leaf] = parent.get(leaf, 0) + number
    for path, value in change.push.items():
        parent, leaf = _parent(body, path)
        parent[leaf] = [*parent.get(leaf, []), value]
    epoch, holder, until = before.epoch, before.holder, before.lease_until
    if lease:
        epoch += 0 if lease.renew else 1
        holder, until = lease.holder, _time(now + lease.seconds)
    if release:
        holder, until = None, None
    return Document(
        before.id, before.tenant, change.state or before.state, epoch, before.version + 1, body, holder, until
    )


def _parent(body: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    """Find where a path ends, with everything on the way copied: what was read stays as it was."""
    *parents, leaf = path.split(".")
    for name in parents:
        body[name] = dict(body.get(name, {}))
        body = body[name]
    return body, leaf


def _save(c: sqlite3.Connection, collection: str, number: int, before: Document, after: Document) -> None:
    own = [after.state, after.epoch, after.version, after.holder, _stamp(after.lease_until), _text(after.body)]
    fields = tables.changed(collection, before.body, after.body)
    others = "".join(f", {column}=?" for column in fields)
    columns = f"state=?, epoch=?, version=?, holder=?, lease_until=?, body=?{others}"
    query = f"UPDATE {tables.table(collection)} SET {columns} WHERE number=?"  # noqa: S608
    c.execute(query, [*own, *fields.values(), number])


def _remembers(c: sqlite3.Connection, collection: str, document: str, message: str) -> bool:
    query = "SELECT 1 FROM inbox WHERE collection=? AND document=? AND message=?"
    return c.execute(query, (collection, document, message)).fetchone() is not None


def _remember(c: sqlite3.Connection, collection: str, document: str, message: str | None) -> None:
    if message:
        c.execute("INSERT OR IGNORE INTO inbox VALUES (?,?,?)", (collection, document, message))


def _enqueue(c: sqlite3.Connection, collection: str, document: str, records: Sequence[Record], now: float) -> None:
    if not records:
        return
    rows = [(collection, document, r.topic, r.key, r.value, json.dumps(dict(r.headers)), now) for r in records]
    columns = "collection, document, topic, key, value, headers, written_at"
    c.executemany(f"INSERT INTO outbox({columns}) VALUES (?,?,?,?,?,?,?)", rows)  # noqa: S608


def _log(c: sqlite3.Connection, collection: str, number: int | None, line: tuple[Any, ...]) -> None:
    if not tables.declared(collection).history:
        return
    columns = "collection, number, version, state_before, state_after, epoch, holder, inbox, at, lease_until"
    c.execute(f"INSERT INTO lines({columns}) VALUES (?,?,?,?,?,?,?,?,?,?)", (collection, number, *line))  # noqa: S608


def _text(body: Mapping[str, Any]) -> str:
    return dumps(body).decode()


def _time(stamp: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(stamp, datetime.UTC)


def _stamp(time_or_none: datetime.datetime | None) -> float | None:
    return time_or_none.timestamp() if time_or_none else None
