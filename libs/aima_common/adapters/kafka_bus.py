"""The bus on Kafka. The only module that knows aiokafka.

No Kafka transactions: a record is appended at least once, and what it leads to is made harmless by the inbox.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, Self

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaError,
    MessageSizeTooLargeError,
    TopicAlreadyExistsError,
    for_code,
)

from aima_common.adapters.kafka_settings import KafkaSettings
from aima_common.errors import PermanentError, UnavailableError
from aima_common.ports.bus import Delivery, Record

MAX_RECORD_BYTES = (1 << 20) + (64 << 10)
"""The largest message that is ever written, with its key and headers."""

PARTITION_FETCH_BYTES = 256 << 10
FETCH_BYTES = 4 << 20
"""Bounds of what a member holds in memory; one larger record is still delivered."""

POLL_MILLISECONDS = 500
STALL_SECONDS = 60.0
"""A member that stands still this long while its partitions grow has silently stopped (aiokafka issues 625, 1037)."""

log = structlog.get_logger()


class KafkaBus:
    """The Kafka plug of `Bus`."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()
        self._topics: set[str] = set()
        self._farewells: set[asyncio.Task[None]] = set()

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, bootstrap: str | KafkaSettings) -> AsyncIterator[Self]:
        """Open the bus; brokers are met when they are first needed, and again after they were away."""
        bus = cls(bootstrap if isinstance(bootstrap, KafkaSettings) else KafkaSettings(bootstrap))
        try:
            yield bus
        finally:
            await asyncio.shield(bus._close())

    async def _close(self) -> None:
        if self._producer:
            self._abandon(self._producer)
        await asyncio.gather(*self._farewells)

    async def ensure_topics(self, partitions: Mapping[str, int]) -> None:
        """Make the topics that do not exist yet; existing ones keep their partitions and settings."""
        async with _bounded(self._settings.timeout_seconds), self._admin() as admin:
            missing = [name for name in partitions if name not in set(await admin.list_topics())]
            if missing:
                answer = await admin.create_topics([self._new_topic(name, partitions[name]) for name in missing])
                for name, code, *detail in answer.topic_errors:
                    if code not in {0, TopicAlreadyExistsError.errno}:
                        raise for_code(code)(f"topic {name}: {detail}")
            while not await _have_leaders(admin, set(partitions)):  # noqa: ASYNC110 - brokers send no event
                await asyncio.sleep(0.05)
        self._topics |= partitions.keys()

    def _new_topic(self, name: str, partitions: int) -> NewTopic:
        replication = self._settings.replication
        settings = {"max.message.bytes": str(MAX_RECORD_BYTES), "unclean.leader.election.enable": "false"}
        retention = (self._settings.retention_seconds or {}).get(name)
        if retention is not None:
            settings["retention.ms"] = str(retention * 1000)
        if replication is not None and replication >= 3:
            settings["min.insync.replicas"] = "2"
        topic = NewTopic(name, partitions, replication or 1, topic_configs=settings)
        if replication is None:
            # The protocol's word for "as the brokers are set"; the class itself refuses it.
            topic.replication_factor = -1
        return topic

    async def publish(self, records: Sequence[Record]) -> None:
        """Append all records durably, those of one key in their order.

        Raises `PermanentError` for an unknown topic or a record that is too large; after any other failure
        some records may have been appended.
        """
        if not records:
            return
        await self._require({record.topic for record in records})
        for record in records:
            _check_size(record)
        async with _bounded(self._settings.timeout_seconds):
            producer = await self._ready_producer()
        sent: list[asyncio.Future[Any]] = []
        try:
            async with _bounded(self._settings.timeout_seconds):
                # Handed over one after the other, so that records of a key stay in their order.
                for record in records:
                    key, headers = record.key.encode(), _headers(record)
                    sent.append(await producer.send(record.topic, record.value, key, headers=headers))
                await asyncio.gather(*sent)
        except UnavailableError:
            # A producer may stay broken for ever after a failure (aiokafka issue 1017); the caller says it again.
            for future in sent:
                future.cancel()
            self._abandon(producer)
            raise

    async def _ready_producer(self) -> AIOKafkaProducer:
        async with self._starting:
            if self._producer is None:
                producer = AIOKafkaProducer(
                    **self._settings.client(),
                    acks="all",
                    enable_idempotence=True,
                    compression_type="lz4",
                    max_request_size=MAX_RECORD_BYTES,
                )
                try:
                    await producer.start()
                except BaseException:
                    self._abandon(producer)
                    raise
                self._producer = producer
            return self._producer

    def _abandon(self, producer: AIOKafkaProducer) -> None:
        if self._producer is producer:
            self._producer = None
        task = asyncio.create_task(_end(producer))
        self._farewells.add(task)
        task.add_done_callback(self._farewells.discard)

    @contextlib.asynccontextmanager
    async def subscribe(self, group: str, topics: Sequence[str]) -> AsyncIterator["KafkaSubscription"]:
        """Join a group; leave it, without a commit, at the end."""
        await self._require(set(topics))
        session, timeout = self._settings.session_seconds, self._settings.timeout_seconds
        consumer = AIOKafkaConsumer(
            **self._settings.client()
            # Joining takes as long as the slowest member, which must not look like a lost connection.
            | {"request_timeout_ms": round((session + timeout) * 1000)},
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            session_timeout_ms=round(session * 1000),
            rebalance_timeout_ms=round(session * 1000),
            heartbeat_interval_ms=round(session * 1000 / 9),
            max_partition_fetch_bytes=PARTITION_FETCH_BYTES,
            fetch_max_bytes=FETCH_BYTES,
            partition_assignment_strategy=(StickyPartitionAssignor,),
        )
        member = KafkaSubscription(consumer, timeout)
        consumer.subscribe(list(topics), listener=member)
        try:
            async with _bounded(session + timeout):
                await consumer.start()
            yield member
        finally:
            with contextlib.suppress(TimeoutError, KafkaError):
                await asyncio.wait_for(asyncio.shield(consumer.stop()), timeout)

    async def lag(self, group: str, topics: Sequence[str]) -> int:
        """Count the records behind which this group's commits are."""
        await self._require(set(topics))
        async with _bounded(self._settings.timeout_seconds), self._admin() as admin:
            partitions = [
                TopicPartition(one["topic"], part["partition"])
                for one in await _described(admin, set(topics))
                for part in one["partitions"]
            ]
            committed = await _committed(admin, group, partitions)
            consumer = AIOKafkaConsumer(**self._settings.client())
            try:
                await consumer.start()
                oldest = await consumer.beginning_offsets(partitions)
                newest = await consumer.end_offsets(partitions)
            finally:
                await consumer.stop()
        return sum(newest[one] - max(oldest[one], committed[one]) for one in partitions)

    async def _require(self, topics: set[str]) -> None:
        """Refuse topics that do not exist, before a client that asks for them makes the broker create them."""
        if topics <= self._topics:
            return
        async with _bounded(self._settings.timeout_seconds), self._admin() as admin:
            self._topics = set(await admin.list_topics())
        if unknown := sorted(topics - self._topics):
            raise PermanentError(f"there is no topic {unknown[0]!r}", code="unknown_topic")

    @contextlib.asynccontextmanager
    async def _admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        admin = AIOKafkaAdminClient(**self._settings.client())
        try:
            await admin.start()
            yield admin
        finally:
            await admin.close()


class KafkaSubscription(ConsumerRebalanceListener):  # type: ignore[misc]
    """A member of a group."""

    def __init__(self, consumer: AIOKafkaConsumer, timeout_seconds: float) -> None:
        self._consumer = consumer
        self._timeout_seconds = timeout_seconds
        self._fetched: deque[tuple[TopicPartition, Sequence[Any]]] = deque()
        self._moved_at = asyncio.get_running_loop().time()

    async def batches(self, max_records: int = 200) -> AsyncIterator[Sequence[Delivery]]:
        """Yield deliveries of one partition at a time; raise `UnavailableError` when the member has gone deaf."""
        while True:
            if not self._fetched:
                with _translated():
                    fetched = await self._consumer.getmany(timeout_ms=POLL_MILLISECONDS, max_records=max_records)
                self._fetched.extend(fetched.items())
            if self._fetched:
                _, records = self._fetched.popleft()
                self._moved_at = asyncio.get_running_loop().time()
                yield [_delivery(record) for record in records]
            else:
                await self._check_alive()

    async def commit(self, topic: str, partition: int, next_offset: int) -> bool:
        """Say that everything below `next_offset` is done; raise `UnavailableError` when nobody answers."""
        try:
            async with _bounded(self._timeout_seconds):
                await self._consumer.commit({TopicPartition(topic, partition): next_offset})
        except PartitionLostError:
            return False
        return True

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """Forget what was fetched: whoever owns the partitions next fetches from the commits."""
        self._fetched.clear()

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Take note of new partitions."""
        self._moved_at = asyncio.get_running_loop().time()

    async def _check_alive(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._moved_at < STALL_SECONDS:
            return
        self._moved_at = now
        partitions = list(self._consumer.assignment())
        async with _bounded(self._timeout_seconds):
            ends = await self._consumer.end_offsets(partitions) if partitions else {}
            behind = [one for one in partitions if await self._consumer.position(one) < ends[one]]
        if behind:
            raise UnavailableError(f"records wait in {behind[0]}, but none arrive: join again", code="stalled")


class PartitionLostError(UnavailableError):
    """Another member of the group owns the partition now."""


async def _end(producer: AIOKafkaProducer) -> None:
    """Stop a producer without waiting for what it could not deliver."""
    # Its own stop() would wait for ever for a broker that is away. There is no public way to give up.
    producer._message_accumulator.fail_all(KafkaError("the producer was given up"))  # noqa: SLF001
    try:
        await asyncio.wait_for(producer.stop(), 10)
    except (TimeoutError, KafkaError) as error:
        log.warning("producer_did_not_stop", reason=repr(error))
        await producer.client.close()


async def _described(admin: AIOKafkaAdminClient, topics: set[str]) -> list[Any]:
    """Describe topics that exist. All are asked for: asking for one by name would let the broker create it."""
    return [one for one in await admin.describe_topics() if one["topic"] in topics]


async def _have_leaders(admin: AIOKafkaAdminClient, topics: set[str]) -> bool:
    described = await _described(admin, topics)
    return len(described) == len(topics) and all(part["leader"] >= 0 for one in described for part in one["partitions"])


async def _committed(
    admin: AIOKafkaAdminClient, group: str, partitions: Sequence[TopicPartition]
) -> Mapping[TopicPartition, int]:
    """Read a group's commits, -1 where there is none; wait while its coordinator is being found."""
    while True:
        try:
            found = await admin.list_consumer_group_offsets(group, partitions=list(partitions))
            return {one: found[one].offset for one in partitions}
        except KafkaError as error:
            if not error.retriable:
                raise
        except KeyError:
            # An answer without partitions comes from a broker that is not the coordinator any more.
            log.debug("coordinator_moved", group=group)
        await asyncio.sleep(0.1)


def _headers(record: Record) -> list[tuple[str, bytes]]:
    return [(name, value.encode()) for name, value in record.headers.items()]


def _check_size(record: Record) -> None:
    headers = sum(len(name) + len(value) for name, value in _headers(record))
    size = len(record.value) + len(record.key.encode()) + headers + 512
    if size > MAX_RECORD_BYTES:
        said = f"a record of {size} bytes for {record.topic} is larger than {MAX_RECORD_BYTES}"
        raise PermanentError(said, code="message_too_large", remedy="Put the content into an object and refer to it.")


def _delivery(found: Any) -> Delivery:
    # Foreign producers may leave key and value out and write headers that are not text.
    key = (found.key or b"").decode(errors="replace")
    headers = {name: (value or b"").decode(errors="replace") for name, value in found.headers}
    return Delivery(Record(found.topic, key, found.value or b"", headers), found.partition, found.offset)


@contextlib.asynccontextmanager
async def _bounded(seconds: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            with _translated():
                yield
    except TimeoutError as error:
        raise UnavailableError(f"Kafka did not answer within {seconds:.0f} s", code="kafka") from error


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (CommitFailedError, IllegalStateError) as error:
        raise PartitionLostError(f"the partition was lost: {error}", code="partition_lost") from error
    except MessageSizeTooLargeError as error:
        raise PermanentError(f"Kafka refused a record for its size: {error}", code="message_too_large") from error
    except KafkaError as error:
        raise UnavailableError(f"Kafka did not take part: {error!r}", code="kafka") from error
