"""Producers that write to the bus: what they offer becomes one item, or a dead letter and an answer."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from aima_common.contracts import messages as m
from aima_common.contracts.codec import decode
from aima_common.contracts.outside import ingress_topic
from aima_common.contracts.telling import tell
from aima_common.contracts.topics import BY_MESSAGE
from aima_common.errors import PermanentError, UnavailableError
from aima_common.jobs import failure
from aima_common.ports.bus import Record
from aima_common.ports.documents import Document
from aima_gateway.keys import Role
from aima_upload import ingress
from tests.service.conftest import Doors, running

BYTES = b"a picture, or so they say"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
async def doors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Doors]:
    monkeypatch.setattr(ingress, "LOOK_SECONDS", 0.05)
    async with running(tmp_path / "data") as found:
        await until(lambda: there(found, "default"))
        yield found


async def there(doors: Doors, tenant: str) -> bool:
    """Tell whether a tenant's topics exist."""
    try:
        async with doors.ports.bus.subscribe("anybody", [ingress_topic(tenant)]):
            return True
    except PermanentError as error:
        return error.code != "unknown_topic"


async def until(condition: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(30):
        while not (found := await condition()):
            await asyncio.sleep(0.02)
    return found


async def put(doors: Doors, name: str = "one.jpg", data: bytes = BYTES, tenant: str = "default") -> dict[str, Any]:
    """Do what a producer does first; return how the offer names the object."""
    key = f"ingress/{tenant}/{name}"
    await doors.ports.objects.put(key, data)
    return {"key": key, "sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}


def offer(identity: str, found: dict[str, Any] | None, **more: Any) -> dict[str, Any]:
    common = {"version": 1, "id": identity, "case": {"name": "Gate 3"}, "file_name": f"{identity}.jpg"}
    return {**common, **({"object": found} if found else {}), **more}


async def say(doors: Doors, *values: Any, tenant: str = "default", **headers: str) -> None:
    records = [
        Record(ingress_topic(tenant), "key", value if isinstance(value, bytes) else json.dumps(value).encode(), headers)
        for value in values
    ]
    await doors.ports.bus.publish(records)


async def items(doors: Doors, count: int, tenant: str = "default") -> Sequence[Document]:
    async def enough() -> Sequence[Document]:
        found = await doors.ports.documents.find("items", {"tenant": tenant}, order=["ordinal"])
        return found if len(found) >= count else []

    found: Sequence[Document] = await until(enough)
    return found


async def letters(doors: Doors, count: int = 1) -> list[Document]:
    async def enough() -> Sequence[Document]:
        found = await doors.ports.documents.find("dead_letters", {}, order=["at"])
        return found if len(found) >= count else []

    found: list[Document] = list(await until(enough))
    return found


async def settled(doors: Doors) -> None:
    """Wait until everything that was offered has come to its end."""
    topics = [ingress_topic("default")]

    async def done() -> bool:
        waiting = await doors.ports.documents.count("arrivals", {"state": "waiting"})
        return not waiting and not await doors.ports.bus.lag(ingress.group_of("default"), topics)

    await until(done)


async def told(doors: Doors, message: type[Any], count: int = 1) -> list[Any]:
    found: list[Any] = []
    async with doors.ports.bus.subscribe("a test", list(BY_MESSAGE[message].names)) as subscription:
        async with asyncio.timeout(20):
            async for batch in subscription.batches():
                found += [decode(delivery.record) for delivery in batch]
                if len(found) >= count:
                    break
    return found


async def test_an_offered_object_becomes_an_item_of_a_case_that_is_made_for_it(doors: Doors) -> None:
    chosen = {"priority": "high", "confidentiality": "internal"}
    await say(doors, offer("one", await put(doors), options=chosen), traceparent=TRACE)
    [item] = await items(doors, 1)
    digest = hashlib.sha256(BYTES).hexdigest()
    assert (item.body["file_name"], item.body["sha256"]) == ("one.jpg", digest)
    assert item.body["origin"] == {"offer": "one", "traceparent": TRACE}
    assert await doors.ports.objects.get(f"t/default/originals/{digest}") == BYTES
    case = await doors.ports.documents.load("cases", item.body["case"])
    assert case is not None
    assert case.body["name"] == "Gate 3"
    assert case.body["options"]["priority"] == "high"
    [envelope] = await told(doors, m.MediumUploaded)
    assert (envelope.tenant, envelope.body.item, envelope.traceparent) == ("default", item.id, TRACE)
    assert envelope.body.priority == "high"


async def test_an_offer_that_is_sent_again_and_again_is_one_item(doors: Doors) -> None:
    same = offer("one", await put(doors))
    await say(doors, same, same, same)
    await items(doors, 1)
    await say(doors, same, json.dumps(same, indent=2).encode())
    await say(doors, offer("two", same["object"]))
    found = await items(doors, 2)
    await settled(doors)
    assert [item.body["file_name"] for item in await items(doors, 2)] == ["one.jpg", "two.jpg"]
    assert len({item.body["medium"] for item in found}) == 1, "the same content is one medium"
    assert len({item.body["case"] for item in found}) == 1, "the same name is one case"
    assert await doors.ports.documents.find("dead_letters", {}) == []


async def test_reading_the_whole_topic_again_changes_nothing(doors: Doors) -> None:
    missing = {"key": "ingress/default/late", "sha256": "0" * 64, "size_bytes": 5}
    await say(doors, offer("one", await put(doors)), offer("late", missing), b"garbage")
    await letters(doors, 2)
    await settled(doors)
    history = {name: len(await doors.ports.documents.history(name)) for name in ("arrivals", "items", "dead_letters")}
    # What was missing is there now; but nobody has sent the offer again.
    await doors.ports.objects.put("ingress/default/late", b"late!")
    from_the_start = ingress.group_of("default") + "-from-the-start"
    async with doors.ports.bus.subscribe(from_the_start, [ingress_topic("default")]) as subscription:
        deliveries: list[Any] = []
        async for batch in subscription.batches():
            deliveries += batch
            if len(deliveries) == 3:
                break
    for delivery in deliveries:
        await doors.upload_service._ingress.on_record(delivery)
    await settled(doors)
    for name, lines in history.items():
        assert len(await doors.ports.documents.history(name)) == lines, name


async def test_a_case_that_exists_is_offered_to_by_its_id(doors: Doors) -> None:
    case = await doors.case("by hand")
    found = await put(doors)
    await say(doors, offer("one", found, case={"id": case}), offer("two", found, case={"id": "nowhere"}))
    [item] = await items(doors, 1)
    assert item.body["case"] == case
    [letter] = await letters(doors)
    assert letter.body["reason"] == "no_such_case"
    [rejected] = await told(doors, m.OfferRejected)
    assert (rejected.body.id, rejected.body.code, rejected.body.case) == ("two", "no_such_case", "nowhere")


@pytest.mark.parametrize(
    ("deadline", "why"),
    [
        ("2001-01-01T00:00:00Z", "deadline lies in the past"),
        ("soon", "deadline is not an ISO 8601 time"),
        ("2099-01-01T00:00:00", "deadline has no time zone"),
    ],
)
async def test_an_offer_with_an_impossible_deadline_is_refused_by_its_field(
    doors: Doors, deadline: str, why: str
) -> None:
    await say(doors, offer("late", await put(doors), options={"deadline": deadline}))
    [rejected] = await told(doors, m.OfferRejected)
    assert (rejected.body.id, rejected.body.code) == ("late", "bad_options")
    assert why in rejected.body.reason
    await say(doors, offer("in time", await put(doors), options={"deadline": "2099-01-01T00:00:00Z"}))
    [item] = await items(doors, 1)
    assert item.body["origin"]["offer"] == "in time"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"key": "ingress/default/nothing"}, "object_missing"),
        ({"sha256": "0" * 64}, "hash_mismatch"),
        ({"size_bytes": len(BYTES) + 1}, "size_mismatch"),
    ],
)
async def test_an_object_that_is_not_what_was_said_is_a_dead_letter_and_told_of(
    doors: Doors, change: dict[str, Any], reason: str
) -> None:
    good = await put(doors)
    await say(doors, offer("bad", {**good, **change}), offer("good", good))
    [letter] = await letters(doors)
    assert (letter.tenant, letter.body["service"], letter.body["reason"]) == ("default", ingress.INGRESS, reason)
    assert letter.body["topic"] == ingress_topic("default")
    assert isinstance(letter.body["offset"], int)
    [rejected] = await told(doors, m.OfferRejected)
    assert (rejected.body.id, rejected.body.code, rejected.body.offset) == ("bad", reason, letter.body["offset"])
    assert rejected.body.reason
    assert rejected.body.remedy
    [item] = await items(doors, 1)
    assert item.body["file_name"] == "good.jpg"
    await settled(doors)
    originals = [info.key async for info in doors.ports.objects.list("t/default/originals")]
    assert len(originals) == 1


async def test_what_was_rejected_may_be_sent_again_corrected(doors: Doors) -> None:
    good = await put(doors)
    await say(doors, offer("one", {**good, "sha256": "0" * 64}))
    await letters(doors)
    await settled(doors)
    await say(doors, offer("one", good))
    [item] = await items(doors, 1)
    assert item.body["sha256"] == good["sha256"]
    await settled(doors)
    assert len(await letters(doors)) == 1


async def test_an_operator_has_an_offer_tried_again_once_its_object_is_there(doors: Doors) -> None:
    digest = hashlib.sha256(BYTES).hexdigest()
    absent = {"key": "ingress/default/later.jpg", "sha256": digest, "size_bytes": len(BYTES)}
    await say(doors, offer("one", absent))
    [letter] = await letters(doors)
    await put(doors, "later.jpg")
    async with doors.http.post(f"/v1/dead-letters/{letter.id}/retry") as answer:
        assert answer.status == 202, await answer.text()
    [item] = await items(doors, 1)
    assert item.body["sha256"] == digest


async def test_an_offer_waits_for_a_store_that_is_away_as_any_job_does(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failure, "SERVER_SECONDS", (0.0, 0.01))
    found = await put(doors)
    there_again, info, refusals = asyncio.Event(), doors.ports.objects.info, 0

    async def away(key: str) -> Any:
        nonlocal refusals
        if there_again.is_set():
            return await info(key)
        refusals += 1
        raise UnavailableError("connection refused", code="s3")

    monkeypatch.setattr(doors.ports.objects, "info", away)
    await say(doors, offer("one", found))

    async def refused_often() -> bool:
        return refusals > failure.MAX_ATTEMPTS

    await until(refused_often)
    [job] = await doors.ports.documents.find("jobs", {"kind": "take_in"})
    assert job.body["errors"][-1]["code"] == "s3"
    assert job.body["away_since"]
    assert job.body["attempts"] <= 1
    there_again.set()
    await items(doors, 1)
    assert await doors.ports.documents.find("dead_letters", {}) == []


async def test_an_offer_that_is_looked_at_later_hides_no_others_meanwhile(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_key: str) -> Any:
        raise UnavailableError("it is slow today", code="slow")

    monkeypatch.setattr(doors.ports.objects, "info", away)
    await say(doors, offer("one", await put(doors)))

    async def later() -> Document | None:
        jobs = await doors.ports.documents.find("jobs", {"kind": "take_in", "state": "ready"})
        return next((job for job in jobs if job.body["errors"]), None)

    job = await until(later)
    assert job.body["errors"][-1]["code"] == "waits"
    assert job.body["resting_until"] == job.body["not_before"] > job.body["submitted_at"]


async def test_another_offer_under_an_id_that_was_used_is_refused(doors: Doors) -> None:
    await say(doors, offer("one", await put(doors)))
    await items(doors, 1)
    await say(doors, offer("one", await put(doors, "two.jpg", b"other")))
    [letter] = await letters(doors)
    assert letter.body["reason"] == "id_reused"
    await settled(doors)
    assert len(await items(doors, 1)) == 1


async def test_a_body_that_names_another_tenant_is_refused_and_written_into_the_audit(doors: Doors) -> None:
    await doors.key(Role.admin, "other")
    await until(lambda: there(doors, "other"))
    good = await put(doors)
    theirs = await put(doors, tenant="other")
    await say(doors, offer("one", good, tenant="other"), offer("two", theirs), offer("three", good, tenant="default"))
    [item] = await items(doors, 1)
    assert item.body["file_name"] == "three.jpg"
    found = await letters(doors, 2)
    assert [letter.tenant for letter in found] == ["default"] * 2
    details = {letter.body["reason"]: letter.body["detail"] for letter in found}
    assert details["foreign_tenant"] == "tenant: it names 'other' on the topic of 'default'"
    assert details["foreign_object"].startswith("object.key: 'ingress/other/one.jpg'")
    rejected = {each.body.id: (each.tenant, each.body) for each in await told(doors, m.OfferRejected, 2)}
    assert {rejected["one"][0], rejected["two"][0]} == {"default"}, "whoever is named hears nothing of it"
    assert rejected["one"][1].reason == details["foreign_tenant"]
    assert "`tenant`" in rejected["one"][1].remedy
    lines = [entry.body for entry in await doors.ports.documents.read("audit/default")]
    assert {line["action"] for line in lines} == {"foreign_tenant", "foreign_object"}
    assert all(line["subject"].startswith(ingress_topic("default")) for line in lines)
    assert await doors.ports.documents.find("items", {"tenant": "other"}) == []


async def test_headers_say_nothing_about_whose_it_is(doors: Doors) -> None:
    await say(doors, offer("one", await put(doors)), b"garbage", aima_tenant="other", remark="hello")
    [item] = await items(doors, 1)
    assert item.tenant == "default"
    [letter] = await letters(doors)
    assert letter.tenant == "default"
    assert letter.body["headers"] == {"aima_tenant": "default", "remark": "hello"}


@pytest.mark.parametrize(
    "value",
    [b"", b"\x00\xff", b"[]", b'{"id": "x", "id": "y"}', b"[" * 60_000, b"x" * 100_000, b'{"a": NaN}'],
    ids=lambda value: repr(value[:8]),
)
async def test_garbage_is_set_aside_whole_with_its_coordinates_and_what_follows_is_taken(
    doors: Doors, value: bytes
) -> None:
    await say(doors, value, offer("behind it", await put(doors)))
    await items(doors, 1)
    [letter] = await letters(doors)
    assert letter.body["reason"] == "malformed_offer"
    assert letter.body["size_bytes"] == len(value)
    [rejected] = await told(doors, m.OfferRejected)
    assert (rejected.body.topic, rejected.body.offset) == (ingress_topic("default"), letter.body["offset"])


async def test_a_new_tenants_producers_are_heard_without_a_restart(doors: Doors) -> None:
    await doors.key(Role.reader, "late")
    await until(lambda: there(doors, "late"))
    await say(doors, offer("one", await put(doors, tenant="late")), tenant="late")
    [item] = await items(doors, 1, "late")
    assert item.tenant == "late"


async def test_a_tenant_without_a_key_is_not_heard_any_more(doors: Doors) -> None:
    token, key = await doors.gateway.keys.issue("brief", Role.reader, "test")
    assert token.text
    await until(lambda: there(doors, "brief"))
    await say(doors, offer("one", await put(doors, tenant="brief")), tenant="brief")
    await items(doors, 1, "brief")
    await doors.gateway.keys.revoke(key.id)

    async def not_heard() -> bool:
        members = doors.ports.bus._members  # type: ignore[attr-defined]
        return not any(ingress_topic("brief") in member._topics for member in members)

    await until(not_heard)
    await say(doors, offer("two", await put(doors, tenant="brief")), tenant="brief")
    await say(doors, offer("control", await put(doors)))
    await items(doors, 1)
    assert len(await items(doors, 1, "brief")) == 1


async def test_erasing_a_medium_removes_what_its_producer_left_and_it_does_not_come_back(doors: Doors) -> None:
    found = await put(doors)
    await say(doors, offer("one", found))
    [item] = await items(doors, 1)
    await settled(doors)
    wish = m.ErasureRequested(medium=item.body["medium"], requested_by="a test")
    time = doors.ports.clock.now()
    record = tell(wish, tenant="default", key=item.body["medium"], cause="a test", time=time)
    await doors.upload_service.on_erasure_requested(decode(record))
    assert await doors.ports.objects.info(found["key"]) is None
    await put(doors)
    await say(doors, offer("one", found))
    await settled(doors)
    [after] = await items(doors, 1)
    assert (after.state, after.body["origin"]) == ("erased", None)


# ------------------------------------------------------------------------------------------------ files by URL


@pytest.fixture
async def site() -> AsyncIterator[Any]:
    """Serve a file, and some trouble, on this machine."""
    asked: list[str] = []
    trouble = {"left": 1}

    async def serve(request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        asked.append(name)
        if name == "elsewhere":
            raise web.HTTPFound("/file.jpg")
        if name == "flaky" and trouble["left"]:
            trouble["left"] -= 1
            raise web.HTTPServiceUnavailable
        if name not in {"file.jpg", "flaky"}:
            raise web.HTTPNotFound
        return web.Response(body=BYTES)

    app = web.Application()
    app.router.add_get("/{name}", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    listening = web.TCPSite(runner, "127.0.0.1", 0)
    await listening.start()
    port = runner.addresses[0][1]
    yield f"http://127.0.0.1:{port}", asked
    await runner.cleanup()


async def test_a_url_is_fetched_where_its_host_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: Any
) -> None:
    monkeypatch.setattr(ingress, "LOOK_SECONDS", 0.05)
    address, asked = site
    allowed = frozenset({"127.0.0.1"})
    async with running(tmp_path / "data", url_hosts=allowed, private_hosts=allowed) as doors:
        await until(lambda: there(doors, "default"))
        digest = hashlib.sha256(BYTES).hexdigest()
        known = {"url": f"{address}/file.jpg", "sha256": digest, "size_bytes": len(BYTES)}
        await say(
            doors,
            offer("one", None, url={"url": f"{address}/file.jpg"}),
            offer("two", None, url=known),
            offer("gone", None, url={"url": f"{address}/nothing"}),
            offer("elsewhere", None, url={"url": f"{address}/elsewhere"}),
            offer("changed", None, url={**known, "sha256": "0" * 64}),
            offer("inside", None, url={"url": "http://127.0.0.2/file.jpg"}),
            offer("flaky", None, url={"url": f"{address}/flaky"}),
        )
        assert {item.body["file_name"] for item in await items(doors, 3)} == {"one.jpg", "two.jpg", "flaky.jpg"}
        reasons = {envelope.body.id: envelope.body.code for envelope in await told(doors, m.OfferRejected, count=4)}
        assert reasons == {
            "gone": "fetch_refused",
            "elsewhere": "fetch_refused",
            "changed": "hash_mismatch",
            "inside": "address_not_allowed",
        }
        assert asked.count("flaky") == 2


async def test_a_url_is_not_fetched_unless_its_host_was_allowed(doors: Doors, site: Any) -> None:
    address, asked = site
    wanted = [
        offer("http", None, url={"url": f"{address}/file.jpg"}),
        offer("https", None, url={"url": "https://media.example.org/file.jpg"}),
    ]
    await say(doors, *wanted, offer("control", await put(doors)))
    reasons = {envelope.body.id: envelope.body.code for envelope in await told(doors, m.OfferRejected, count=2)}
    assert reasons == {"http": "address_not_allowed", "https": "url_not_allowed"}
    assert asked == []
    await items(doors, 1)
