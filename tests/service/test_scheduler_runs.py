"""What the scheduler makes of messages: in any order, any number of times."""

import contextlib
import itertools
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from aima_common.contracts import messages as m
from aima_common.contracts.codec import decode
from aima_common.contracts.envelope import Envelope
from aima_common.contracts.media import MediumType, Priority
from aima_common.contracts.topics import BY_MESSAGE
from aima_common.errors import TransientError
from aima_common.jobs import JobKind, new_job
from aima_common.ports.documents import Change, Insert
from aima_monitoring.invariants import Snapshot, check
from aima_scheduler.service import Scheduler
from tests.service.stage import (
    NOW,
    ORIGINAL,
    PROBE,
    SHA,
    TENANT,
    Stage,
    analyzer_body,
    derivatives,
    staged,
    uploaded,
)

ANALYZERS = ("faces", "shots")


class House:
    """The scheduler, and those whose documents it reads."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.scheduler = Scheduler(stage.ports, stage.ledger)

    async def hear(self, *envelopes: Envelope[Any]) -> None:
        for envelope in envelopes:
            await self.scheduler.handlers()[type(envelope.body)](envelope)

    async def say(self, message: Any, cause: str = "") -> None:
        await self.hear(self.stage.envelope(message, cause=cause))

    async def run(self) -> Any:
        (run,) = await self.stage.all("runs")
        return run

    async def jobs(self, kind: JobKind = JobKind.ANALYSE) -> Sequence[Any]:
        return await self.stage.all("jobs", kind=kind.value)

    async def accept(self, case: str = "case", item: str = "item", medium: str = "film") -> None:
        """Do what upload does before it tells."""
        await self.stage.ports.documents.insert("cases", _insert(case, "open", name=case))
        body = {"case": case, "medium": medium, "accepted_at": NOW.isoformat()}
        await self.stage.put("items", item, "accepted", **body)
        await self.stage.ports.documents.insert("media", _insert(medium, "stored"))

    async def prepare(self, count: int, *, whole: bool = False) -> None:
        """Do what preprocessing does before it tells."""
        parts = [derivatives(index).model_dump(mode="json") for index in range(count)]
        body = {"medium": "film", "type": "video", "segments": parts, "poster": None, "reason": None}
        await self.stage.ports.documents.insert("preparations", _insert("film", "preparing", **body))
        change = Change(state="prepared" if whole else "preparing", set=body)
        await self.stage.ports.documents.transition("preparations", "film", change=change)

    async def reject(self, *, failed: bool = False) -> None:
        reason = {"code": "truncated", "reason": "cut off", "remedy": "", "failed": failed}
        await self.stage.put("preparations", "film", "rejected", medium="film", reason=reason, type=None, segments=[])

    async def analysed(self, job: Any) -> m.AnalysisCompleted:
        """Do what analysis does with a job; return what it tells."""
        fresh = await self.stage.one("jobs", job.id)
        held = await self.stage.ledger.claim(fresh)
        assert held is not None
        await self.stage.ledger.finish(held, "done", {}, [])
        return m.AnalysisCompleted(
            medium="film", run=fresh.body["run"], job=job.id, analyzer="a", result=ORIGINAL, finding_count=0
        )

    async def violations(self) -> list[Any]:
        documents = self.stage.ports.documents
        histories = {name: await documents.history(name) for name in ("jobs", "runs")}
        found = {name: await documents.find(name, {}) for name in ("jobs", "runs", "items", "cases", "media")}
        # There are no objects here: what is said of them (I7) is the business of others.
        return [v for v in check(Snapshot(await documents.now(), found, histories, {})) if v.invariant != "I7"]


def _insert(identity: str, state: str, **body: Any) -> Insert:
    return Insert(identity, TENANT, state, body)


def segment_prepared(index: int) -> m.SegmentPrepared:
    return m.SegmentPrepared(
        medium="film", type=MediumType.VIDEO, original_sha256=SHA, derivatives=derivatives(index), probe=PROBE
    )


def medium_prepared(count: int) -> m.MediumPrepared:
    parts = [derivatives(index) for index in range(count)]
    return m.MediumPrepared(medium="film", type=MediumType.VIDEO, original_sha256=SHA, probe=PROBE, segments=parts)


REJECTED = m.MediumRejected(medium="film", code="truncated", reason="cut off", remedy="send it whole")


@contextlib.asynccontextmanager
async def housed(folder: Path) -> AsyncIterator[House]:
    """A scheduler, analyzers, and a medium that is accepted; nothing may be broken in the end."""
    async with staged(folder) as stage:
        for name in ANALYZERS:
            await stage.put("analyzers", name, "available", **analyzer_body(name))
        house = House(stage)
        await house.accept()
        yield house
        assert await house.violations() == []


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with housed(tmp_path) as house:
        yield house


async def test_before_analysis_has_announced_all_its_analyzers_nothing_is_planned(house: House) -> None:
    body = analyzer_body("faces", together_with=["faces", "speech"])
    await house.stage.ports.documents.transition("analyzers", "faces", change=Change(set=body))
    with pytest.raises(TransientError, match="not all been announced"):
        await house.say(uploaded())
    await house.stage.put("analyzers", "speech", "available", **analyzer_body("speech"))
    await house.say(uploaded())
    assert (await house.run()).state == "accepted"


async def test_a_segment_is_planned_before_the_rest_is_prepared(house: House) -> None:
    await house.say(uploaded())
    await house.prepare(1)
    await house.say(segment_prepared(0))
    assert len(await house.jobs()) == len(ANALYZERS)
    assert (await house.run()).state == "preparing"
    assert await house.stage.told(m.AnalysisPlanned) == []


ORDERS = list(itertools.permutations(["uploaded", "first", "second", "whole"]))


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
async def test_any_order_of_upload_and_preparation_makes_the_same_jobs_and_one_plan(
    house: House, order: tuple[str, ...]
) -> None:
    messages = {
        "uploaded": uploaded(),
        "first": segment_prepared(0),
        "second": segment_prepared(1),
        "whole": medium_prepared(2),
    }
    await house.prepare(2, whole=True)
    envelopes = [house.stage.envelope(messages[name], cause=name) for name in order]
    await house.hear(*envelopes)
    jobs = {(job.body["analyzer"], job.body["segment"]["index"]) for job in await house.jobs()}
    assert jobs == set(itertools.product(ANALYZERS, range(2)))
    (planned,) = await house.stage.told(m.AnalysisPlanned)
    assert {part.job for part in planned.parts} == {job.id for job in await house.jobs()}
    assert (await house.run()).state == "analysing"
    before = await house.stage.everything()
    await house.hear(*envelopes)
    assert await house.stage.everything() == before
    assert len(await house.stage.told(m.AnalysisPlanned)) == 1


async def test_a_run_goes_from_upload_to_analysed_and_counts_each_part_once(house: House) -> None:
    await house.say(uploaded())
    await house.prepare(1, whole=True)
    await house.say(medium_prepared(1))
    for job in await house.jobs():
        envelope = house.stage.envelope(await house.analysed(job))
        await house.hear(envelope, envelope)
    run = await house.run()
    assert (run.state, run.body["parts_done"], run.body["parts_total"]) == ("fusing", 2, 2)
    await house.say(m.PictureCompleted(medium="film", run=run.id, picture=ORIGINAL))
    assert (await house.run()).state == "analysed"
    assert (await house.stage.told(m.ProgressMade))[-1].stage == "analysed"


@pytest.mark.parametrize("early", [True, False], ids=["rejected before the upload was heard of", "rejected after"])
async def test_a_rejected_medium_ends_its_run_with_the_reason_in_either_order(house: House, early: bool) -> None:
    await house.reject()
    said = [house.stage.envelope(uploaded()), house.stage.envelope(REJECTED)]
    await house.hear(*(reversed(said) if early else said))
    run = await house.run()
    assert (run.state, run.body["reason"]["code"]) == ("rejected", "truncated")
    before = await house.stage.everything()
    await house.hear(*said)
    assert await house.stage.everything() == before


@pytest.mark.parametrize("priority", [Priority.NORMAL, Priority.HIGH], ids=["wants the same", "wants more"])
async def test_a_second_upload_that_is_told_again_after_the_end_changes_nothing(
    house: House, priority: Priority
) -> None:
    await house.say(uploaded())
    await house.accept("other case", "other item")
    second = house.stage.envelope(uploaded(case="other case", item="other item", priority=priority))
    await house.hear(second)
    await house.reject()
    await house.say(REJECTED)
    before, told = await house.run(), len(await house.stage.told())
    assert (before.state, before.body["priority"]) == ("rejected", priority.value)
    await house.hear(second)
    assert (await house.run(), len(await house.stage.told())) == (before, told)
    third = house.stage.envelope(uploaded(case="other case", item="third item"))
    await house.hear(third)
    assert len(await house.stage.told()) > told, "control: one that was not heard before is told of the end"


async def test_the_same_medium_in_a_second_case_is_not_analysed_again_but_told_of_again(house: House) -> None:
    await house.say(uploaded())
    await house.prepare(1, whole=True)
    await house.say(medium_prepared(1))
    run = await house.run()
    await house.say(m.PictureCompleted(medium="film", run=run.id, picture=ORIGINAL))
    told = len(await house.stage.told(m.ProgressMade))
    await house.accept("other case", "other item")
    again = house.stage.envelope(uploaded(case="other case", item="other item"))
    await house.hear(again, again)
    assert (await house.run()).state == "analysed"
    assert len(await house.jobs()) == len(ANALYZERS)
    assert len(await house.stage.told(m.ProgressMade)) == told + 1


async def test_a_more_urgent_wish_hastens_what_waits(house: House) -> None:
    await house.say(uploaded(priority=Priority.BATCH))
    await house.prepare(1, whole=True)
    await house.say(medium_prepared(1))
    await house.say(uploaded(item="second", priority=Priority.HIGH))
    assert {job.body["priority"] for job in await house.jobs()} == {"high"}
    await house.say(uploaded(item="third", priority=Priority.LOW))
    assert {job.body["priority"] for job in await house.jobs()} == {"high"}


async def test_the_earlier_of_two_deadlines_counts_for_what_waits(house: House) -> None:
    soon, late = "2026-11-24T08:00:00+00:00", "2026-11-30T08:00:00+00:00"
    await house.say(uploaded(deadline=late))
    await house.prepare(1, whole=True)
    await house.say(medium_prepared(1))
    await house.say(uploaded(item="second", deadline=soon))
    assert {job.body["deadline"] for job in await house.jobs()} == {soon}
    await house.say(uploaded(item="third"))
    assert (await house.run()).body["deadline"] == soon


async def choose(house: House, case: str, cause: str = "", **options: Any) -> Envelope[Any]:
    """Change a case as upload does; return what it tells."""
    await house.stage.ports.documents.transition("cases", case, change=Change(set={"options": options}))
    return house.stage.envelope(m.CaseChanged(case=case, priority=Priority(options["priority"])), cause=cause)


async def preparing_job(house: House) -> Any:
    job = new_job("preparing", TENANT, JobKind.PREPARE, submitted_at=NOW, medium="film", run=None)
    await house.stage.ledger.add(job)
    return job


async def test_a_case_that_is_changed_moves_all_its_work_that_waits_up_and_down(house: House) -> None:
    soon = "2026-11-24T08:00:00+00:00"
    preparing = await preparing_job(house)
    await planned(house)
    choices = (
        {"priority": "critical", "deadline": soon, "confidentiality": "public"},
        {"priority": "batch", "deadline": None, "confidentiality": "internal"},
    )
    for options in choices:
        told = await choose(house, "case", **options)
        await house.hear(told)
        jobs = [*await house.jobs(), await house.stage.one("jobs", preparing.id)]
        assert len(jobs) == len(ANALYZERS) + 1
        assert [{name: job.body[name] for name in options} for job in jobs] == [options] * len(jobs)
        before = await house.stage.everything()
        await house.hear(told)
        assert await house.stage.everything() == before


async def test_work_that_two_cases_wait_for_is_as_urgent_as_the_more_urgent_one(house: House) -> None:
    await planned(house)
    await house.accept("other case", "other item")
    await house.hear(await choose(house, "other case", priority="high"))
    await house.hear(await choose(house, "case", priority="low"))
    assert {job.body["priority"] for job in await house.jobs()} == {"high"}
    await house.hear(await choose(house, "other case", priority="batch"))
    assert {job.body["priority"] for job in await house.jobs()} == {"low"}


async def test_a_case_that_is_changed_wakes_nothing_that_has_ended(house: House) -> None:
    await planned(house)
    await cancel(house, "case")
    before = await house.stage.everything()
    await house.hear(await choose(house, "case", priority="critical"))
    assert await house.stage.everything() == before


async def test_an_analysis_that_is_given_up_is_told_once_and_counts_as_done(house: House) -> None:
    await house.say(uploaded())
    await house.prepare(1, whole=True)
    await house.say(medium_prepared(1))
    job = (await house.jobs())[0]
    await house.stage.ports.documents.transition("jobs", job.id, change=Change(state="leased"))
    await house.stage.ports.documents.transition("jobs", job.id, change=Change(state="dead"))
    failed = m.AnalysisFailed(
        medium="film", run=job.body["run"], job=job.id, epoch=1, code="x", reason="it broke", transient=False
    )
    await house.say(failed, "first telling")
    await house.say(failed, "second telling")
    (abandoned,) = await house.stage.told(m.AnalysisAbandoned)
    assert (abandoned.job, abandoned.reason, abandoned.segment) == (job.id, "it broke", 0)
    assert (await house.run()).body["parts_done"] == 1


async def test_a_failure_that_will_be_tried_again_gives_nothing_up(house: House) -> None:
    await house.say(uploaded())
    await house.prepare(1, whole=True)
    await house.say(medium_prepared(1))
    job = (await house.jobs())[0]
    await house.say(
        m.AnalysisFailed(medium="film", run=job.body["run"], job=job.id, epoch=1, code="x", reason="r", transient=True)
    )
    assert await house.stage.told(m.AnalysisAbandoned) == []


async def cancel(house: House, case: str, cause: str = "") -> None:
    await house.say(m.CancelRequested(case=case), cause)


async def planned(house: House) -> None:
    await house.say(uploaded())
    await house.prepare(1, whole=True)
    await house.say(medium_prepared(1))


async def test_cancelling_ends_the_run_and_its_jobs_whoever_holds_them(house: House) -> None:
    await planned(house)
    waiting, working = await house.jobs()
    assert await house.stage.ledger.claim(working)
    await cancel(house, "case")
    assert (await house.run()).state == "cancelled"
    assert {job.state for job in await house.jobs()} == {"cancelled"}
    assert waiting.state == "ready"


async def test_a_medium_that_another_open_case_waits_for_is_not_cancelled(house: House) -> None:
    await planned(house)
    await house.accept("other case", "other item")
    await cancel(house, "case")
    assert (await house.run()).state == "analysing"
    await house.stage.ports.documents.transition("cases", "case", change=Change(state="cancelled"))
    await cancel(house, "other case")
    assert (await house.run()).state == "cancelled"


async def test_a_cancelled_medium_that_is_uploaded_again_is_taken_up_where_it_was(house: House) -> None:
    await planned(house)
    done, waiting = await house.jobs()
    await house.say(await house.analysed(done))
    await cancel(house, "case", "the cancellation")
    await house.accept("new case", "new item")
    again = house.stage.envelope(uploaded(case="new case", item="new item"))
    await house.hear(again, again)
    run = await house.run()
    assert (run.state, run.body["parts_done"], run.body["parts_total"]) == ("analysing", 1, 2)
    assert {job.id: job.state for job in await house.jobs()} == {done.id: "done", waiting.id: "ready"}
    # The cancellation comes once more, as after a crash: it is over.
    await cancel(house, "case", "the cancellation")
    assert (await house.run()).state == "analysing"
    assert (await house.stage.one("jobs", waiting.id)).state == "ready"


async def test_a_late_repetition_of_the_upload_does_not_wake_what_was_cancelled(house: House) -> None:
    first = house.stage.envelope(uploaded())
    await house.hear(first)
    await house.prepare(1, whole=True)
    await house.say(medium_prepared(1))
    await cancel(house, "case")
    before = await house.stage.everything()
    await house.hear(first)
    assert await house.stage.everything() == before


async def test_a_cancellation_that_was_cut_short_by_a_crash_is_completed_when_it_comes_again(house: House) -> None:
    await planned(house)
    run = await house.run()
    await house.scheduler._runs.end(run.id, "cancelled", {"code": "cancelled"}, "cancel")
    assert {job.state for job in await house.jobs()} == {"ready"}
    await cancel(house, "case")
    assert {job.state for job in await house.jobs()} == {"cancelled"}


async def resync(house: House) -> None:
    async def yes() -> bool:
        return True

    await house.scheduler._safety.over_all(yes)


async def test_a_cancellation_that_came_before_the_upload_is_found_by_the_safety_pass(house: House) -> None:
    await cancel(house, "case")
    await house.say(uploaded())
    await resync(house)
    assert (await house.run()).state == "accepted"
    await house.stage.ports.documents.transition("items", "item", change=Change(state="cancelled"))
    await resync(house)
    assert (await house.run()).state == "cancelled"


@pytest.mark.parametrize("kind", [JobKind.PREPARE, JobKind.FUSE])
async def test_a_job_that_died_untold_ends_its_run_at_the_safety_pass(house: House, kind: JobKind) -> None:
    await planned(house)
    run = await house.run()
    of_run = run.id if kind is JobKind.FUSE else None
    job = new_job("untold", TENANT, kind, submitted_at=NOW, medium="film", run=of_run)
    assert await house.stage.ledger.add(job)
    held = await house.stage.ledger.claim(await house.stage.one("jobs", "untold"))
    assert held is not None
    await house.stage.ledger.finish(held, "dead", {"errors": [{"reason": "it broke"}]}, [])
    await resync(house)
    run = await house.run()
    assert (run.state, run.body["reason"]["reason"]) == ("failed", "it broke")


async def test_a_part_that_died_untold_is_given_up_once_by_the_safety_pass(house: House) -> None:
    await planned(house)
    job = (await house.jobs())[0]
    held = await house.stage.ledger.claim(job)
    assert held is not None
    await house.stage.ledger.finish(held, "dead", {"errors": [{"reason": "its worker died"}]}, [])
    for _ in range(2):
        await resync(house)
    (abandoned,) = await house.stage.told(m.AnalysisAbandoned)
    assert (abandoned.job, abandoned.reason) == (job.id, "its worker died")


async def test_an_erased_run_leaves_no_job_and_storage_is_told_even_where_there_was_nothing(house: House) -> None:
    await planned(house)
    await house.say(m.ErasureRequested(medium="film", requested_by="key"), "first")
    assert (await house.run()).state == "erased"
    assert await house.jobs() == []
    for cause, medium in (("second", "film"), ("third", "never heard of")):
        await house.say(m.ErasureRequested(medium=medium, requested_by="key"), cause)
    told = await published(house)
    assert [body.medium for body in told] == ["film", "film", "never heard of"]


async def published(house: House) -> list[Any]:
    found: list[Any] = []
    topic = BY_MESSAGE[m.PartErased].name
    waiting = await house.stage.ports.bus.lag("looker", [topic])
    async with house.stage.ports.bus.subscribe("looker", [topic]) as subscription:
        async for batch in subscription.batches():
            found += [decode(delivery.record).body for delivery in batch]
            if len(found) >= waiting:
                break
    return sorted(found, key=lambda body: body.medium)
