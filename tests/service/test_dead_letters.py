"""What was set aside can be looked at, tried again once, and put away."""

import asyncio
import base64
from collections.abc import Sequence
from typing import Any

import pytest

from aima_common.contracts import codec
from aima_common.contracts import messages as m
from aima_common.contracts.codec import decode
from aima_common.contracts.telling import tell
from aima_common.contracts.topics import BY_MESSAGE
from aima_common.ports.bus import Delivery, Record
from aima_common.ports.documents import Change, Document, Insert
from aima_common.runtime.failures import KEPT_BYTES
from aima_gateway.keys import Role
from tests.service.conftest import bearer
from tests.service.stage import NOW

CANCEL = BY_MESSAGE[m.CancelRequested].name
GARBAGE = b"\x00\xff no JSON"


def garbage(key: str, value: bytes = GARBAGE, **headers: str) -> Record:
    return Record(CANCEL, key, value, {"aima_tenant": "default", "remark": "from a stranger", **headers})


async def set_aside(doors: Any, record: Record) -> dict[str, Any]:
    """Publish what upload cannot read; return the letter that upload made of it."""
    await doors.ports.bus.publish([record])
    async with asyncio.timeout(20):
        while True:
            for letter in await listed(doors, service="upload"):
                if letter["key"] == record.key:
                    return letter
            await asyncio.sleep(0.02)


async def listed(doors: Any, **query: Any) -> list[dict[str, Any]]:
    async with doors.http.get("/v1/dead-letters", params=query) as answer:
        assert answer.status == 200, await answer.text()
        return list((await answer.json())["dead_letters"])


async def post(doors: Any, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, Any]]:
    async with doors.http.post(f"/v1/dead-letters/{path}", json=body or {}, headers=headers) as answer:
        return answer.status, await answer.json()


async def published(doors: Any, topic: str, count: int) -> list[Delivery]:
    found: list[Delivery] = []
    async with doors.ports.bus.subscribe("a test", [topic]) as subscription, asyncio.timeout(20):
        async for batch in subscription.batches():
            found += batch
            if len(found) >= count:
                break
    return found


async def put_letter(doors: Any, identity: str, tenant: str = "default", **body: Any) -> None:
    common = {"service": "upload", "reason": "malformed_message", "detail": "x", "at": NOW.isoformat()}
    assert await doors.ports.documents.insert("dead_letters", Insert(identity, tenant, "open", {**common, **body}))


async def test_a_letter_is_listed_with_its_coordinates_and_shown_with_its_bytes(doors: Any) -> None:
    letter = await set_aside(doors, garbage("one"))
    assert (letter["state"], letter["topic"], letter["reason"]) == ("open", CANCEL, "malformed_message")
    assert isinstance(letter["offset"], int)
    assert letter["detail"]
    assert "value" not in letter
    async with doors.http.get(f"/v1/dead-letters/{letter['id']}") as answer:
        whole = await answer.json()
    assert base64.b64decode(whole["value"]) == GARBAGE
    assert whole["headers"]["remark"] == "from a stranger"
    assert whole["retriable"]


async def test_lists_are_narrowed_and_paged_newest_first(doors: Any) -> None:
    for number in range(3):
        at = NOW.replace(minute=number).isoformat()
        await put_letter(doors, f"letter-{number}", reason="bug" if number else "odd", at=at, medium="m")
    assert [letter["id"] for letter in await listed(doors)] == ["letter-2", "letter-1", "letter-0"]
    assert [letter["id"] for letter in await listed(doors, reason="odd")] == ["letter-0"]
    assert await listed(doors, state="discarded") == []
    async with doors.http.get("/v1/dead-letters?limit=2") as answer:
        page = await answer.json()
    assert [letter["id"] for letter in await listed(doors, after=page["next"])] == ["letter-0"]


async def test_a_retry_says_the_same_message_once_more_and_closes_the_letter(doors: Any) -> None:
    letter = await set_aside(doors, garbage("two"))
    status, closed = await post(doors, f"{letter['id']}/retry")
    assert (status, closed["state"]) == (202, "retried")
    assert closed["closed_by"]
    first, again = [one for one in await published(doors, CANCEL, 2) if one.record.key == "two"]
    assert again.record == first.record
    assert again.offset != first.offset
    status, problem = await post(doors, f"{letter['id']}/retry")
    assert (status, problem["code"]) == (409, "not_open")
    async with asyncio.timeout(20):
        # Nothing has changed about the message, so it is set aside once more, at its new place.
        while len(letters := await listed(doors, state="open")) != 1:
            await asyncio.sleep(0.02)
    assert letters[0]["offset"] == again.offset


async def test_of_two_who_retry_at_once_one_does(doors: Any) -> None:
    letter = await set_aside(doors, garbage("three"))
    answers = await asyncio.gather(*(post(doors, f"{letter['id']}/retry") for _ in range(4)))
    assert sorted(status for status, _ in answers) == [202, 409, 409, 409]


async def test_a_discarded_letter_keeps_the_reason_and_is_not_tried_again(doors: Any) -> None:
    letter = await set_aside(doors, garbage("four"))
    status, closed = await post(doors, f"{letter['id']}/discard", {"reason": "the camera was replaced"})
    assert (status, closed["state"], closed["note"]) == (200, "discarded", "the camera was replaced")
    status, problem = await post(doors, f"{letter['id']}/retry")
    assert (status, problem["code"]) == (409, "not_open")
    lines = [entry.body for entry in await doors.ports.documents.read("audit/default")]
    assert [(line["action"], line["subject"]) for line in lines] == [("discarded_dead_letter", letter["id"])]


async def test_what_was_not_kept_whole_is_not_tried_again(doors: Any) -> None:
    short = base64.b64encode(b"x" * KEPT_BYTES).decode()
    common: dict[str, Any] = {"topic": CANCEL, "partition": 0, "offset": 1, "key": "k", "headers": {}}
    await put_letter(doors, "cut", value=short, size_bytes=KEPT_BYTES + 1, **common)
    await put_letter(doors, "unread", value="", size_bytes=0, **{**common, "reason": "kills_its_consumer"})
    await put_letter(doors, "whole", value=short, size_bytes=KEPT_BYTES, **common)
    for name, expected in (("cut", 409), ("unread", 409), ("whole", 202)):
        status, answer = await post(doors, f"{name}/retry")
        assert status == expected, answer
        if expected == 409:
            assert answer["code"] == "not_retriable"
            assert answer["remedy"]


async def test_a_rejected_mediums_letter_asks_for_its_preparation(doors: Any) -> None:
    await put_letter(doors, "rejected", service="preprocessing", reason="truncated", medium="film")
    status, _ = await post(doors, "rejected/retry")
    assert status == 202
    [told] = await published(doors, BY_MESSAGE[m.PreparationRequested].name, 1)
    envelope = decode(told.record)
    assert (envelope.tenant, envelope.key, envelope.body.medium) == ("default", "film", "film")


async def test_letters_of_others_are_not_there_and_those_of_nobody_are(doors: Any) -> None:
    await put_letter(doors, "theirs", tenant="other", medium="m")
    await put_letter(doors, "nobodys", tenant="", medium="m")
    await put_letter(doors, "ours", medium="m")
    assert {letter["id"] for letter in await listed(doors)} == {"ours", "nobodys"}
    for action in ("retry", "discard"):
        assert (await post(doors, f"theirs/{action}"))[0] == 404
    async with doors.http.get("/v1/dead-letters/theirs") as answer:
        assert answer.status == 404
    other = bearer(await doors.key(Role.operator, "other"))
    assert (await post(doors, "theirs/discard", **other))[0] == 200


@pytest.mark.parametrize("role", [Role.reader, Role.writer, Role.admin])
async def test_only_operators_come_near(doors: Any, role: Role) -> None:
    await put_letter(doors, "ours", medium="m")
    key = bearer(await doors.key(role))
    for method, path in (("GET", ""), ("GET", "/ours"), ("POST", "/ours/retry"), ("POST", "/ours/discard")):
        async with doors.http.request(method, f"/v1/dead-letters{path}", headers=key) as answer:
            assert answer.status == 403
    assert [letter["state"] for letter in await listed(doors)] == ["open"]


async def test_a_message_that_can_be_handled_by_now_is_handled(doors: Any) -> None:
    """Set aside for a fault of ours that is mended since: the retry does what the message asked for."""
    case = await doors.case()
    record = tell(m.CancelRequested(case=case), tenant="default", key=case, cause="test", time=NOW)
    value = base64.b64encode(record.value).decode()
    kept = {"key": case, "headers": dict(record.headers), "value": value, "size_bytes": len(record.value)}
    await put_letter(doors, "mended", topic=CANCEL, partition=0, offset=0, **{"reason": "bug", **kept})
    assert (await post(doors, "mended/retry"))[0] == 202
    await _cancelled(doors, case)


async def test_a_message_of_a_newer_version_waits_for_the_upgrade_and_what_follows_is_handled(
    doors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    late, next_one = await doors.case("late"), await doors.case("next")
    told = [
        tell(m.CancelRequested(case=case), tenant="default", key="one key", cause="test", time=NOW)
        for case in (late, next_one)
    ]
    newer = Record(CANCEL, "one key", told[0].value, {**told[0].headers, "ce_type": "aima.CancelRequested.v2"})
    letter = await set_aside(doors, newer)
    assert letter["reason"] == codec.NEWER
    assert "upgrade this service, then `aima dead-letters retry`" in letter["detail"]
    await doors.ports.bus.publish([told[1]])
    await _cancelled(doors, next_one)
    assert (await _case(doors, late)).state != "cancelled"

    # An upgraded service knows the version.
    monkeypatch.setitem(codec.BY_TYPE, "aima.CancelRequested.v2", "CancelRequested")
    assert (await post(doors, f"{letter['id']}/retry"))[0] == 202
    await _cancelled(doors, late)


async def _cancelled(doors: Any, case: str) -> None:
    async with asyncio.timeout(20):
        while (await _case(doors, case)).state != "cancelled":
            await asyncio.sleep(0.02)


async def _case(doors: Any, case: str) -> Document:
    found: Sequence[Document] = await doors.ports.documents.find("cases", {"id": case})
    return found[0]


async def test_a_letter_that_changed_meanwhile_is_looked_at_again(doors: Any) -> None:
    await put_letter(doors, "ours", medium="m")
    await doors.ports.documents.transition("dead_letters", "ours", change=Change("retried"))
    status, problem = await post(doors, "ours/discard")
    assert (status, problem["code"]) == (409, "not_open")
