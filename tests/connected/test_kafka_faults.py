"""The bus on Kafka when Kafka is away, hangs, refuses, or is spoken to by strangers."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import NodeNotReadyError
from aiokafka.protocol.fetch import FetchRequest

from aima_common.adapters import kafka_watch
from aima_common.adapters.kafka_bus import KafkaBus
from aima_common.adapters.kafka_records import MAX_RECORD_BYTES
from aima_common.adapters.kafka_settings import KafkaSettings
from aima_common.contracts.codec import decode
from aima_common.errors import MalformedMessageError, PermanentError, SettingsError, UnavailableError
from aima_common.ports.bus import Delivery, Record, TopicSpecification
from aima_servers import Served
from tests.contract.bus_promise import acknowledge, listening, receive, records, until, values
from tests.servers import standing_still

NOBODY = "127.0.0.1:9"


@pytest.fixture
async def bus(kafka_address: str) -> AsyncIterator[KafkaBus]:
    async with KafkaBus.open(KafkaSettings(kafka_address, timeout_seconds=2.0, session_seconds=6.0)) as plug:
        yield plug


@pytest.fixture
async def topic(kafka_address: str) -> str:
    name = f"topic-{secrets.token_hex(6)}"
    # A broker that stood still in the test before takes a while to be one again.
    async with KafkaBus.open(KafkaSettings(kafka_address)) as patient:
        await patient.ensure_topics({name: 2})
    return name


async def test_while_kafka_hangs_the_outcome_is_unknown_and_afterwards_all_goes_on(
    bus: KafkaBus, topic: str, kafka_server: Served
) -> None:
    await bus.publish([Record(topic, "k", b"before")])
    with standing_still(kafka_server):
        for _ in range(2):
            with pytest.raises(UnavailableError):
                await bus.publish([Record(topic, "k", b"during")])
    await bus.publish([Record(topic, "k", b"during"), Record(topic, "k", b"after")])
    async with bus.subscribe(topic, [topic]) as member:
        found: list[str] = []
        while "after" not in found:
            found += values(await receive(member, 1))
    assert found[0] == "before"
    assert set(found[1:-1]) == {"during"}
    assert found[-1] == "after"


async def test_a_member_outlasts_a_pause_of_kafka(bus: KafkaBus, topic: str, kafka_server: Served) -> None:
    heard: list[Delivery] = []
    async with bus.subscribe(topic, [topic]) as member, listening(member, heard):
        await bus.publish([Record(topic, "k", b"1")])
        await until(lambda: len(heard) == 1)
        with standing_still(kafka_server), pytest.raises(UnavailableError):
            await member.commit(topic, heard[0].partition, heard[0].offset + 1)
        assert await member.commit(topic, heard[0].partition, heard[0].offset + 1)
        await bus.publish([Record(topic, "k", b"2")])
        await until(lambda: values(heard)[-1] == "2")
        await acknowledge(member, heard)
    assert await bus.lag(topic, [topic]) == 0


async def test_where_nobody_listens_everything_says_so() -> None:
    async with KafkaBus.open(KafkaSettings(NOBODY, timeout_seconds=2.0, session_seconds=6.0)) as bus:
        with pytest.raises(UnavailableError):
            await bus.ensure_topics({"topic": 1})
        with pytest.raises(UnavailableError):
            await bus.publish([Record("topic", "k", b"")])
        with pytest.raises(UnavailableError):
            await bus.lag("group", ["topic"])
        with pytest.raises(UnavailableError):
            async with bus.subscribe("group", ["topic"]):
                pytest.fail("joined a group of nobody")


async def test_a_record_that_is_too_large_is_refused_before_anything_is_sent(bus: KafkaBus, topic: str) -> None:
    with pytest.raises(PermanentError) as refused:
        await bus.publish([Record(topic, "k", b"small"), Record(topic, "k", b"x" * MAX_RECORD_BYTES)])
    assert refused.value.code == "message_too_large"
    assert refused.value.remedy
    assert await bus.lag(topic, [topic]) == 0
    await bus.publish([Record(topic, "k", b"x" * (MAX_RECORD_BYTES - 600))])
    assert await bus.lag(topic, [topic]) == 1


async def test_topics_are_made_as_the_settings_say(kafka_address: str) -> None:
    name = f"topic-{secrets.token_hex(6)}"
    async with KafkaBus.open(KafkaSettings(kafka_address, replication=1)) as bus:
        await bus.ensure_topics([TopicSpecification(name, 3, retention_seconds=86_400, compacted=True)])
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_address)
    await admin.start()
    try:
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
        described = await admin.describe_topics()
    finally:
        await admin.close()
    found = {entry[0]: entry[1] for entry in answer.resources[0][4]}
    assert found["retention.ms"] == "86400000"
    assert found["cleanup.policy"] == "compact,delete"
    assert found["max.message.bytes"] == str(MAX_RECORD_BYTES)
    assert found["unclean.leader.election.enable"] == "false"
    (topic,) = [one for one in described if one["topic"] == name]
    assert len(topic["partitions"]) == 3


async def test_a_topic_that_the_brokers_cannot_keep_safe_is_not_made(kafka_address: str, bus: KafkaBus) -> None:
    name = f"topic-{secrets.token_hex(6)}"
    async with KafkaBus.open(KafkaSettings(kafka_address, replication=3, timeout_seconds=5.0)) as careful:
        with pytest.raises(UnavailableError):
            await careful.ensure_topics({name: 1})
    with pytest.raises(PermanentError):
        await bus.publish([Record(name, "k", b"")])


async def test_what_strangers_write_is_handed_on_and_refused_by_the_reader(
    bus: KafkaBus, topic: str, kafka_address: str
) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka_address)
    await producer.start()
    try:
        await producer.send_and_wait(topic, None, b"\xff\xfe", partition=0, headers=[("ce_type", b"\xff"), ("x", b"")])
        await producer.send_and_wait(topic, b"\x00", None, partition=0)
    finally:
        await producer.stop()
    async with bus.subscribe(topic, [topic]) as member:
        first, second = await receive(member, 2)
    assert (first.record.value, second.record.value) == (b"", b"\x00")
    assert (first.record.headers, second.record.key) == ({"ce_type": "�", "x": ""}, "")
    for delivery in (first, second):
        with pytest.raises(MalformedMessageError):
            decode(delivery.record)


async def test_a_member_that_has_gone_deaf_says_so(bus: KafkaBus, topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_watch, "STALL_SECONDS", 0.5)
    heard: list[Delivery] = []
    async with bus.subscribe(topic, [topic]) as member:
        async with listening(member, heard):
            await bus.publish(records(topic, 5))
            await until(lambda: len(heard) == 5)
            await asyncio.sleep(2)  # nothing to hear is not deafness
        member._consumer.pause(*member._consumer.assignment())
        await bus.publish(records(topic, 1))
        with pytest.raises(UnavailableError) as deaf:
            await receive(member, 1)
        assert deaf.value.code == "stalled"


async def test_one_deaf_partition_is_noticed_while_another_goes_on(
    bus: KafkaBus, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_watch, "STALL_SECONDS", 1.0)
    heard: list[Delivery] = []

    async def keep_talking() -> None:
        while True:
            await bus.publish(records(topic, 10))
            await asyncio.sleep(0.1)

    talking = asyncio.create_task(keep_talking())
    try:
        async with bus.subscribe(topic, [topic]) as member:
            async with listening(member, heard):
                await asyncio.sleep(3)
                assert {delivery.partition for delivery in heard} == {0, 1}
            member.pause([(topic, 0)])
            async with listening(member, heard):
                await asyncio.sleep(3)  # a pause is not deafness
            member.resume([(topic, 0)])
            (deaf,) = [one for one in member._consumer.assignment() if one.partition == 0]
            member._consumer.pause(deaf)
            with pytest.raises(UnavailableError) as refused:
                await receive(member, 100_000)
            assert refused.value.code == "stalled"
    finally:
        talking.cancel()


async def test_a_consumer_goes_on_after_kafka_hung_longer_than_its_members_may_be_silent(
    kafka_address: str, kafka_server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_watch, "STALL_SECONDS", 1.0)
    topic = f"topic-{secrets.token_hex(6)}"
    heard: list[str] = []
    joined = 0
    async with KafkaBus.open(KafkaSettings(kafka_address, timeout_seconds=2.0, session_seconds=6.0)) as bus:
        await bus.ensure_topics({topic: 2})

        async def life() -> None:
            nonlocal joined
            while True:
                try:
                    async with bus.subscribe(topic, [topic]) as member:
                        joined += 1
                        async for batch in member.batches():
                            heard.extend(values(batch))
                            await member.commit(topic, batch[0].partition, batch[-1].offset + 1)
                except UnavailableError:
                    await asyncio.sleep(0.1)

        living = asyncio.create_task(life())
        try:
            await bus.publish([Record(topic, "k", b"before")])
            await until(lambda: "before" in heard)
            with standing_still(kafka_server):
                await asyncio.sleep(8)
            await bus.publish([Record(topic, "k", b"after")])
            await until(lambda: "after" in heard)
            assert joined > 1, "positive control: the watchdog let nobody sit there"
        finally:
            living.cancel()


@pytest.mark.parametrize("broken", [False, True], ids=["whole", "broken"])
async def test_who_leaves_while_its_fetches_fail_is_not_cancelled_by_its_client(
    bus: KafkaBus, topic: str, monkeypatch: pytest.MonkeyPatch, *, broken: bool
) -> None:
    failed = 0
    send = AIOKafkaClient.send

    async def sometimes(client: AIOKafkaClient, node: int, request: object, **more: Any) -> Any:
        nonlocal failed
        if broken and isinstance(request, FetchRequest):
            failed += 1
            raise NodeNotReadyError
        return await send(client, node, request, **more)

    async def visit() -> None:
        async with bus.subscribe(topic, [topic]) as member:
            await until(lambda: len(member.partitions) == 2)
            await receive(member, 1) if not broken else await until(lambda: failed > 1)

    monkeypatch.setattr(AIOKafkaClient, "send", sometimes)
    await bus.publish([Record(topic, "k", b"one")])
    before = asyncio.all_tasks()
    visiting = asyncio.create_task(visit())
    await asyncio.wait({visiting})
    assert not visiting.cancelled()
    visiting.result()
    assert bool(failed) is broken, "positive control"
    await until(lambda: not asyncio.all_tasks() - before)


async def test_a_topic_that_is_not_what_it_must_be_names_the_setting_and_the_remedy(
    bus: KafkaBus, topic: str, kafka_address: str
) -> None:
    with pytest.raises(SettingsError) as narrow:
        await bus.ensure_topics({topic: 12})
    for words in (topic, "2 partitions", "must have 12", "AIMA_KAFKA", kafka_address, "--partitions 12"):
        assert words in str(narrow.value)
    with pytest.raises(SettingsError) as wide:
        await bus.ensure_topics({topic: 1})
    assert "delete the topic" in str(wide.value)
    with pytest.raises(SettingsError) as uncompacted:
        await bus.ensure_topics([TopicSpecification(topic, 2, compacted=True)])
    assert "cleanup.policy=[compact]" in str(uncompacted.value)
    await bus.ensure_topics({topic: 2})


@pytest.mark.parametrize(
    ("setting", "value", "state", "wanted"),
    [
        ("retention.ms", "3600000", "forgets its records after 1 hours", "retention.ms=7200000"),
        ("max.message.bytes", "1000", "takes records of 1000 bytes", f"max.message.bytes={MAX_RECORD_BYTES}"),
        ("unclean.leader.election.enable", "true", "misses confirmed records", "unclean.leader.election.enable=false"),
        ("retention.ms", "7200000", "", ""),
        ("retention.ms", "-1", "", ""),
        ("max.message.bytes", "9000000", "", ""),
    ],
)
async def test_a_topic_that_may_lose_what_it_was_given_is_refused_and_one_that_keeps_more_is_not(
    bus: KafkaBus, topic: str, kafka_address: str, setting: str, value: str, state: str, wanted: str
) -> None:
    fit = {"max.message.bytes": str(MAX_RECORD_BYTES), "retention.ms": "7200000"}
    made = NewTopic(f"{topic}-made", 2, 1, topic_configs={**fit, setting: value})
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_address)
    await admin.start()
    try:
        await admin.create_topics([made])
    finally:
        await admin.close()
    kept = [TopicSpecification(made.name, 2, retention_seconds=7200)]
    if not wanted:
        await bus.ensure_topics(kept)
        return
    with pytest.raises(SettingsError) as refused:
        await bus.ensure_topics(kept)
    for words in (made.name, state, wanted, kafka_address):
        assert words in str(refused.value)


async def test_where_topics_may_not_be_made_a_missing_one_is_missed_by_name(kafka_address: str, topic: str) -> None:
    async with KafkaBus.open(KafkaSettings(kafka_address, create_topics=False)) as modest:
        await modest.ensure_topics({topic: 2})
        with pytest.raises(SettingsError) as refused:
            await modest.ensure_topics({topic: 2, f"{topic}-missing": 2})
    assert f"there is no topic {topic}-missing" in str(refused.value)
    assert "AIMA_KAFKA" in str(refused.value)


async def test_a_cluster_tells_its_name(bus: KafkaBus, kafka_address: str) -> None:
    async with KafkaBus.open(kafka_address) as other:
        assert await other.cluster_id() == await bus.cluster_id() != ""


async def test_what_was_fetched_from_a_lost_partition_is_not_delivered_any_more(bus: KafkaBus, topic: str) -> None:
    wide = f"{topic}-wide"
    await bus.ensure_topics({wide: 4})
    await bus.publish(records(wide, 80))
    taken: list[Delivery] = []
    async with bus.subscribe(topic, [wide]) as loses:
        await until(lambda: len(loses._consumer._fetcher._records) == 4)
        await receive(loses, 1)
        assert len(loses._fetched) == 3, "positive control: three partitions wait to be delivered"
        async with bus.subscribe(topic, [wide]) as gains, listening(gains, taken):
            await until(lambda: len({delivery.partition for delivery in taken}) == 2)
            rest = await receive(loses, 80 - len(taken))
            assert {delivery.partition for delivery in rest}.isdisjoint({delivery.partition for delivery in taken})
