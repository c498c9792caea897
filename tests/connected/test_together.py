"""MongoDB and Kafka together under the runtime: what is told in one is heard through the other, once."""

import asyncio
import contextlib
import datetime
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest

from aima_common import ids
from aima_common.adapters.kafka_bus import KafkaBus
from aima_common.adapters.kafka_settings import KafkaSettings
from aima_common.adapters.mongo_documents import MongoDocuments
from aima_common.adapters.system_clock import SystemClock
from aima_common.collections import BY_NAME
from aima_common.contracts.codec import encode
from aima_common.contracts.envelope import Envelope
from aima_common.contracts.messages import PartErased
from aima_common.contracts.topics import BY_MESSAGE
from aima_common.ports import Ports
from aima_common.ports.bus import Record
from aima_common.ports.documents import Change, Insert
from aima_common.runtime.consumer import Consumer
from aima_common.runtime.relay import relay_outbox
from aima_common.wiring import topic_specifications
from aima_servers import Served
from tests.servers import standing_still

TOPIC = BY_MESSAGE[PartErased].name
COUNT = 30


@pytest.fixture
async def ports(kafka_address: str, mongod_uri: str) -> AsyncIterator[Ports]:
    collections = [BY_NAME[name] for name in ("media", "dead_letters", "attempts")]
    settings = KafkaSettings(kafka_address, timeout_seconds=2.0, session_seconds=6.0)
    async with (
        KafkaBus.open(settings) as bus,
        MongoDocuments.open(
            mongod_uri, f"t{secrets.token_hex(8)}", collections=collections, timeout_seconds=2.0
        ) as documents,
    ):
        # As every process makes them: others use this broker, too.
        await bus.ensure_topics([topic for topic in topic_specifications() if topic.name.startswith(TOPIC)])
        nothing = cast("Any", None)
        yield Ports(bus, documents, nothing, nothing, nothing, SystemClock())


@contextlib.asynccontextmanager
async def in_background(*loops: Any) -> AsyncIterator[None]:
    """Run loops for as long as the block does; one that ends by itself fails the test."""
    tasks = [asyncio.create_task(loop) for loop in loops]
    try:
        yield
        assert not any(task.done() for task in tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def told(medium: str) -> Record:
    now = datetime.datetime.now(datetime.UTC)
    body = PartErased(medium=medium, owner="storage")
    identity = ids.message_id(medium, 1, "PartErased")
    return encode(TOPIC, Envelope(id=identity, type="PartErased", tenant="acme", key=medium, time=now, body=body))


async def test_what_is_told_in_the_store_is_heard_through_the_bus_once(
    ports: Ports, kafka_server: Served, mongod_server: Served
) -> None:
    media = [f"{secrets.token_hex(4)}-{number}" for number in range(COUNT)]
    calls: list[str] = []

    async def erased(envelope: Envelope[PartErased]) -> None:
        calls.append(envelope.body.medium)
        await ports.documents.transition(
            "media", envelope.body.medium, change=Change(add={"heard": 1}), inbox=envelope.id
        )

    async def all_heard() -> bool:
        found = await ports.documents.find("media", {"id": media})
        return len(found) == COUNT and all(one.body.get("heard") == 1 for one in found)

    group = f"group-{secrets.token_hex(4)}"
    consumer = Consumer(ports, group, {PartErased: erased})
    async with in_background(relay_outbox(ports), consumer.run()):
        for medium in media[: COUNT // 2]:
            await ports.documents.insert("media", Insert(medium, "acme", "stored", {}), outbox=[told(medium)])
        await until(lambda: len(set(calls)) == COUNT // 2)
        with standing_still(kafka_server):
            await asyncio.sleep(5)
        with standing_still(mongod_server):
            await ports.bus.publish([told(medium) for medium in media[:3]])
            await ports.bus.publish([Record(TOPIC, "poison", b"poison", {"ce_type": "nonsense"})])
            await asyncio.sleep(5)
        for medium in media[COUNT // 2 :]:
            await insisting(ports, Insert(medium, "acme", "stored", {}), told(medium))
        await ports.bus.publish([told(medium) for medium in media])
        async with asyncio.timeout(60):
            while not (await all_heard() and await ports.bus.lag(group, [TOPIC]) == 0):
                await asyncio.sleep(0.1)
        assert await ports.documents.count("dead_letters", {"service": group}) == 1
        while await ports.documents.outbox():
            await asyncio.sleep(0.1)
    assert len(calls) > COUNT, "positive control: some messages came more than once"
    assert await all_heard()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.05)


async def insisting(ports: Ports, document: Insert, record: Record) -> None:
    """Insert, and say it again while the outcome is unknown."""
    while True:
        try:
            await ports.documents.insert("media", document, outbox=[record])
            return
        except Exception:  # noqa: BLE001 - the store was standing still a moment ago
            await asyncio.sleep(0.1)
