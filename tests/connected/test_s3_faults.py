"""Objects in a bucket when S3 is away, hangs, is spoken to with wrong keys, or its answers get lost."""

import asyncio
import dataclasses
import hashlib
import itertools
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aima_common.adapters.s3 import connection
from aima_common.adapters.s3.connection import checksum
from aima_common.adapters.s3.settings import S3Settings
from aima_common.adapters.s3_objects import S3Objects
from aima_common.errors import ObjectExistsError, SettingsError, UnavailableError
from aima_servers import Served
from tests.connected.lossy_proxy import LossyProxy, lossy
from tests.servers import standing_still

LARGE = bytes(range(256)) * 4096 * 20
"""20 mebibytes: three parts."""

TOLD_ERROR = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nConnection: close\r\n\r\n"
    b"<Error><Code>InternalError</Code><Message>we failed</Message></Error>"
)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def settings(any_s3_server: Served, tmp_path: Path) -> S3Settings:
    bucket = f"t{secrets.token_hex(8)}"
    keys = (any_s3_server.access_key, any_s3_server.secret_key)
    return S3Settings(any_s3_server.address, *keys, bucket=bucket, scratch=tmp_path, timeout_seconds=2.0)


@pytest.fixture
async def objects(settings: S3Settings) -> AsyncIterator[S3Objects]:
    async with S3Objects.at(settings) as plug:
        yield plug


@pytest.fixture
async def proxy(any_s3_server: Served) -> AsyncIterator[tuple[LossyProxy, int]]:
    async with lossy(int(any_s3_server.address.rpartition(":")[2])) as made:
        yield made


@pytest.fixture
async def behind(settings: S3Settings, proxy: tuple[LossyProxy, int]) -> AsyncIterator[S3Objects]:
    """The same bucket through the proxy."""
    async with S3Objects.at(dataclasses.replace(settings, endpoint=f"http://127.0.0.1:{proxy[1]}")) as plug:
        yield plug


async def whole(objects: S3Objects, key: str) -> bytes:
    return b"".join([chunk async for chunk in objects.open(key)])


async def create(objects: S3Objects, key: str, data: bytes, named: str | None) -> None:
    writer = await objects.create(named)
    for start in range(0, len(data), 1 << 20):
        await writer.write(data[start : start + (1 << 20)])
    await writer.finish(key, sha256(data))


def lose(proxy: LossyProxy, method: str, times: int, holding: str = "") -> None:
    """Lose the answers to the next requests of a kind."""
    left = itertools.count(times, -1)
    proxy.loses = lambda line: line.startswith(method.encode()) and holding.encode() in line and next(left) > 0


@pytest.mark.parametrize("times", [1, 2], ids=["the driver asks again", "the plug looks"])
async def test_a_put_whose_answer_was_lost_is_found_done(
    objects: S3Objects, behind: S3Objects, proxy: tuple[LossyProxy, int], times: int
) -> None:
    lose(proxy[0], "PUT", times)
    await behind.put("t/acme/a", b"once")
    assert len(proxy[0].lost) == times
    assert await objects.get("t/acme/a") == b"once"
    lose(proxy[0], "PUT", times)
    with pytest.raises(ObjectExistsError):
        await behind.put("t/acme/a", b"other")
    assert await objects.get("t/acme/a") == b"once"


@pytest.mark.parametrize("named", ["t/acme/large", None], ids=["in place", "copied"])
@pytest.mark.parametrize("told", [None, TOLD_ERROR], ids=["lost", "an error in an answer of status 200"])
async def test_a_large_object_whose_completion_was_not_answered_is_found_done(
    objects: S3Objects, behind: S3Objects, proxy: tuple[LossyProxy, int], named: str | None, told: bytes | None
) -> None:
    proxy[0].told = told
    lose(proxy[0], "POST", 1, "t/acme/large?uploadId=")
    await create(behind, "t/acme/large", LARGE, named)
    assert len(proxy[0].lost) == 1
    assert await whole(objects, "t/acme/large") == LARGE
    proxy[0].told = None
    lose(proxy[0], "POST", 1, "t/acme/large?uploadId=")
    with pytest.raises(ObjectExistsError):
        await create(behind, "t/acme/large", LARGE[1:], named)


async def test_a_completion_that_failed_is_not_taken_for_done(
    objects: S3Objects, behind: S3Objects, proxy: tuple[LossyProxy, int]
) -> None:
    writer = await behind.create("t/acme/large")
    await writer.write(LARGE)
    lose(proxy[0], "PUT", 100)
    with pytest.raises(UnavailableError):
        await writer.finish("t/acme/large", sha256(LARGE))
    assert await objects.info("t/acme/large") is None
    lose(proxy[0], "PUT", 0)
    with pytest.raises(UnavailableError):
        await writer.finish("t/acme/large", sha256(LARGE))
    await writer.abort()
    await create(behind, "t/acme/large", LARGE, "t/acme/large")
    assert await whole(objects, "t/acme/large") == LARGE


async def test_what_is_damaged_on_its_way_is_refused_by_the_store(
    objects: S3Objects, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(connection, "checksum", lambda data: checksum(data + b"as it was before"))
        with pytest.raises(UnavailableError):
            await objects.put("t/acme/a", b"small")
        with pytest.raises(UnavailableError):
            await create(objects, "t/acme/b", LARGE, "t/acme/b")
    assert [info async for info in objects.list("")] == []
    await objects.put("t/acme/a", b"positive control")


async def test_a_piece_that_somebody_else_wrote_over_is_not_made_part_of_an_object(objects: S3Objects) -> None:
    for changed in (True, False):
        writer = await objects.writer("upload-1")
        await writer.write(LARGE)
        await writer.flush()
        if changed:
            late = await objects.writer("upload-1")
            await late._put(0, b"?" * len(LARGE[: 8 << 20]))
            with pytest.raises(UnavailableError):
                await writer.finish("t/acme/a")
            assert await objects.info("t/acme/a") is None
            await writer.abort()
        else:
            await writer.finish("t/acme/a")
            assert await whole(objects, "t/acme/a") == LARGE


async def test_a_stream_that_breaks_says_so_and_is_never_taken_for_the_whole(
    objects: S3Objects, behind: S3Objects, proxy: tuple[LossyProxy, int]
) -> None:
    await objects.put("t/acme/large", LARGE)
    proxy[0].cuts_after = 5 << 20
    with pytest.raises(UnavailableError):
        await whole(behind, "t/acme/large")
    with pytest.raises(UnavailableError):
        async with behind.lend("t/acme/large"):
            pytest.fail("lent half an object")
    proxy[0].cuts_after = None
    assert await whole(behind, "t/acme/large") == LARGE
    async with behind.lend("t/acme/large") as path:
        assert Path(path).read_bytes() == LARGE


async def test_while_s3_hangs_everything_says_so_and_afterwards_all_goes_on(
    objects: S3Objects, any_s3_server: Served
) -> None:
    await objects.put("t/acme/a", b"before")
    writer = await objects.writer("upload-1")
    await writer.write(b"before")
    await writer.flush()
    with standing_still(any_s3_server):
        for attempt in (
            objects.put("t/acme/b", b"during"),
            objects.get("t/acme/a"),
            objects.info("t/acme/a"),
            objects.delete("t/acme/a"),
            objects.writer("upload-1"),
            create(objects, "t/acme/c", LARGE, "t/acme/c"),
        ):
            with pytest.raises(UnavailableError) as caught:
                await attempt
            assert caught.value.code in {"s3", "upload_broken"}
    await objects.put("t/acme/b", b"during")
    assert await objects.get("t/acme/a") == b"before"
    await writer.write(b" and after")
    await writer.finish("t/acme/d")
    assert await objects.get("t/acme/d") == b"before and after"


async def test_what_was_acknowledged_outlives_the_server(objects: S3Objects, any_s3_server: Served) -> None:
    await objects.put("t/acme/a", b"kept")
    await create(objects, "t/acme/large", LARGE, "t/acme/large")
    writer = await objects.writer("upload-1")
    await writer.write(LARGE)
    await writer.flush()
    begun = await objects.create("t/acme/begun")
    await begun.write(LARGE)
    await begun._pieces.settle()
    async with any_s3_server.stopped():
        with pytest.raises(UnavailableError):
            await objects.put("t/acme/b", b"away")
        await writer.write(b"lost with its writer")
        with pytest.raises(UnavailableError):
            await writer.flush()
    assert await objects.get("t/acme/a") == b"kept"
    assert await whole(objects, "t/acme/large") == LARGE
    await objects.put("t/acme/b", b"back")
    again = await objects.writer("upload-1")
    assert await again.size() == len(LARGE)
    await again.write(b"and the rest")
    await again.finish("t/acme/resumed")
    assert await whole(objects, "t/acme/resumed") == LARGE + b"and the rest"
    await begun.finish("t/acme/begun", sha256(LARGE))
    assert await whole(objects, "t/acme/begun") == LARGE
    assert [info.key async for info in objects.list("")] == [
        *("t/acme/a", "t/acme/b", "t/acme/begun", "t/acme/large", "t/acme/resumed")
    ]


async def test_where_nobody_listens_opening_says_so(settings: S3Settings) -> None:
    with pytest.raises(UnavailableError, match="AIMA_S3"):
        async with S3Objects.at(dataclasses.replace(settings, endpoint="http://127.0.0.1:9")):
            pytest.fail("opened a store that is not there")


@pytest.mark.parametrize(
    ("wrong", "setting"),
    [
        ({"access_key": "nobody"}, "AIMA_S3_ACCESS_KEY"),
        ({"secret_key": "wrong" * 8}, "AIMA_S3_SECRET_KEY"),
        ({"bucket": "No Bucket"}, "AIMA_S3_BUCKET"),
    ],
    ids=["key", "secret", "bucket"],
)
async def test_a_setting_that_is_wrong_is_named_at_the_start(
    settings: S3Settings, wrong: dict[str, Any], setting: str
) -> None:
    with pytest.raises(SettingsError, match=setting) as caught:
        async with S3Objects.at(dataclasses.replace(settings, **wrong)):
            pytest.fail("let in")
    assert settings.secret_key not in str(caught.value)
    async with S3Objects.at(settings) as objects:
        await objects.put("t/acme/a", b"positive control")


async def test_a_region_that_is_not_the_buckets_is_named_at_the_start(s3_server: Served) -> None:
    # MinIO minds no region.
    settings = S3Settings(s3_server.address, s3_server.access_key, s3_server.secret_key)
    with pytest.raises(SettingsError, match="AIMA_S3_REGION"):
        async with S3Objects.at(dataclasses.replace(settings, region="elsewhere-1")):
            pytest.fail("let in")


async def test_several_processes_that_open_at_once_share_one_bucket(settings: S3Settings) -> None:
    async def work(number: int) -> None:
        async with S3Objects.at(settings) as objects:
            await objects.put(f"t/acme/{number}", b"x")
            await objects.put("t/acme/shared", b"same")

    await asyncio.gather(*(work(number) for number in range(6)))
    async with S3Objects.at(settings) as objects:
        assert len([info async for info in objects.list("t/")]) == 7
