"""What happens to a case, replayed and followed."""

import asyncio
import datetime
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from aima_common.contracts import messages as m
from aima_common.contracts.base import Message
from aima_common.contracts.telling import tell

TIME = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


async def publish(doors: Any, message: Message, key: str, cause: str = "test") -> None:
    await doors.ports.bus.publish([tell(message, tenant="default", key=key, cause=cause, time=TIME)])


def progress(medium: str, done: int) -> m.ProgressMade:
    return m.ProgressMade(medium=medium, run="r", stage="analysing", done=done, total=3)


async def read(doors: Any, case: str, count: int, query: str = "", **headers: str) -> list[dict[str, Any]]:
    """Read `count` events, or as many as come where `follow=no` ends the stream."""
    found: list[dict[str, Any]] = []
    async with asyncio.timeout(20):
        async with doors.http.get(f"/v1/cases/{case}/events{query}", headers=headers) as answer:
            assert answer.status == 200
            assert answer.content_type == "text/event-stream"
            async for event in parsed(aiter(answer.content)):
                found.append(event)
                if len(found) == count:
                    break
    return found


async def parsed(lines: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
    fields: dict[str, str] = {}
    async for line in lines:
        text = line.decode().rstrip("\n")
        if not text and "data" in fields:
            yield {"id": int(fields["id"]), "event": fields["event"], **json.loads(fields["data"])}
            fields = {}
        elif ":" in text:
            name, _, value = text.partition(": ")
            fields[name] = value


async def test_what_happens_is_told_in_order_and_without_gaps(doors: Any) -> None:
    case = await doors.case()
    medium = (await doors.upload(case, b"hello"))["medium"]
    for done in (1, 2, 3):
        await publish(doors, progress(medium, done), medium)
    events = await read(doors, case, 4)
    assert [event["id"] for event in events] == [1, 2, 3, 4]
    assert sorted(event["event"] for event in events) == ["MediumUploaded", *["ProgressMade"] * 3]
    assert [event["done"] for event in events if event["event"] == "ProgressMade"] == [1, 2, 3]


async def test_a_stream_goes_on_where_its_reader_stopped(doors: Any) -> None:
    case = await doors.case()
    medium = (await doors.upload(case, b"hello"))["medium"]
    for done in (1, 2, 3):
        await publish(doors, progress(medium, done), medium)
    everything = await read(doors, case, 4)
    assert await read(doors, case, 2, "?after=2") == everything[2:]
    assert await read(doors, case, 1, **{"Last-Event-ID": "3"}) == everything[3:]
    assert await read(doors, case, 100, "?follow=no") == everything


async def test_news_reach_those_who_wait(doors: Any) -> None:
    case = await doors.case()
    medium = (await doors.upload(case, b"hello"))["medium"]
    await read(doors, case, 1)
    waiting = asyncio.create_task(read(doors, case, 1, "?after=1"))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await publish(doors, progress(medium, 1), medium)
    [event] = await waiting
    assert (event["id"], event["done"]) == (2, 1)


async def test_a_message_that_comes_twice_is_told_once(doors: Any) -> None:
    case = await doors.case()
    medium = (await doors.upload(case, b"hello"))["medium"]
    for _ in range(3):
        await publish(doors, progress(medium, 1), medium)
    await publish(doors, progress(medium, 2), medium)
    events = await read(doors, case, 3)
    assert sorted(event["event"] for event in events) == ["MediumUploaded", *["ProgressMade"] * 2]
    assert [event["done"] for event in events if event["event"] == "ProgressMade"] == [1, 2]
    await asyncio.sleep(0.2)
    assert len(await doors.ports.documents.read(f"events/{case}")) == 3


async def test_a_medium_of_two_cases_is_told_of_in_both(doors: Any) -> None:
    one, two = await doors.case("one"), await doors.case("two")
    medium = (await doors.upload(one, b"hello"))["medium"]
    await doors.upload(two, b"hello")
    await read(doors, one, 1)
    await read(doors, two, 1)
    await publish(doors, progress(medium, 1), medium)
    for case in (one, two):
        assert (await read(doors, case, 2))[-1]["done"] == 1


async def test_events_name_no_files_and_no_places_of_bytes(doors: Any) -> None:
    case = await doors.case()
    await doors.upload(case, b"hello", "secret name.jpg")
    [event] = await read(doors, case, 1)
    assert "secret" not in json.dumps(event)
    assert "originals" not in json.dumps(event)
    assert event["item"]


@pytest.mark.parametrize("query", ["?after=-1", "?after=x", "?after=1e3", "?follow=maybe"])
async def test_a_place_that_is_none_is_refused(doors: Any, query: str) -> None:
    async with doors.http.get(f"/v1/cases/{await doors.case()}/events{query}") as answer:
        assert answer.status == 400
