"""Several gateways on one store keep a tenant within its limits together, whatever becomes of its uploads."""

import asyncio
import base64
import contextlib
import datetime
import hashlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from aima_client import Client
from aima_client.errors import BusyError
from aima_common.errors import UnavailableError
from aima_gateway import tenants, upload_room
from aima_gateway.keys import Role
from aima_gateway.pace import PART_SECONDS
from aima_gateway.service import Gateway
from aima_gateway.settings import Settings
from aima_gateway.tenant_limits import Amount, TenantLimits
from aima_gateway.usage import Usage
from tests.service.conftest import SECRET, Doors, bearer, running


@dataclass
class Place:
    """Several gateways before one upload service."""

    doors: Doors
    gateways: list[Gateway]
    clients: list[aiohttp.ClientSession]
    """One per gateway, with a key of the tenant."""
    case: str
    refusals: list[tuple[str, int]] = field(default_factory=list)
    """Code of the problem, and Retry-After."""

    async def send(
        self, gateway: int, data: Any, name: str = "file.bin", key: str | None = None, **query: str
    ) -> tuple[int, dict[str, Any]]:
        """Upload a file through one of the gateways."""
        headers = {"Idempotency-Key": key} if key else {}
        asked = {"case": self.case, "file_name": name, **query}
        async with self.clients[gateway].post("/v1/uploads", params=asked, data=data, headers=headers) as answer:
            told = await answer.json()
            if answer.status in {429, 503}:
                self.refusals.append((told["code"], int(answer.headers["Retry-After"])))
            return answer.status, dict(told)

    async def sent_at_last(self, gateway: int, data: bytes) -> int:
        """Upload a file, and come back while what other gateways hold may be in the way."""
        async with asyncio.timeout(20):
            while True:
                status, told = await self.send(gateway, data)
                if status != 429 or "under way" not in told["detail"]:
                    return status
                await asyncio.sleep(0.2)

    async def accepted(self) -> Amount:
        """Count what was accepted, anew."""
        items = await self.doors.ports.documents.find("items", {"tenant": "default"}, limit=10_000)
        return Amount(0, len(items), sum(int(item.body["size_bytes"]) for item in items))

    async def counted(self) -> Amount:
        """Tell what the gateways count by."""
        return await Usage(self.doors.ports).today("default")


@contextlib.asynccontextmanager
async def several(folder: Path, limits: TenantLimits, count: int = 2, *, shared: bool = True) -> AsyncIterator[Place]:
    """Run `count` gateways with these limits of a tenant."""
    async with running(folder) as doors, contextlib.AsyncExitStack() as stack:
        key = bearer(await doors.key(Role.admin))
        case = await doors.case()

        async def urls() -> list[str]:
            return [doors.upload_url]

        gateways, clients = [], []
        for _ in range(count):
            settings = Settings(secret=SECRET, poll_seconds=0.05, tenants=limits, shared_limits=shared)
            gateway = Gateway(doors.ports, settings, upload_urls=urls)
            for loop in (gateway.serve, gateway.tenants.room.keep):
                task = asyncio.create_task(loop())
                stack.push_async_callback(_ended, task)
            gateways.append(gateway)
            session = aiohttp.ClientSession(await gateway.url(), headers=key, connector=aiohttp.TCPConnector(limit=0))
            clients.append(await stack.enter_async_context(session))
        yield Place(doors, gateways, clients, case)


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("shared", [True, False])
async def test_all_gateways_together_keep_a_tenants_pace(tmp_path: Path, *, shared: bool) -> None:
    limits = TenantLimits(requests_per_second=5)
    async with several(tmp_path, limits, 4, shared=shared) as place:

        async def ask(client: aiohttp.ClientSession) -> int:
            async with client.get("/v1/cases") as answer:
                if answer.status == 429:
                    problem = await answer.json()
                    assert problem["code"] == "too_many_requests"
                    assert "this tenant's keys together" in problem["detail"]
                    assert int(answer.headers["Retry-After"]) >= 1
                return answer.status

        began = time.monotonic()
        answers = Counter(await asyncio.gather(*(ask(client) for client in place.clients for _ in range(40))))
        most = 20 + 5 * (time.monotonic() - began + PART_SECONDS)
    assert set(answers) == {200, 429}
    # The control: gateways that each count for themselves let through what four of them may.
    assert (answers[200] <= most) is shared


async def slow(begun: asyncio.Event, go_on: asyncio.Event) -> AsyncIterator[bytes]:
    """Send half a file, and the rest when told to."""
    yield b"some "
    begun.set()
    await go_on.wait()
    yield b"bytes"


@pytest.mark.parametrize("shared", [True, False])
async def test_all_gateways_together_keep_a_tenants_uploads_at_once(tmp_path: Path, *, shared: bool) -> None:
    async with several(tmp_path, TenantLimits(uploads_at_once=3), shared=shared) as place:
        go_on = asyncio.Event()
        sending = [
            asyncio.create_task(place.send(number % 2, slow(asyncio.Event(), go_on), f"{number}.bin"))
            for number in range(8)
        ]
        refused = 5 if shared else 2
        async with asyncio.timeout(20):
            while len(place.refusals) < refused:
                await asyncio.sleep(0.02)
        go_on.set()
        answers = Counter(status for status, _ in await asyncio.gather(*sending))
        assert answers == ({201: 3, 429: 5} if shared else {201: 6, 429: 2})
        assert {code for code, _ in place.refusals} == {"too_many_uploads"}
        assert all(1 <= seconds <= 3 for _, seconds in place.refusals)
        # What has ended makes room.
        assert await place.sent_at_last(0, b"later") == 201
        assert await place.sent_at_last(1, b"later still") == 201


async def test_a_quota_counts_accepted_items_once_whatever_becomes_of_the_others(tmp_path: Path) -> None:
    async with several(tmp_path, TenantLimits(items_per_day=20, bytes_per_day=10_000)) as place:

        async def one(number: int) -> int:
            data = f"file {number}".encode()
            match number % 4:
                case 0:
                    return (await place.send(number % 3 % 2, data, f"{number}.bin"))[0]
                case 1:
                    # The same request twice, through both gateways at the same time.
                    both = (place.send(gateway, data, f"{number}.bin", key=f"key {number}") for gateway in (0, 1))
                    return min(status for status, _ in await asyncio.gather(*both))
                case 2:
                    return (await place.send(1, data, f"{number}.bin", sha256="0" * 64))[0]
            return await broken_off(place, number)

        answers = Counter(
            [status for part in range(4) for status in await _together(one, range(part * 12, part * 12 + 12))]
        )
        assert set(answers) <= {201, 409, 422, 429, 0}
        assert answers[201] <= 20
        while (await place.accepted()).items < 20:
            assert await place.sent_at_last(0, b"one more") == 201
        accepted = await place.accepted()
        assert accepted.items == 20
        assert await place.counted() == accepted
        assert await place.sent_at_last(1, b"too much") == 429
        status, problem = await place.send(1, b"too much")
        assert (status, problem["code"]) == (429, "quota")
        assert "20 of the 20 items" in problem["detail"]
        assert place.refusals[-1][1] >= _seconds_left() - 5
        # Whoever repeats a request that was answered gets the same answer, and nothing is counted.
        again = await place.send(0, b"file 1", "1.bin", key="key 1")
        assert again[0] == 201
        assert await place.accepted() == accepted


async def _together(work: Any, numbers: Iterable[int]) -> list[int]:
    return list(await asyncio.gather(*(work(number) for number in numbers)))


async def broken_off(place: Place, number: int) -> int:
    """Begin an upload and go away in the middle of it."""
    begun = asyncio.Event()
    sending = asyncio.create_task(place.send(number % 2, slow(begun, asyncio.Event()), f"{number}.bin"))
    waiting = asyncio.create_task(begun.wait())
    await asyncio.wait({sending, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    sending.cancel()
    with contextlib.suppress(asyncio.CancelledError, aiohttp.ClientError):
        return (await sending)[0]
    return 0


def _seconds_left() -> int:
    now = datetime.datetime.now(datetime.UTC)
    return 86_400 - (now.hour * 3600 + now.minute * 60 + now.second)


async def test_a_client_is_told_at_once_when_a_quota_is_used_up_until_tomorrow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def sleep(seconds: float) -> None:
        raise AssertionError(f"it waits {seconds:.0f} s, and nobody wants that")

    file = tmp_path / "file.bin"
    file.write_bytes(b"too large")
    async with several(tmp_path / "data", TenantLimits(bytes_per_day=5), 1) as place:
        own = SimpleNamespace(sleep=sleep, IncompleteReadError=asyncio.IncompleteReadError)
        monkeypatch.setattr("aima_client.transport.asyncio", own)
        async with Client(str(place.clients[0]._base_url), await place.doors.key(Role.writer)) as aima:
            with aima.patient(7 * 86_400, lambda *_: None), pytest.raises(BusyError, match="0 of the 5 bytes") as told:
                await aima.upload(place.case, file)
    assert told.value.code == "quota"


async def test_bytes_are_counted_however_they_come(tmp_path: Path) -> None:
    async with several(tmp_path, TenantLimits(bytes_per_day=1000)) as place:
        client = place.clients[0]
        assert (await place.send(0, bytes(300)))[0] == 201
        # Content that is here already is an item, too.
        known = {
            "case": place.case,
            "file_name": "x",
            "sha256": hashlib.sha256(bytes(300)).hexdigest(),
            "size_bytes": 300,
        }
        async with client.post("/v1/uploads/known", json=known) as answer:
            assert answer.status == 201
        metadata = ",".join(
            f"{name} {base64.b64encode(value.encode()).decode()}"
            for name, value in {"case": place.case, "filename": "parts.bin"}.items()
        )
        begin = {"Upload-Length": "350", "Upload-Metadata": metadata, "Tus-Resumable": "1.0.0"}
        begun = []
        for _ in range(2):
            async with client.post("/v1/uploads", headers=begin) as answer:
                assert answer.status == 201
                begun.append(answer.headers["Location"])
        part = {"Content-Type": "application/offset+octet-stream", "Tus-Resumable": "1.0.0"}
        for offset, size, status in ((0, 200, 204), (200, 150, 204)):
            headers = {**part, "Upload-Offset": str(offset)}
            async with client.patch(begun[0], data=bytes([1]) * size, headers=headers) as answer:
                assert answer.status == status
        assert await place.counted() == await place.accepted() == Amount(0, 3, 950)
        # A whole file of 350 bytes no longer fits, so no part of it is taken either.
        async with client.patch(begun[1], data=bytes(200), headers={**part, "Upload-Offset": "0"}) as answer:
            assert (answer.status, (await answer.json())["code"]) == (429, "quota")
        assert await place.sent_at_last(1, bytes(50)) == 201
        assert await place.sent_at_last(1, b"1") == 429

        async def without_length() -> AsyncIterator[bytes]:
            yield b"how many will come?"

        status, problem = await place.send(0, without_length())
        assert (status, problem["code"]) == (411, "no_length")
        assert await place.accepted() == Amount(0, 4, 1000)


async def test_an_operator_sets_the_limits_of_one_tenant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tenants, "KNOWN_SECONDS", 0.0)
    monkeypatch.setattr(upload_room, "REFUSED_SECONDS", 0.0)
    async with several(tmp_path, TenantLimits(items_per_day=1)) as place:
        assert await place.sent_at_last(0, b"one") == 201
        assert await place.sent_at_last(0, b"two") == 429
        own = tenants.Tenants(place.doors.ports.documents, TenantLimits(items_per_day=1))
        assert (await own.change("default", {"items_per_day": 2})).items_per_day == 2
        assert await place.sent_at_last(1, b"two") == 201
        assert await place.sent_at_last(0, b"three") == 429
        assert (await own.change("default", {"items_per_day": 0, "uploads_at_once": 5})).items_per_day is None
        assert (await place.send(0, b"three"))[0] == 201
        assert await own.change("default", {"items_per_day": None}) == TenantLimits(uploads_at_once=5, items_per_day=1)
        assert (await place.send(0, b"four"))[0] == 429


async def test_tenants_do_not_share_their_limits(tmp_path: Path) -> None:
    async with several(tmp_path, TenantLimits(items_per_day=1, requests_per_second=1000)) as place:
        assert (await place.send(0, b"one"))[0] == 201
        assert (await place.send(0, b"two"))[0] == 429
        other = bearer(await place.doors.key(Role.admin, "other"))
        async with place.clients[1].post("/v1/cases", json={"name": "x"}, headers=other) as answer:
            case = (await answer.json())["id"]
        asked = {"case": case, "file_name": "x"}
        async with place.clients[1].post("/v1/uploads", params=asked, data=b"one", headers=other) as answer:
            assert answer.status == 201


@pytest.mark.parametrize("missing", ["counters", "tenants"])
async def test_without_the_counters_uploads_wait_and_reads_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    limits = TenantLimits(requests_per_second=50, uploads_at_once=3)
    async with several(tmp_path, limits) as place:
        documents = place.doors.ports.documents
        load = documents.load

        async def away(collection: str, identity: str) -> Any:
            if collection == missing:
                raise UnavailableError("no route to 10.0.0.7", code="mongodb")
            return await load(collection, identity)

        monkeypatch.setattr(documents, "load", away)
        status, problem = await place.send(0, b"one")
        assert (status, problem["code"]) == (503, "store_away")
        assert "10.0.0.7" not in str(problem)
        async with place.clients[0].get("/v1/cases") as answer:
            assert answer.status == 200
        monkeypatch.setattr(documents, "load", load)
        assert (await place.send(0, b"one"))[0] == 201


async def test_what_a_gateway_held_is_free_when_it_stops(tmp_path: Path) -> None:
    async with several(tmp_path, TenantLimits(uploads_at_once=2)) as place:
        assert (await place.send(0, b"one"))[0] == 201
        room = await place.doors.ports.documents.load("counters", "room/default")
        assert room is not None
        assert len(room.body["holders"]) == 1
        documents = place.doors.ports.documents
        keeping = asyncio.create_task(place.gateways[0].tenants.room.keep())
        await asyncio.sleep(0)
        await _ended(keeping)
        room = await documents.load("counters", "room/default")
        assert room is not None
        assert room.body["holders"] == {}
