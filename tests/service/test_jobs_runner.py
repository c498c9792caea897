"""The loop that claims, renews and commits, with a heart that beats fast."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from aima_common.contracts import messages as m
from aima_common.contracts.media import Priority
from aima_common.contracts.telling import tell
from aima_common.errors import PermanentError, TransientError, UnavailableError
from aima_common.jobs import Done, Failure, Held, JobKind, JobRunner, Ledger, ledger, new_job, runner
from aima_common.jobs import failure as failure_module
from aima_common.jobs.failure import after_failure
from aima_common.ports.bus import Record
from aima_common.ports.documents import Change, Document, Expect, Lease
from tests.service.stage import NOW, TENANT, Stage, staged

BEAT = 0.02


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setattr(runner, "HEARTBEAT_SECONDS", BEAT)
    monkeypatch.setattr(runner, "POLL_SECONDS", BEAT)
    async with staged(tmp_path) as found:
        yield found


async def add(stage: Stage, identity: str, priority: Priority = Priority.NORMAL) -> None:
    job = new_job(identity, TENANT, JobKind.FUSE, submitted_at=NOW, priority=priority, medium="m", run="r")
    assert await stage.ledger.add(job)


@contextlib.asynccontextmanager
async def running(stage: Stage, work: Callable[[Held], Awaitable[Done]], **options: Any) -> AsyncIterator[JobRunner]:
    options = {"slots": 2, **options}
    worker = JobRunner(stage.ledger, JobKind.FUSE, work, **options)
    life = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        life.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await life


async def state_becomes(stage: Stage, identity: str, *states: str) -> str:
    async with asyncio.timeout(10):
        while (state := (await stage.one("jobs", identity)).state) not in states:
            await asyncio.sleep(BEAT / 2)
    return state


def retry_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def same_verdict_without_pause(attempts: int, failure: Failure, rng: Any) -> Any:
        verdict = real(attempts, failure, rng)
        return type(verdict)(verdict.state, 0.0, verdict.counts)

    real = after_failure
    monkeypatch.setattr(ledger, "after_failure", same_verdict_without_pause)


async def test_what_a_job_made_is_committed_with_its_messages(stage: Stage) -> None:
    record = tell(m.MediumErased(medium="m"), tenant=TENANT, key="m", cause="c", time=NOW)

    async def work(held: Held) -> Done:
        return Done({"result": held.id}, [record])

    await add(stage, "job")
    async with running(stage, work):
        await state_becomes(stage, "job", "done")
    assert (await stage.one("jobs", "job")).body["result"] == "job"
    assert await stage.told() == [m.MediumErased(medium="m")]


async def test_slots_bound_what_runs_and_one_interactive_job_goes_beyond(stage: Stage) -> None:
    now_running: set[str] = set()
    go_on = asyncio.Event()

    async def work(held: Held) -> Done:
        now_running.add(held.id)
        await go_on.wait()
        return Done()

    for number in range(4):
        await add(stage, f"normal-{number}")
    async with running(stage, work) as worker:
        await state_becomes(stage, "normal-1", "leased")
        await add(stage, "urgent", Priority.CRITICAL)
        worker.wake()
        await state_becomes(stage, "urgent", "leased")
        await add(stage, "urgent too", Priority.HIGH)
        await asyncio.sleep(BEAT * 10)
        assert now_running == {"normal-0", "normal-1", "urgent"}
        go_on.set()
        for name in ("normal-0", "normal-1", "normal-2", "normal-3", "urgent", "urgent too"):
            await state_becomes(stage, name, "done")


async def test_a_long_job_keeps_its_lease_by_its_heartbeat(stage: Stage) -> None:
    enough = asyncio.Event()

    async def work(held: Held) -> Done:
        await enough.wait()
        return Done()

    await add(stage, "job")
    async with running(stage, work):
        await state_becomes(stage, "job", "leased")
        first = (await stage.one("jobs", "job")).lease_until
        async with asyncio.timeout(10):
            while (await stage.one("jobs", "job")).lease_until == first:
                await asyncio.sleep(BEAT)
        enough.set()
        await state_becomes(stage, "job", "done")


async def test_a_cancelled_job_stops_at_the_next_heartbeat(stage: Stage) -> None:
    stopped = asyncio.Event()

    async def work(held: Held) -> Done:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return Done()

    await add(stage, "job")
    async with running(stage, work):
        await state_becomes(stage, "job", "leased")
        assert await stage.ledger.cancel(await stage.one("jobs", "job"))
        await asyncio.wait_for(stopped.wait(), 10)
    assert (await stage.one("jobs", "job")).state == "cancelled"


async def test_work_whose_lease_was_taken_is_dropped_and_commits_nothing(stage: Stage) -> None:
    made = asyncio.Event()

    async def work(held: Held) -> Done:
        if held.epoch == 1:
            taken = Lease("somebody else", 60)
            await stage.ports.documents.transition("jobs", held.id, expect=Expect(epoch=1), lease=taken)
            made.set()
        return Done({"result": f"of epoch {held.epoch}"})

    await add(stage, "job")
    async with running(stage, work):
        await made.wait()
        await asyncio.sleep(BEAT * 10)
        job = await stage.one("jobs", "job")
    assert (job.state, job.holder, job.epoch, job.body["result"]) == ("leased", "somebody else", 2, None)


async def test_a_holder_that_cannot_renew_drops_its_work_before_its_lease_ends(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "SELF_FENCE_SECONDS", BEAT * 3)
    dropped = asyncio.Event()

    async def away(self: Ledger, held: Held, progress: object = None) -> None:
        raise UnavailableError("the store is away")

    async def work(held: Held) -> Done:
        try:
            await asyncio.Event().wait()
        finally:
            dropped.set()
        return Done()

    monkeypatch.setattr(Ledger, "renew", away)
    await add(stage, "job")
    async with running(stage, work):
        await asyncio.wait_for(dropped.wait(), 10)


async def test_work_that_keeps_failing_is_tried_again_and_then_dead_with_a_message_each_time(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    retry_at_once(monkeypatch)
    seen: list[int] = []

    async def work(held: Held) -> Done:
        seen.append(held.epoch)
        raise TransientError("not now", code="busy")

    def on_failure(held: Held, failure: Failure) -> dict[str, list[Record]]:
        told = m.MediumRejected(medium="m", code=failure.code, reason=f"epoch {held.epoch}", failed=True)
        return {state: [tell(told, tenant=TENANT, key="m", cause=state, time=NOW)] for state in ("ready", "dead")}

    await add(stage, "job")
    async with running(stage, work, on_failure=on_failure):
        await state_becomes(stage, "job", "dead")
    assert seen == [1, 2, 3, 4]
    assert [told.reason for told in await stage.told()] == [f"epoch {n}" for n in seen]


async def test_a_job_that_a_server_refuses_for_too_long_is_given_up_and_whoever_is_told_hears_why(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    retry_at_once(monkeypatch)
    monkeypatch.setattr(failure_module, "LONGEST_AWAY_SECONDS", 0.0)
    heard: list[str] = []

    async def work(held: Held) -> Done:
        raise UnavailableError("it says no", code="s3")

    def on_failure(held: Held, failure: Failure) -> dict[str, list[Record]]:
        heard.append(failure.reason)
        return {}

    await add(stage, "job")
    async with running(stage, work, on_failure=on_failure):
        await state_becomes(stage, "job", "dead")
    assert heard[0] == "it says no", "the first time it is an outage like any other"
    assert len(heard) == 5
    assert all("without a break" in reason for reason in heard[1:])


async def test_what_cannot_work_is_dead_at_once_and_an_unknown_error_after_a_second_try(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    retry_at_once(monkeypatch)

    async def work(held: Held) -> Done:
        raise PermanentError("damaged", code="corrupt") if held.id == "damaged" else ValueError("a bug")

    await add(stage, "damaged")
    await add(stage, "bug")
    async with running(stage, work):
        assert await state_becomes(stage, "damaged", "dead") == await state_becomes(stage, "bug", "dead")
    codes = {name: [e["code"] for e in (await stage.one("jobs", name)).body["errors"]] for name in ("damaged", "bug")}
    assert codes == {"damaged": ["corrupt"], "bug": ["unknown", "unknown"]}


async def test_a_failing_job_does_not_hinder_the_next(stage: Stage) -> None:
    async def work(held: Held) -> Done:
        if held.id == "a-bad":
            raise PermanentError("no")
        return Done()

    await add(stage, "a-bad")
    await add(stage, "b-good")
    async with running(stage, work, slots=1):
        await state_becomes(stage, "b-good", "done")
    assert (await stage.one("jobs", "a-bad")).state == "dead"


async def test_at_shutdown_unfinished_work_is_given_back_uncounted(stage: Stage) -> None:
    async def work(held: Held) -> Done:
        await asyncio.Event().wait()
        return Done()

    await add(stage, "job")
    async with running(stage, work):
        await state_becomes(stage, "job", "leased")
    job = await stage.one("jobs", "job")
    assert (job.state, job.body["attempts"], job.holder) == ("ready", 0, None)


async def test_stopping_a_job_by_name_stops_it_without_waiting_for_the_heart(stage: Stage) -> None:
    began, stopped = asyncio.Event(), asyncio.Event()

    async def work(held: Held) -> Done:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()
        return Done()

    await add(stage, "job")
    async with running(stage, work) as worker:
        await began.wait()
        await stage.ports.documents.transition("jobs", "job", change=Change(state="cancelled"), release=True)
        worker.stop("job")
        worker.stop("a job that does not run")
        await asyncio.wait_for(stopped.wait(), 10)
    assert (await stage.one("jobs", "job")).state == "cancelled"


async def test_a_cancellation_that_comes_together_with_news_is_not_lost(stage: Stage) -> None:
    async def work(held: Held) -> Done:
        return Done()

    for _ in range(20):
        worker = JobRunner(stage.ledger, JobKind.FUSE, work, slots=1)
        life = asyncio.create_task(worker.run())
        await asyncio.sleep(BEAT)
        worker.wake()
        await asyncio.sleep(0)
        life.cancel()
        done, _ = await asyncio.wait({life}, timeout=10)
        assert done


async def test_while_a_result_is_made_durable_the_next_job_is_worked_on(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    durable = asyncio.Event()
    begun: list[str] = []
    real = Ledger.finish

    async def slow(self: Ledger, held: Held, *arguments: Any, **options: Any) -> None:
        await durable.wait()
        await real(self, held, *arguments, **options)

    async def work(held: Held) -> Done:
        begun.append(held.id)
        return Done()

    monkeypatch.setattr(Ledger, "finish", slow)
    for number in range(5):
        await add(stage, f"job-{number}")
    async with running(stage, work, slots=1):
        await state_becomes(stage, "job-1", "leased")
        await asyncio.sleep(BEAT * 10)
        # One beside the slot's own, and no more: what cannot be committed is not heaped up.
        assert begun == ["job-0", "job-1"]
        durable.set()
        for number in range(5):
            await state_becomes(stage, f"job-{number}", "done")


async def test_what_is_claimed_while_the_process_stops_is_given_back_uncounted(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    claiming, go_on = asyncio.Event(), asyncio.Event()
    real = Ledger.claim

    async def slow(self: Ledger, job: Document) -> Held | None:
        held = await real(self, job)
        claiming.set()
        await go_on.wait()
        return held

    async def work(held: Held) -> Done:
        raise AssertionError(held.id)

    monkeypatch.setattr(Ledger, "claim", slow)
    await add(stage, "job")
    life = asyncio.create_task(JobRunner(stage.ledger, JobKind.FUSE, work, slots=1).run())
    await claiming.wait()
    life.cancel()
    await asyncio.sleep(BEAT)
    go_on.set()
    with contextlib.suppress(asyncio.CancelledError):
        await life
    job = await stage.one("jobs", "job")
    assert (job.state, job.body["attempts"], job.holder) == ("ready", 0, None)


async def test_a_job_that_somebody_else_was_faster_with_is_left_and_the_next_one_done(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Ledger.claim
    other = Ledger(stage.ports, "the other")

    async def late(self: Ledger, job: Document) -> Held | None:
        if self is stage.ledger and job.id == "job-0":
            await real(other, job)
        return await real(self, job)

    async def work(held: Held) -> Done:
        return Done({"result": held.id})

    monkeypatch.setattr(Ledger, "claim", late)
    for number in range(3):
        await add(stage, f"job-{number}")
    async with running(stage, work, slots=1):
        for number in (1, 2):
            await state_becomes(stage, f"job-{number}", "done")
    assert (await stage.one("jobs", "job-0")).holder == "the other"


async def test_an_idle_runner_asks_the_store_one_thing_per_poll(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def listening(name: str) -> Callable[..., Awaitable[Any]]:
        real = getattr(stage.ports.documents, name)

        async def call(*arguments: Any, **options: Any) -> Any:
            asked.append(name)
            return await real(*arguments, **options)

        return call

    async def work(held: Held) -> Done:
        return Done()

    for name in ("load", "find", "count", "insert", "transition", "now"):
        monkeypatch.setattr(stage.ports.documents, name, listening(name))
    polls = 5
    async with running(stage, work):
        async with asyncio.timeout(10):
            while len(asked) < polls:
                await asyncio.sleep(BEAT / 4)
    assert set(asked) == {"find"}
    assert len(asked) <= polls + 1


async def test_while_the_store_is_away_claiming_waits_and_goes_on_afterwards(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = 0
    real = Ledger.claim

    async def away_at_first(self: Ledger, job: Document) -> Held | None:
        nonlocal attempts
        attempts += 1
        if attempts < 4:
            raise UnavailableError("the store is away")
        return await real(self, job)

    async def work(held: Held) -> Done:
        return Done()

    monkeypatch.setattr(Ledger, "claim", away_at_first)
    await add(stage, "job")
    async with running(stage, work, slots=1):
        await state_becomes(stage, "job", "done")
    assert attempts == 4


async def test_a_store_that_will_never_take_a_claim_ends_the_loop(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refusing(self: Ledger, job: Document) -> Held | None:
        raise PermanentError("no such collection")

    async def work(held: Held) -> Done:
        return Done()

    monkeypatch.setattr(Ledger, "claim", refusing)
    await add(stage, "job")
    with pytest.raises(PermanentError, match="no such collection"):
        async with asyncio.timeout(10):
            await JobRunner(stage.ledger, JobKind.FUSE, work, slots=1).run()
