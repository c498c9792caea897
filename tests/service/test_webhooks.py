"""Webhooks: signed, tried again, never led inside, and visible when they fail."""

import asyncio
import base64
import datetime
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from aima_client.webhooks import WebhookError, WebhookVerifier
from aima_common import wiring
from aima_common.contracts.outside import Notice, NoticeType
from aima_common.egress import Egress
from aima_common.ports.documents import Change, Document, Expect, Lease
from aima_gateway import webhook_delivery, webhook_rules
from aima_gateway.keys import Role
from aima_gateway.webhook_delivery import WebhookDelivery
from aima_gateway.webhooks import Webhooks
from tests.service.conftest import Doors, bearer, running
from tests.service.stage import NOW


@dataclass
class Receiver:
    """A real server that takes deliveries, as well as it feels like."""

    url: str
    statuses: list[int] = field(default_factory=list)
    """What it answers next; afterwards 200."""
    asked: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.StreamResponse:
        self.seen.append(request.path)
        self.asked.append((dict(request.headers), await request.read()))
        status = self.statuses.pop(0) if self.statuses else 200
        headers = {"Location": "/elsewhere"} if 300 <= status < 400 else {}
        return web.Response(status=status, headers=headers)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver("")
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield made
    await runner.cleanup()


@dataclass
class Office:
    """The store of webhooks and whoever delivers, with a clock that can be put forward."""

    webhooks: Webhooks
    ports: Any
    clock: "Clock"
    delivery: WebhookDelivery

    async def notice(self, sequence: int = 1, kind: NoticeType = NoticeType.ANALYSED, tenant: str = "default") -> None:
        notice = Notice(type=kind, sequence=sequence, time=NOW.isoformat(), item="item", case="case")
        await self.webhooks.enqueue(tenant, "item", notice)

    async def hook(self, url: str, *types: NoticeType) -> tuple[Document, str]:
        return await self.webhooks.create("default", url, [str(kind) for kind in types or NoticeType], "")

    async def state(self, hook: Document) -> Document:
        found = await self.ports.documents.load("webhooks", hook.id)
        assert found is not None
        return found  # type: ignore[no-any-return]

    async def deliveries(self, state: str) -> list[Document]:
        return list(await self.ports.documents.find("deliveries", {"state": state}))

    async def until(self, condition: Callable[[], Awaitable[Any]]) -> Any:
        async with asyncio.timeout(20):
            while not (found := await condition()):
                await asyncio.sleep(0.02)
        return found

    async def until_tried(self, receiver: Receiver, times: int) -> None:
        async def enough() -> bool:
            waiting = await self.deliveries("waiting")
            return len(receiver.asked) >= times and not any(one.holder for one in waiting)

        await self.until(enough)


class Clock:
    """The wall's time, put forward by hand."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.ahead = datetime.timedelta()

    def now(self) -> datetime.datetime:
        return self._inner.now() + self.ahead  # type: ignore[no-any-return]

    def monotonic(self) -> float:
        return float(self._inner.monotonic())

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


@pytest.fixture
async def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Office]:
    monkeypatch.setattr(webhook_delivery, "POLL_SECONDS", 0.02)
    async with wiring.embedded(tmp_path) as embedded:
        clock = Clock(embedded.clock)
        ports = replace(embedded, clock=clock)
        webhooks = Webhooks(ports)
        delivery = WebhookDelivery(ports, webhooks, Egress({"127.0.0.1"}), random.Random(1))
        life = asyncio.create_task(delivery.deliver())
        yield Office(webhooks, ports, clock, delivery)
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)


def verifier(secret: str, office: Office | None = None) -> WebhookVerifier:
    """Verify by the office's clock, or by the real one."""
    return WebhookVerifier(secret, clock=lambda: office.clock.now().timestamp()) if office else WebhookVerifier(secret)


async def test_a_delivery_is_signed_and_says_what_happened(office: Office, receiver: Receiver) -> None:
    _, secret = await office.hook(receiver.url)
    await office.notice()
    await office.until_tried(receiver, 1)
    [(headers, body)] = receiver.asked
    told = verifier(secret).verify(headers, body)
    assert (told["type"], told["tenant"], told["subject"]) == ("analysed", "default", "item")
    assert (told["data"]["case"], told["data"]["sequence"]) == ("case", 1)
    assert headers["Content-Type"] == "application/json"
    [delivered] = await office.deliveries("delivered")
    assert delivered.id == headers["webhook-id"]


async def test_what_was_tampered_with_is_refused(office: Office, receiver: Receiver) -> None:
    _, secret = await office.hook(receiver.url)
    await office.notice()
    await office.until_tried(receiver, 1)
    [(headers, body)] = receiver.asked
    other = base64.b64encode(b"x" * 32).decode()
    later = str(int(headers["webhook-timestamp"]) + 1)
    cases = [
        (secret, headers, body.replace(b"analysed", b"rejected"), "wrong_signature"),
        (secret, {**headers, "webhook-id": "another"}, body, "wrong_signature"),
        (secret, {**headers, "webhook-timestamp": later}, body, "wrong_signature"),
        (secret, {**headers, "webhook-signature": "v1,AAAA"}, body, "wrong_signature"),
        (secret, {**headers, "webhook-signature": "v2" + headers["webhook-signature"][2:]}, body, "wrong_signature"),
        (f"whsec_{other}", headers, body, "wrong_signature"),
        (secret, {**headers, "webhook-timestamp": "soon"}, body, "malformed"),
        (secret, {name: value for name, value in headers.items() if name != "webhook-id"}, body, "malformed"),
    ]
    for shown, given, content, code in cases:
        with pytest.raises(WebhookError) as refused:
            verifier(shown).verify(given, content)
        assert refused.value.code == code
    assert verifier(secret).verify(headers, body)
    upper = {name.upper(): value for name, value in headers.items()}
    both = {**upper, "WEBHOOK-SIGNATURE": f"v1,AAAA {headers['webhook-signature']}"}
    assert verifier(secret).verify(both, body), "one of several signatures is enough, while a secret is changed"


async def test_what_is_replayed_is_refused_at_once_and_after_a_while(office: Office, receiver: Receiver) -> None:
    _, secret = await office.hook(receiver.url)
    await office.notice()
    await office.until_tried(receiver, 1)
    [(headers, body)] = receiver.asked
    door = verifier(secret, office)
    assert door.verify(headers, body)
    with pytest.raises(WebhookError) as refused:
        door.verify(headers, body)
    assert refused.value.code == "replayed"
    door.forget(headers)
    assert door.verify(headers, body), "whoever could not work on it may be asked once more"
    office.clock.ahead += datetime.timedelta(seconds=330)
    for one in (door, verifier(secret, office)):
        with pytest.raises(WebhookError) as refused:
            one.verify(headers, body)
        assert refused.value.code == "too_old"
    office.clock.ahead -= datetime.timedelta(seconds=2 * 330)
    with pytest.raises(WebhookError) as refused:
        verifier(secret, office).verify(headers, body)
    assert refused.value.code == "too_new"


async def test_a_failed_delivery_is_tried_again_under_its_id_with_a_new_time(
    office: Office, receiver: Receiver
) -> None:
    hook, secret = await office.hook(receiver.url)
    receiver.statuses = [500, 503]
    await office.notice()
    await office.until_tried(receiver, 1)
    failing = await office.state(hook)
    assert (failing.state, failing.body["failures"]) == ("active", 1)
    assert "500" in failing.body["last_error"]
    assert failing.body["failing_since"]
    for ahead, tries in ((10, 2), (30, 3)):
        office.clock.ahead += datetime.timedelta(seconds=ahead)
        await office.until_tried(receiver, tries)
    ids = {headers["webhook-id"] for headers, _ in receiver.asked}
    stamps = [int(headers["webhook-timestamp"]) for headers, _ in receiver.asked]
    assert len(ids) == 1
    assert stamps == sorted(set(stamps))
    assert verifier(secret, office).verify(*receiver.asked[-1])
    [delivered] = await office.until(lambda: office.deliveries("delivered"))
    assert delivered.body["attempts"] == 3

    async def well() -> bool:
        return (await office.state(hook)).body["failing_since"] is None

    await office.until(well)


async def test_while_a_receiver_fails_one_delivery_asks_whether_it_is_back(office: Office, receiver: Receiver) -> None:
    await office.hook(receiver.url)
    receiver.statuses = [500]
    await office.notice(1)
    await office.until_tried(receiver, 1)
    for sequence in range(2, 12):
        await office.notice(sequence)

    async def all_wait_until_later() -> bool:
        now = office.clock.now().isoformat()
        return all(one.body["due_at"] > now for one in await office.deliveries("waiting"))

    await office.until(all_wait_until_later)
    assert len(receiver.asked) == 1
    office.clock.ahead += datetime.timedelta(seconds=20)
    await office.until_tried(receiver, 12)
    assert len(await office.deliveries("delivered")) == 11


async def test_a_receiver_that_fails_for_a_day_is_disabled_visibly_and_may_be_enabled(
    office: Office, receiver: Receiver
) -> None:
    hook, _ = await office.hook(receiver.url)
    receiver.statuses = [500] * 100
    await office.notice()
    await office.until_tried(receiver, 1)
    for hours in (3, 12, 12):
        tries = len(receiver.asked)
        office.clock.ahead += datetime.timedelta(hours=hours)
        await office.until_tried(receiver, tries + 1)

    async def disabled() -> bool:
        return (await office.state(hook)).state == "disabled"

    await office.until(disabled)
    await office.until(lambda: office.deliveries("given_up"))
    tries = len(receiver.asked)
    office.webhooks._active.clear()
    await office.notice(2)
    assert await office.deliveries("waiting") == [], "nothing more is owed to it"
    receiver.statuses = []
    enabled = await office.webhooks.enable(await office.state(hook))
    assert enabled is not None
    assert (enabled.state, enabled.body["failing_since"]) == ("active", None)
    await office.notice(3)
    await office.until_tried(receiver, tries + 1)
    assert len(await office.deliveries("delivered")) == 1


async def test_a_receiver_that_is_gone_for_good_is_disabled_at_once(office: Office, receiver: Receiver) -> None:
    hook, _ = await office.hook(receiver.url)
    receiver.statuses = [410]
    await office.notice()
    await office.until(lambda: office.deliveries("given_up"))
    assert (await office.state(hook)).state == "disabled"


async def test_redirects_are_not_followed(office: Office, receiver: Receiver) -> None:
    hook, _ = await office.hook(receiver.url)
    receiver.statuses = [302]
    await office.notice()
    await office.until_tried(receiver, 1)
    assert receiver.seen == ["/hook"]
    assert "302" in (await office.state(hook)).body["last_error"]


async def test_only_the_types_that_were_asked_for_are_delivered_each_once(office: Office, receiver: Receiver) -> None:
    await office.hook(receiver.url, NoticeType.ANALYSED)
    await office.notice(1, NoticeType.PROGRESS)
    for _ in range(3):
        await office.notice(2, NoticeType.ANALYSED)
    await office.notice(3, NoticeType.ANALYSED, tenant="other")
    await office.until_tried(receiver, 1)
    await asyncio.sleep(0.1)
    assert [json.loads(body)["data"]["sequence"] for _, body in receiver.asked] == [2]


async def test_what_a_process_that_died_was_sending_is_sent_by_another(office: Office, receiver: Receiver) -> None:
    await office.hook(receiver.url)
    office.delivery._wake.clear()
    hook = (await office.webhooks.of_tenant("default"))[0]
    await office.ports.documents.transition("webhooks", hook.id, change=Change(set={"retry_at": "9999"}))
    await office.notice()

    async def postponed() -> list[Document]:
        return [one for one in await office.deliveries("waiting") if one.body["due_at"] == "9999"]

    [waiting] = await office.until(postponed)
    lease = Lease("a process that died", 0.2)
    await office.ports.documents.transition("deliveries", waiting.id, expect=Expect("waiting"), lease=lease)
    await office.ports.documents.transition("webhooks", hook.id, change=Change(set={"retry_at": None}))
    now = office.clock.now().isoformat()
    await office.ports.documents.transition("deliveries", waiting.id, change=Change(set={"due_at": now}))
    await office.until_tried(receiver, 1)
    assert len(await office.deliveries("delivered")) == 1


async def test_an_address_inside_is_not_gone_to_unless_the_operator_says_so(tmp_path: Path, receiver: Receiver) -> None:
    inside = receiver.url.replace("127.0.0.1", "localhost")
    async with wiring.embedded(tmp_path) as ports:
        webhooks = Webhooks(ports)
        hook, _ = await webhooks.create("default", inside, ["analysed"], "")
        allowed, _ = await webhooks.create("default", receiver.url, ["analysed"], "")
        # A name that was public when it was subscribed, and leads inside when it is asked.
        https = inside.replace("http://", "https://")
        rebound, _ = await webhooks.create("default", https, ["analysed"], "")
        delivery = WebhookDelivery(ports, webhooks, Egress({"127.0.0.1"}))
        life = asyncio.create_task(delivery.deliver())
        notice = Notice(type=NoticeType.ANALYSED, sequence=1, time=NOW.isoformat())
        await webhooks.enqueue("default", "item", notice)
        async with asyncio.timeout(20):
            while len([one for one in await webhooks.of_tenant("default") if one.body["last_error"]]) < 2:
                await asyncio.sleep(0.02)
            while not (await ports.documents.find("deliveries", {"state": "delivered"})):
                await asyncio.sleep(0.02)
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)
        found = {one.id: one.body["last_error"] for one in await webhooks.of_tenant("default")}
        assert "https://" in found[hook.id]
        assert "no public address" in found[rebound.id]
        assert found[allowed.id] is None
        assert len(receiver.asked) == 1


def test_retries_grow_to_hours_and_are_spread() -> None:
    waits = [webhook_rules.retry_seconds(failures, 0.5) for failures in range(1, 15)]
    assert waits[:3] == [5.0, 15.0, 45.0]
    assert waits == sorted(waits)
    assert waits[-1] == webhook_rules.LONGEST_RETRY_SECONDS
    assert webhook_rules.retry_seconds(1, 0.0) < webhook_rules.retry_seconds(1, 1.0)


# --------------------------------------------------------------------------------------------------- over HTTP


@pytest.fixture
async def doors(tmp_path: Path) -> AsyncIterator[Doors]:
    async with running(tmp_path / "data", private_hosts=frozenset({"127.0.0.1"})) as found:
        yield found


async def post(doors: Doors, body: Any, **headers: str) -> tuple[int, dict[str, Any]]:
    async with doors.http.post("/v1/webhooks", json=body, headers=headers) as answer:
        return answer.status, await answer.json()


async def test_a_subscription_shows_its_secret_once_and_tells_of_what_is_uploaded(
    doors: Doors, receiver: Receiver
) -> None:
    status, made = await post(doors, {"url": receiver.url, "description": "the archive"})
    assert status == 201, made
    assert made["secret"].startswith("whsec_")
    assert "progress" not in made["types"]
    async with doors.http.get("/v1/webhooks") as answer:
        text = await answer.text()
    assert made["secret"] not in text
    assert json.loads(text)["webhooks"][0]["description"] == "the archive"
    uploaded = await doors.upload(await doors.case(), b"hello")
    async with asyncio.timeout(20):
        while not receiver.asked:
            await asyncio.sleep(0.02)
    told = WebhookVerifier(made["secret"]).verify(*receiver.asked[0])
    assert (told["type"], told["data"]["item"]) == ("accepted", uploaded["item"])
    async with doors.http.delete(f"/v1/webhooks/{made['id']}") as answer:
        assert answer.status == 204
    await doors.upload(await doors.case(), b"hello again")
    await doors.upload(await doors.case(), b"and again")
    async with doors.http.get(f"/v1/webhooks/{made['id']}") as answer:
        assert answer.status == 404
    assert await doors.ports.documents.find("deliveries", {"state": "waiting"}) == []
    assert len(receiver.asked) == 1


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"url"}),
        ({"url": 7}, {"url"}),
        ({"url": "https://example.org/" + "x" * 2000}, {"url"}),
        ({"url": "https://example.org", "types": []}, {"types"}),
        ({"url": "https://example.org", "types": ["everything"]}, {"types"}),
        ({"url": "https://example.org", "types": "analysed", "colour": 1}, {"types", "colour"}),
        ({"url": "http://example.org"}, {"url"}),
        ({"url": "https://10.0.0.1"}, {"url"}),
        ({"url": "https://[::1]/"}, {"url"}),
        ({"url": "https://user:pass@example.org"}, {"url"}),
    ],
)
async def test_a_subscription_that_cannot_be_made_is_refused_by_field(
    doors: Doors, body: dict[str, Any], fields: set[str]
) -> None:
    status, problem = await post(doors, body)
    assert status == 422
    assert {error["field"] for error in problem["errors"]} == fields
    assert problem["remedy"]
    assert (await post(doors, {"url": "https://example.org"}))[0] == 201


async def test_webhooks_are_their_tenants_and_their_admins(doors: Doors, receiver: Receiver) -> None:
    _, made = await post(doors, {"url": receiver.url})
    for role in (Role.reader, Role.writer):
        assert (await post(doors, {"url": receiver.url}, **bearer(await doors.key(role))))[0] == 403
    assert (await post(doors, {"url": receiver.url}, **bearer(await doors.key(Role.admin))))[0] == 201
    other = bearer(await doors.key(Role.operator, "other"))
    async with doors.http.get("/v1/webhooks", headers=other) as answer:
        assert (await answer.json())["webhooks"] == []
    for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/enable")):
        async with doors.http.request(method, f"/v1/webhooks/{made['id']}{path}", headers=other) as answer:
            assert answer.status == 404
    lines = [entry.body["action"] for entry in await doors.ports.documents.read("audit/default")]
    assert lines.count("create_webhook") == 2


async def test_a_tenant_has_a_bounded_number_of_webhooks(doors: Doors) -> None:
    for _ in range(webhook_rules.MAX_PER_TENANT):
        assert (await post(doors, {"url": "https://example.org"}))[0] == 201
    status, problem = await post(doors, {"url": "https://example.org"})
    assert (status, problem["code"]) == (409, "too_many_webhooks")
