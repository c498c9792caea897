"""A partitioned log in SQLite, shaped like the part of Kafka that AIMA uses.

Groups share partitions through short ownership leases in the same file, so members may live in one
process or in several; a member that dies gives its partitions up when its lease runs out.
"""

import asyncio
import contextlib
import json
import sqlite3
import time
import uuid
import zlib
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

from aima_common.adapters.embedded.database import Database
from aima_common.errors import PermanentError, SettingsError
from aima_common.ports.bus import Delivery, Partition, Record, Topics, specifications

OWNERSHIP_SECONDS = 10.0
"""How long a silent member keeps its partitions. Longer than any pause of a healthy loop."""

FETCH_BYTES = 4 << 20
"""A batch ends with the record that reaches this size: few records that are large are enough."""

POLL_SECONDS = 0.5
"""How late a record published by another process is noticed; own records wake the loop at once."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS topics(name TEXT PRIMARY KEY, partitions INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS heads(topic TEXT, partition INTEGER, next INTEGER,
    PRIMARY KEY(topic, partition)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS log(topic TEXT, partition INTEGER, position INTEGER, at REAL, key TEXT, value BLOB,
    headers TEXT, PRIMARY KEY(topic, partition, position)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS commits(grp TEXT, topic TEXT, partition INTEGER, next INTEGER,
    PRIMARY KEY(grp, topic, partition)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS members(grp TEXT, topics TEXT, member TEXT, until REAL,
    PRIMARY KEY(grp, member)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS owners(grp TEXT, topic TEXT, partition INTEGER, member TEXT, until REAL,
    PRIMARY KEY(grp, topic, partition)) WITHOUT ROWID;
"""


class SqliteBus:
    """The embedded plug of `Bus`."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        self._partitions: dict[str, int] = {}
        self._members: set[SqliteSubscription] = set()

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, path: Path, *, clock: Callable[[], float] = time.time) -> AsyncIterator[Self]:
        """Open the log at `path`, making what is missing."""
        async with Database.open(path, SCHEMA) as database:
            yield cls(database, clock)

    async def ensure_topics(self, topics: Topics) -> None:
        """Make the topics that do not exist yet; raise `SettingsError` for one with other partitions.

        How long records are kept is decided by `sweep`; nothing is compacted here.
        """
        wanted = {topic.name: topic.partitions for topic in specifications(topics)}

        def work(c: sqlite3.Connection) -> dict[str, int]:
            c.executemany("INSERT OR IGNORE INTO topics VALUES (?,?)", list(wanted.items()))
            found = dict(c.execute("SELECT name, partitions FROM topics").fetchall())
            heads = [(name, number) for name in wanted for number in range(found[name])]
            c.executemany("INSERT OR IGNORE INTO heads VALUES (?,?,0)", heads)
            return found

        self._partitions = await self._database.write(work)
        for name, count in wanted.items():
            if self._partitions[name] != count:
                raise SettingsError(
                    f"topic {name} has {self._partitions[name]} partitions in this data folder, and must have {count}: "
                    "use the AIMA that made the folder, or begin with an empty one (--data)"
                )

    async def _refresh(self) -> None:
        rows = await self._database.read(lambda c: c.execute("SELECT name, partitions FROM topics").fetchall())
        self._partitions = dict(rows)

    async def publish(self, records: Sequence[Record]) -> None:
        """Append all records durably, in one transaction."""
        if any(record.topic not in self._partitions for record in records):
            await self._refresh()
        if unknown := sorted({record.topic for record in records} - self._partitions.keys()):
            raise PermanentError(f"there is no topic {unknown[0]!r}", code="unknown_topic")
        now = self._clock()
        placed = [(record, zlib.crc32(record.key.encode()) % self._partitions[record.topic]) for record in records]
        await self._database.write(lambda c: _append(c, placed, now))
        for member in self._members:
            member.wake()

    @contextlib.asynccontextmanager
    async def subscribe(self, group: str, topics: Sequence[str]) -> AsyncIterator["SqliteSubscription"]:
        """Join a group."""
        await self._refresh()
        if unknown := sorted(set(topics) - self._partitions.keys()):
            raise PermanentError(f"there is no topic {unknown[0]!r}", code="unknown_topic")
        member = SqliteSubscription(self._database, self._clock, group, tuple(topics))
        self._members.add(member)
        try:
            yield member
        finally:
            self._members.discard(member)
            await asyncio.shield(member.leave())

    async def inherit(self) -> None:
        """Free the partitions of earlier processes, whose ownership would run out later.

        For the one process that owns the log alone; were there another, it would join again.
        """

        def work(c: sqlite3.Connection) -> None:
            c.execute("DELETE FROM owners")
            c.execute("DELETE FROM members")

        await self._database.write(work)

    async def lag(self, group: str, topics: Sequence[str]) -> int:
        """Count the records that this group has not committed."""
        query = (
            "SELECT coalesce(sum(h.next - coalesce(c.next, 0)), 0) FROM heads h LEFT JOIN commits c "  # noqa: S608
            f"ON c.grp=? AND c.topic=h.topic AND c.partition=h.partition WHERE h.topic IN ({_marks(topics)})"
        )
        return int((await self._database.read(lambda c: c.execute(query, (group, *topics)).fetchone()))[0])

    async def sweep(self, older_than: float) -> int:
        """Remove records published before this time that every group has committed; return how many."""

        def work(c: sqlite3.Connection) -> int:
            floor = "(SELECT min(next) FROM commits k WHERE k.topic=log.topic AND k.partition=log.partition)"
            return c.execute(f"DELETE FROM log WHERE at<? AND position < {floor}", (older_than,)).rowcount  # noqa: S608

        return await self._database.write(work)


class SqliteSubscription:
    """A member of a group."""

    def __init__(self, database: Database, clock: Callable[[], float], group: str, topics: tuple[str, ...]) -> None:
        self._database = database
        self._clock = clock
        self._group = group
        self._topics = topics
        self._member = str(uuid.uuid4())
        self._positions: dict[Partition, int] = {}
        self._paused: set[Partition] = set()
        self._listener: Callable[[Collection[Partition]], None] = lambda _: None
        self._woken = asyncio.Event()
        self._renew_at = 0.0

    @property
    def partitions(self) -> Collection[Partition]:
        """Tell which partitions are this member's now."""
        return set(self._positions)

    async def batches(self, max_records: int = 200) -> AsyncIterator[Sequence[Delivery]]:
        """Yield deliveries of one partition at a time, in the order of their offsets."""
        while True:
            self._woken.clear()
            if self._clock() >= self._renew_at:
                await self._claim()
            found = False
            for topic, partition in await self._waiting():
                batch = await self._fetch(topic, partition, max_records)
                if not batch:
                    continue
                found = True
                self._positions[topic, partition] = batch[-1].offset + 1
                yield batch
                if self._clock() >= self._renew_at:
                    await self._claim()
            if not found:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await self._woken.wait()

    def wake(self) -> None:
        """Look again for records, now."""
        self._woken.set()

    def pause(self, partitions: Iterable[Partition]) -> None:
        """Deliver nothing more from these partitions until `resume`."""
        self._paused |= set(partitions) & self._positions.keys()

    def resume(self, partitions: Iterable[Partition]) -> None:
        """Go on delivering from these partitions."""
        self._paused -= set(partitions)
        self.wake()

    def on_lost(self, listener: Callable[[Collection[Partition]], None]) -> None:
        """Call `listener` when partitions stop being this member's own."""
        self._listener = listener

    async def commit(self, topic: str, partition: int, next_offset: int) -> bool:
        """Say that everything below `next_offset` is done, unless another member owns the partition."""
        return not await self.commit_all({(topic, partition): next_offset})

    async def commit_all(self, positions: Mapping[Partition, int]) -> Collection[Partition]:
        """Commit several partitions in one transaction; tell which of them belong to others now."""

        def work(c: sqlite3.Connection) -> list[Partition]:
            refused = []
            for (topic, partition), next_offset in positions.items():
                query = "SELECT member FROM owners WHERE grp=? AND topic=? AND partition=?"
                owner = c.execute(query, (self._group, topic, partition)).fetchone()
                if owner is None or owner[0] != self._member:
                    refused.append((topic, partition))
                    continue
                upsert = "INSERT INTO commits VALUES (?,?,?,?) ON CONFLICT DO UPDATE SET next=max(next, excluded.next)"
                c.execute(upsert, (self._group, topic, partition, next_offset))
            return refused

        return await self._database.write(work)

    async def leave(self) -> None:
        """Give the partitions up, so that the others need not wait for the lease to run out."""

        def work(c: sqlite3.Connection) -> None:
            c.execute("DELETE FROM owners WHERE grp=? AND member=?", (self._group, self._member))
            c.execute("DELETE FROM members WHERE grp=? AND member=?", (self._group, self._member))

        await self._database.write(work)

    async def _waiting(self) -> list[Partition]:
        query = f"SELECT topic, partition, next FROM heads WHERE topic IN ({_marks(self._topics)})"  # noqa: S608
        rows = await self._database.read(lambda c: c.execute(query, self._topics).fetchall())
        return [(t, p) for t, p, end in rows if (t, p) in self._positions and self._positions[t, p] < end]

    async def _fetch(self, topic: str, partition: int, limit: int) -> list[Delivery]:
        if (topic, partition) not in self._positions or (topic, partition) in self._paused:
            return []
        query = (
            "SELECT position, key, value, headers FROM log WHERE topic=? AND partition=? AND position>=? "
            "ORDER BY position LIMIT ?"
        )
        values = (topic, partition, self._positions[topic, partition], limit)
        rows = await self._database.read(lambda c: _up_to_enough(c.execute(query, values)))
        return [Delivery(Record(topic, r[1], r[2], json.loads(r[3])), partition, r[0]) for r in rows]

    async def _claim(self) -> None:
        """Renew the membership, take the fair share of partitions and give up what is beyond it."""
        now = self._clock()
        until = now + OWNERSHIP_SECONDS
        positions = await self._database.write(lambda c: self._share(c, now, until))
        kept = {key: max(position, self._positions.get(key, 0)) for key, position in positions.items()}
        lost = self._positions.keys() - kept.keys()
        self._positions = kept
        self._paused &= kept.keys()
        if lost:
            self._listener(lost)
        self._renew_at = now + min(OWNERSHIP_SECONDS / 10, POLL_SECONDS * 2)

    def _share(self, c: sqlite3.Connection, now: float, until: float) -> dict[Partition, int]:
        group = self._group
        c.execute("DELETE FROM members WHERE grp=? AND until<?", (group, now))
        joined = json.dumps(self._topics)
        c.execute("INSERT OR REPLACE INTO members VALUES (?,?,?,?)", (group, joined, self._member, until))
        names = [r[0] for r in c.execute("SELECT member FROM members WHERE grp=? ORDER BY member", (group,))]
        rank, size = names.index(self._member), len(names)
        query = f"SELECT topic, partition FROM heads WHERE topic IN ({_marks(self._topics)}) ORDER BY topic, partition"  # noqa: S608
        mine = [tuple(r) for n, r in enumerate(c.execute(query, self._topics).fetchall()) if n % size == rank]
        owners = {
            (t, p): (m, u)
            for t, p, m, u in c.execute("SELECT topic, partition, member, until FROM owners WHERE grp=?", (group,))
        }
        surplus = [key for key, (member, _) in owners.items() if member == self._member and key not in set(mine)]
        c.executemany("DELETE FROM owners WHERE grp=? AND topic=? AND partition=?", [(group, *key) for key in surplus])
        free = [k for k in mine if k not in owners or owners[k][0] == self._member or owners[k][1] < now]
        c.executemany(
            "INSERT OR REPLACE INTO owners VALUES (?,?,?,?,?)", [(group, *k, self._member, until) for k in free]
        )
        done = {(t, p): n for t, p, n in c.execute("SELECT topic, partition, next FROM commits WHERE grp=?", (group,))}
        return {(str(t), int(p)): done.get((t, p), 0) for t, p in free}


def _append(c: sqlite3.Connection, placed: Sequence[tuple[Record, int]], now: float) -> None:
    for record, partition in placed:
        advance = "UPDATE heads SET next=next+1 WHERE topic=? AND partition=? RETURNING next-1"
        (position,) = c.execute(advance, (record.topic, partition)).fetchone()
        headers = json.dumps(dict(record.headers))
        row = (record.topic, partition, position, now, record.key, record.value, headers)
        c.execute("INSERT INTO log VALUES (?,?,?,?,?,?,?)", row)


def _up_to_enough(rows: Iterable[tuple[int, str, bytes, str]]) -> list[tuple[int, str, bytes, str]]:
    found, size = [], 0
    for row in rows:
        found.append(row)
        size += len(row[2])
        if size >= FETCH_BYTES:
            break
    return found


def _marks(values: Sequence[object]) -> str:
    return ",".join("?" * len(values))
