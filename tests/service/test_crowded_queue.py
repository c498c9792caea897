"""However many jobs one tenant lets wait, its neighbours' jobs and the nearest deadlines are seen at every look."""

import asyncio
import datetime
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aima_common.contracts.media import Priority
from aima_common.jobs import JobKind, new_job
from aima_common.jobs import window as windows
from aima_common.jobs.window import NEAREST, OF_EACH, QUESTIONS, Window
from aima_common.ports.documents import Change, Document, Insert
from aima_scheduler.dispatch import WINDOW, Dispatcher
from tests.service.stage import NEEDS, Stage, staged

FLOOD = 20_000
AT_A_TIME = 500


class Crowd:
    """A dispatcher, one machine with two cores and room for two jobs ahead, and a crowd that waits."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.documents = stage.ports.documents
        self.seconds = 0.0
        self.window = Window(self.documents, JobKind.ANALYSE.value, WINDOW, lambda: self.seconds)
        self.dispatcher = Dispatcher(stage.ports, stage.ledger, self._refused)
        self.start = stage.ports.clock.now() - datetime.timedelta(minutes=5)
        self.count = 0

    async def _refused(self, job: Document, reason: str) -> None:
        raise AssertionError(f"{job.id} is refused: {reason}")

    async def machine(self) -> None:
        body = {"cpus": 2.0, "memory_bytes": 1 << 30, "gpus": [], "seen_at": "now"}
        assert await self.documents.insert("machines", Insert("m", "", "available", body))

    def job(self, name: str, tenant: str, priority: Priority = Priority.BATCH, deadline: str | None = None) -> Insert:
        """Describe a job that came after all those before it."""
        self.count += 1
        came = self.start + datetime.timedelta(milliseconds=self.count)
        body: dict[str, Any] = {"run": "r", "medium": "m", "lane": "video", "needs": NEEDS}
        kind = JobKind.ANALYSE
        return new_job(name, tenant, kind, submitted_at=came, priority=priority, deadline=deadline, **body)

    async def wait(self, jobs: Sequence[Insert]) -> None:
        for first in range(0, len(jobs), AT_A_TIME):
            await asyncio.gather(*map(self.stage.ledger.add, jobs[first : first + AT_A_TIME]))

    async def flood(self, jobs: int = FLOOD, tenant: str = "flood") -> None:
        await self.wait([self.job(f"{tenant}-{number:06}", tenant) for number in range(jobs)])

    async def placed(self) -> set[str]:
        return {job.id for job in await self.stage.all("jobs", machine="m", state="ready")}

    async def end(self, job: str) -> None:
        await self.documents.transition("jobs", job, change=Change(state="done", set={"machine": "m"}))


@pytest.fixture
async def crowd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Crowd]:
    monkeypatch.setattr(windows, "SCAN_SECONDS", 0.0)
    async with staged(tmp_path) as stage:
        yield Crowd(stage)


@pytest.mark.parametrize("kind", [JobKind.PREPARE, JobKind.WRITE])
async def test_where_nobody_places_jobs_the_tenants_of_a_crowded_class_take_turns(crowd: Crowd, kind: JobKind) -> None:
    for tenant, count in (("flood", 500), ("quiet", 5), ("quieter", 2)):
        jobs = [crowd.job(f"{tenant}-{number:03}", tenant) for number in range(count)]
        await crowd.wait([replace(job, body={**job.body, "kind": kind.value}) for job in jobs])
    begun = []
    for _ in range(12):
        (first, *_) = await crowd.stage.ledger.ready(kind)
        assert await crowd.stage.ledger.claim(first)
        begun.append(first.id)
    flood = [name for name in begun if name.startswith("flood")]
    assert begun[:6] == ["flood-000", "quiet-000", "quieter-000", "flood-001", "quiet-001", "quieter-001"]
    assert flood == [f"flood-{number:03}" for number in range(5)], "and nobody starves who is alone again"


@pytest.mark.timeout(300)  # twenty thousand durable jobs, on whatever machine
@pytest.mark.parametrize("seen", [True, False], ids=["as it is", "control: the oldest alone"])
async def test_a_neighbour_and_a_near_deadline_behind_a_flood_start_with_the_first_places(
    crowd: Crowd, monkeypatch: pytest.MonkeyPatch, seen: bool
) -> None:
    if not seen:
        monkeypatch.setattr(windows, "QUESTIONS", 0)
        monkeypatch.setattr(windows, "NEAREST", 0)
    await crowd.machine()
    await crowd.flood()
    assert await crowd.dispatcher.place_all() == 4
    soon = (crowd.stage.ports.clock.now() + datetime.timedelta(minutes=2)).isoformat()
    await crowd.wait([crowd.job("neighbour", "quiet"), crowd.job("due", "flood", deadline=soon)])
    for number in range(2):
        await crowd.end(f"flood-{number:06}")
    assert await crowd.dispatcher.place_all() == 2
    begun = {"flood-000002", "flood-000003"}
    told = await crowd.placed() - begun
    assert told == ({"neighbour", "due"} if seen else {"flood-000004", "flood-000005"})


async def test_a_neighbour_gets_its_fair_share_and_no_more(crowd: Crowd) -> None:
    await crowd.machine()
    await crowd.flood(3 * WINDOW)
    await crowd.flood(OF_EACH * 2, tenant="quiet")
    for _ in range(20):
        await crowd.dispatcher.place_all()
        for job in await crowd.placed():
            await crowd.end(job)
    ended = Counter(job.tenant for job in await crowd.stage.all("jobs", state="done"))
    assert sum(ended.values()) == 80
    assert ended["quiet"] == pytest.approx(40, abs=4)


async def test_where_all_that_wait_are_few_the_order_is_that_of_all_of_them(crowd: Crowd) -> None:
    rng = random.Random(7)
    now = crowd.stage.ports.clock.now()
    jobs = []
    for number in range(WINDOW):
        deadline = (now + datetime.timedelta(minutes=rng.randint(1, 300))).isoformat() if rng.random() < 0.3 else None
        jobs.append(crowd.job(f"job-{number}", rng.choice("abc"), rng.choice(list(Priority)), deadline))
    await crowd.wait(jobs)
    seen = [job.id for job in await crowd.stage.ledger.ready(JobKind.ANALYSE, limit=WINDOW)]
    assert seen == [job.id for job in await crowd.stage.ledger.ready(JobKind.ANALYSE, limit=10 * WINDOW)]
    assert len(seen) == WINDOW
    await crowd.wait([crowd.job("one too many", "d")])
    crowded = [job.id for job in await crowd.stage.ledger.ready(JobKind.ANALYSE, limit=WINDOW)]
    whole = [job.id for job in await crowd.stage.ledger.ready(JobKind.ANALYSE, limit=10 * WINDOW)]
    assert sorted(crowded) == sorted(whole)
    assert [name for name in crowded if name in seen] != seen, "the control: with one more they take turns"


async def test_a_look_reads_no_more_than_a_bounded_number_however_many_wait(
    crowd: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    for tenant in range(3):
        await crowd.flood(2 * WINDOW, tenant=f"tenant-{tenant}")
    find, read = crowd.documents.find, list[int]()

    async def counted(*args: Any, **options: Any) -> Sequence[Document]:
        found = await find(*args, **options)
        read.append(len(found))
        return found

    monkeypatch.setattr(crowd.documents, "find", counted)
    seen = await crowd.window.look()
    assert Counter(job.tenant for job in seen) == {"tenant-0": WINDOW, "tenant-1": OF_EACH, "tenant-2": OF_EACH}
    assert sum(read) <= (WINDOW + 1) + WINDOW + NEAREST + 3 * OF_EACH
    assert len(read) <= 1 + len(Priority) + 1 + 4 + 1 + (2 + len(Priority))


@pytest.mark.parametrize("said", ["a new one", "hi", "urgent", None], ids=str)
async def test_a_job_of_no_known_class_is_seen_beside_a_crowd_and_told_so(
    crowd: Crowd, monkeypatch: pytest.MonkeyPatch, said: str | None
) -> None:
    await crowd.flood(WINDOW + 1)
    strange = crowd.job("strange", "flood")
    await crowd.wait([replace(strange, body={**strange.body, "priority": said})])
    monkeypatch.setattr(windows, "STRANGE_EVERY", 3)
    seen = ["strange" in {job.id for job in await crowd.window.look()} for _ in range(6)]
    assert seen == [True, False, False, True, False, False]


async def test_more_tenants_than_a_look_asks_for_have_their_turn(crowd: Crowd) -> None:
    tenants = 2 * QUESTIONS + 3
    await crowd.flood(WINDOW, tenant="aaa")
    jobs = [(number, tenant) for tenant in range(tenants) for number in range(OF_EACH)]
    await crowd.wait([crowd.job(f"{tenant:03}-{number:03}", f"tenant-{tenant:03}") for number, tenant in jobs])
    seen = [{job.tenant for job in await crowd.window.look()} - {"aaa"} for _ in range(4)]
    assert max(map(len, seen)) <= QUESTIONS
    assert len(set.union(*seen)) == tenants
    assert seen[0] < set.union(*seen), "the control: one look does not show all of them"


async def test_between_two_scans_those_are_asked_for_who_are_not_among_the_oldest(
    crowd: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "SCAN_SECONDS", 1.0)
    await crowd.flood(WINDOW + 1)
    for tenant in ("quiet", "new"):
        await crowd.wait([crowd.job(f"{tenant}-{number}", tenant) for number in range(OF_EACH + 5)])
        seen = Counter(job.tenant for job in await crowd.window.look())
        assert (seen["quiet"], seen["new"]) == (OF_EACH, 0)
    await crowd.end("quiet-0")
    assert "quiet-0" not in {job.id for job in await crowd.window.look()}, "and they are read anew at every look"
    crowd.seconds += 1.0
    assert Counter(job.tenant for job in await crowd.window.look())["new"] == OF_EACH


@pytest.mark.parametrize("seen", [True, False], ids=["as it is", "control: the oldest alone"])
async def test_those_that_wait_for_a_gpu_do_not_hide_those_that_need_none(
    crowd: Crowd, monkeypatch: pytest.MonkeyPatch, seen: bool
) -> None:
    if not seen:
        monkeypatch.setattr(windows, "QUESTIONS", 0)
    await crowd.machine()
    with_gpu = {"cpus": 2.0, "memory_bytes": 1 << 30, "gpus": [{"memory_bytes": 1 << 34}], "seen_at": "now"}
    assert await crowd.documents.insert("machines", Insert("g", "", "available", with_gpu))
    needs = {"analyzer": "faces", "needs": {**NEEDS, "gpus": 1}}
    jobs = [crowd.job(f"on-gpu-{number:03}", "flood") for number in range(WINDOW + 10)]
    await crowd.wait([replace(job, body={**job.body, **needs}) for job in jobs])
    assert await crowd.dispatcher.place_all() == 1, "there is one GPU"
    texts = [crowd.job(f"text-{number}", "flood") for number in range(2)]
    await crowd.wait([replace(job, body={**job.body, "analyzer": "text"}) for job in texts])
    assert await crowd.dispatcher.place_all() == (2 if seen else 0)


async def test_many_small_tenants_are_seen_in_one_look(crowd: Crowd) -> None:
    await crowd.flood(WINDOW + 1)
    await crowd.wait([crowd.job(f"of-{number:03}", f"small-{number:03}") for number in range(150)])
    assert len({job.tenant for job in await crowd.window.look()}) == 151
