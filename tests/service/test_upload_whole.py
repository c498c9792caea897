"""Whole files: accepted once, durably, or not at all."""

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from aima_common.contracts import messages as m
from aima_common.contracts.topics import BY_MESSAGE
from aima_common.errors import StorageFullError

UNCOMMON_NAMES = [
    "line\nbreak.jpg",
    "[brackets] (and) {braces}.png",
    "\u202egnp.exe\u202c.png",
    "\u05e9\u05dc\u05d5\u05dd.mp3",
    "%2F..%5C&?#.mov",
    "a" * 255,
    "\u00e9" * 127,
]


async def announced(doors: Any, count: int) -> list[Any]:
    """Read what was told of uploads."""
    found: list[Any] = []
    async with doors.ports.bus.subscribe("test", [BY_MESSAGE[m.MediumUploaded].name]) as subscription:
        async with asyncio.timeout(10):
            async for batch in subscription.batches():
                found += batch
                if len(found) >= count:
                    return found
    return found


async def items(doors: Any, case: str) -> list[Any]:
    """Read a case's items."""
    return list(await doors.ports.documents.find("items", {"case": case}, order=["ordinal"]))


async def nothing_kept(doors: Any, case: str) -> bool:
    """Tell whether neither an item nor an original came of an upload."""
    originals = [info async for info in doors.ports.objects.list("t/default/originals")]
    return not originals and not await items(doors, case)


async def test_an_uploaded_file_becomes_an_item_and_is_announced(doors: Any) -> None:
    case = await doors.case()
    made = await doors.upload(case, b"hello", "greeting.txt")
    digest = hashlib.sha256(b"hello").hexdigest()
    assert made["sha256"] == digest
    [item] = await items(doors, case)
    assert (item.id, item.body["file_name"], item.body["medium"]) == (made["item"], "greeting.txt", made["medium"])
    assert await doors.ports.objects.get(f"t/default/originals/{digest}") == b"hello"
    [told] = await announced(doors, 1)
    assert told.record.key == made["medium"]


@pytest.mark.parametrize("name", UNCOMMON_NAMES, ids=range(len(UNCOMMON_NAMES)))
async def test_uncommon_names_arrive_unchanged(doors: Any, name: str) -> None:
    case = await doors.case()
    made = await doors.upload(case, b"x", name)
    assert made["file_name"] == name
    assert (await items(doors, case))[0].body["file_name"] == name


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "nul\x00", "a" * 256])
async def test_what_cannot_be_a_files_name_is_refused(doors: Any, name: str) -> None:
    case = await doors.case()
    query = f"case={case}&file_name={quote(name)}"
    async with doors.http.post(f"/v1/uploads?{query}", data=b"x") as answer:
        problem = await answer.json()
        assert (answer.status, problem["code"]) == (422, "bad_file_name"), problem
        assert problem["remedy"]
    assert await nothing_kept(doors, case)


async def test_an_empty_file_is_an_upload_like_any_other(doors: Any) -> None:
    made = await doors.upload(await doors.case(), b"", "empty.jpg")
    assert made["size_bytes"] == 0


async def test_other_bytes_than_declared_are_refused_and_nothing_is_kept(doors: Any) -> None:
    case = await doors.case()
    query = {"case": case, "file_name": "x", "sha256": hashlib.sha256(b"other").hexdigest()}
    async with doors.http.post("/v1/uploads", params=query, data=b"hello") as answer:
        assert (answer.status, (await answer.json())["code"]) == (422, "sha256_mismatch")
    assert await nothing_kept(doors, case)
    query["sha256"] = hashlib.sha256(b"hello").hexdigest()
    async with doors.http.post("/v1/uploads", params=query, data=b"hello") as answer:
        assert answer.status == 201


async def test_the_same_content_twice_at_once_is_one_medium_and_two_items(doors: Any) -> None:
    case, data = await doors.case(), b"z" * 3_000_000
    first, second = await asyncio.gather(doors.upload(case, data, "one"), doors.upload(case, data, "two"))
    assert first["medium"] == second["medium"]
    assert first["item"] != second["item"]
    assert len(await items(doors, case)) == 2
    assert len(await doors.ports.documents.find("media", {})) == 1
    assert len(await announced(doors, 2)) == 2


async def test_known_content_transfers_nothing(doors: Any) -> None:
    case = await doors.case()
    await doors.upload(case, b"hello", "one")
    asked = {"case": case, "file_name": "two", "sha256": hashlib.sha256(b"hello").hexdigest(), "size_bytes": 5}
    async with doors.http.post("/v1/uploads/known", json=asked) as answer:
        assert answer.status == 201
    assert [item.body["file_name"] for item in await items(doors, case)] == ["one", "two"]


@pytest.mark.parametrize(("digest", "size"), [("0" * 64, 5), (hashlib.sha256(b"hello").hexdigest(), 6)])
async def test_content_that_is_not_here_is_not_known(doors: Any, digest: str, size: int) -> None:
    case = await doors.case()
    await doors.upload(case, b"hello", "one")
    asked = {"case": case, "file_name": "two", "sha256": digest, "size_bytes": size}
    async with doors.http.post("/v1/uploads/known", json=asked) as answer:
        assert (answer.status, (await answer.json())["code"]) == (404, "unknown_content")
    assert len(await items(doors, case)) == 1


async def test_an_upload_that_breaks_off_leaves_nothing_accepted_and_can_be_repeated(doors: Any) -> None:
    case = await doors.case()
    key = "the same key"
    head = _head(doors, f"/v1/uploads?case={case}&file_name=film.mp4", 5_000_000, key)
    address = urlsplit(doors.url)
    _, writer = await asyncio.open_connection(address.hostname, address.port)
    writer.write(head + b"f" * 2_000_000)
    await writer.drain()
    while not any(session.holder for session in await doors.ports.documents.find("uploads", {"case": case})):
        await asyncio.sleep(0.01)
    writer.transport.abort()
    await _until_free(doors, case)
    assert await nothing_kept(doors, case)
    made = await doors.upload(case, b"f" * 5_000_000, "film.mp4", **{"Idempotency-Key": key})
    assert made["size_bytes"] == 5_000_000
    [item] = await items(doors, case)
    assert item.body["ordinal"] == 1


async def test_a_full_disk_is_said_and_nothing_is_half_accepted(doors: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    case, objects = await doors.case(), doors.ports.objects
    whole = type(await objects.create())

    async def full(self: Any, chunk: bytes) -> None:
        raise StorageFullError("no room left", code="storage_full", retry_after_seconds=30)

    with monkeypatch.context() as patch:
        patch.setattr(whole, "write", full)
        async with doors.http.post("/v1/uploads", params={"case": case, "file_name": "x"}, data=b"x") as answer:
            problem = await answer.json()
            assert (answer.status, problem["code"]) == (507, "storage_full")
            assert "Free space" in problem["remedy"]
            assert answer.headers["Retry-After"] == "30"
    assert await nothing_kept(doors, case)
    await doors.upload(case, b"x", "x")
    assert len(await items(doors, case)) == 1


async def test_an_upload_of_unknown_length_is_cut_off_at_the_limit(tmp_path: Path, small_doors: Any) -> None:
    case = await small_doors.case()

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"x" * 100_000

    query = {"case": case, "file_name": "x"}
    async with small_doors.http.post("/v1/uploads", params=query, data=endless()) as answer:
        assert (answer.status, (await answer.json())["code"]) == (413, "too_large")
    async with small_doors.http.post("/v1/uploads", params=query, data=b"x" * 1_000_001) as answer:
        assert (answer.status, (await answer.json())["code"]) == (413, "too_large")
    assert await nothing_kept(small_doors, case)
    await small_doors.upload(case, b"x" * 1_000_000)


async def test_a_compressed_body_is_refused(doors: Any) -> None:
    query = {"case": await doors.case(), "file_name": "x"}
    async with doors.http.post("/v1/uploads", params=query, data=b"x", headers={"Content-Encoding": "gzip"}) as answer:
        assert answer.status == 415


async def test_nobody_but_the_gateway_gets_in(doors: Any) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong", "Aima-Tenant": "default"}):
        async with doors.http.post(f"{doors.upload_url}/v1/cases", json={"name": "x"}, headers=headers) as answer:
            assert answer.status == 401
    headers = {"Authorization": "Bearer a secret that gateway and upload share", "Aima-Tenant": "default"}
    async with doors.http.post(f"{doors.upload_url}/v1/cases", json={"name": "x"}, headers=headers) as answer:
        assert answer.status == 201


def _head(doors: Any, path: str, length: int, key: str) -> bytes:
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: {socket.gethostname()}",
        f"Authorization: {doors.http.headers['Authorization']}",
        f"Idempotency-Key: {key}",
        f"Content-Length: {length}",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def _until_free(doors: Any, case: str) -> None:
    async with asyncio.timeout(10):
        while True:
            [session] = await doors.ports.documents.find("uploads", {"case": case})
            if session.holder is None:
                return
            await asyncio.sleep(0.01)
