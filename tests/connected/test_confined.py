"""A topic that strangers write to: bombs end a small child, and everything else goes on."""

import asyncio
import contextlib
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaProducer

from aima_common.adapters.embedded.documents import SqliteDocuments
from aima_common.adapters.kafka_bus import KafkaBus
from aima_common.adapters.kafka_confined import confined
from aima_common.adapters.kafka_settings import KafkaSettings
from aima_common.adapters.system_clock import SystemClock
from aima_common.ports import Ports
from aima_common.ports.bus import Delivery, Record
from aima_common.runtime.confined import ConfinedConsumer, Confinement
from aima_common.runtime.journal import DEATHS

MIB = 1 << 20
SESSION_SECONDS = 6.0


def settings(address: str) -> KafkaSettings:
    return KafkaSettings(address, timeout_seconds=5.0, session_seconds=SESSION_SECONDS)


@pytest.fixture
async def ports(kafka_address: str, tmp_path: Path) -> AsyncIterator[Ports]:
    async with (
        KafkaBus.open(settings(kafka_address)) as bus,
        SqliteDocuments.open(tmp_path / "documents.db") as documents,
    ):
        nothing = cast("Any", None)
        yield Ports(bus, documents, nothing, nothing, nothing, SystemClock())


@pytest.fixture
async def topic(ports: Ports) -> str:
    name = f"ingress-{secrets.token_hex(6)}"
    await ports.bus.ensure_topics({name: 2})
    return name


def consumer(ports: Ports, topic: str, address: str, **limits: int) -> ConfinedConsumer:
    limited = Confinement(**limits)
    return ConfinedConsumer(ports, topic, topic, confined(settings(address)), tenant="acme", limits=limited)


async def receive(consumer: ConfinedConsumer, count: int) -> list[Delivery]:
    """Receive so many deliveries and say that they are done."""
    found: list[Delivery] = []
    async with asyncio.timeout(100):
        async for delivery in consumer:
            found.append(delivery)
            await consumer.done(delivery)
            if len(found) == count:
                break
    return found


def values(deliveries: Sequence[Delivery]) -> list[bytes]:
    return [delivery.record.value for delivery in deliveries]


async def committed(ports: Ports, topic: str, lag: int = 0) -> None:
    async with asyncio.timeout(30):
        while await ports.bus.lag(topic, [topic]) != lag:
            await asyncio.sleep(0.05)


async def letters(ports: Ports) -> list[Any]:
    return [letter.body for letter in await ports.documents.find("dead_letters", {}, order=["id"])]


@contextlib.asynccontextmanager
async def stranger(address: str, compression: str = "gzip") -> AsyncIterator[AIOKafkaProducer]:
    """Open a producer that does as it likes."""
    producer = AIOKafkaProducer(
        bootstrap_servers=address, compression_type=compression, max_batch_size=300 * MIB, max_request_size=300 * MIB
    )
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def throw_bomb(address: str, topic: str, partition: int, compression: str = "gzip") -> None:
    """Write one batch of a few hundred kilobytes at most that unfolds to 200 MiB."""
    async with stranger(address, compression) as producer:
        batch = producer.create_batch()
        for _ in range(200):
            assert batch.append(key=None, value=bytes(MIB - 100), timestamp=None) is not None
        await (await producer.send_batch(batch, topic, partition=partition))


def most_resident(pid: int) -> int:
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


async def test_what_is_done_is_committed_in_whatever_order(ports: Ports, topic: str, kafka_address: str) -> None:
    sent = [Record(topic, "key", str(number).encode(), {"traceparent": "00-ab"}) for number in range(6)]
    await ports.bus.publish(sent)
    async with consumer(ports, topic, kafka_address) as confined_consumer:
        found = []
        async for delivery in confined_consumer:
            found.append(delivery)
            if len(found) == 6:
                break
        assert [delivery.record for delivery in found] == sent
    async with consumer(ports, topic, kafka_address) as confined_consumer:
        held = []
        async for delivery in confined_consumer:
            held.append(delivery)
            if len(held) == 6:
                for number in (1, 2, 4):
                    await confined_consumer.done(held[number])
                await asyncio.sleep(1)
                assert await ports.bus.lag(topic, [topic]) == 6
                await confined_consumer.done(held[0])
                await committed(ports, topic, lag=3)
                break
    async with consumer(ports, topic, kafka_address) as confined_consumer:
        assert values(await receive(confined_consumer, 3)) == [b"3", b"4", b"5"]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"value": b"x" * (64 * 1024 + 1)}, "message_too_large"),
        ({"key": b"k" * 2000, "value": b"{}"}, "message_too_large"),
        ({"value": b"{}", "headers": [(f"h{n}", b"") for n in range(33)]}, "message_too_large"),
        ({"value": b"{}", "headers": [("h", b"x" * 9000)]}, "message_too_large"),
        ({"value": b"[" * 17 + b"]" * 17}, "malformed_message"),
        ({"value": b"[" * 60_000}, "malformed_message"),
    ],
    ids=["value", "key", "many headers", "long header", "deep", "very deep"],
)
async def test_what_is_too_much_is_set_aside_and_the_partition_goes_on(
    ports: Ports, topic: str, kafka_address: str, record: dict[str, Any], reason: str
) -> None:
    allowed = [b"x" * 64 * 1024, b"[" * 16 + b"]" * 16]
    async with stranger(kafka_address) as producer:
        await producer.send_and_wait(topic, partition=0, **record)
        for value in allowed:
            await producer.send_and_wait(topic, partition=0, value=value)
    async with consumer(ports, topic, kafka_address) as confined_consumer:
        assert values(await receive(confined_consumer, 2)) == allowed
        await committed(ports, topic)
    (letter,) = await letters(ports)
    assert (letter["reason"], letter["topic"], letter["partition"], letter["offset"]) == (reason, topic, 0, 0)
    (document,) = await ports.documents.find("dead_letters", {})
    assert document.tenant == "acme"


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
async def test_a_batch_that_unfolds_to_200_mib_ends_the_child_thrice_and_is_set_aside_by_its_coordinates(
    ports: Ports, topic: str, kafka_address: str, compression: str
) -> None:
    async with stranger(kafka_address) as producer:
        await producer.send_and_wait(topic, partition=0, value=b"before")
    await throw_bomb(kafka_address, topic, 0, compression)
    async with stranger(kafka_address) as producer:
        await producer.send_and_wait(topic, partition=0, value=b"behind")
        for number in range(3):
            await producer.send_and_wait(topic, partition=1, value=f"beside {number}".encode())
    before = most_resident(os.getpid())
    found: list[bytes] = []
    async with consumer(ports, topic, kafka_address) as confined_consumer, asyncio.timeout(100):
        async for delivery in confined_consumer:
            found.append(delivery.record.value)
            await confined_consumer.done(delivery)
            if delivery.record.value == b"behind":
                break
        await committed(ports, topic)
    assert {b"before", b"behind", b"beside 0", b"beside 1", b"beside 2"} == set(found)
    (letter,) = await letters(ports)
    coordinates = (letter["topic"], letter["partition"], letter["offset"], letter["last_offset"])
    assert coordinates == (topic, 0, 1, 200)
    assert (letter["reason"], letter["size_bytes"]) == ("kills_its_consumer", 0)
    (attempt,) = await ports.documents.find("attempts", {})
    assert attempt.body["deaths"] == {"1": DEATHS}
    assert most_resident(os.getpid()) - before < 50 * MIB


async def test_without_its_limit_the_child_would_have_taken_it_all(
    ports: Ports, topic: str, kafka_address: str
) -> None:
    """The control of the test above."""
    await throw_bomb(kafka_address, topic, 0)
    async with stranger(kafka_address) as producer:
        await producer.send_and_wait(topic, partition=0, value=b"behind")
    async with consumer(ports, topic, kafka_address, memory_bytes=4 << 30) as confined_consumer:
        async for delivery in confined_consumer:
            assert delivery.record.value == b"behind"
            assert confined_consumer.pid is not None
            assert most_resident(confined_consumer.pid) > 200 * MIB
            break
    assert [letter["reason"] for letter in await letters(ports)] == ["message_too_large"] * 200


async def test_a_child_that_is_killed_is_followed_by_another_and_what_was_not_done_comes_again(
    ports: Ports, topic: str, kafka_address: str
) -> None:
    await ports.bus.publish([Record(topic, "key", str(number).encode()) for number in range(4)])
    again: list[bytes] = []
    first_child = None
    async with consumer(ports, topic, kafka_address) as confined_consumer, asyncio.timeout(60):
        async for delivery in confined_consumer:
            if first_child is None:
                first_child = confined_consumer.pid
                assert first_child is not None
                os.kill(first_child, signal.SIGKILL)
            elif confined_consumer.pid != first_child:
                again.append(delivery.record.value)
                await confined_consumer.done(delivery)
                if len(again) == 4:
                    break
        assert again == [b"0", b"1", b"2", b"3"]
        await committed(ports, topic)
    assert await letters(ports) == []


async def test_no_more_than_the_bound_is_handed_on_before_some_is_done(
    ports: Ports, topic: str, kafka_address: str
) -> None:
    await ports.bus.publish([Record(topic, f"key {number}", str(number).encode()) for number in range(100)])
    found: list[Delivery] = []
    async with consumer(ports, topic, kafka_address, in_flight=20) as confined_consumer:
        deliveries = aiter(confined_consumer)

        async def take() -> None:
            while True:
                found.append(await anext(deliveries))

        taking = asyncio.create_task(take())
        await asyncio.sleep(4)
        assert 20 <= len(found) < 24
        async with asyncio.timeout(60):
            while len(found) < 100:
                for delivery in found:
                    await confined_consumer.done(delivery)
                await asyncio.sleep(0.05)
        for delivery in found:
            await confined_consumer.done(delivery)
        await committed(ports, topic)
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)
    assert len({(delivery.partition, delivery.offset) for delivery in found}) == 100


ORPHAN = """
import asyncio, sys
from pathlib import Path
from typing import Any
from aima_common.adapters.embedded.documents import SqliteDocuments
from aima_common.adapters.kafka_confined import confined
from aima_common.adapters.kafka_settings import KafkaSettings
from aima_common.adapters.system_clock import SystemClock
from aima_common.ports import Ports
from aima_common.runtime.confined import ConfinedConsumer

async def main(address, topic, folder):
    async with SqliteDocuments.open(Path(folder) / "other.db") as documents:
        ports = Ports(None, documents, None, None, None, SystemClock())
        async with ConfinedConsumer(ports, topic, topic, confined(KafkaSettings(address))) as consumer:
            async for _ in consumer:
                print(consumer.pid, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_child_dies_with_its_parent(ports: Ports, topic: str, kafka_address: str, tmp_path: Path) -> None:
    await ports.bus.publish([Record(topic, "key", b"value")])
    command = [sys.executable, "-c", ORPHAN, kafka_address, topic, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(await asyncio.to_thread(parent.stdout.readline))
        os.kill(child, 0)
        parent.kill()
    async with asyncio.timeout(10):
        while _is_there(child):
            await asyncio.sleep(0.05)


def _is_there(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False
