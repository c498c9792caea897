"""A critical job starts in the room of one that has begun; that one is done again, and counted once."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aima_common.contracts.media import Priority
from aima_common.errors import StaleLeaseError
from aima_common.jobs import Done, Held, JobKind, JobRunner, Ledger, new_job
from aima_common.ports.bus import Record
from aima_common.ports.documents import Change, Document
from aima_monitoring.evidence import Snapshot
from aima_monitoring.transitions import check_transitions
from aima_scheduler.deciders.engine import Settings
from aima_scheduler.deciders.preemption import HOUR_SECONDS, Preemption
from aima_scheduler.dispatch import Dispatcher
from aima_scheduler.preempting import COLLECTION, NAME
from tests.service.stage import NEEDS, NOW, TENANT, Stage, staged

ON = Preemption()
TOLD = Record("aima.analysis.completed", "m", b"{}")


class Yard:
    """A machine with one GPU, which one job takes whole: nobody can exceed that, however urgent."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.worker, self.other = stage.ledger, Ledger(stage.ports, "another worker")

    def dispatcher(self, rule: Preemption | None = ON, name: str = "the scheduler") -> Dispatcher:
        async def refused(job: Document, reason: str) -> None:
            raise AssertionError(f"{job.id} is refused: {reason}")

        ledger = Ledger(self.stage.ports, name)
        return Dispatcher(self.stage.ports, ledger, refused, Settings(preemption=rule))

    async def job(
        self, name: str, priority: Priority, *, tenant: str = TENANT, gpus: int = 1, submitted_at: Any = NOW
    ) -> None:
        needs = {**NEEDS, "gpus": gpus}
        body: dict[str, Any] = {"run": "r", "medium": "m", "lane": "video", "analyzer": name, "needs": needs}
        job = new_job(name, tenant, JobKind.ANALYSE, submitted_at=submitted_at, priority=priority, **body)
        assert await self.worker.add(job)

    async def begun(self, name: str, ledger: Ledger | None = None) -> Held:
        held = await (ledger or self.worker).claim(await self.stage.one("jobs", name))
        assert held is not None
        return held

    async def where(self, name: str) -> tuple[str, str | None]:
        job = await self.stage.one("jobs", name)
        return job.state, job.body["machine"]


@pytest.fixture
async def yard(tmp_path: Path) -> AsyncIterator[Yard]:
    async with staged(tmp_path) as stage:
        await stage.put("machines", "m1", "available", cpus=4.0, memory_bytes=1 << 30, gpus=[{}], seen_at="now")
        yield Yard(stage)


async def both(yard: Yard, dispatcher: Dispatcher) -> Held:
    """Let a batch job begin, and a critical one come."""
    await yard.job("film", Priority.BATCH)
    assert await dispatcher.place_all() == 1
    held = await yard.begun("film")
    await yard.job("urgent", Priority.CRITICAL)
    return held


async def test_the_critical_job_starts_and_the_other_is_done_again_and_ends_once(yard: Yard) -> None:
    dispatcher = yard.dispatcher()
    stale = await both(yard, dispatcher)
    assert await dispatcher.place_all() == 1
    assert (await yard.where("urgent"), await yard.where("film")) == (("ready", "m1"), ("ready", None))
    for late in (yard.worker.renew(stale), yard.worker.finish(stale, "done", {"result": "stale"}, [TOLD])):
        with pytest.raises(StaleLeaseError):
            await late
    await yard.other.finish(await yard.begun("urgent", yard.other), "done", {}, [])
    assert await dispatcher.place_all() == 1
    fresh = await yard.begun("film", yard.other)
    with pytest.raises(StaleLeaseError):
        await yard.worker.finish(stale, "done", {"result": "stale"}, [TOLD])
    await yard.other.finish(fresh, "done", {"result": "fresh"}, [TOLD])
    film = await yard.stage.one("jobs", "film")
    assert (film.state, film.epoch, film.body["result"]) == ("done", 2, "fresh")
    assert (film.body["attempts"], film.body["preemptions"]) == (1, 1), "giving way is no failed attempt"
    entries = await yard.stage.ports.documents.outbox()
    assert [entry.record for entry in entries].count(TOLD) == 1


async def test_the_control_without_it_the_critical_job_waits_and_the_worker_commits(yard: Yard) -> None:
    dispatcher = yard.dispatcher(None)
    held = await both(yard, dispatcher)
    assert await dispatcher.place_all() == 0
    assert (await yard.where("urgent"), await yard.where("film")) == (("ready", None), ("leased", "m1"))
    await yard.worker.finish(held, "done", {"result": "first"}, [TOLD])
    assert (await yard.stage.one("jobs", "film")).body["result"] == "first"


async def test_a_job_that_gave_way_says_so_and_names_nobody_elses_job(yard: Yard) -> None:
    dispatcher = yard.dispatcher()
    await both(yard, dispatcher)
    await dispatcher.place_all()
    (error,) = (await yard.stage.one("jobs", "film")).body["errors"]
    assert (error["code"], error["epoch"]) == ("preempted", 1)
    assert "job urgent, which is critical" in error["reason"]
    urgent = await yard.stage.one("jobs", "urgent")
    assert "took that of a less urgent job" in urgent.body["placed_because"]
    assert await dispatcher.place_all() == 0
    told = await dispatcher.explain(TENANT, "film")
    assert told is not None
    assert any("gave way to more urgent work once" in reason for reason in told["reasons"])
    await yard.other.finish(await yard.begun("urgent", yard.other), "done", {}, [])
    await dispatcher.place_all()
    await yard.begun("film")
    await yard.job("theirs", Priority.CRITICAL, tenant="somebody else")
    await dispatcher.place_all()
    assert await yard.where("theirs") == ("ready", "m1")
    last = (await yard.stage.one("jobs", "film")).body["errors"][-1]
    assert "theirs" not in last["reason"]
    assert "another tenant" in last["reason"]


async def test_the_worker_hears_of_it_while_it_works_and_its_next_attempt_commits(yard: Yard) -> None:
    dispatcher, begun, gave_up = yard.dispatcher(), asyncio.Event(), asyncio.Event()

    async def work(held: Held) -> Done:
        if held.id == "film" and held.epoch == 1:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                gave_up.set()
        return Done({"result": held.epoch})

    runner = JobRunner(yard.worker, JobKind.ANALYSE, work, slots=1, where={"machine": "m1"})
    running = asyncio.create_task(runner.run())
    try:
        async with asyncio.timeout(60):
            await yard.job("film", Priority.BATCH)
            await dispatcher.place_all()
            await begun.wait()
            await yard.job("urgent", Priority.CRITICAL)
            assert await dispatcher.place_all() == 1
            await gave_up.wait()
            while {job.state for job in await yard.stage.all("jobs")} != {"done"}:
                await dispatcher.place_all()
                await asyncio.sleep(0.05)
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    results = {job.id: job.body["result"] for job in await yard.stage.all("jobs")}
    assert results == {"urgent": 1, "film": 2}


async def test_a_job_that_has_not_begun_is_taken_back_at_no_cost(yard: Yard) -> None:
    dispatcher = yard.dispatcher(Preemption(budget=0))
    await yard.job("film", Priority.BATCH)
    await dispatcher.place_all()
    await yard.job("urgent", Priority.CRITICAL)
    assert await dispatcher.place_all() == 1
    assert (await yard.where("urgent"), await yard.where("film")) == (("ready", "m1"), ("ready", None))
    film = await yard.stage.one("jobs", "film")
    assert (film.body["attempts"], film.body["preemptions"]) == (0, 1)


@pytest.mark.parametrize("claimed", [True, False], ids=["claimed", "control"])
async def test_a_job_that_is_claimed_while_it_is_taken_back_keeps_its_room(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, claimed: bool
) -> None:
    dispatcher = yard.dispatcher(Preemption(budget=0))
    await yard.job("film", Priority.BATCH)
    await dispatcher.place_all()
    await yard.job("urgent", Priority.CRITICAL)
    documents = yard.stage.ports.documents
    change = documents.transition

    async def claims_first(collection: str, identity: str, **options: Any) -> Any:
        if claimed and "preemptions" in options["change"].add:
            monkeypatch.setattr(documents, "transition", change)
            await yard.begun(identity)
        return await change(collection, identity, **options)

    monkeypatch.setattr(documents, "transition", claims_first)
    assert await dispatcher.place_all() == (0 if claimed else 1)
    assert await yard.where("film") == (("leased", "m1") if claimed else ("ready", None))
    # With the true price known there is nothing to pay it with.
    assert await dispatcher.place_all() == 0
    assert await yard.where("urgent") == ("ready", None if claimed else "m1")


async def test_what_an_hour_may_cost_holds_for_whoever_places_next(yard: Yard) -> None:
    first, documents = yard.dispatcher(), yard.stage.ports.documents
    await both(yard, first)
    assert await first.place_all() == 1
    known = await documents.load(COLLECTION, NAME)
    assert known is not None
    ((at, _),) = known.body["spent"]
    await yard.other.finish(await yard.begun("urgent", yard.other), "done", {}, [])
    await first.place_all()
    await yard.begun("film")
    await first._leadership.give_up()
    await yard.job("another", Priority.CRITICAL)
    for spent_at, placed in [(at, 0), (at - HOUR_SECONDS, 1)]:
        await documents.transition(COLLECTION, NAME, change=Change(set={"spent": [[spent_at, ON.budget]]}))
        successor = yard.dispatcher(name=f"successor {placed}")
        assert await successor.place_all() == placed
        await successor._leadership.give_up()


async def test_whoever_may_exceed_the_cores_makes_nobody_give_way(yard: Yard) -> None:
    dispatcher = yard.dispatcher()
    names = [f"film-{number}" for number in range(6)]
    for name in names:
        await yard.job(name, Priority.BATCH, gpus=0)
    assert await dispatcher.place_all() == 6, "four cores, and two ahead"
    for name in names:
        await yard.begun(name)
    await yard.job("urgent", Priority.CRITICAL, gpus=0)
    assert await dispatcher.place_all() == 1
    assert {state for state, _ in [await yard.where(name) for name in names]} == {"leased"}
    await yard.job("urgent too", Priority.CRITICAL, gpus=0)
    assert await dispatcher.place_all() == 1, "only one exceeds them at a time"
    assert sorted([(await yard.where(name))[0] for name in names]) == ["leased"] * 5 + ["ready"]


async def test_whoever_came_just_now_waits_first(yard: Yard) -> None:
    dispatcher = yard.dispatcher(Preemption(patience=3600))
    await yard.job("film", Priority.BATCH)
    await dispatcher.place_all()
    await yard.begun("film")
    await yard.job("urgent", Priority.CRITICAL, submitted_at=yard.stage.ports.clock.now())
    assert await dispatcher.place_all() == 0
    await dispatcher._leadership.give_up()
    assert await yard.dispatcher(Preemption(patience=0), "less patient").place_all() == 1


@pytest.mark.parametrize("priority", [Priority.NORMAL, Priority.LOW])
async def test_whose_class_was_raised_while_it_ran_does_not_give_way_by_the_old_one(
    yard: Yard, priority: Priority
) -> None:
    dispatcher = yard.dispatcher()
    await both(yard, dispatcher)
    change = Change(set={"priority": priority.value})
    await yard.stage.ports.documents.transition("jobs", "film", change=change)
    assert await dispatcher.place_all() == 0
    await yard.stage.ports.documents.transition("jobs", "film", change=Change(set={"priority": "batch"}))
    assert await dispatcher.place_all() == 1, "the control"


async def test_the_history_of_a_job_that_gave_way_breaks_no_invariant(yard: Yard) -> None:
    dispatcher = yard.dispatcher()
    await both(yard, dispatcher)
    await dispatcher.place_all()
    await yard.other.finish(await yard.begun("urgent", yard.other), "done", {}, [])
    await dispatcher.place_all()
    await yard.other.finish(await yard.begun("film", yard.other), "done", {}, [])
    documents = yard.stage.ports.documents
    lines = await documents.history("jobs", "film")
    assert ("leased", "ready") in [(line.state_before, line.state_after) for line in lines]
    now = await documents.now()
    assert list(check_transitions(Snapshot(now, {}, {"jobs": lines}, {}))) == []
    muddled = [*lines[-1:], *lines[:-1]]
    assert list(check_transitions(Snapshot(now, {}, {"jobs": muddled}, {}))) != [], "the control"


@pytest.mark.parametrize("gives_way", [True, False], ids=["gives way", "control"])
async def test_how_long_a_job_takes_is_not_learned_from_one_that_gave_way(yard: Yard, gives_way: bool) -> None:
    dispatcher = yard.dispatcher(ON if gives_way else None)
    held = await both(yard, dispatcher)
    await dispatcher.place_all()
    if gives_way:
        await yard.other.finish(await yard.begun("urgent", yard.other), "done", {}, [])
        await dispatcher.place_all()
        assert await yard.where("film") == ("ready", "m1")
        assert await yard.other.cancel(await yard.stage.one("jobs", "film"))
    else:
        await yard.worker.finish(held, "done", {}, [])
    await yard.job("next", Priority.BATCH)
    await dispatcher.place_all()
    assert (dispatcher._board.paces.expected("film") is None) == gives_way
