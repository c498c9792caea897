"""However many jobs wait for their time, a look shows who can start now, and whoever has waited is seen in time."""

import asyncio
import datetime
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from aima_common.adapters.embedded.documents import SqliteDocuments
from aima_common.contracts.media import Priority
from aima_common.errors import UnavailableError
from aima_common.jobs import Failure, JobKind, Ledger, new_job, rest_until
from aima_common.jobs.ledger import LONGEST_PAUSE_SECONDS, OVERDUE_SECONDS
from aima_common.jobs.window import OF_EACH
from aima_common.ports import Ports
from aima_common.ports.documents import Change, Document, Insert
from aima_scheduler.service import Scheduler
from tests.service.moved_clock import MovedClock
from tests.service.stage import staged

AWAY = Failure.of(UnavailableError("nobody answers", code="vectors"))
LIMIT = 30
"""So many jobs are looked at where all are few, and of each class where they are many."""

MANY = 3 * LIMIT


class Queue:
    """Jobs of one class, the older the earlier they were added, and two who look at them."""

    def __init__(self, documents: SqliteDocuments, clock: MovedClock) -> None:
        self.documents = documents
        self.clock = clock
        nothing = cast("Any", None)
        ports = Ports(nothing, documents, nothing, nothing, nothing, clock)
        self.one, self.other = (Ledger(ports, name, random.Random(1)) for name in ("one", "other"))

    async def add(self, names: Sequence[str], tenant: str = "acme", **body: Any) -> Sequence[str]:
        self.clock.seconds += 0.001
        jobs = [new_job(name, tenant, JobKind.ANALYSE, submitted_at=self.clock.now(), medium="m") for name in names]
        added = (self.one.add(replace(job, body={**job.body, **body})) for job in jobs)
        assert all(await asyncio.gather(*added))
        return names

    async def fail(self, names: Sequence[str]) -> float:
        """Let them be begun, and end for a server that is away; return for how many seconds the last of them rests."""
        pauses = []
        for name in names:
            held = await self.one.claim(await self.job(name))
            assert held
            pauses.append((await self.one.fail(held, AWAY, {})).delay_seconds)
        return max(pauses)

    async def job(self, name: str) -> Document:
        job = await self.documents.load("jobs", name)
        assert job is not None
        return job

    async def seen(self) -> list[str]:
        return [job.id for job in await self.other.ready(JobKind.ANALYSE, limit=LIMIT)]


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[Queue]:
    clock = MovedClock()
    async with SqliteDocuments.open(tmp_path / "documents.db", clock=clock) as documents:
        yield Queue(documents, clock)


def names(of: str, count: int) -> list[str]:
    return [f"{of}-{number:03}" for number in range(count)]


@pytest.mark.parametrize("rests", [True, False], ids=["as it is", "control: they say no more than when they may start"])
async def test_who_can_start_is_seen_behind_however_many_wait_for_a_server(queue: Queue, rests: bool) -> None:
    old = await queue.add(names("old", MANY))
    await queue.fail(old)
    if not rests:
        for name in old:
            await queue.documents.transition("jobs", name, change=Change(set={"resting_until": None}))
    await queue.add(["young"])
    assert await queue.seen() == (["young"] if rests else [])


async def test_whose_rest_ends_first_is_seen_first_though_all_of_a_class_rest(queue: Queue) -> None:
    start = queue.clock.now()
    for number, name in enumerate(names("rests", MANY)):
        await queue.add([name], **rest_until(start + datetime.timedelta(seconds=MANY - number)))
    assert await queue.seen() == []
    queue.clock.seconds = start.timestamp() + 3
    assert await queue.seen() == [f"rests-{number:03}" for number in (MANY - 3, MANY - 2, MANY - 1)]


async def test_whose_rest_is_over_is_told_so_and_stands_before_a_crowd_that_is_younger(queue: Queue) -> None:
    pause = await queue.fail(await queue.add(["old"]))
    await queue.add(names("crowd", MANY))
    queue.clock.seconds += pause
    assert (await queue.one.rouse(), "old" in await queue.seen()) == (0, False), "the control: nobody is in a hurry"
    queue.clock.seconds += OVERDUE_SECONDS
    assert await queue.other.rouse() == 1
    assert (await queue.seen())[0] == "old"
    assert await queue.one.rouse() == 0


async def test_a_rest_that_goes_on_is_not_ended(queue: Queue) -> None:
    pause = await queue.fail(await queue.add(["old"]))
    queue.clock.seconds += pause - 1
    assert await queue.one.rouse() == 0
    assert (await queue.job("old")).body["resting_until"] is not None


async def test_a_rest_that_began_meanwhile_is_not_ended(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    pause = await queue.fail(await queue.add(["old", "neighbour"]))
    queue.clock.seconds += pause + 2 * OVERDUE_SECONDS
    find = queue.documents.find

    async def slow(*args: Any, **options: Any) -> Sequence[Document]:
        found = await find(*args, **options)
        if "old" in {job.id for job in found}:
            monkeypatch.undo()
            await queue.fail(["old"])
        return found

    monkeypatch.setattr(queue.documents, "find", slow)
    assert await queue.one.rouse() == 1
    assert (await queue.job("old")).body["resting_until"] is not None
    assert (await queue.job("neighbour")).body["resting_until"] is None


async def test_who_begins_rests_no_more_and_who_gives_it_back_leaves_it_to_everybody(queue: Queue) -> None:
    pause = await queue.fail(await queue.add(["old"]))
    queue.clock.seconds += pause
    held = await queue.one.claim(await queue.job("old"))
    assert held
    await queue.one.release(held)
    await queue.add(names("crowd", MANY))
    assert (await queue.seen())[0] == "old"


async def test_a_quiet_tenant_and_a_near_deadline_are_seen_behind_a_crowd_and_behind_those_of_their_own_that_rest(
    queue: Queue,
) -> None:
    soon = (queue.clock.now() + datetime.timedelta(minutes=1)).isoformat()
    await queue.fail(await queue.add(names("rests", 2 * OF_EACH), tenant="quiet"))
    await queue.fail(await queue.add(names("dated", MANY), deadline=soon))
    await queue.add(names("crowd", MANY))
    later = (queue.clock.now() + datetime.timedelta(minutes=2)).isoformat()
    await queue.add(["quiet"], tenant="quiet")
    await queue.add(["due"], deadline=later)
    assert {"quiet", "due", "crowd-000"} <= set(await queue.seen())


NO_TIMES: Sequence[Any] = ("", "now", "2026-01-01T00:00:00", "9", None)


@pytest.mark.parametrize(
    "said",
    [
        *({"not_before": one} for one in (*NO_TIMES, 3, {"at": "noon"})),
        *({"resting_until": one} for one in NO_TIMES),
        *({"not_before": one, "resting_until": one} for one in NO_TIMES),
    ],
    ids=str,
)
async def test_who_says_nonsense_of_its_time_is_seen_in_a_crowd(queue: Queue, said: Mapping[str, Any]) -> None:
    await queue.add(["nonsense"], **said)
    await queue.add(names("crowd", MANY))
    await queue.one.rouse()
    assert (await queue.seen())[0] == "nonsense"


async def test_a_rest_from_before_the_clock_was_set_back_ends(queue: Queue) -> None:
    far = queue.clock.now() + datetime.timedelta(seconds=LONGEST_PAUSE_SECONDS + 5)
    await queue.add(["absurd"], **rest_until(far))
    await queue.add(["rests"], **rest_until(far - datetime.timedelta(seconds=10)))
    await queue.add(names("crowd", MANY))
    assert await queue.one.rouse() == 1
    assert (await queue.seen())[0] == "absurd"
    assert (await queue.job("rests")).body["resting_until"] is not None, "the control"


async def test_a_look_reads_no_more_however_many_rest(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    find, read = queue.documents.find, list[int]()

    async def counted(*args: Any, **options: Any) -> Sequence[Document]:
        found = await find(*args, **options)
        read.append(len(found))
        return found

    monkeypatch.setattr(queue.documents, "find", counted)
    await queue.add(names("rests", 10 * MANY), **rest_until(queue.clock.now() + datetime.timedelta(minutes=5)))
    await queue.add(["young"])
    assert await queue.seen() == ["young"]
    assert sum(read) <= (LIMIT + 1) + LIMIT + 2
    assert len(read) <= 1 + len(Priority) + 1 + 1 + 1 + (2 + len(Priority))


async def test_the_scheduler_looks_for_whose_rest_is_over_whatever_the_kind(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        now = await stage.ports.documents.now()
        for kind, seconds in ((JobKind.ANALYSE, -2.0), (JobKind.WRITE, -2.0), (JobKind.FUSE, 300.0)):
            job = new_job(kind.value, "acme", kind, submitted_at=now)
            rest = rest_until(now + datetime.timedelta(seconds=seconds))
            assert await stage.ledger.add(Insert(job.id, "acme", "ready", {**job.body, **rest}))
        background = asyncio.gather(*(loop() for loop in Scheduler(stage.ports, stage.ledger).background()))
        while (await stage.one("jobs", "write")).body["resting_until"] is not None:
            await asyncio.sleep(0.01)
        background.cancel()
        await asyncio.gather(background, return_exceptions=True)
        assert (await stage.one("jobs", "fuse")).body["resting_until"] is not None, "the control: it rests on"
