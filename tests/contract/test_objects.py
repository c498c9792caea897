"""The directory of objects against the promise of the socket, and what only a directory can show."""

import errno
import os
import resource
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aima_common.adapters.embedded.objects import DirectoryObjects
from aima_common.errors import PermanentError, StorageFullError, UnavailableError
from tests.contract.objects_promise import ObjectsPromise, collect


@pytest.fixture
async def objects(tmp_path: Path) -> AsyncIterator[DirectoryObjects]:
    plug = await DirectoryObjects.at(tmp_path / "objects")
    yield plug
    await plug.close()


class TestDirectoryObjects(ObjectsPromise):
    pass


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


async def test_objects_and_unfinished_writes_outlive_the_process(tmp_path: Path, objects: DirectoryObjects) -> None:
    await objects.put("t/acme/a", b"kept")
    writer = await objects.writer("upload-1")
    await writer.write(b"half")
    await writer.flush()
    await objects.close()
    again = await DirectoryObjects.at(tmp_path / "objects")
    assert await again.get("t/acme/a") == b"kept"
    resumed = await again.writer("upload-1")
    assert await collect(resumed.read_back()) == b"half"
    await again.close()


async def test_what_a_dead_process_left_half_written_is_cleared(tmp_path: Path, objects: DirectoryObjects) -> None:
    leftover = tmp_path / "objects" / "incoming" / "0123"
    leftover.write_bytes(b"half")
    await objects.put("t/acme/a", b"kept")
    again = await DirectoryObjects.at(tmp_path / "objects")
    assert files(tmp_path / "objects") == ["kept/t/acme/a"]
    await again.close()


async def test_deleting_the_last_object_of_a_folder_removes_the_folder(
    tmp_path: Path, objects: DirectoryObjects
) -> None:
    await objects.put("t/acme/derivatives/medium/one", b"1")
    await objects.put("t/acme/originals/two", b"2")
    await objects.delete("t/acme/derivatives/medium/one")
    assert not (tmp_path / "objects/kept/t/acme/derivatives").exists()
    assert (tmp_path / "objects/kept/t/acme/originals/two").exists()
    await objects.put("t/acme/derivatives/medium/one", b"again")
    assert await objects.get("t/acme/derivatives/medium/one") == b"again"


async def test_a_key_cannot_be_the_folder_of_another(objects: DirectoryObjects) -> None:
    await objects.put("t/acme/a", b"1")
    with pytest.raises(PermanentError):
        await objects.put("t/acme/a/b", b"2")
    with pytest.raises(PermanentError):
        await objects.put("t/acme", b"3")
    assert await objects.info("t/acme") is None
    assert [info.key async for info in objects.list("")] == ["t/acme/a"]


async def test_a_name_of_an_upload_cannot_leave_the_folder(objects: DirectoryObjects) -> None:
    for name in ("../escape", "a/b", "", "..", "x" * 256):
        with pytest.raises(PermanentError):
            await objects.writer(name)
    await (await objects.writer("positive control")).abort()


async def test_an_object_that_was_linked_before_a_crash_cannot_be_changed_through_its_upload(
    tmp_path: Path, objects: DirectoryObjects
) -> None:
    writer = await objects.writer("upload-1")
    await writer.write(b"whole")
    await writer.flush()
    part, kept = tmp_path / "objects/uploads/upload-1", tmp_path / "objects/kept/film"
    os.link(part, kept)  # as if the process had died between naming the object and removing the part
    with pytest.raises(PermanentError):
        await writer.write(b" and more")
    await writer.finish("film")
    assert await objects.get("film") == b"whole"
    assert not part.exists()


async def test_after_a_failed_sync_the_writer_is_done_and_the_next_goes_on_where_it_is_durable(
    objects: DirectoryObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = await objects.writer("upload-1")
    await writer.write(b"durable")
    await writer.flush()
    await writer.write(b", lost")
    failures = [OSError(errno.EIO, "the disk failed")]
    real_fsync = os.fsync

    def failing_fsync(descriptor: int) -> None:
        if failures:
            raise failures.pop()
        real_fsync(descriptor)

    monkeypatch.setattr(os, "fsync", failing_fsync)
    with pytest.raises(UnavailableError):
        await writer.flush()
    with pytest.raises(UnavailableError):
        await writer.flush()
    with pytest.raises(UnavailableError):
        await writer.finish("t/acme/a")
    successor = await objects.writer("upload-1")
    assert await collect(successor.read_back()) == b"durable"
    await successor.write(b", found")
    await successor.finish("t/acme/a")
    assert await objects.get("t/acme/a") == b"durable, found"


async def test_a_put_that_cannot_be_synced_is_not_seen(
    tmp_path: Path, objects: DirectoryObjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing_fsync(descriptor: int) -> None:
        raise OSError(errno.EDQUOT, "the quota is used up")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing_fsync)
        with pytest.raises(StorageFullError):
            await objects.put("t/acme/a", b"never")
    assert files(tmp_path / "objects") == []
    await objects.put("t/acme/a", b"positive control")


FULL_DISK = """
import asyncio, resource, sys
from aima_common.adapters.embedded.objects import DirectoryObjects
from aima_common.errors import StorageFullError

async def main(root, limit):
    objects = await DirectoryObjects.at(root)
    await objects.put("before", b"x" * 50_000)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    outcomes = []
    async def attempt(work):
        try:
            await work
            outcomes.append("stored")
        except StorageFullError as error:
            outcomes.append(error.code)
    await attempt(objects.put("t/acme/large", b"y" * 150_000))
    writer = await objects.writer("upload-1")
    await attempt(writer.write(b"z" * 90_000))
    await attempt(writer.write(b"z" * 60_000))
    outcomes.append(str(await writer.size()))
    await attempt(objects.put("t/acme/small", b"s"))
    print(*outcomes)

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


@pytest.mark.parametrize(
    ("limit", "said", "kept"),
    [
        (100_000, "storage_full stored storage_full 90000 stored", ["before", "t/acme/small"]),
        (resource.RLIM_INFINITY, "stored stored stored 150000 stored", ["before", "t/acme/large", "t/acme/small"]),
    ],
    ids=["full", "positive control"],
)
def test_a_full_disk_is_named_and_keeps_nothing_half(tmp_path: Path, limit: int, said: str, kept: list[str]) -> None:
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path), str(limit)]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert ended.stdout.split() == said.split()
    assert files(tmp_path / "kept") == kept
    assert files(tmp_path / "incoming") == []
