"""The transitions of a job, by the store's clock."""

import datetime
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from aima_common.adapters.embedded.documents import SqliteDocuments
from aima_common.contracts.media import Priority
from aima_common.errors import StaleLeaseError, StorageFullError, UnavailableError
from aima_common.jobs import AFRESH, Failure, Held, JobKind, Ledger, ledger, new_job
from aima_common.jobs.failure import KEPT_ERRORS, LONGEST_AWAY_SECONDS, MAX_ATTEMPTS, MAX_INTERRUPTIONS
from aima_common.jobs.ledger import LEASE_SECONDS
from aima_common.ports import Ports
from aima_common.ports.bus import Record
from aima_common.ports.documents import Change, Document
from tests.service.moved_clock import MovedClock

PASSING = Failure("timeout", "too slow", transient=True)


class Bench:
    """Two holders on one store whose clock the test moves."""

    def __init__(self, documents: SqliteDocuments, clock: MovedClock) -> None:
        self.documents = documents
        self.clock = clock
        self.one = self.holder("one")
        self.other = self.holder("other")

    def holder(self, name: str) -> Ledger:
        nothing = cast("Any", None)
        ports = Ports(nothing, self.documents, nothing, nothing, nothing, self.clock)
        return Ledger(ports, name, random.Random(1))

    async def add(self, identity: str = "job", **options: Any) -> None:
        job = new_job(
            identity, "default", JobKind.ANALYSE, submitted_at=self.clock.now(), medium="m", run="r", **options
        )
        assert await self.one.add(job)

    async def job(self, identity: str = "job") -> Document:
        job = await self.documents.load("jobs", identity)
        assert job is not None
        return job

    async def claimed(self, ledger: Ledger | None = None, identity: str = "job") -> Held:
        held = await (ledger or self.one).claim(await self.job(identity))
        assert held is not None
        return held


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    clock = MovedClock()
    async with SqliteDocuments.open(tmp_path / "documents.db", clock=clock) as documents:
        yield Bench(documents, clock)


async def test_a_job_is_added_once(bench: Bench) -> None:
    await bench.add()
    again = new_job("job", "default", JobKind.ANALYSE, submitted_at=bench.clock.now(), state="parked")
    assert not await bench.one.add(again)
    assert (await bench.job()).state == "ready"


async def test_one_of_two_gets_the_job(bench: Bench) -> None:
    await bench.add()
    seen = await bench.job()
    held = await bench.one.claim(seen)
    assert await bench.other.claim(seen) is None
    assert held is not None
    job = await bench.job()
    assert (job.state, job.holder, job.epoch, job.body["attempts"]) == ("leased", "one", 1, 1)


async def test_a_job_that_was_placed_elsewhere_meanwhile_is_not_claimed_by_who_read_it_before(bench: Bench) -> None:
    await bench.add(machine="old")
    read_before = await bench.documents.load("jobs", "job")
    assert read_before is not None
    await bench.documents.transition("jobs", "job", change=Change(set={"machine": "new"}))
    assert await bench.one.claim(read_before) is None
    read_now = await bench.documents.load("jobs", "job")
    assert read_now is not None
    assert await bench.other.claim(read_now)


async def test_what_was_made_is_committed_once_together_with_its_message(bench: Bench) -> None:
    await bench.add()
    held = await bench.claimed()
    record = Record("aima.analysis.completed", "m", b"{}")
    await bench.one.finish(held, "done", {"result": 7}, [record])
    with pytest.raises(StaleLeaseError):
        await bench.one.finish(held, "done", {"result": 8}, [record])
    job = await bench.job()
    assert (job.state, job.body["result"], job.holder) == ("done", 7, None)
    assert [entry.record for entry in await bench.documents.outbox()] == [record]


async def test_a_job_says_when_it_was_claimed_and_when_it_ended(bench: Bench) -> None:
    await bench.add()
    assert (await bench.job()).body["claimed_at"] is None
    held = await bench.claimed()
    began = bench.clock.now()
    assert (await bench.job()).body["claimed_at"] == began.isoformat()
    bench.clock.seconds += 7
    await bench.one.fail(held, PASSING, {})
    retried = (await bench.job()).body
    assert (retried["claimed_at"], retried["finished_at"]) == (None, None), "the next attempt has not begun"
    bench.clock.seconds += 7
    held = await bench.claimed()
    bench.clock.seconds += 5
    await bench.one.finish(held, "done", {}, [])
    job = (await bench.job()).body
    claimed, finished = (datetime.datetime.fromisoformat(job[name]) for name in ("claimed_at", "finished_at"))
    assert (claimed - began).total_seconds() == 14
    assert (finished - claimed).total_seconds() == 5


async def test_a_lease_that_is_renewed_does_not_run_out(bench: Bench) -> None:
    await bench.add()
    held = await bench.claimed()
    for _ in range(5):
        bench.clock.seconds += LEASE_SECONDS * 0.9
        await bench.one.renew(held, {"frames": 3})
        assert await bench.other.reap() == []
    assert (await bench.job()).body["progress"] == {"frames": 3}


async def test_a_silent_holder_loses_the_job_and_its_late_word_counts_nothing(bench: Bench) -> None:
    await bench.add()
    stale = await bench.claimed()
    bench.clock.seconds += LEASE_SECONDS + 1
    (freed,) = await bench.other.reap()
    assert (freed.state, freed.body["errors"][-1]["code"]) == ("ready", "lease_expired")
    fresh = await bench.claimed(bench.other)
    for late in (
        bench.one.renew(stale),
        bench.one.finish(stale, "done", {"result": "stale"}, []),
        bench.one.release(stale),
        bench.one.fail(stale, PASSING, {}),
    ):
        with pytest.raises(StaleLeaseError):
            await late
    await bench.other.finish(fresh, "done", {"result": "fresh"}, [])
    assert (await bench.job()).body["result"] == "fresh"


async def test_an_expired_lease_that_nobody_took_may_still_be_renewed(bench: Bench) -> None:
    await bench.add()
    held = await bench.claimed()
    bench.clock.seconds += LEASE_SECONDS * 5
    await bench.one.renew(held)
    assert await bench.other.reap() == []


async def test_failing_again_and_again_ends_dead_with_the_history_of_its_errors(bench: Bench) -> None:
    await bench.add()
    said = {"ready": [Record("aima.analysis.failed", "m", b"1")], "dead": [Record("aima.analysis.failed", "m", b"2")]}
    states = []
    for _ in range(4):
        verdict = await bench.one.fail(await bench.claimed(), PASSING, said)
        states.append(verdict.state)
        bench.clock.seconds += 100
    job = await bench.job()
    assert states == ["ready", "ready", "ready", "dead"]
    assert (job.state, [error["epoch"] for error in job.body["errors"]]) == ("dead", [1, 2, 3, 4])
    assert [entry.record.value for entry in await bench.documents.outbox()] == [b"1", b"1", b"1", b"2"]


async def test_a_job_that_failed_waits_before_it_is_ready_again(bench: Bench) -> None:
    await bench.add()
    verdict = await bench.one.fail(await bench.claimed(), PASSING, {})
    assert await bench.one.ready(JobKind.ANALYSE) == []
    bench.clock.seconds += verdict.delay_seconds
    assert [job.id for job in await bench.one.ready(JobKind.ANALYSE)] == ["job"]


async def test_a_full_disk_is_waited_for_without_wearing_the_job_out(bench: Bench) -> None:
    await bench.add()
    for _ in range(2 * MAX_ATTEMPTS):
        await bench.one.fail(await bench.claimed(), Failure.of(StorageFullError("full")), {})
        bench.clock.seconds += 60
    job = await bench.job()
    assert (job.state, job.body["attempts"]) == ("ready", 0)
    assert len(job.body["errors"]) == 2 * MAX_ATTEMPTS <= KEPT_ERRORS


async def refused(bench: Bench, pause: float = 3600.0) -> str:
    """Have a server refuse the job once more, some time later; return what becomes of it."""
    held = await bench.claimed()
    verdict = await bench.one.fail(held, held.judge(UnavailableError("it says no", code="s3")), {})
    bench.clock.seconds += pause
    return verdict.state


async def test_a_job_that_a_server_refuses_for_ever_ends_dead_with_that_as_its_reason(bench: Bench) -> None:
    await bench.add()
    begin = bench.clock.seconds
    while bench.clock.seconds < begin + LONGEST_AWAY_SECONDS:
        assert await refused(bench) == "ready"
        assert (await bench.job()).body["attempts"] == 0
    assert [await refused(bench) for _ in range(4)] == ["ready", "ready", "ready", "dead"]
    last = (await bench.job()).body["errors"][-1]
    assert last["code"] == "s3"
    assert last["reason"].startswith("for 7 days without a break")
    # Whoever begins it again has looked at it: it waits anew.
    await bench.documents.transition("jobs", "job", change=Change("ready", dict(AFRESH)))
    assert [await refused(bench) for _ in range(10)] == ["ready"] * 10
    assert (await bench.job()).body["attempts"] == 0


async def test_outages_with_an_answer_in_between_are_waited_for_each_by_itself(bench: Bench) -> None:
    await bench.add()
    for _ in range(3):
        await refused(bench, LONGEST_AWAY_SECONDS * 0.9)
        assert await refused(bench) == "ready"
        held = await bench.claimed()
        await bench.one.fail(held, held.judge(StorageFullError("full")), {})
        bench.clock.seconds += 60
    job = await bench.job()
    assert (job.state, job.body["attempts"], job.body["away_since"]) == ("ready", 0, None)


async def test_a_job_of_an_earlier_version_does_not_say_since_when(bench: Bench) -> None:
    now = new_job("job", "default", JobKind.ANALYSE, submitted_at=bench.clock.now())
    then = {name: value for name, value in now.body.items() if name != "away_since"}
    assert await bench.one.add(replace(now, body=then))
    assert await refused(bench) == "ready"
    assert (await bench.job()).body["away_since"] is not None


async def test_giving_a_job_back_does_not_count_as_an_attempt(bench: Bench) -> None:
    await bench.add()
    await bench.one.release(await bench.claimed())
    job = await bench.job()
    assert (job.state, job.body["attempts"], job.epoch) == ("ready", 0, 1)


async def test_cancelling_reaches_a_job_whoever_took_it_meanwhile(bench: Bench) -> None:
    await bench.add()
    seen_before = await bench.job()
    held = await bench.claimed()
    assert await bench.other.cancel(seen_before)
    with pytest.raises(StaleLeaseError):
        await bench.one.renew(held)
    assert (await bench.job()).state == "cancelled"


async def test_a_job_that_gives_way_is_ready_again_and_counts_no_attempt(bench: Bench) -> None:
    await bench.add(machine="m1")
    held = await bench.claimed()
    read_before = await bench.job()
    await bench.one.renew(held)
    assert await bench.other.preempt(read_before, "it gave way to job urgent"), "a heartbeat changes nothing"
    job = await bench.job()
    assert (job.state, job.holder, job.body["machine"], job.body["claimed_at"]) == ("ready", None, None, None)
    assert (job.body["attempts"], job.body["preemptions"]) == (0, 1)
    assert [(error["code"], error["epoch"]) for error in job.body["errors"]] == [("preempted", 1)]
    for late in (bench.one.renew(held), bench.one.finish(held, "done", {}, []), bench.one.release(held)):
        with pytest.raises(StaleLeaseError):
            await late
    again = await bench.claimed(bench.other)
    assert again.epoch == 2
    with pytest.raises(StaleLeaseError):
        await bench.one.finish(held, "done", {}, [])
    await bench.other.finish(again, "done", {}, [])


async def test_only_what_is_as_it_was_read_gives_way(bench: Bench) -> None:
    await bench.add(machine="m1")
    placed = await bench.job()
    held = await bench.claimed()
    assert not await bench.other.preempt(placed, "it began meanwhile")
    begun = await bench.job()
    await bench.one.release(held)
    await bench.claimed(bench.other)
    assert not await bench.other.preempt(begun, "somebody else has it by now")
    now = await bench.job()
    assert (now.state, now.holder, "preemptions" in now.body) == ("leased", "other", False)
    await bench.other.finish(Held(now, now.epoch), "done", {}, [])
    assert not await bench.other.preempt(now, "it is over")
    await bench.add("another", machine="m1")
    assert await bench.other.preempt(await bench.job("another"), "the control")


async def test_giving_way_again_and_again_wears_no_job_out(bench: Bench) -> None:
    await bench.add()
    for _ in range(2 * MAX_ATTEMPTS):
        await bench.claimed()
        assert await bench.other.preempt(await bench.job(), "again")
    await bench.one.finish(await bench.claimed(), "done", {}, [])
    assert (await bench.job()).body["attempts"] == 1


async def test_a_job_that_is_done_cannot_be_cancelled(bench: Bench) -> None:
    await bench.add()
    await bench.one.finish(await bench.claimed(), "done", {}, [])
    assert not await bench.other.cancel(await bench.job())
    assert (await bench.job()).state == "done"


async def test_a_job_whose_workers_keep_falling_silent_dies(bench: Bench) -> None:
    await bench.add()
    for attempt in range(1, MAX_ATTEMPTS + 1):
        await bench.claimed()
        bench.clock.seconds += LEASE_SECONDS + 1
        (job,) = await bench.other.reap()
        assert job.state == ("ready" if attempt < MAX_ATTEMPTS else "dead")
    assert await bench.other.reap() == []


async def test_a_successor_inherits_at_once_and_the_job_is_not_to_blame(bench: Bench) -> None:
    await bench.add()
    await bench.claimed()
    successor = bench.holder("after the crash")
    (freed,) = await successor.inherit()
    assert (freed.state, freed.body["attempts"], freed.body["interruptions"]) == ("ready", 0, 1)
    assert freed.body["errors"][-1]["code"] == "interrupted"
    own = await bench.claimed(successor)
    assert await successor.inherit() == []
    await successor.renew(own)


async def test_a_successor_inherits_all_jobs_however_many_are_read_at_a_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "INHERITED_AT_A_TIME", 2)
    successor = bench.holder("after the crash")
    for number in range(7):
        await bench.add(f"{number}")
        await bench.claimed(successor if number == 3 else bench.one, f"{number}")
    freed = await successor.inherit()
    assert sorted(job.id for job in freed) == ["0", "1", "2", "4", "5", "6"]
    left = await bench.documents.find("jobs", {"state": "leased"})
    assert [job.id for job in left] == ["3"]


async def test_a_job_that_takes_the_whole_process_along_time_and_again_dies(bench: Bench) -> None:
    await bench.add()
    states = []
    for number in range(MAX_INTERRUPTIONS + 1):
        await bench.claimed(bench.holder(f"{number}"))
        (freed,) = await bench.holder(f"{number}'s heir").inherit()
        states.append(freed.state)
    assert states == ["ready"] * MAX_INTERRUPTIONS + ["dead"]


async def test_the_most_urgent_come_first_and_equals_by_age(bench: Bench) -> None:
    await bench.add("old", priority=Priority.NORMAL)
    bench.clock.seconds += 5
    soon = (bench.clock.now() + datetime.timedelta(minutes=1)).isoformat()
    await bench.add("young", priority=Priority.NORMAL)
    await bench.add("pressing", priority=Priority.LOW, deadline=soon)
    await bench.add("critical", priority=Priority.CRITICAL)
    await bench.add("batch", priority=Priority.BATCH)
    order = [job.id for job in await bench.one.ready(JobKind.ANALYSE)]
    assert order == ["pressing", "critical", "old", "young", "batch"]


async def test_a_thousand_old_batch_jobs_do_not_hide_a_critical_one(bench: Bench) -> None:
    for number in range(30):
        await bench.add(f"batch-{number}", priority=Priority.BATCH)
    bench.clock.seconds += 1
    await bench.add("critical", priority=Priority.CRITICAL)
    assert (await bench.one.ready(JobKind.ANALYSE, limit=10))[0].id == "critical"


async def test_only_jobs_of_the_kind_and_place_asked_for_are_offered(bench: Bench) -> None:
    await bench.add("here")
    await bench.documents.transition("jobs", "here", change=Change(set={"machine": "m1"}))
    await bench.add("nowhere")
    assert [job.id for job in await bench.one.ready(JobKind.ANALYSE, {"machine": "m1"})] == ["here"]
    assert [job.id for job in await bench.one.ready(JobKind.ANALYSE, {"machine": None})] == ["nowhere"]
    assert await bench.one.ready(JobKind.FUSE) == []
