"""What a consumer has in hand: bounded, and a slow record stops nobody but its own partition."""

import asyncio
import contextlib
import zlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from aima_common.contracts import messages as m
from aima_common.contracts.envelope import Envelope
from aima_common.contracts.telling import tell
from aima_common.contracts.topics import BY_MESSAGE
from aima_common.errors import TransientError
from aima_common.ports.bus import Record
from aima_common.ports.documents import Body, Documents
from aima_common.runtime import consumer as consumer_module
from aima_common.runtime import in_flight
from aima_common.runtime.consumer import Consumer, Handler
from aima_common.runtime.in_flight import Bounds
from aima_common.runtime.telemetry import MESSAGES_IN_FLIGHT
from tests.service.stage import NOW, TENANT, Stage, staged

TOPIC = BY_MESSAGE[m.MediumErased].name
SMALL = Bounds(handlers=8, records=100, bytes=1 << 20, partition_records=60)


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setattr(consumer_module, "BATCH", 20)
    monkeypatch.setattr(consumer_module, "LONGEST_BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(consumer_module, "COMMIT_SECONDS", 0.05)
    monkeypatch.setattr(in_flight, "PATIENCE_SECONDS", 0.02)
    async with staged(tmp_path) as found:
        yield found


def record(medium: str, cause: str = "c") -> Record:
    return tell(m.MediumErased(medium=medium), tenant=TENANT, key=medium, cause=cause, time=NOW)


@contextlib.asynccontextmanager
async def consuming(stage: Stage, handler: Handler, bounds: Bounds = SMALL) -> AsyncIterator[None]:
    life = asyncio.create_task(Consumer(stage.ports, "tester", {m.MediumErased: handler}, bounds=bounds).run())
    try:
        yield
        assert not life.done()
    finally:
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


async def lag(stage: Stage) -> int:
    return await stage.ports.bus.lag("tester", [TOPIC])


async def drained(stage: Stage) -> None:
    async with asyncio.timeout(30):
        while await lag(stage):
            await asyncio.sleep(0.01)


def in_hand() -> float:
    samples = [sample for metric in MESSAGES_IN_FLIGHT.collect() for sample in metric.samples]
    return sum(sample.value for sample in samples if sample.labels == {"service": "tester"})


async def test_a_consumer_takes_no_more_in_hand_than_its_bounds_and_handles_all_in_order(stage: Stage) -> None:
    released = asyncio.Event()
    handled: dict[str, list[int]] = defaultdict(list)
    running = most_running = 0

    async def handler(envelope: Envelope[Any]) -> None:
        nonlocal running, most_running
        running += 1
        most_running = max(most_running, running)
        await released.wait()
        await asyncio.sleep(0)
        running -= 1
        handled[envelope.key].append(int(envelope.cause or ""))

    await stage.ports.bus.publish([record(f"medium-{n % 50}", str(n)) for n in range(1000)])
    async with consuming(stage, handler):
        await until(lambda: in_hand() >= SMALL.records)
        await asyncio.sleep(0.5)
        assert in_hand() <= SMALL.records + 20
        assert most_running == SMALL.handlers
        assert await lag(stage) == 1000
        released.set()
        await drained(stage)
    assert {key: len(causes) for key, causes in handled.items()} == {f"medium-{n}": 20 for n in range(50)}
    assert all(causes == sorted(causes) for causes in handled.values())


async def test_large_records_are_bounded_by_their_bytes(stage: Stage) -> None:
    released = asyncio.Event()

    async def handler(envelope: Envelope[Any]) -> None:
        await released.wait()

    large = m.MediumErased(medium="m" * 50_000)
    told = [tell(large, tenant=TENANT, key=f"k{n}", cause=f"{n}", time=NOW) for n in range(90)]
    await stage.ports.bus.publish(told)
    async with consuming(stage, handler):
        await until(lambda: in_hand() * 50_000 >= SMALL.bytes)
        await asyncio.sleep(0.3)
        assert in_hand() < 60 < SMALL.records, "the bytes, and not the number, have stopped it"
        released.set()
        await drained(stage)


async def test_a_slow_record_stops_neither_other_keys_nor_other_partitions(stage: Stage) -> None:
    released = asyncio.Event()
    handled: list[str] = []

    async def handler(envelope: Envelope[Any]) -> None:
        if envelope.key == "slow":
            await released.wait()
        handled.append(envelope.key)

    others = [record(f"medium-{number % 40}", str(number)) for number in range(400)]
    await stage.ports.bus.publish([record("slow", "first"), *others])
    async with consuming(stage, handler):
        # Its own partition goes on up to the bound, the three others to their end.
        await until(lambda: len(handled) > 300)
        await asyncio.sleep(0.3)
        behind = await lag(stage)
        assert "slow" not in handled
        assert 0 < behind < 200
        released.set()
        await drained(stage)
    assert len(handled) == 401


async def test_what_is_behind_an_unfinished_record_comes_again_and_what_is_before_it_does_not(stage: Stage) -> None:
    stuck = asyncio.Event()
    handled: list[str] = []

    async def gets_stuck(envelope: Envelope[Any]) -> None:
        if envelope.cause == "5":
            stuck.set()
            await asyncio.Event().wait()
        handled.append(str(envelope.cause))

    # One partition, another key for each record.
    media = [name for n in range(200) if _partition(name := f"medium-{n}") == 0][:10]
    await stage.ports.bus.publish([record(medium, str(number)) for number, medium in enumerate(media)])
    async with consuming(stage, gets_stuck):
        await stuck.wait()
        await until(lambda: len(handled) == 9)
        async with asyncio.timeout(10):
            while await lag(stage) != 5:
                await asyncio.sleep(0.01)
    again: list[str] = []

    async def goes_on(envelope: Envelope[Any]) -> None:
        again.append(str(envelope.cause))

    async with consuming(stage, goes_on):
        await drained(stage)
    assert sorted(again) == ["5", "6", "7", "8", "9"]


def _partition(key: str) -> int:
    return zlib.crc32(key.encode()) % 4


async def test_unfinished_work_of_a_lost_partition_is_not_committed_and_its_keys_stay_in_order(stage: Stage) -> None:
    released = asyncio.Event()
    begun: list[str] = []
    handled: list[tuple[str, int]] = []

    async def handler(envelope: Envelope[Any]) -> None:
        begun.append(envelope.key)
        await released.wait()
        handled.append((envelope.key, int(envelope.cause or "")))

    await stage.ports.bus.publish([record(f"medium-{n % 20}", str(n)) for n in range(60)])
    async with consuming(stage, handler):
        await until(lambda: len(begun) == SMALL.handlers)
        async with stage.ports.bus.subscribe("tester", [TOPIC]) as other:
            found: dict[tuple[int, int], int] = {}
            batches = aiter(other.batches())
            while len({partition for partition, _ in found}) < 2:
                for delivery in await anext(batches):
                    found[delivery.partition, delivery.offset] = 1
            released.set()
            await until(lambda: len(handled) >= SMALL.handlers)
            await asyncio.sleep(0.3)
            # What the new owner has not committed counts as not done, whatever the old one finished.
            assert await lag(stage) >= len(found)
        await drained(stage)
    first_times: dict[str, list[int]] = defaultdict(list)
    for key, number in handled:
        if number not in first_times[key]:
            first_times[key].append(number)
    assert {key: len(numbers) for key, numbers in first_times.items()} == {f"medium-{n}": 3 for n in range(20)}
    assert all(numbers == sorted(numbers) for numbers in first_times.values())


async def test_while_the_store_is_away_everything_waits_and_then_goes_on(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = True
    handled: list[str] = []
    real = type(stage.ports.documents).load

    async def load(self: Documents, collection: str, document_id: str) -> Any:
        if away:
            raise TransientError("the store is away")
        return await real(self, collection, document_id)

    monkeypatch.setattr(type(stage.ports.documents), "load", load)

    async def handler(envelope: Envelope[Any]) -> None:
        await stage.ports.documents.load("media", envelope.key)
        handled.append(envelope.key)

    await stage.ports.bus.publish([record(f"medium-{n}") for n in range(300)])
    async with consuming(stage, handler):
        await until(lambda: in_hand() > 0)
        await asyncio.sleep(0.5)
        assert in_hand() <= SMALL.records + 20
        assert not handled
        away = False
        await drained(stage)
    assert len(handled) == 300


async def test_what_was_done_is_committed_when_a_consumer_is_stopped(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumer_module, "COMMIT_SECONDS", 3600)
    handled: list[str] = []

    async def handler(envelope: Envelope[Any]) -> None:
        if len(handled) == 7:
            await asyncio.Event().wait()
        handled.append(envelope.key)

    await stage.ports.bus.publish([record("medium", str(n)) for n in range(10)])
    async with consuming(stage, handler):
        await until(lambda: len(handled) == 7)
        assert await lag(stage) == 10, "positive control: nothing was committed yet"
    assert await lag(stage) == 3


async def test_who_took_part_in_nothing_is_written_down_once_per_partition(stage: Stage) -> None:
    written: list[Body] = []

    async def handler(envelope: Envelope[Any]) -> None:
        written.append({})

    for start in range(0, 400, 100):
        await stage.ports.bus.publish([record(f"medium-{n}") for n in range(start, start + 100)])
    async with consuming(stage, handler):
        await drained(stage)
    attempts = await stage.all("attempts")
    assert len(written) == 400
    assert {(attempt.body["partition"], attempt.version) for attempt in attempts} == {(n, 1) for n in range(4)}
