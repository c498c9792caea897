"""The bus: a partitioned log that carries messages at least once, in order per key."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol


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


class Subscription(Protocol):
    """A member of a consumer group."""

    def batches(self, max_records: int = 200) -> AsyncIterator[Sequence[Delivery]]:
        """Yield deliveries of one partition at a time, in the order of their offsets."""

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

    async def ensure_topics(self, partitions: Mapping[str, int]) -> None:
        """Make the topics that do not exist yet."""

    async def publish(self, records: Sequence[Record]) -> None:
        """Append all records durably; raise `UnavailableError` when the outcome is unknown."""

    def subscribe(self, group: str, topics: Sequence[str]) -> AbstractAsyncContextManager[Subscription]:
        """Join a group; a group without an offset starts at the oldest record."""

    async def lag(self, group: str, topics: Sequence[str]) -> int:
        """Count the records behind which this group's commits are."""
