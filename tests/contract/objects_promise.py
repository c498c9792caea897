"""What every plug for objects promises, stated once; a plug's tests inherit it and give it `objects`."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator

import pytest

from aima_common.errors import ObjectExistsError, ObjectMissingError, PermanentError
from aima_common.ports.objects import Digest, Objects

LARGE = bytes(range(256)) * 4096 * 3 + b"a tail that ends inside a chunk"
"""Three mebibytes and a bit: more than one chunk of any plug."""

HUGE = LARGE * 7
"""21 mebibytes: more than one part of any plug."""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def collect(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


class ObjectsPromise:
    """Tests of the socket `Objects`."""

    async def test_what_was_put_can_be_read(self, objects: Objects) -> None:
        await objects.put("t/acme/originals/one", b"first")
        assert await objects.get("t/acme/originals/one") == b"first"

    async def test_an_empty_object_is_an_object(self, objects: Objects) -> None:
        await objects.put("t/acme/empty", b"")
        assert await objects.get("t/acme/empty") == b""
        assert await collect(objects.open("t/acme/empty")) == b""
        info = await objects.info("t/acme/empty")
        assert info is not None
        assert info.size_bytes == 0

    async def test_putting_the_same_bytes_again_changes_nothing(self, objects: Objects) -> None:
        await objects.put("t/acme/a", LARGE)
        before = await objects.info("t/acme/a")
        await objects.put("t/acme/a", LARGE)
        assert await objects.info("t/acme/a") == before

    @pytest.mark.parametrize("other", [b"seconD", b"second and more", b"", b"secon"])
    async def test_putting_other_bytes_under_a_key_is_refused(self, objects: Objects, other: bytes) -> None:
        await objects.put("t/acme/a", b"second")
        with pytest.raises(ObjectExistsError) as refusal:
            await objects.put("t/acme/a", other)
        assert refusal.value.key == "t/acme/a"
        assert await objects.get("t/acme/a") == b"second"

    async def test_of_many_who_put_different_bytes_at_once_one_wins_whole(self, objects: Objects) -> None:
        contents = [bytes([65 + n]) * 100_000 for n in range(8)]
        outcomes = await asyncio.gather(*(objects.put("t/acme/race", c) for c in contents), return_exceptions=True)
        refusals = [outcome for outcome in outcomes if outcome is not None]
        assert len(refusals) == len(contents) - 1
        assert all(isinstance(outcome, ObjectExistsError) for outcome in refusals)
        winner = outcomes.index(None)
        assert await objects.get("t/acme/race") == contents[winner]

    async def test_an_absent_object_is_missing_in_every_way_of_asking(self, objects: Objects) -> None:
        with pytest.raises(ObjectMissingError):
            await objects.get("t/acme/absent")
        with pytest.raises(ObjectMissingError):
            await collect(objects.open("t/acme/absent"))
        with pytest.raises(ObjectMissingError):
            await objects.digest("t/acme/absent")
        assert await objects.info("t/acme/absent") is None
        with pytest.raises(ObjectMissingError):
            async with objects.lend("t/acme/absent"):
                pytest.fail("lent what is not there")
        assert await objects.delete("t/acme/absent") is False

    async def test_a_large_object_is_streamed_in_chunks(self, objects: Objects) -> None:
        await objects.put("t/acme/large", LARGE)
        chunks = [chunk async for chunk in objects.open("t/acme/large")]
        assert len(chunks) > 1
        assert b"".join(chunks) == LARGE

    async def test_a_digest_is_of_all_that_lies_there(self, objects: Objects) -> None:
        for content in (LARGE, b""):
            await objects.put("t/acme/a", content)
            assert await objects.digest("t/acme/a") == Digest(sha256(content), len(content))
            await objects.delete("t/acme/a")

    @pytest.mark.parametrize(
        ("start", "end"),
        [(0, 1), (5, 5), (1_000_000, 2_200_000), (len(LARGE) - 3, None), (len(LARGE) - 3, len(LARGE) + 9)],
    )
    async def test_a_range_is_what_a_slice_would_be(self, objects: Objects, start: int, end: int | None) -> None:
        await objects.put("t/acme/large", LARGE)
        assert await collect(objects.open("t/acme/large", start, end)) == LARGE[start:end]

    async def test_a_range_behind_the_end_is_empty(self, objects: Objects) -> None:
        await objects.put("t/acme/a", b"abc")
        assert await collect(objects.open("t/acme/a", 3)) == b""
        assert await collect(objects.open("t/acme/a", 10, 20)) == b""

    async def test_a_prefix_lists_its_objects_in_the_order_of_their_keys(self, objects: Objects) -> None:
        keys = ["t/acme/a-b", "t/acme/a/2", "t/acme/a/10", "t/acme/b", "t/other/a"]
        for key in keys:
            await objects.put(key, key.encode())
        assert [info.key async for info in objects.list("t/acme/")] == sorted(keys[:4])
        assert [info.key async for info in objects.list("t/acme/a")] == sorted(keys[:3])
        assert [info.key async for info in objects.list("t/acme/a/")] == sorted(keys[1:3])
        assert [info.key async for info in objects.list("")] == sorted(keys)
        assert [info.key async for info in objects.list("t/nobody/")] == []
        assert [info.size_bytes async for info in objects.list("t/acme/b")] == [len("t/acme/b")]

    async def test_a_deleted_object_is_gone_and_its_key_is_free(self, objects: Objects) -> None:
        await objects.put("t/acme/a", b"old")
        assert await objects.delete("t/acme/a") is True
        assert await objects.info("t/acme/a") is None
        assert [info async for info in objects.list("t/acme/")] == []
        await objects.put("t/acme/a", b"new")
        assert await objects.get("t/acme/a") == b"new"

    @pytest.mark.parametrize(
        "key", ["", "/etc/passwd", "t/../secret", "t/./a", "t//a", "t/a/", "..", "t/\x00", "t/a\nb", "t/" + "x" * 1100]
    )
    async def test_a_key_that_could_mean_another_place_is_refused(self, objects: Objects, key: str) -> None:
        with pytest.raises(PermanentError):
            await objects.put(key, b"never")
        assert [info async for info in objects.list("")] == []
        await objects.put("t/acme/an honest key (1) [ß]", b"positive control")

    async def test_a_lent_file_holds_the_bytes_for_this_machine_to_read(self, objects: Objects) -> None:
        await objects.put("t/acme/large", LARGE)
        async with objects.lend("t/acme/large") as path, objects.lend("t/acme/large") as again:
            with open(path, "rb") as file, open(again, "rb") as other:  # noqa: PTH123 - as a child process would
                assert file.read() == other.read() == LARGE
            assert os.stat(path).st_mode & 0o077 == 0  # noqa: PTH116 - nobody else may read it
        assert await objects.get("t/acme/large") == LARGE

    async def test_a_created_object_is_there_at_its_end_and_not_before(self, objects: Objects) -> None:
        for key, named in (("t/acme/named", "t/acme/named"), ("t/acme/unnamed", None)):
            for content in (LARGE, HUGE, b"", b"small"):
                writer = await objects.create(named)
                for start in range(0, len(content), 1_000_000):
                    await writer.write(content[start : start + 1_000_000])
                assert await objects.info(key) is None
                assert [info async for info in objects.list("")] == []
                await writer.finish(key, sha256(content))
                await writer.abort()
                assert await collect(objects.open(key)) == content
                await objects.delete(key)

    async def test_creating_an_equal_object_keeps_the_first_and_another_is_refused(self, objects: Objects) -> None:
        for content in (b"small", HUGE):
            for named in ("t/acme/a", None):
                for last, equal in ((b"!", True), (b"?", False)):
                    await objects.delete("t/acme/a")
                    first = await objects.create("t/acme/a")
                    second = await objects.create(named)
                    await asyncio.gather(first.write(content), second.write(content))
                    await asyncio.gather(first.write(b"!"), second.write(last))
                    await first.finish("t/acme/a", sha256(content + b"!"))
                    if equal:
                        await second.finish("t/acme/a", sha256(content + last))
                    else:
                        with pytest.raises(ObjectExistsError):
                            await second.finish("t/acme/a", sha256(content + last))
                        await second.abort()
                    assert await collect(objects.open("t/acme/a")) == content + b"!"
        assert [info.key async for info in objects.list("")] == ["t/acme/a"]

    async def test_of_many_who_create_different_objects_under_a_key_at_once_one_wins_whole(
        self, objects: Objects
    ) -> None:
        contents = [bytes([65 + number]) * len(HUGE) for number in range(4)]
        writers = [await objects.create("t/acme/race" if number % 2 else None) for number in range(4)]
        await asyncio.gather(*(writer.write(content) for writer, content in zip(writers, contents, strict=True)))
        ends = [
            writer.finish("t/acme/race", sha256(content)) for writer, content in zip(writers, contents, strict=True)
        ]
        outcomes = await asyncio.gather(*ends, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes if outcome is not None] == [ObjectExistsError] * 3
        assert await collect(objects.open("t/acme/race")) == contents[outcomes.index(None)]

    async def test_an_aborted_creation_leaves_nothing(self, objects: Objects) -> None:
        for named in ("t/acme/a", None):
            writer = await objects.create(named)
            await writer.write(HUGE)
            await writer.abort()
            await writer.abort()
        assert [info async for info in objects.list("")] == []
        assert await objects.sweep(-60.0) == 0

    async def test_what_was_begun_and_forgotten_is_swept_and_nothing_else(self, objects: Objects) -> None:
        await objects.put("t/acme/a", b"kept")
        writer = await objects.writer("upload-1")
        await writer.write(HUGE)
        await writer.flush()
        del writer
        assert await objects.sweep(3600.0) == 0
        assert await (await objects.writer("upload-1")).size() == len(HUGE)
        async with asyncio.timeout(10):
            while not await objects.sweep(-60.0):
                await asyncio.sleep(0.05)  # the thread that read the size lets go of the writer only after a while
        assert await (await objects.writer("upload-1")).size() == 0
        assert await objects.get("t/acme/a") == b"kept"

    async def test_a_resumable_write_becomes_an_object_at_its_end_and_not_before(self, objects: Objects) -> None:
        writer = await objects.writer("upload-1")
        assert await writer.size() == 0
        for start in range(0, len(LARGE), 1_000_000):
            await writer.write(LARGE[start : start + 1_000_000])
        await writer.flush()
        assert await objects.info("t/acme/film") is None
        assert [info async for info in objects.list("")] == []
        await writer.finish("t/acme/film")
        assert await collect(objects.open("t/acme/film")) == LARGE

    async def test_a_resumable_write_goes_on_where_it_was(self, objects: Objects) -> None:
        first = await objects.writer("upload-1")
        await first.write(b"the first half, ")
        await first.flush()
        second = await objects.writer("upload-1")
        assert await second.size() == len(b"the first half, ")
        assert await collect(second.read_back()) == b"the first half, "
        await second.write(b"the second half")
        await second.finish("t/acme/whole")
        assert await objects.get("t/acme/whole") == b"the first half, the second half"

    async def test_finishing_onto_an_equal_object_keeps_it(self, objects: Objects) -> None:
        await objects.put("t/acme/a", b"equal")
        writer = await objects.writer("upload-1")
        await writer.write(b"equal")
        await writer.finish("t/acme/a")
        assert await objects.get("t/acme/a") == b"equal"
        assert await (await objects.writer("upload-1")).size() == 0

    async def test_finishing_onto_another_object_is_refused_and_loses_nothing(self, objects: Objects) -> None:
        await objects.put("t/acme/a", b"equal")
        writer = await objects.writer("upload-1")
        await writer.write(b"other")
        with pytest.raises(ObjectExistsError):
            await writer.finish("t/acme/a")
        assert await objects.get("t/acme/a") == b"equal"
        await writer.finish("t/acme/b")
        assert await objects.get("t/acme/b") == b"other"

    async def test_an_aborted_write_leaves_nothing(self, objects: Objects) -> None:
        writer = await objects.writer("upload-1")
        await writer.write(b"never mind")
        await writer.flush()
        await writer.abort()
        await writer.abort()
        assert await (await objects.writer("upload-1")).size() == 0
        assert [info async for info in objects.list("")] == []

    async def test_writes_of_different_names_do_not_meet(self, objects: Objects) -> None:
        one, other = await objects.writer("one"), await objects.writer("other")
        await asyncio.gather(*(writer.write(chunk) for writer, chunk in ((one, b"1"), (other, b"2")) * 5))
        await asyncio.gather(one.finish("t/acme/one"), other.finish("t/acme/other"))
        assert await objects.get("t/acme/one") == b"11111"
        assert await objects.get("t/acme/other") == b"22222"
