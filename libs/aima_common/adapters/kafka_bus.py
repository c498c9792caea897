"""The bus on Kafka. The only module that knows aiokafka.

No Kafka transactions: a record is appended at least once, and what it leads to is made harmless by the inbox.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition, errors
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.protocol.admin import SaslHandShakeRequest
from aiokafka.protocol.fetch import FetchRequest
from aiokafka.record.memory_records import MemoryRecords

from aima_common.adapters.kafka_fetched import Fetched
from aima_common.adapters.kafka_records import MAX_RECORD_BYTES, check_size, delivery_of, headers_of
from aima_common.adapters.kafka_settings import MECHANISM, KafkaSettings
from aima_common.adapters.kafka_topics import (
    CHECKED,
    ExistingTopic,
    configuration,
    described,
    have_leaders,
    refuse_different,
    refuse_missing,
)
from aima_common.adapters.kafka_watch import PartitionLostError, Standstill, Unfolding
from aima_common.cancellation import is_cancelled
from aima_common.errors import PermanentError, UnavailableError
from aima_common.ports.bus import Delivery, Partition, Record, Topics, TopicSpecification, specifications

PARTITION_FETCH_BYTES, FETCH_BYTES = 256 << 10, 4 << 20
"""Bounds of what a member holds in memory; one larger record is still delivered."""

POLL_MILLISECONDS, SHORT_POLL_MILLISECONDS = 500, 20
"""How late it is noticed that something may go on which aiokafka has no event for."""

FAREWELL_SECONDS = 10.0
"""How long clients may take to end when the bus is closed."""

NOBODY = TopicPartition("", 0)
"""Asking for this partition waits, and keeps the membership, without taking what has come for others."""

REFUSALS = errors.SaslAuthenticationFailed, errors.UnsupportedSaslMechanismError, errors.IllegalSaslStateError

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
        if self._farewells:
            await asyncio.wait(self._farewells, timeout=FAREWELL_SECONDS)

    async def check_login(self) -> None:
        """Raise `SettingsError` where a broker refuses our login, or our lack of one; brokers that are away do not."""
        for host, port, _ in collect_hosts(self._settings.bootstrap):
            with contextlib.suppress(OSError, TimeoutError, errors.KafkaError):
                try:
                    connection = await create_conn(host, port, **self._settings.connection())
                except REFUSALS as error:
                    raise self._settings.refused(repr(error)) from error
                with contextlib.closing(connection):
                    if self._settings.user is None:
                        # It hangs up on whoever asks for more; how one would log in is told to everybody.
                        answer = await connection.send(SaslHandShakeRequest(MECHANISM))
                        if answer.error_code != errors.IllegalSaslStateError.errno:
                            raise self._settings.lacking(answer.enabled_mechanisms)

    async def cluster_id(self) -> str:
        """Tell the name that the brokers gave their cluster when it was set up."""
        async with _bounded(self._settings.timeout_seconds), self._admin() as admin:
            return str((await admin.describe_cluster())["cluster_id"])

    async def ensure_topics(self, topics: Topics) -> None:
        """Make the topics that do not exist yet, and check those that do.

        Raises `SettingsError` for a topic with other partitions, or another cleanup, than it must have, and for one
        that is missing and may not be made.
        """
        wanted = {topic.name: topic for topic in specifications(topics)}
        async with _bounded(self._settings.timeout_seconds), self._admin() as admin:
            missing = wanted.keys() - await _listed(admin)
            if missing:
                await self._create(admin, [wanted[name] for name in sorted(missing)])
            while not await have_leaders(admin, set(wanted)):  # noqa: ASYNC110 - brokers send no event
                await asyncio.sleep(0.05)
            found = await _existing(admin, set(wanted))
        refuse_different(wanted.values(), found, self._settings.bootstrap)
        self._topics |= wanted.keys()

    async def _create(self, admin: AIOKafkaAdminClient, topics: Sequence[TopicSpecification]) -> None:
        address = self._settings.bootstrap
        if not self._settings.create_topics:
            refuse_missing([topic.name for topic in topics], address, "AIMA was told to make none")
        answer = await admin.create_topics([self._new_topic(topic) for topic in topics])
        for name, code, *detail in answer.topic_errors:
            if code in {errors.TopicAuthorizationFailedError.errno, errors.ClusterAuthorizationFailedError.errno}:
                refuse_missing([name], address, "AIMA's user may not make it")
            if code not in {0, errors.TopicAlreadyExistsError.errno}:
                raise errors.for_code(code)(f"topic {name}: {detail}")

    def _new_topic(self, specification: TopicSpecification) -> NewTopic:
        replication = self._settings.replication
        settings = configuration(specification, replication)
        topic = NewTopic(specification.name, specification.partitions, replication or 1, topic_configs=settings)
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
            check_size(record)
        async with _bounded(self._settings.timeout_seconds):
            producer = await self._ready_producer()
        sent: list[asyncio.Future[Any]] = []
        try:
            async with _bounded(self._settings.timeout_seconds):
                # Handed over one after the other, so that records of a key stay in their order.
                for record in records:
                    key, headers = record.key.encode(), headers_of(record)
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
        self._part_with(_end(producer))

    def _part_with(self, ending: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Let a client end in its own time, which is long while brokers are away."""
        task = asyncio.create_task(_quietly(ending))
        self._farewells.add(task)
        task.add_done_callback(self._farewells.discard)
        return task

    @contextlib.asynccontextmanager
    async def subscribe(
        self, group: str, topics: Sequence[str], *, name: str | None = None, unfolding: Unfolding | None = None
    ) -> AsyncIterator["KafkaSubscription"]:
        """Join a group; leave it, without a commit, at the end.

        Under a `name`, who comes again takes the place of who was there (static membership), without a rebalance.
        With `unfolding`, records are taken one at a time, and somebody knows where each is before it is looked into.
        """
        await self._require(set(topics))
        session, timeout = self._settings.session_seconds, self._settings.timeout_seconds
        consumer = AIOKafkaConsumer(
            **self._settings.client()
            # Joining takes as long as the slowest member, which must not look like a lost connection.
            | {"request_timeout_ms": round(session * 1000) + self._settings.request_milliseconds},
            group_id=group,
            group_instance_id=name,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            session_timeout_ms=round(session * 1000),
            rebalance_timeout_ms=round(session * 1000),
            heartbeat_interval_ms=round(session * 1000 / 9),
            max_partition_fetch_bytes=PARTITION_FETCH_BYTES,
            fetch_max_bytes=FETCH_BYTES,
            # It remembers assignments in its class: members of one process would claim each other's partitions.
            partition_assignment_strategy=(type("OwnAssignor", (StickyPartitionAssignor,), {}),),
        )
        member = KafkaSubscription(consumer, timeout, unfolding)
        consumer.subscribe(list(topics), listener=member)
        try:
            async with _bounded(session + timeout):
                await consumer.start()
            yield member
        finally:
            await asyncio.wait({self._part_with(_leave(consumer))}, timeout=timeout)

    async def behind_batch(self, partition: Partition, offset: int) -> int:
        """Tell the offset behind the record batch that holds this one, without unfolding the batch."""
        topic, number = partition
        place = TopicPartition(topic, number)
        client = AIOKafkaClient(**self._settings.client())
        async with _bounded(self._settings.timeout_seconds):
            try:
                await client.bootstrap()
                await client.set_topics([topic])
                wish = [(topic, [(number, offset, PARTITION_FETCH_BYTES)])]
                leader = client.cluster.leader_for_partition(place)
                answer = await client.send(leader, FetchRequest(POLL_MILLISECONDS, 1, PARTITION_FETCH_BYTES, 0, wish))
            finally:
                await client.close()
        (_, ((_, code, *_, content),)) = answer.topics[0]
        if code:
            raise UnavailableError(f"{topic} {number} at {offset}: {errors.for_code(code)!r}", code="kafka")
        records = MemoryRecords(content)
        return int(records.next_batch().next_offset) if records.has_next() else offset + 1

    async def lag(self, group: str, topics: Sequence[str]) -> int:
        """Count the records behind which this group's commits are."""
        await self._require(set(topics))
        async with _bounded(self._settings.timeout_seconds), self._admin() as admin:
            found = await described(admin, set(topics))
            partitions = [
                TopicPartition(one["topic"], part["partition"]) for one in found for part in one["partitions"]
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

    def __init__(self, consumer: AIOKafkaConsumer, timeout_seconds: float, unfolding: Unfolding | None = None) -> None:
        self._consumer = consumer
        self._timeout_seconds = timeout_seconds
        self._unfolding = unfolding
        self._listener: Callable[[Collection[Partition]], None] = lambda _: None
        self._fetched: Fetched[TopicPartition, Any] = Fetched()
        self._paused: set[TopicPartition] = set()
        self._unfolded: set[TopicPartition] = set()
        """Partitions of which the last record that is known was taken, perhaps; aiokafka has not seen that."""
        self._standstill = Standstill(asyncio.get_running_loop().time())

    @property
    def partitions(self) -> Collection[Partition]:
        """Tell which partitions are this member's now."""
        return {(one.topic, one.partition) for one in self._consumer.assignment()}

    async def batches(self, max_records: int = 200) -> AsyncIterator[Sequence[Delivery]]:
        """Yield deliveries of one partition at a time; raise `UnavailableError` when the member has gone deaf."""
        while True:
            while records := self._fetched.take(self._paused):
                yield [delivery_of(record) for record in records]
            with _translated():
                self._fetched.add(await self._fetch(max_records))
            await self._check_alive()

    async def _fetch(self, max_records: int) -> Mapping[TopicPartition, Sequence[Any]]:
        if self._unfolding is not None:
            return await self._unfold(self._unfolding)
        wait = SHORT_POLL_MILLISECONDS if self._fetched else POLL_MILLISECONDS
        found: Mapping[TopicPartition, Sequence[Any]] = await self._consumer.getmany(
            timeout_ms=wait, max_records=max_records
        )
        return found

    async def _unfold(self, unfolding: Unfolding) -> Mapping[TopicPartition, Sequence[Any]]:
        found: dict[TopicPartition, Sequence[Any]] = {}
        for place in self._consumer.assignment() - self._paused:
            position = await self._consumer.position(place)
            if position == self._consumer.highwater(place) and place not in self._unfolded:
                continue
            start = await unfolding.before((place.topic, place.partition), position)
            if start != position:
                self._consumer.seek(place, start)
                continue
            try:
                taken = await self._consumer.getmany(place, max_records=1)
            except errors.CorruptRecordException:
                raise
            except errors.KafkaError:
                # Trouble with the cluster says nothing about what lies here.
                unfolding.after()
                raise
            unfolding.after()
            # It fetches more only once it was asked in vain: the last record does not show that it is the last.
            (self._unfolded.add if taken else self._unfolded.discard)(place)
            found |= taken
        if not found:
            await self._consumer.getmany(NOBODY, timeout_ms=SHORT_POLL_MILLISECONDS)
        return found

    def pause(self, partitions: Iterable[Partition]) -> None:
        """Deliver nothing more from these partitions until `resume`."""
        places = {TopicPartition(*one) for one in partitions} & self._consumer.assignment()
        self._paused |= places
        self._consumer.pause(*places)

    def resume(self, partitions: Iterable[Partition]) -> None:
        """Go on delivering from these partitions."""
        places = {TopicPartition(*one) for one in partitions}
        self._paused -= places
        self._consumer.resume(*places & self._consumer.assignment())

    def on_lost(self, listener: Callable[[Collection[Partition]], None]) -> None:
        """Call `listener` when partitions stop being this member's own."""
        self._listener = listener

    async def commit(self, topic: str, partition: int, next_offset: int) -> bool:
        """Say that everything below `next_offset` is done; raise `UnavailableError` when nobody answers."""
        return not await self.commit_all({(topic, partition): next_offset})

    async def commit_all(self, positions: Mapping[Partition, int]) -> Collection[Partition]:
        """Commit several partitions in one request; tell which of them belong to others now."""
        try:
            async with _bounded(self._timeout_seconds):
                await self._consumer.commit({TopicPartition(*one): offset for one, offset in positions.items()})
        except PartitionLostError:
            # One that was lost has the whole request refused.
            return [one for one, at in positions.items() if len(positions) == 1 or await self.commit_all({one: at})]
        return []

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        """Forget what was fetched: whoever owns the partitions next fetches from the commits."""
        self._fetched.clear()
        if revoked:
            self._listener({(one.topic, one.partition) for one in revoked})

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        """Pause again what was paused: aiokafka's own memory of it ends with each rebalance."""
        self._standstill.forget()
        self._paused &= set(assigned)
        self._consumer.pause(*self._paused)

    async def _check_alive(self) -> None:
        """Look now and then whether a partition stands still although it grows."""
        now = asyncio.get_running_loop().time()
        if not self._standstill.due(now):
            return
        async with _bounded(self._timeout_seconds):
            asked = self._consumer.assignment() - self._paused
            positions = {one: await self._consumer.position(one) for one in asked}
            still = self._standstill.standing(positions, now)
            ends = await self._consumer.end_offsets(still) if still else {}
        behind = [one for one in still if positions[one] < ends[one]]
        if behind:
            raise UnavailableError(f"records wait in {behind[0]}, but none arrive: join again", code="stalled")


async def _quietly(ending: Coroutine[Any, Any, None]) -> None:
    try:
        with _translated():
            await ending
    except (UnavailableError, PermanentError) as error:
        log.warning("client_did_not_end", reason=str(error))


async def _leave(consumer: AIOKafkaConsumer) -> None:
    try:
        await consumer.stop()
    finally:
        # It stops half-way when a fetch of its own was waiting for its next attempt. The client has no public name.
        await consumer._client.close()  # noqa: SLF001


async def _end(producer: AIOKafkaProducer) -> None:
    """Stop a producer without waiting for what it could not deliver."""
    # Its own stop() would wait for ever for a broker that is away. There is no public way to give up.
    producer._message_accumulator.fail_all(errors.KafkaError("the producer was given up"))  # noqa: SLF001
    try:
        await asyncio.wait_for(producer.stop(), FAREWELL_SECONDS)
    except (TimeoutError, errors.KafkaError) as error:
        log.warning("producer_did_not_stop", reason=repr(error))
        await producer.client.close()


async def _existing(admin: AIOKafkaAdminClient, topics: set[str]) -> dict[str, ExistingTopic]:
    resources = [ConfigResource(ConfigResourceType.TOPIC, name, dict.fromkeys(CHECKED, "")) for name in sorted(topics)]
    answers = await admin.describe_configs(resources)
    told = {name: entries for one in answers for _, _, _, name, entries in one.resources}
    settings = {topic: {name: value for name, value, *_ in entries if value} for topic, entries in told.items()}
    return {
        one["topic"]: ExistingTopic(len(one["partitions"]), settings[one["topic"]])
        for one in await described(admin, topics)
    }


async def _listed(admin: AIOKafkaAdminClient) -> set[str]:
    while True:
        with contextlib.suppress(errors.NodeNotReadyError):  # a broker that was away knows of no broker for a moment
            return set(await admin.list_topics())
        await asyncio.sleep(0.1)


async def _committed(
    admin: AIOKafkaAdminClient, group: str, partitions: Sequence[TopicPartition]
) -> Mapping[TopicPartition, int]:
    """Read a group's commits, -1 where there is none; wait while its coordinator is being found."""
    while True:
        try:
            found = await admin.list_consumer_group_offsets(group, partitions=list(partitions))
            return {one: found[one].offset for one in partitions}
        except errors.KafkaError as error:
            if not error.retriable:
                raise
        except KeyError:
            # An answer without partitions comes from a broker that is not the coordinator any more.
            log.debug("coordinator_moved", group=group)
        await asyncio.sleep(0.1)


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
    except (errors.CommitFailedError, errors.IllegalStateError) as error:
        raise PartitionLostError(f"the partition was lost: {error}", code="partition_lost") from error
    except errors.MessageSizeTooLargeError as error:
        raise PermanentError(f"Kafka refused a record for its size: {error}", code="message_too_large") from error
    except errors.KafkaError as error:
        raise UnavailableError(f"Kafka did not take part: {error!r}", code="kafka") from error
    except asyncio.CancelledError as error:
        if is_cancelled():
            raise
        # aiokafka cancels its own tasks and lets those who wait for them hear of it as if they had been meant.
        raise UnavailableError("Kafka's client gave up what it was asked", code="kafka") from error
