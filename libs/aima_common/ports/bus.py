"""The bus: a partitioned log that carries messages at least once, in order per key."""

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

Partition = tuple[str, int]
"""A topic, and the number of one of its partitions."""


@dataclass(frozen=True)
class Record:
    """One message on its way: opaque bytes under a key, with headers."""

    topic: str
    key: str
    value: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Delivery:
    """A record as it was received, with its coordinates in the log."""

    record: Record
    partition: int
    offset: int


@dataclass(frozen=True)
class TopicSpecification:
    """What a topic must be like."""

    name: str
    partitions: int
    retention_seconds: int | None = None
    """How long records are kept; None leaves it to the servers."""
    compacted: bool = False
    """Keep the newest record of each key, instead of all records of a time."""


Topics = Mapping[str, int] | Iterable[TopicSpecification]
"""Specifications, or in short the names of topics with their partitions."""


def specifications(topics: Topics) -> tuple[TopicSpecification, ...]:
    """Spell out what was said in short."""
    if isinstance(topics, Mapping):
        return tuple(TopicSpecification(name, partitions) for name, partitions in topics.items())
    return tuple(topics)


class Subscription(Protocol):
    """A member of a consumer group."""

    @property
    def partitions(self) -> Collection[Partition]:
        """Tell which partitions are this member's now."""

    def batches(self, max_records: int = 200) -> AsyncIterator[Sequence[Delivery]]:
        """Yield deliveries of one partition at a time, in the order of their offsets.

        Who stops asking for long (minutes) loses its partitions to the others; pause what is too much instead.
        """

    def pause(self, partitions: Iterable[Partition]) -> None:
        """Deliver nothing more from these partitions until `resume`; the membership goes on.

        A pause outlasts a rebalance for partitions that stay, and ends for those that move away.
        """

    def resume(self, partitions: Iterable[Partition]) -> None:
        """Go on delivering from these partitions, right behind what was delivered last."""

    def on_lost(self, listener: Callable[[Collection[Partition]], None]) -> None:
        """Call `listener`, on the event loop, when partitions stop being this member's own.

        Some may come back at once; their records are then delivered anew from the commits on, after the call.
        """

    async def commit_all(self, positions: Mapping[Partition, int]) -> Collection[Partition]:
        """Commit several partitions in one go; tell which of them belong to others now."""

    async def commit(self, topic: str, partition: int, next_offset: int) -> bool:
        """Say that everything below `next_offset` is done.

        Returns False when the partition belongs to another member now; that member will see
        the records again, which is harmless.
        """


class Bus(Protocol):
    """Kafka, as far as AIMA uses it.

    - A record that `publish` returned for is durable and is delivered to every group at least once.
    - Records of one key are delivered in the order in which they were published.
    - A group member that leaves without committing leaves its records to the others.
    - Topics exist before they are used (`ensure_topics`); a topic is never made by a typing error.
    """

    async def ensure_topics(self, topics: Topics) -> None:
        """Make the topics that do not exist yet, and check those that do.

        Raises `SettingsError` for a topic with other partitions, or another cleanup, than it must have.
        """

    async def publish(self, records: Sequence[Record]) -> None:
        """Append all records durably; raise `UnavailableError` when the outcome is unknown."""

    def subscribe(self, group: str, topics: Sequence[str]) -> AbstractAsyncContextManager[Subscription]:
        """Join a group; a group without an offset starts at the oldest record."""

    async def lag(self, group: str, topics: Sequence[str]) -> int:
        """Count the records behind which this group's commits are."""
