"""Preparation goes on where it was, refuses what it must, and fences who was too slow."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aima_common.contracts import messages as m
from aima_common.errors import PermanentError, StaleLeaseError
from aima_common.ids import job_id
from aima_common.jobs import Done, Failure, Held, JobKind, Ledger
from aima_common.ports.documents import Change
from aima_preprocessing.service import Preprocessing
from tests.service.pretended import PretendedDecoder
from tests.service.stage import ORIGINAL, SHA, TENANT, Stage, staged

PREPARE = job_id("film", JobKind.PREPARE.value)


class CrashError(BaseException):
    """The process ends here."""


class Cabin:
    """Preprocessing with a decoder that pretends."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.decoder = PretendedDecoder(segments=3)
        self.service = Preprocessing(stage.ports, stage.ledger, self.decoder, slots=1)
        self.uploaded = stage.envelope(
            m.MediumUploaded(case="case", item="item", medium="film", file_name="f", original=ORIGINAL)
        )

    async def original(self, content: bytes) -> None:
        await self.stage.ports.objects.put(ORIGINAL.key, content)

    async def hear(self, envelope: Any) -> None:
        await self.service.handlers()[type(envelope.body)](envelope)

    async def claim(self, ledger: Ledger | None = None) -> Held:
        held = await (ledger or self.stage.ledger).claim(await self.stage.one("jobs", PREPARE))
        assert held is not None
        return held

    async def finish(self, held: Held, done: Done) -> None:
        await self.stage.ledger.finish(held, done.state, done.fields, done.outbox)

    async def preparation(self) -> Any:
        return await self.stage.one("preparations", "film")

    async def indices(self) -> list[int]:
        return [told.derivatives.segment.index for told in await self.stage.told(m.SegmentPrepared)]


@pytest.fixture
async def cabin(tmp_path: Path) -> AsyncIterator[Cabin]:
    async with staged(tmp_path) as stage:
        cabin = Cabin(stage)
        await cabin.hear(cabin.uploaded)
        yield cabin


async def test_every_segment_is_durable_and_told_of_on_its_own_and_then_the_whole(cabin: Cabin) -> None:
    await cabin.original(b"film")
    await cabin.finish(held := await cabin.claim(), await cabin.service.prepare(held))
    assert await cabin.indices() == [0, 1, 2]
    (whole,) = await cabin.stage.told(m.MediumPrepared)
    assert [part.segment.index for part in whole.segments] == [0, 1, 2]
    for part in whole.segments:
        assert part.frames is not None
        assert await cabin.stage.ports.objects.get(part.frames.key)
    assert (await cabin.preparation()).state == "prepared"


@pytest.mark.parametrize("crash_before", [0, 1, 2])
async def test_after_a_crash_decoding_goes_on_at_the_first_segment_that_is_not_durable(
    cabin: Cabin, crash_before: int
) -> None:
    async def before(index: int) -> None:
        if index == crash_before and len(cabin.decoder.asked_from) == 1:
            raise CrashError

    cabin.decoder.before = before
    await cabin.original(b"film")
    with pytest.raises(CrashError):
        await cabin.service.prepare(await cabin.claim())
    assert await cabin.indices() == list(range(crash_before))
    successor = Ledger(cabin.stage.ports, "after the crash")
    await successor.inherit()
    await cabin.service.prepare(await cabin.claim(successor))
    assert cabin.decoder.asked_from == [0, crash_before]
    assert await cabin.indices() == [0, 1, 2]
    assert len(await cabin.stage.told(m.MediumPrepared)) == 1


async def test_what_was_prepared_is_not_prepared_again_when_only_the_commit_of_the_job_was_lost(cabin: Cabin) -> None:
    await cabin.original(b"film")
    await cabin.service.prepare(await cabin.claim())
    successor = Ledger(cabin.stage.ports, "after the crash")
    await successor.inherit()
    await cabin.service.prepare(await cabin.claim(successor))
    assert cabin.decoder.asked_from == [0]
    assert len(await cabin.stage.told(m.MediumPrepared)) == 1


async def test_a_refused_medium_is_rejected_with_its_reason_and_kept_as_a_dead_letter(cabin: Cabin) -> None:
    await cabin.original(b"cut off")
    await cabin.finish(held := await cabin.claim(), await cabin.service.prepare(held))
    preparation = await cabin.preparation()
    assert (preparation.state, preparation.body["reason"]["code"]) == ("rejected", "truncated")
    (told,) = await cabin.stage.told(m.MediumRejected)
    assert (told.code, told.failed) == ("truncated", False)
    assert told.remedy
    (letter,) = await cabin.stage.all("dead_letters")
    assert (letter.body["reason"], letter.body["original"]["sha256"]) == ("truncated", SHA)
    assert await cabin.stage.ports.objects.info(ORIGINAL.key)
    assert (await cabin.stage.one("jobs", PREPARE)).state == "done"


async def test_a_holder_that_was_overtaken_changes_nothing_and_stops(cabin: Cabin) -> None:
    """The slow one wakes up in the middle, after another has prepared everything."""
    await cabin.original(b"film")
    slow = await cabin.claim()
    overtaken = False

    async def before(index: int) -> None:
        nonlocal overtaken
        if index == 1 and not overtaken:
            overtaken = True
            other = Ledger(cabin.stage.ports, "the other")
            await other.inherit()
            held = await cabin.claim(other)
            await other.finish(held, "done", {}, (await cabin.service.prepare(held)).outbox)

    cabin.decoder.before = before
    with pytest.raises(StaleLeaseError):
        await cabin.service.prepare(slow)
    with pytest.raises(StaleLeaseError):
        await cabin.stage.ledger.finish(slow, "done", {}, [])
    assert await cabin.indices() == [0, 1, 2]
    assert len(await cabin.stage.told(m.MediumPrepared)) == 1


async def test_an_original_that_is_not_there_fails_the_medium_and_not_its_input(cabin: Cabin) -> None:
    held = await cabin.claim()
    with pytest.raises(PermanentError, match="no object lies under") as caught:
        await cabin.service.prepare(held)
    failure = Failure.of(caught.value)
    await cabin.stage.ledger.fail(held, failure, cabin.service._on_failure(held, failure))
    (told,) = await cabin.stage.told(m.MediumRejected)
    assert told.failed
    assert (await cabin.preparation()).state == "preparing"


async def test_the_upload_told_again_wakes_neither_what_is_prepared_nor_what_was_cancelled(cabin: Cabin) -> None:
    await cabin.stage.ledger.cancel(await cabin.stage.one("jobs", PREPARE))
    await cabin.hear(cabin.uploaded)
    assert (await cabin.stage.one("jobs", PREPARE)).state == "cancelled"
    await cabin.hear(cabin.stage.envelope(cabin.uploaded.body, cause="another upload"))
    assert (await cabin.stage.one("jobs", PREPARE)).state == "ready"


async def test_after_an_erasure_only_a_new_upload_prepares_the_medium_again(cabin: Cabin) -> None:
    erasure = cabin.stage.envelope(m.ErasureRequested(medium="film", requested_by="k"))
    await cabin.hear(erasure)
    await cabin.hear(erasure)
    await cabin.stage.ports.documents.delete("jobs", PREPARE)
    assert await cabin.stage.told(m.PartErased) == [m.PartErased(medium="film", owner="preprocessing")]
    await cabin.hear(cabin.uploaded)
    assert await cabin.stage.all("jobs") == []
    assert (await cabin.preparation()).state == "erased"
    await cabin.hear(cabin.stage.envelope(cabin.uploaded.body, cause="another upload"))
    assert [job.state for job in await cabin.stage.all("jobs")] == ["ready"]
    assert (await cabin.preparation()).state == "preparing"


async def test_a_medium_is_prepared_for_its_own_tenant(cabin: Cabin) -> None:
    assert (await cabin.preparation()).tenant == (await cabin.stage.one("jobs", PREPARE)).tenant == TENANT
    await cabin.stage.ports.documents.transition("preparations", "film", change=Change(state="prepared"))
    await cabin.hear(cabin.stage.envelope(cabin.uploaded.body, cause="another upload"))
    assert (await cabin.preparation()).state == "prepared"
