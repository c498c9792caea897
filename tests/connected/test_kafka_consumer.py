"""The runtime's consumer on Kafka: rebalances with work in hand, and a membership that outlasts a store's absence."""

import asyncio
import contextlib
import functools
import secrets
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaConsumer

from aima_common.adapters import kafka_bus
from aima_common.adapters.embedded.documents import SqliteDocuments
from aima_common.adapters.kafka_bus import KafkaBus, KafkaSubscription
from aima_common.adapters.kafka_settings import KafkaSettings
from aima_common.adapters.system_clock import SystemClock
from aima_common.contracts import messages as m
from aima_common.contracts.envelope import Envelope
from aima_common.contracts.telling import tell
from aima_common.contracts.topics import BY_MESSAGE
from aima_common.errors import TransientError
from aima_common.ports import Ports
from aima_common.ports.bus import Record
from aima_common.runtime.consumer import Consumer, Handler
from tests.contract.bus_promise import until
from tests.service.stage import NOW, TENANT

TOPIC = BY_MESSAGE[m.MediumErased].name


@pytest.fixture
async def ports(kafka_address: str, tmp_path: Path) -> AsyncIterator[Ports]:
    settings = KafkaSettings(kafka_address, timeout_seconds=5.0, session_seconds=6.0)
    async with KafkaBus.open(settings) as bus, SqliteDocuments.open(tmp_path / "documents.db") as documents:
        await bus.ensure_topics({TOPIC: 12})
        nothing = cast("Any", None)
        yield Ports(bus, documents, nothing, nothing, nothing, SystemClock())


@pytest.fixture
def group() -> str:
    return f"group-{secrets.token_hex(6)}"


@contextlib.asynccontextmanager
async def consuming(ports: Ports, group: str, handler: Handler) -> AsyncIterator[None]:
    life = asyncio.create_task(Consumer(ports, group, {m.MediumErased: handler}).run())
    try:
        yield
        assert not life.done()
    finally:
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)


def told(run: str, count: int, keys: int) -> list[Record]:
    def one(number: int) -> Record:
        medium = f"{run}-{number % keys}"
        return tell(m.MediumErased(medium=medium), tenant=TENANT, key=medium, cause=str(number), time=NOW)

    return [one(number) for number in range(count)]


async def drained(ports: Ports, group: str) -> None:
    async with asyncio.timeout(60):
        while await ports.bus.lag(group, [TOPIC]):
            await asyncio.sleep(0.1)


@pytest.fixture
def revoked(monkeypatch: pytest.MonkeyPatch) -> list[Collection[Any]]:
    """Count how often members had to give partitions up."""
    calls: list[Collection[Any]] = []
    real = KafkaSubscription.on_partitions_revoked

    async def counted(self: KafkaSubscription, partitions: Collection[Any]) -> None:
        if partitions:
            calls.append(partitions)
        await real(self, partitions)

    monkeypatch.setattr(KafkaSubscription, "on_partitions_revoked", counted)
    return calls


async def test_members_come_and_go_with_work_in_hand_and_every_record_is_handled_in_order(
    ports: Ports, group: str, revoked: list[Collection[Any]]
) -> None:
    count, keys, run = 3000, 100, secrets.token_hex(4)
    first_times: dict[str, list[int]] = defaultdict(list)
    times = Counter[int]()
    by_member = Counter[str]()

    def handler(name: str) -> Handler:
        async def handle(envelope: Envelope[Any]) -> None:
            if not envelope.key.startswith(run):
                return
            await asyncio.sleep(0.2)
            number = int(envelope.cause or "")
            times[number] += 1
            by_member[name] += 1
            if times[number] == 1:
                first_times[envelope.key].append(number)

        return handle

    await ports.bus.publish(told(run, count, keys))
    async with consuming(ports, group, handler("stays")):
        await until(lambda: len(times) > count // 10)
        async with consuming(ports, group, handler("leaves")):
            await until(lambda: by_member["leaves"] > 20)
        async with consuming(ports, group, handler("comes later")):
            await ports.bus.publish([record for record in told(run, count + 500, keys) if int(cause(record)) >= count])
            await until(lambda: by_member["comes later"] > 20)
            await drained(ports, group)
    assert revoked, "positive control: partitions moved"
    assert set(times) == set(range(count + 500))
    assert all(numbers == sorted(numbers) for numbers in first_times.values())


def cause(record: Record) -> str:
    return record.headers["aima_cause"]


async def test_while_handlers_wait_for_a_store_the_membership_goes_on(
    ports: Ports, group: str, revoked: list[Collection[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_bus, "AIOKafkaConsumer", functools.partial(AIOKafkaConsumer, max_poll_interval_ms=2000))
    run, away, handled = secrets.token_hex(4), True, set[str]()

    async def handler(envelope: Envelope[Any]) -> None:
        if away:
            raise TransientError("the store is away")
        if envelope.key.startswith(run):
            handled.add(envelope.key)

    await ports.bus.publish(told(run, 5000, 5000))
    async with consuming(ports, group, handler):
        await asyncio.sleep(8)
        assert not revoked
        away = False
        await drained(ports, group)
    assert len(handled) == 5000


async def test_who_does_not_ask_for_long_loses_its_partitions(
    ports: Ports, group: str, revoked: list[Collection[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above."""
    monkeypatch.setattr(kafka_bus, "AIOKafkaConsumer", functools.partial(AIOKafkaConsumer, max_poll_interval_ms=2000))
    await ports.bus.publish(told(secrets.token_hex(4), 10, 10))
    async with ports.bus.subscribe(group, [TOPIC]) as member:
        await anext(aiter(member.batches()))
        await until(lambda: bool(revoked))
