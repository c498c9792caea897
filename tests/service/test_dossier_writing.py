"""A case's dossier is written seldom while much happens, and always covers what happened last."""

import asyncio
import contextlib
import datetime
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest

from aima_common import pages
from aima_common.contracts import messages as m
from aima_common.errors import TransientError, UnavailableError
from aima_common.jobs import Held, JobKind
from aima_common.ports.documents import Change
from aima_dossier import pace
from aima_dossier.model import Dossier
from aima_dossier.service import DossierService
from tests.service.stage import NOW, SHA, TENANT, Stage, staged

MEDIA = ("film", "photo")


class Desk:
    """The dossier service, a case with two media, and their runs."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.service = DossierService(stage.ports, stage.ledger)

    async def furnish(self) -> None:
        await self.stage.put("cases", "case", "open", name="case", created_at=NOW.isoformat(), options={})
        await self.furnish_with(MEDIA)

    async def furnish_with(self, media: Iterable[str]) -> None:
        for ordinal, medium in enumerate(media):
            body = {"case": "case", "medium": medium, "ordinal": ordinal, "file_name": medium, "size_bytes": 8}
            await self.stage.put("items", f"item {medium}", "accepted", **body, sha256=SHA)
            await self.stage.put("media", medium, "stored", sha256=SHA, size_bytes=8)
            run = {"medium": medium, "accepted_at": NOW.isoformat(), "reason": None}
            await self.stage.put("runs", f"run {medium}", "analysing", **run)

    async def ends(self, medium: str, state: str = "rejected") -> Any:
        """End a run, and make the message that tells of it."""
        reason = {"code": "c", "reason": f"{medium} is damaged", "remedy": ""}
        change = Change(state=state, set={"reason": reason})
        await self.stage.ports.documents.transition("runs", f"run {medium}", change=change)
        return self.stage.envelope(
            m.ProgressMade(medium=medium, run=f"run {medium}", stage=state, done=1, total=1), cause=f"end of {medium}"
        )

    async def hear(self, *envelopes: Any) -> None:
        for envelope in envelopes:
            await self.service.handlers()[type(envelope.body)](envelope)

    async def jobs(self, state: str = "ready") -> list[Any]:
        return list(await self.stage.all("jobs", kind=JobKind.WRITE.value, state=state))

    async def claim(self, job: Any) -> Held:
        held = await self.stage.ledger.claim(job)
        assert held is not None
        return held

    async def work_off(self) -> None:
        """Do all writing that was asked for, whenever it was to start."""
        while jobs := await self.jobs():
            held = await self.claim(jobs[0])
            done = await self.service.write(held)
            await self.stage.ledger.finish(held, done.state, done.fields, done.outbox)

    async def written(self) -> Dossier:
        document = await self.stage.one("dossiers", "case")
        reference = document.body["current"]["json"]
        return Dossier.model_validate_json(await self.stage.ports.objects.get(reference["key"]))

    async def versions(self) -> list[int]:
        return [version["version"] for version in (await self.stage.one("dossiers", "case")).body["versions"]]

    async def kept(self) -> set[str]:
        return {info.key async for info in self.stage.ports.objects.list(f"t/{TENANT}/dossiers/")}


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with staged(tmp_path) as stage:
        desk = Desk(stage)
        await desk.furnish()
        yield desk


def states(dossier: Dossier) -> dict[str, str]:
    return {item.file_name: item.status for item in dossier.items}


async def test_while_a_case_is_worked_on_what_happens_in_one_moment_is_written_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "GATHER_SECONDS", 10**9)
    end = await desk.ends("film")
    more = [desk.stage.envelope(end.body, cause=f"{number}") for number in range(5)]
    await desk.hear(end, *more)
    [job] = await desk.jobs()
    assert job.body["resting_until"] == job.body["not_before"] > job.body["submitted_at"], "it hides nobody meanwhile"
    await desk.work_off()
    assert await desk.versions() == [1]
    assert states(await desk.written()) == {"film": "rejected", "photo": "analysing"}
    assert not (await desk.written()).complete


async def test_the_end_of_a_case_is_written_at_once_and_covers_everything(desk: Desk) -> None:
    for medium in MEDIA:
        await desk.hear(await desk.ends(medium))
    (at_once,) = await desk.stage.ledger.ready(JobKind.WRITE)
    assert at_once.body["resting_until"] is None
    held = await desk.claim(at_once)
    await desk.service.write(held)
    dossier = await desk.written()
    assert states(dossier) == {"film": "rejected", "photo": "rejected"}
    assert dossier.complete
    (told,) = await desk.stage.told(m.DossierPublished)
    assert (told.version, told.complete, told.items) == (1, True, 2)


@pytest.mark.parametrize("writes_before", range(3))
async def test_the_last_event_is_covered_however_writing_and_events_interleave(desk: Desk, writes_before: int) -> None:
    ends = [await desk.ends("film"), await desk.ends("photo")]
    for number, end in enumerate([*ends, desk.stage.envelope(ends[1].body, cause="once more")]):
        await desk.hear(end)
        if number < writes_before:
            await desk.work_off()
    await desk.work_off()
    assert {note.state for note in await desk.stage.all("news")} == {"covered"}
    assert (await desk.written()).complete


async def test_messages_that_come_twice_write_nothing_more(desk: Desk) -> None:
    ends = [await desk.ends("film"), await desk.ends("photo")]
    await desk.hear(*ends)
    await desk.work_off()
    before = await desk.stage.everything()
    await desk.hear(*ends, *ends)
    await desk.work_off()
    assert await desk.stage.everything() == before


async def test_a_message_that_comes_again_before_its_version_is_written_is_covered_by_it(desk: Desk) -> None:
    end = await desk.ends("film")
    await desk.hear(end)
    asked = await desk.jobs()
    (note,) = await desk.stage.all("news")
    await desk.hear(end, end)
    assert await desk.stage.all("news") == [note]
    assert {job.id for job in asked} <= {job.id for job in await desk.jobs()}
    await desk.work_off()
    assert await desk.versions() == [1]


async def test_what_a_case_is_told_of_does_not_change_its_document(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAGE", 7)
    many = [f"photo {number}" for number in range(40)]
    await desk.furnish_with(many)
    ends = [await desk.ends(medium) for medium in many]
    await desk.hear(*ends, *ends)
    assert (await desk.stage.one("dossiers", "case")).version == 1
    assert len(await desk.stage.all("news", state="open")) == len(many)
    for medium in MEDIA:
        await desk.hear(await desk.ends(medium))
    await desk.work_off()
    assert await desk.stage.all("news", state="open") == []
    assert (await desk.stage.one("dossiers", "case")).version == 1 + len(await desk.versions())
    assert (await desk.written()).complete


async def test_a_crash_between_a_version_and_the_note_of_it_writes_it_once_more_and_ends(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.hear(await desk.ends("film"), await desk.ends("photo"))
    held = await desk.claim((await desk.jobs())[0])

    async def away(*_: Any) -> None:
        raise UnavailableError("the store is away", code="mongodb")

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(desk.service._news, "cover", away)
        with pytest.raises(UnavailableError):
            await desk.service.write(held)
    assert await desk.versions() == [1]
    await desk.stage.ledger.release(held)
    await desk.work_off()
    assert await desk.versions() == [1, 2]
    await desk.service.ask_for_the_unwritten()
    assert await desk.jobs() == [], "it is covered now"
    assert (await desk.written()).complete


async def test_what_an_earlier_version_counted_is_written_and_not_forgotten(desk: Desk) -> None:
    for medium in MEDIA:
        await desk.ends(medium)
    counted = {"case": "case", "wanted": 3, "written": 1, "version": 0, "current": None, "versions": []}
    await desk.stage.put("dossiers", "case", "empty", **counted)
    await desk.service.ask_for_the_unwritten()
    await desk.work_off()
    assert (await desk.written()).complete
    assert (await desk.stage.one("dossiers", "case")).body["written"] == 3
    await desk.service.ask_for_the_unwritten()
    assert await desk.jobs() == []


async def test_what_is_told_while_a_version_is_written_gets_a_version_of_its_own(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.hear(await desk.ends("film"))
    (job,) = await desk.jobs()
    keep = desk.service._keep

    async def news_meanwhile(*arguments: Any) -> Any:
        monkeypatch.setattr(desk.service, "_keep", keep)
        await desk.hear(await desk.ends("photo"))
        return await keep(*arguments)

    monkeypatch.setattr(desk.service, "_keep", news_meanwhile)
    held = await desk.claim(job)
    await desk.service.write(held)
    assert states(await desk.written()) == {"film": "rejected", "photo": "analysing"}
    await desk.work_off()
    assert states(await desk.written()) == {"film": "rejected", "photo": "rejected"}
    assert await desk.versions() == [1, 2]


async def test_of_two_writers_one_makes_the_version_and_the_other_leaves_nothing_behind(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.hear(await desk.ends("film"))
    held = await desk.claim((await desk.jobs())[0])
    keep = desk.service._keep

    async def overtaken(*arguments: Any) -> Any:
        monkeypatch.setattr(desk.service, "_keep", keep)
        await desk.service.write(held)
        return await keep(*arguments)

    monkeypatch.setattr(desk.service, "_keep", overtaken)
    with pytest.raises(TransientError, match="another version"):
        await desk.service.write(held)
    assert await desk.versions() == [1]
    assert len(await desk.kept()) == 2


async def test_a_version_that_is_written_while_a_medium_is_erased_is_not_kept(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.hear(await desk.ends("film"))
    held = await desk.claim((await desk.jobs())[0])
    keep = desk.service._keep

    async def erased_meanwhile(*arguments: Any) -> Any:
        kept = await keep(*arguments)
        await desk.hear(desk.stage.envelope(m.ErasureRequested(medium="film", requested_by="k")))
        return kept

    monkeypatch.setattr(desk.service, "_keep", erased_meanwhile)
    with pytest.raises(TransientError):
        await desk.service.write(held)
    assert await desk.kept() == set()
    assert await desk.stage.told(m.PartErased) == [m.PartErased(medium="film", owner="dossier")]


async def test_a_crash_between_writing_and_the_end_of_the_job_loses_no_news_of_the_version(desk: Desk) -> None:
    await desk.hear(await desk.ends("film"))
    held = await desk.claim((await desk.jobs())[0])
    await desk.service.write(held)
    # The process dies here. Whoever takes the job over finds nothing to write; the version was told of with itself.
    await desk.stage.ledger.release(held)
    await desk.work_off()
    assert await desk.versions() == [1]
    assert [told.version for told in await desk.stage.told(m.DossierPublished)] == [1]


async def test_erasure_forgets_every_version_and_answers_every_request(desk: Desk) -> None:
    await desk.hear(await desk.ends("film"), await desk.ends("photo"))
    await desk.work_off()
    assert await desk.kept()
    correction = m.CorrectionMade(medium="film", finding="f", field="text", value="v", author="a")
    await desk.hear(desk.stage.envelope(correction))
    await desk.work_off()
    for cause in ("first", "second"):
        erasure = desk.stage.envelope(m.ErasureRequested(medium="film", requested_by="k"), cause=cause)
        await desk.hear(erasure, erasure)
        assert await desk.kept() == set()
    assert await desk.stage.all("corrections") == []
    assert len(await desk.stage.told(m.PartErased)) == 2
    await desk.hear(desk.stage.envelope(m.MediumErased(medium="film")))
    await desk.work_off()
    assert (await desk.written()).complete


async def test_a_correction_that_comes_while_its_medium_is_erased_is_gone_when_that_ends(desk: Desk) -> None:
    documents = desk.stage.ports.documents
    correction = desk.stage.envelope(m.CorrectionMade(medium="film", finding="f", field="text", value="v", author="a"))
    await desk.hear(desk.stage.envelope(m.ErasureRequested(medium="film", requested_by="k")), correction)
    assert await desk.stage.all("corrections"), "the control: nobody knows yet that this medium goes"
    await documents.transition("media", "film", change=Change(state="erased"))
    await desk.stage.put("erasures", "e", "erased", medium="film", owners=[], erased_at=NOW.isoformat())
    await desk.hear(desk.stage.envelope(m.MediumErased(medium="film")))
    assert await desk.stage.all("corrections") == []
    await documents.transition("media", "film", change=Change(state="stored"))
    await desk.hear(correction)
    assert await desk.stage.all("corrections") == [], "told again, it is as old as before, though the file came back"
    later = {"time": NOW + datetime.timedelta(seconds=1)}
    await desk.hear(correction.model_copy(update={"id": "later", **later}))
    assert await desk.stage.all("corrections"), "what is said of the file that came back is kept"


async def test_a_request_that_was_answered_takes_no_later_version_away_when_it_comes_again(desk: Desk) -> None:
    await desk.hear(await desk.ends("film"), await desk.ends("photo"))
    await desk.work_off()
    erasure = desk.stage.envelope(m.ErasureRequested(medium="film", requested_by="k"))
    await desk.hear(erasure)
    assert await desk.kept() == set(), "the control: it did take away what told of the medium"
    await desk.hear(desk.stage.envelope(m.MediumErased(medium="film")))
    await desk.work_off()
    kept = await desk.kept()
    assert kept
    await desk.hear(erasure)
    assert await desk.kept() == kept


async def test_a_version_whose_writing_was_given_up_is_asked_for_again(desk: Desk) -> None:
    await desk.hear(await desk.ends("film"), await desk.ends("photo"))
    for job in await desk.jobs():
        held = await desk.claim(job)
        await desk.stage.ledger.finish(held, "dead", {}, [])
    await desk.work_off()
    assert (await desk.stage.one("dossiers", "case")).body["current"] is None
    await desk.service.ask_for_the_unwritten()
    await desk.work_off()
    assert (await desk.written()).complete
    await desk.service.ask_for_the_unwritten()
    assert await desk.jobs() == []


async def test_the_service_writes_by_itself(desk: Desk) -> None:
    loop, _ = desk.service.background()
    life: asyncio.Future[None] = asyncio.ensure_future(loop())
    try:
        await desk.hear(await desk.ends("film"), await desk.ends("photo"))
        async with asyncio.timeout(20):
            while not (await desk.stage.one("dossiers", "case")).body["current"]:
                await asyncio.sleep(0.02)
    finally:
        life.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await life
    assert (await desk.written()).complete
