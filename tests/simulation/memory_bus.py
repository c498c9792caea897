"""The bus in memory: a partitioned log that delivers at least once, in order per key, and as awkwardly as it may.

`MemoryLog` is the broker. Where `unruly` is given it repeats records, hands partitions out in any order and in bits,
and lets a rebalance throw members back to what was committed. `MemoryBus` is a client's plug for it.
"""

import asyncio
import contextlib
import random
import zlib
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from aima_common.errors import PermanentError, SettingsError, UnavailableError
from aima_common.ports.bus import Delivery, Partition, Record, Topics, specifications
from tests.simulation.network import Link

REPEATED = 0.05
"""Share of the records that an unruly log holds twice."""

THROWN_BACK = 0.5
"""How often a rebalance of an unruly log makes even those who keep a partition begin at the last commit."""


@dataclass(eq=False)
class Member:
    """A member of a group, as the broker knows it."""

    group: str
    topics: tuple[str, ...]
    owner: object
    """Whose process it is."""
    positions: dict[Partition, int] = field(default_factory=dict)
    paused: set[Partition] = field(default_factory=set)
    lost: set[Partition] = field(default_factory=set)
    """What was taken from it without its being told yet; before that it gets no more records."""
    news: asyncio.Event = field(default_factory=asyncio.Event)
    """Something is there for it, or it has been put out."""


class MemoryLog:
    """The broker: every method is one atomic step."""

    def __init__(self, unruly: random.Random | None = None, *, manual_commits: bool = True) -> None:
        self._unruly = unruly
        self._manual_commits = manual_commits
        self._records: dict[Partition, list[Record]] = {}
        self._partitions: dict[str, int] = {}
        self._commits: dict[tuple[str, Partition], int] = {}
        self._members: dict[str, list[Member]] = {}

    def ensure(self, topics: Topics) -> None:
        """Make the topics that do not exist yet; refuse one with other partitions."""
        for topic in specifications(topics):
            count = self._partitions.setdefault(topic.name, topic.partitions)
            if count != topic.partitions:
                raise SettingsError(f"topic {topic.name} has {count} partitions, and must have {topic.partitions}")
            for number in range(count):
                self._records.setdefault((topic.name, number), [])

    def publish(self, records: Sequence[Record]) -> None:
        """Append all records, or none."""
        self._check(record.topic for record in records)
        for record in records:
            place = (record.topic, zlib.crc32(record.key.encode()) % self._partitions[record.topic])
            self._records[place].append(record)
            if self._unruly and self._unruly.random() < REPEATED:
                # A producer whose acknowledgement was lost sends again, perhaps what is older than the last record.
                self._records[place].append(self._unruly.choice(self._records[place]))
        topics = {record.topic for record in records}
        for members in self._members.values():
            for member in members:
                if not topics.isdisjoint(member.topics):
                    member.news.set()

    def join(self, group: str, topics: Sequence[str], owner: object) -> Member:
        """Make a member and share the partitions anew."""
        self._check(topics)
        member = Member(group, tuple(topics), owner)
        others = self._members.get(group, [])
        # Who joins again, as its first attempt went unanswered, does not stand beside itself.
        self._members[group] = [*(other for other in others if owner is None or other.owner is not owner), member]
        self._rebalance(group)
        return member

    def leave(self, member: Member) -> None:
        """Forget a member."""
        members = self._members.get(member.group, [])
        if member in members:
            members.remove(member)
            self._rebalance(member.group)
        member.positions.clear()
        member.news.set()

    def evict(self, owner: object | None = None) -> None:
        """Put out the members of a process that fell silent, or everybody."""
        for members in list(self._members.values()):
            for member in list(members):
                if owner is None or member.owner is owner:
                    self.leave(member)

    def fetch(self, member: Member, most: int) -> tuple[Collection[Partition], Sequence[Delivery]]:
        """Tell which partitions were taken away; else hand out the next records of one partition."""
        if member not in self._members.get(member.group, ()):
            raise UnavailableError("this member has been put out of its group")
        if member.lost:
            lost, member.lost = member.lost, set()
            return lost, ()
        waiting = [
            place
            for place, position in member.positions.items()
            if position < len(self._records[place]) and place not in member.paused
        ]
        if not waiting:
            member.news.clear()
            return (), ()
        place = self._unruly.choice(waiting) if self._unruly else waiting[0]
        size = self._unruly.randint(1, 3) if self._unruly else most
        start = member.positions[place]
        records = self._records[place][start : start + min(size, most)]
        member.positions[place] = start + len(records)
        if not self._manual_commits:
            self.commit(member, *place, member.positions[place])
        return (), [Delivery(record, place[1], start + number) for number, record in enumerate(records)]

    def commit(self, member: Member, topic: str, partition: int, next_offset: int) -> bool:
        """Note what is done, unless the partition is somebody else's now."""
        place = (topic, partition)
        if place not in member.positions:
            return False
        self._commits[member.group, place] = max(next_offset, self._commits.get((member.group, place), 0))
        return True

    def lag(self, group: str, topics: Sequence[str]) -> int:
        """Count what was not committed."""
        return sum(
            len(records) - self._commits.get((group, place), 0)
            for place, records in self._records.items()
            if place[0] in topics
        )

    def _check(self, topics: Iterable[str]) -> None:
        unknown = sorted(set(topics) - self._partitions.keys())
        if unknown:
            raise PermanentError(f"there is no topic {unknown[0]!r}", code="unknown_topic")

    def _rebalance(self, group: str) -> None:
        members = self._members[group]
        thrown_back = self._unruly is not None and self._unruly.random() < THROWN_BACK
        for rank, member in enumerate(members):
            places = [place for place in self._records if place[0] in member.topics]
            before = member.positions
            kept = {} if thrown_back else before
            member.positions = {
                place: kept.get(place, self._commits.get((group, place), 0))
                for number, place in enumerate(places)
                if number % len(members) == rank
            }
            member.lost |= before.keys() - (kept.keys() & member.positions.keys())
            member.paused -= member.lost
            member.news.set()


class MemoryBus:
    """The plug of `Bus` in one process."""

    def __init__(self, log: MemoryLog, link: Link, owner: object = None) -> None:
        self._log = log
        self._link = link
        self._owner = owner

    async def ensure_topics(self, topics: Topics) -> None:
        await self._link.change(lambda: self._log.ensure(topics))

    async def publish(self, records: Sequence[Record]) -> None:
        await self._link.change(lambda: self._log.publish(records))

    @contextlib.asynccontextmanager
    async def subscribe(self, group: str, topics: Sequence[str]) -> AsyncIterator["MemorySubscription"]:
        member = await self._link.change(lambda: self._log.join(group, topics, self._owner))
        try:
            yield MemorySubscription(self._log, self._link, member)
        finally:
            # Who cannot say goodbye is put out for its silence.
            with contextlib.suppress(UnavailableError):
                await self._link.change(lambda: self._log.leave(member))

    async def lag(self, group: str, topics: Sequence[str]) -> int:
        return await self._link.ask(lambda: self._log.lag(group, topics))


class MemorySubscription:
    """A member of a group."""

    def __init__(self, log: MemoryLog, link: Link, member: Member) -> None:
        self._log = log
        self._link = link
        self._member = member
        self._listener: Callable[[Collection[Partition]], None] = lambda _: None

    @property
    def partitions(self) -> Collection[Partition]:
        return set(self._member.positions)

    async def batches(self, max_records: int = 200) -> AsyncIterator[Sequence[Delivery]]:
        while True:
            lost, batch = await self._link.ask(lambda: self._log.fetch(self._member, max_records))
            if lost:
                self._listener(lost)
            elif batch:
                yield batch
            else:
                await self._member.news.wait()

    def pause(self, partitions: Iterable[Partition]) -> None:
        self._member.paused |= set(partitions) & self._member.positions.keys()

    def resume(self, partitions: Iterable[Partition]) -> None:
        self._member.paused -= set(partitions)
        self._member.news.set()

    def on_lost(self, listener: Callable[[Collection[Partition]], None]) -> None:
        self._listener = listener

    async def commit_all(self, positions: Mapping[Partition, int]) -> Collection[Partition]:
        return [one for one, offset in positions.items() if not await self.commit(*one, offset)]

    async def commit(self, topic: str, partition: int, next_offset: int) -> bool:
        return await self._link.change(lambda: self._log.commit(self._member, topic, partition, next_offset))
