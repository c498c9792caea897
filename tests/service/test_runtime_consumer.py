"""From the bus to the handler: in order, at least once, and never stuck."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aima_common.adapters.embedded.bus import SqliteBus
from aima_common.contracts import messages as m
from aima_common.contracts.envelope import Envelope
from aima_common.contracts.telling import tell
from aima_common.contracts.topics import BY_MESSAGE
from aima_common.errors import MalformedMessageError, PermanentError, StorageFullError, TransientError
from aima_common.ports.bus import Record
from aima_common.ports.documents import Change, Insert
from aima_common.runtime import consumer, relay
from aima_common.runtime.consumer import Consumer
from aima_common.runtime.failures import set_aside
from aima_common.runtime.relay import relay_outbox
from tests.service.stage import NOW, TENANT, Stage, staged

TOPIC = BY_MESSAGE[m.MediumErased].name
Handler = Callable[[Envelope[Any]], Awaitable[None]]


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setattr(consumer, "LONGEST_BACKOFF_SECONDS", 0.01)
    monkeypatch.setattr(consumer, "REJOIN_SECONDS", 0.01)
    monkeypatch.setattr(relay, "IDLE_SECONDS", 0.02)
    async with staged(tmp_path) as found:
        yield found


def record(medium: str, cause: str = "c") -> Record:
    return tell(m.MediumErased(medium=medium), tenant=TENANT, key=medium, cause=cause, time=NOW)


@contextlib.asynccontextmanager
async def consuming(stage: Stage, handler: Handler, *, service: str = "tester") -> AsyncIterator[None]:
    life = asyncio.create_task(Consumer(stage.ports, service, {m.MediumErased: handler}).run())
    try:
        yield
    finally:
        life.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await life


async def drained(stage: Stage, service: str = "tester") -> None:
    async with asyncio.timeout(15):
        while await stage.ports.bus.lag(service, [TOPIC]):
            await asyncio.sleep(0.01)


async def letters(stage: Stage) -> list[Any]:
    return [letter.body for letter in await stage.all("dead_letters")]


async def test_messages_of_one_medium_are_handled_in_the_order_in_which_they_were_told(stage: Stage) -> None:
    handled: list[tuple[str, str | None]] = []

    async def handler(envelope: Envelope[Any]) -> None:
        # The earlier ones take longer: only waiting for one another keeps the order.
        await asyncio.sleep(0.01 if envelope.cause in {"0", "1"} else 0)
        handled.append((envelope.key, envelope.cause))

    told = [record(medium, str(number)) for number in range(6) for medium in ("a", "b", "c")]
    await stage.ports.bus.publish(told)
    async with consuming(stage, handler):
        await drained(stage)
    for medium in ("a", "b", "c"):
        assert [cause for key, cause in handled if key == medium] == [str(number) for number in range(6)]
    assert [key for key, _ in handled] != sorted(key for key, _ in handled)


async def test_a_message_that_comes_again_has_no_second_effect(stage: Stage) -> None:
    calls = 0

    async def handler(envelope: Envelope[Any]) -> None:
        nonlocal calls
        calls += 1
        await stage.ports.documents.insert("counters", Insert("counter", TENANT, "open", {}))
        await stage.ports.documents.transition("counters", "counter", change=Change(add={"n": 1}), inbox=envelope.id)

    await stage.ports.bus.publish([record("a"), record("a"), record("a")])
    async with consuming(stage, handler):
        await drained(stage)
    assert calls == 3
    assert (await stage.one("counters", "counter")).body["n"] == 1


async def test_what_was_not_committed_comes_again_to_the_next(stage: Stage) -> None:
    seen: list[str] = []
    stuck = asyncio.Event()

    async def dies(envelope: Envelope[Any]) -> None:
        seen.append("before")
        stuck.set()
        await asyncio.Event().wait()

    async def lives(envelope: Envelope[Any]) -> None:
        seen.append("after")

    await stage.ports.bus.publish([record("a")])
    async with consuming(stage, dies):
        await stuck.wait()
    async with consuming(stage, lives):
        await drained(stage)
    assert seen == ["before", "after"]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (lambda r: replace(r, value=b"\x00garbage"), "malformed_message"),
        (lambda r: replace(r, value=b'{"medium": 7}'), "malformed_message"),
        (lambda r: replace(r, headers={**r.headers, "ce_type": "aima.MediumErased.v9"}), "newer_version"),
        (
            lambda r: replace(
                tell(m.PartErased(medium="a", owner="o"), tenant=TENANT, key="a", cause="c", time=NOW), topic=TOPIC
            ),
            "wrong_topic",
        ),
    ],
    ids=["garbage", "wrong type", "future version", "wrong topic"],
)
async def test_what_is_no_message_is_set_aside_with_its_coordinates_and_the_partition_goes_on(
    stage: Stage, broken: Callable[[Record], Record], reason: str
) -> None:
    handled: list[str] = []

    async def handler(envelope: Envelope[Any]) -> None:
        handled.append(str(envelope.cause))

    bad = broken(record("a", "bad"))
    await stage.ports.bus.publish([record("a", "first"), bad, record("a", "last")])
    async with consuming(stage, handler):
        await drained(stage)
    assert handled == ["first", "last"]
    (letter,) = await letters(stage)
    assert (letter["reason"], letter["topic"], letter["offset"], letter["key"]) == (reason, TOPIC, 1, "a")
    assert base64.b64decode(letter["value"]) == bad.value
    assert letter["headers"] == dict(bad.headers)
    (dead,) = [entry.record for entry in await stage.ports.documents.outbox()]
    assert (dead.topic, dead.value, dead.headers["aima_dead_reason"]) == (TOPIC + ".dead", bad.value, reason)


async def test_the_same_broken_message_delivered_again_makes_no_second_letter(stage: Stage) -> None:
    async def handler(envelope: Envelope[Any]) -> None:
        raise MalformedMessageError("it makes no sense")

    await stage.ports.bus.publish([record("a")])
    for _ in range(2):
        async with consuming(stage, handler):
            await drained(stage)
        async with stage.ports.bus.subscribe("tester", [TOPIC]):
            bus = stage.ports.bus
            assert isinstance(bus, SqliteBus)
            # As after a restored backup: everything is delivered from the beginning.
            await bus._database.write(lambda c: c.execute("DELETE FROM commits"))
    assert len(await letters(stage)) == 1


async def test_a_bug_is_tried_three_times_then_set_aside_and_the_partition_goes_on(stage: Stage) -> None:
    tries: list[str] = []

    async def handler(envelope: Envelope[Any]) -> None:
        tries.append(str(envelope.cause))
        if envelope.cause == "bad":
            raise ZeroDivisionError("a bug")

    await stage.ports.bus.publish([record("a", "bad"), record("a", "good")])
    async with consuming(stage, handler):
        await drained(stage)
    assert tries == ["bad"] * 3 + ["good"]
    assert [letter["reason"] for letter in await letters(stage)] == ["bug"]


async def test_a_bug_that_passes_leaves_no_letter(stage: Stage) -> None:
    tries = 0

    async def handler(envelope: Envelope[Any]) -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise ZeroDivisionError("a bug")

    await stage.ports.bus.publish([record("a")])
    async with consuming(stage, handler):
        await drained(stage)
    assert (tries, await letters(stage)) == (3, [])


async def test_what_may_pass_is_tried_until_it_passes(stage: Stage) -> None:
    tries = 0

    async def handler(envelope: Envelope[Any]) -> None:
        nonlocal tries
        tries += 1
        if tries < 10:
            raise TransientError("the store is away")

    await stage.ports.bus.publish([record("a")])
    async with consuming(stage, handler):
        await drained(stage)
    assert (tries, await letters(stage)) == (10, [])


async def test_a_refusal_is_set_aside_at_once(stage: Stage) -> None:
    async def handler(envelope: Envelope[Any]) -> None:
        raise PermanentError("never", code="never")

    await stage.ports.bus.publish([record("a")])
    async with consuming(stage, handler):
        await drained(stage)
    assert [letter["reason"] for letter in await letters(stage)] == ["never"]


async def test_while_there_is_no_room_for_a_dead_letter_its_partition_waits(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, real = 3, set_aside

    async def no_room(*arguments: Any) -> None:
        nonlocal full
        if full:
            full -= 1
            raise StorageFullError("the disk is full")
        await real(*arguments)

    monkeypatch.setattr(consumer, "set_aside", no_room)

    async def handler(envelope: Envelope[Any]) -> None:
        raise PermanentError("never", code="never")

    await stage.ports.bus.publish([record("a")])
    async with consuming(stage, handler):
        await drained(stage)
    assert (full, len(await letters(stage))) == (0, 1)


async def test_a_consumer_outlives_a_bus_that_is_away(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    away, handled = 3, asyncio.Event()
    real = type(stage.ports.bus).subscribe

    def sometimes(self: Any, group: str, topics: Any) -> Any:
        nonlocal away
        if away:
            away -= 1
            raise StorageFullError("the disk is full")
        return real(self, group, topics)

    monkeypatch.setattr(type(stage.ports.bus), "subscribe", sometimes)

    async def handler(envelope: Envelope[Any]) -> None:
        handled.set()

    await stage.ports.bus.publish([record("a")])
    async with consuming(stage, handler):
        await asyncio.wait_for(handled.wait(), 10)
    assert away == 0


async def outbox_empty(stage: Stage) -> None:
    async with asyncio.timeout(10):
        while await stage.ports.documents.outbox(1):
            await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def relaying(stage: Stage) -> AsyncIterator[None]:
    life = asyncio.create_task(relay_outbox(stage.ports))
    try:
        yield
    finally:
        life.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await life


async def published(stage: Stage) -> list[Record]:
    found: list[Record] = []
    waiting = await stage.ports.bus.lag("looker", [TOPIC])
    async with stage.ports.bus.subscribe("looker", [TOPIC]) as subscription:
        if waiting:
            async for batch in subscription.batches():
                found += [delivery.record for delivery in batch]
                if len(found) >= waiting:
                    break
    return found


async def test_the_outbox_is_published_in_its_order_and_then_empty(stage: Stage) -> None:
    told = [record("a", str(number)) for number in range(5)]
    for number, one in enumerate(told):
        await stage.ports.documents.insert("counters", Insert(f"{number}", TENANT, "open", {}), outbox=[one])
    async with relaying(stage):
        await outbox_empty(stage)
    assert await published(stage) == told


async def test_a_crash_between_publishing_and_noting_it_doubles_the_message_and_the_inbox_absorbs_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = record("a")
    await stage.ports.documents.insert("counters", Insert("counter", TENANT, "open", {}), outbox=[one])
    crashed, real = asyncio.Event(), type(stage.ports.documents).published

    async def crash(self: Any, tokens: Any) -> None:
        crashed.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(type(stage.ports.documents), "published", crash)
    async with relaying(stage):
        await asyncio.wait_for(crashed.wait(), 10)
    monkeypatch.setattr(type(stage.ports.documents), "published", real)
    async with relaying(stage):
        await outbox_empty(stage)
    assert await published(stage) == [one, one]

    async def handler(envelope: Envelope[Any]) -> None:
        await stage.ports.documents.transition("counters", "counter", change=Change(add={"n": 1}), inbox=envelope.id)

    async with consuming(stage, handler):
        await drained(stage)
    assert (await stage.one("counters", "counter")).body["n"] == 1


async def test_the_relay_waits_while_the_bus_is_away_and_loses_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    away, real = 2, type(stage.ports.bus).publish

    async def sometimes(self: Any, records: Any) -> None:
        nonlocal away
        if away:
            away -= 1
            raise StorageFullError("the disk is full")
        await real(self, records)

    async def at_once(seconds: float) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(type(stage.ports.bus), "publish", sometimes)
    monkeypatch.setattr(stage.ports.clock, "sleep", at_once, raising=False)
    await stage.ports.documents.insert("counters", Insert("c", TENANT, "open", {}), outbox=[record("a")])
    async with relaying(stage):
        await outbox_empty(stage)
    assert (away, await published(stage)) == (0, [record("a")])
