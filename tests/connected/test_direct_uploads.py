"""Files that clients send straight into a bucket: accepted only when they are what was declared."""

import asyncio
import dataclasses
import hashlib
import io
import os
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from aima_client import Client, sending
from aima_client import direct as client_direct
from aima_common.adapters.s3 import connection as s3_connection
from aima_common.adapters.s3 import direct as s3_direct
from aima_common.adapters.s3.settings import S3Settings
from aima_common.adapters.s3_objects import S3Objects
from aima_common.contracts import messages as m
from aima_common.errors import PermanentError
from aima_common.ports.documents import Document
from aima_gateway.keys import Role
from aima_servers import Served
from aima_upload import direct
from tests.service.conftest import Doors, running
from tests.service.test_upload_whole import announced

PART = 5 << 20
FEW = b"few enough to be sent before the answer comes"


@pytest.fixture
def data() -> bytes:
    return os.urandom(2 * PART + 12_345)


@pytest.fixture
async def objects(any_s3_server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[S3Objects]:
    monkeypatch.setattr(s3_direct, "PART_BYTES", PART)
    keys = (any_s3_server.access_key, any_s3_server.secret_key)
    settings = S3Settings(any_s3_server.address, *keys, bucket=f"t{secrets.token_hex(8)}", scratch=tmp_path)
    async with S3Objects.at(settings) as plug:
        yield plug


@pytest.fixture
async def doors(tmp_path: Path, objects: S3Objects) -> AsyncIterator[Doors]:
    async with running(tmp_path / "data", objects=objects) as found:
        yield found


def declared(case: str, data: bytes, **changed: Any) -> dict[str, Any]:
    digest = hashlib.sha256(data).hexdigest()
    return {"case": case, "file_name": "film.mp4", "sha256": digest, "size_bytes": len(data), **changed}


async def begin(doors: Doors, asked: dict[str, Any], key: str = "once") -> dict[str, Any]:
    async with doors.http.post("/v1/uploads/direct", json=asked, headers={"Idempotency-Key": key}) as answer:
        assert answer.status == 201, await answer.text()
        return dict(await answer.json())


async def links(doors: Doors, upload: str, first: int = 1) -> list[str]:
    async with doors.http.get(f"/v1/uploads/{upload}/direct?first={first}") as answer:
        assert answer.status == 200, await answer.text()
        return list((await answer.json())["urls"])


async def send(urls: list[str], data: bytes) -> list[int]:
    async with aiohttp.ClientSession() as session:
        statuses = []
        for number, url in enumerate(urls):
            async with session.put(url, data=io.BytesIO(data[number * PART : (number + 1) * PART])) as answer:
                statuses.append(answer.status)
        return statuses


async def complete(doors: Doors, upload: str) -> tuple[int, dict[str, Any]]:
    async with doors.http.post(f"/v1/uploads/{upload}/direct/complete") as answer:
        return answer.status, dict(await answer.json())


async def stored(doors: Doors) -> list[bytes]:
    keys = [info.key async for info in doors.ports.objects.list("t/default/originals/")]
    return [b"".join([chunk async for chunk in doors.ports.objects.open(key)]) for key in keys]


async def test_a_file_sent_straight_to_the_store_becomes_an_item(doors: Doors, data: bytes) -> None:
    case = await doors.case()
    begun = await begin(doors, declared(case, data))
    assert begun["direct"] == {"part_bytes": PART, "parts": 3}
    assert await begin(doors, declared(case, data)) == begun, "the same request has the same answer"
    assert await send(await links(doors, begun["id"]), data) == [200, 200, 200]
    assert await doors.ports.documents.find("items", {}) == []
    status, done = await complete(doors, begun["id"])
    assert (status, done["state"], done["sha256"]) == (200, "complete", hashlib.sha256(data).hexdigest())
    assert await complete(doors, begun["id"]) == (status, done)
    [item] = await doors.ports.documents.find("items", {})
    assert item.id == done["item"]
    [told] = await announced(doors, 1)
    original = m.MediumUploaded.model_validate_json(told.record.value).original
    assert b"".join([chunk async for chunk in doors.ports.objects.open(original.key)]) == data
    # What is here is not sent again, whichever way somebody means to send it.
    again = await begin(doors, declared(case, data), key="another")
    assert (again["state"], again["medium"], again["direct"]) == ("complete", done["medium"], None)
    async with doors.http.post("/v1/uploads/known", json=declared(case, data)) as answer:
        assert answer.status == 201
    assert (await doors.upload(case, data))["medium"] == done["medium"]
    assert await stored(doors) == [data]
    assert len(await doors.ports.documents.find("items", {})) == 4


@pytest.mark.parametrize("wrong", ["other bytes", "another size"])
async def test_what_is_not_what_was_declared_is_refused_and_not_kept(doors: Doors, data: bytes, wrong: str) -> None:
    case = await doors.case()
    begun = await begin(doors, declared(case, data))
    sent = data[:-1] + bytes([data[-1] ^ 1]) if wrong == "other bytes" else data[:-1]
    await send(await links(doors, begun["id"]), sent)
    status, problem = await complete(doors, begun["id"])
    assert (status, problem["code"]) == (
        (422, "sha256_mismatch") if wrong == "other bytes" else (409, "direct_incomplete")
    )
    assert (await stored(doors), await doors.ports.documents.find("items", {})) == ([], [])
    # It may begin anew, and be right.
    begun = await begin(doors, declared(case, data))
    await send(await links(doors, begun["id"]), data)
    assert (await complete(doors, begun["id"]))[0] == 200
    assert await stored(doors) == [data]


async def test_nothing_that_was_sent_wrongly_is_in_the_way_of_whoever_sends_it_right(doors: Doors, data: bytes) -> None:
    case = await doors.case()
    begun = await begin(doors, declared(case, data))
    await send(await links(doors, begun["id"]), data[::-1])
    session = await doors.ports.documents.load("uploads", begun["id"])
    assert session is not None
    write = direct.write_of(session)
    assert write is not None
    assert doors.ports.objects.direct is not None
    await doors.ports.objects.direct.complete(write)  # as by a process that died before it looked
    made = await doors.upload(case, data)
    assert made["sha256"] == hashlib.sha256(data).hexdigest()
    status, problem = await complete(doors, begun["id"])
    assert (status, problem["code"]) == (422, "sha256_mismatch")
    assert await stored(doors) == [data]


async def test_parts_that_are_missing_are_named_and_can_be_sent_later(doors: Doors, data: bytes) -> None:
    begun = await begin(doors, declared(await doors.case(), data))
    urls = await links(doors, begun["id"])
    await send(urls[:1], data)
    status, problem = await complete(doors, begun["id"])
    assert (status, problem["code"]) == (409, "direct_incomplete")
    assert await links(doors, begun["id"], first=2) != []
    await send(urls, data)
    assert (await complete(doors, begun["id"]))[0] == 200


async def test_a_link_is_good_for_one_part_of_one_object_and_not_for_long(
    doors: Doors, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = await begin(doors, declared(await doors.case(), data))
    [url, *_] = await links(doors, begun["id"])
    digest = hashlib.sha256(data).hexdigest()
    for other in (url.replace(digest, "0" * 64), url.replace("partNumber=1", "partNumber=2"), url.partition("?")[0]):
        assert await send([other], FEW) == [403]
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.status == 403
    monkeypatch.setattr(direct, "LINK_SECONDS", 1)
    [short, *_] = await links(doors, begun["id"])
    await asyncio.sleep(2.1)
    assert await send([short], FEW) == [403]
    assert await send([url], data) == [200], "positive control"


async def test_an_upload_that_was_given_up_takes_nothing_any_more(doors: Doors, data: bytes) -> None:
    case = await doors.case()
    begun = await begin(doors, declared(case, data))
    urls = await links(doors, begun["id"])
    await send(urls, data)
    async with doors.http.delete(f"/v1/uploads/{begun['id']}") as answer:
        assert answer.status == 204
    assert await send(urls, FEW) == [404, 404, 404]
    status, problem = await complete(doors, begun["id"])
    assert (status, problem["code"]) == (409, "not_direct")
    assert await stored(doors) == []
    async with doors.http.post(
        "/v1/uploads/direct", json=declared(case, data), headers={"Idempotency-Key": "once"}
    ) as again:
        assert (again.status, (await again.json())["code"]) == (409, "upload_aborted")


async def test_a_write_that_the_store_forgot_begins_anew(doors: Doors, data: bytes) -> None:
    case = await doors.case()
    begun = await begin(doors, declared(case, data))
    await doors.ports.objects.sweep(-60.0)
    status, problem = await complete(doors, begun["id"])
    assert (status, problem["code"]) == (409, "direct_gone")
    await begin(doors, declared(case, data))
    assert await send(await links(doors, begun["id"]), data) == [200, 200, 200]
    assert (await complete(doors, begun["id"]))[0] == 200


async def test_long_lists_of_parts_and_of_uploads_are_read_to_their_end(
    doors: Doors, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_connection, "LIST_PAGE", 2)
    begun = await begin(doors, declared(await doors.case(), data))
    await send(await links(doors, begun["id"]), data)
    assert (await complete(doors, begun["id"]))[0] == 200
    assert doors.ports.objects.direct is not None
    for number in range(5):
        await doors.ports.objects.direct.begin(f"t/acme/{number // 2}", 10)
    assert await doors.ports.objects.sweep(-60.0) == 5
    assert await doors.ports.objects.sweep(-60.0) == 0


async def test_a_completion_whose_answer_was_lost_is_repeated_without_harm(doors: Doors, data: bytes) -> None:
    begun = await begin(doors, declared(await doors.case(), data))
    await send(await links(doors, begun["id"]), data)
    session = await doors.ports.documents.load("uploads", begun["id"])
    assert session is not None
    write = direct.write_of(session)
    assert write is not None
    assert doors.ports.objects.direct is not None
    for _ in range(2):
        await doors.ports.objects.direct.complete(write)
    assert (await complete(doors, begun["id"]))[0] == 200
    assert await stored(doors) == [data]


async def test_erasing_removes_every_copy(doors: Doors, data: bytes) -> None:
    case = await doors.case()
    made = await doors.upload(case, data)
    digest = made["sha256"]
    await doors.ports.objects.put(f"t/default/originals/{digest}.left-by-a-crash", data)
    assert len(await stored(doors)) == 2
    async with doors.http.delete(f"/v1/media/{made['medium']}") as answer:
        assert answer.status == 202
    async with asyncio.timeout(20):
        # Counted and not read: what is listed may be gone a moment later.
        while [info.key async for info in doors.ports.objects.list("t/default/originals/")]:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(("changed", "code"), [({"sha256": None}, "no_sha256"), ({"size_bytes": 0}, "no_sha256")])
async def test_what_cannot_be_checked_is_not_begun(
    doors: Doors, data: bytes, changed: dict[str, Any], code: str
) -> None:
    asked = {name: value for name, value in declared(await doors.case(), data, **changed).items() if value is not None}
    async with doors.http.post("/v1/uploads/direct", json=asked) as answer:
        assert (answer.status, (await answer.json())["code"]) == (422, code)


@pytest.fixture
async def client(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Client]:
    monkeypatch.setattr(client_direct, "LARGE_BYTES", 1 << 20)
    monkeypatch.setattr(client_direct, "wait_seconds", lambda _attempt, _after: 0.01)
    async with Client(doors.url, await doors.key(Role.writer)) as made:
        yield made


@pytest.fixture
def film(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "film.mp4"
    path.write_bytes(data)
    return path


async def test_the_client_sends_large_files_straight_to_the_store(
    doors: Doors, client: Client, film: Path, data: bytes
) -> None:
    case, moved = await doors.case(), list[int]()
    done = await client.upload(case, film, moved=moved.append)
    assert (done["state"], sum(moved)) == ("complete", len(data))
    [item] = await doors.ports.documents.find("items", {})
    [session] = await doors.ports.documents.find("uploads", {})
    assert (item.id, session.body["direct"]["size_bytes"]) == (done["item"], len(data))
    assert await client.upload(case, film) == done
    small = film.with_name("small.mp4")
    small.write_bytes(data[: 1 << 19])
    await client.upload(case, small)
    assert sorted(map(len, await stored(doors))) == [1 << 19, len(data)]


async def test_links_that_expired_meanwhile_are_asked_for_anew(
    doors: Doors, client: Client, film: Path, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    links = doors.upload_service.intake.direct.links

    async def at_first_worthless(session: Document, first: int) -> Any:
        given = dict(await links(session, first))
        asked.append(first)
        return given if len(asked) > 1 else {**given, "urls": [f"{url}0" for url in given["urls"]]}

    monkeypatch.setattr(doors.upload_service.intake.direct, "links", at_first_worthless)
    moved: list[int] = []
    await client.upload(await doors.case(), film, moved=moved.append)
    assert len(asked) > 1
    assert sum(moved) == len(data)
    assert await stored(doors) == [data]


async def test_where_the_store_does_not_answer_the_client_sends_through_aima(
    doors: Doors, client: Client, film: Path, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    links = doors.upload_service.intake.direct.links

    async def nowhere(session: Document, first: int) -> Any:
        given = dict(await links(session, first))
        return {**given, "urls": ["http://127.0.0.1:9/nobody" for _ in given["urls"]]}

    monkeypatch.setattr(doors.upload_service.intake.direct, "links", nowhere)
    case, moved = await doors.case(), list[int]()
    done = await client.upload(case, film, moved=moved.append)
    assert (done["state"], sum(moved)) == ("complete", len(data))
    assert await stored(doors) == [data]
    [session] = await doors.ports.documents.find("uploads", {})
    write = direct.write_of(session)
    assert write is not None
    assert doors.ports.objects.direct is not None
    with pytest.raises(PermanentError, match="not known any more"):
        await doors.ports.objects.direct.complete(write)


async def test_a_file_that_becomes_shorter_while_it_is_sent_is_named(
    doors: Doors, client: Client, film: Path, data: bytes
) -> None:
    content = await sending.digest(film)
    film.write_bytes(data[:PART])
    with pytest.raises(OSError, match="became shorter"):
        await client.upload(await doors.case(), film, content=content)
    assert await doors.ports.documents.find("items", {}) == []


async def test_links_begin_with_what_clients_call_the_server(objects: S3Objects, any_s3_server: Served) -> None:
    public = dataclasses.replace(objects._store.settings, public_endpoint="https://media.example")
    async with S3Objects.at(public) as plug:
        write = await plug.direct.begin("t/acme/a", 10)
        [url] = await plug.direct.links(write, [1], 60)
    assert url.startswith("https://media.example/")
    assert any_s3_server.secret_key not in url
