"""The lead goes from one scheduler to another and back: nobody fills a machine by what was so before."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aima_common.contracts.media import Priority
from aima_common.errors import TransientError
from aima_common.jobs import Held, JobKind, Leadership, Ledger, leadership, new_job
from aima_common.jobs.failure import Failure
from aima_common.jobs.ledger import AT_ONCE
from aima_common.ports import Ports
from aima_common.ports.documents import Change, Document, Lease, Transitioned
from aima_scheduler import dispatch
from aima_scheduler.dispatch import Dispatcher
from tests.service.stage import NEEDS, NOW, TENANT, Stage, staged


class Yard:
    """Two schedulers, a worker, machines and jobs."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.documents, self.worker = stage, stage.ports.documents, stage.ledger
        self.first, self.second = (self.scheduler(name) for name in ("first", "second"))

    def scheduler(self, name: str, ports: Ports | None = None) -> Dispatcher:
        async def refused(job: Document, reason: str) -> None:
            raise AssertionError(f"{job.id} is refused: {reason}")

        ports = ports or self.stage.ports
        return Dispatcher(ports, Ledger(ports, name), refused)

    async def machine(self, name: str, gpus: int = 0) -> None:
        body = {"cpus": 1.0, "memory_bytes": 1 << 30, "gpus": [{}] * gpus, "seen_at": "now"}
        await self.stage.put("machines", name, "available", **body)

    async def turn(self, name: str, state: str) -> None:
        assert (await self.documents.transition("machines", name, change=Change(state=state))).applied

    async def job(self, name: str, priority: Priority = Priority.NORMAL, gpus: int = 0) -> None:
        needs = {**NEEDS, "gpus": gpus}
        body: dict[str, Any] = {"run": "r", "medium": "m", "lane": "video", "analyzer": name, "needs": needs}
        assert await self.worker.add(
            new_job(name, TENANT, JobKind.ANALYSE, submitted_at=NOW, priority=priority, **body)
        )

    async def begun(self, name: str) -> Held:
        held = await self.worker.claim(await self.stage.one("jobs", name))
        assert held is not None
        return held

    async def fails(self, held: Held) -> None:
        await self.worker.fail(held, Failure("drawn", "drawn", transient=True), {})
        await self.documents.transition("jobs", held.id, change=Change(set={"not_before": AT_ONCE}))

    async def on(self, machine: str) -> list[str]:
        return [job.id for job in await self.stage.all("jobs") if job.body["machine"] == machine]

    async def leader(self) -> str | None:
        return (await self.stage.one(leadership.COLLECTION, "placing")).holder


@pytest.fixture
async def yard(tmp_path: Path) -> AsyncIterator[Yard]:
    async with staged(tmp_path) as stage:
        yield Yard(stage)


async def test_who_leads_again_counts_a_job_where_another_has_placed_it_meanwhile(yard: Yard) -> None:
    await yard.machine("m1")
    await yard.job("job")
    assert await yard.first.place_all() == 1
    held = await yard.begun("job")
    await yard.first.place_all()
    await yard.first._leadership.give_up()
    await yard.fails(held)
    await yard.machine("m2")
    await yard.turn("m1", "away")
    assert await yard.second.place_all() == 1
    assert await yard.on("m2") == ["job"]
    await yard.turn("m1", "available")
    await yard.second._leadership.give_up()
    for number in range(9):
        await yard.job(f"more {number}")
    assert await yard.first.place_all() == 5
    assert (len(await yard.on("m1")), len(await yard.on("m2"))) == (3, 3), "one on the core of each, and two ahead"


@pytest.mark.parametrize("between", [True, False], ids=["another led", "control"])
async def test_who_leads_again_begins_with_an_empty_board_and_knows_how_long_jobs_take(
    yard: Yard, between: bool
) -> None:
    await yard.machine("m1")
    await yard.job("a")
    await yard.first.place_all()
    held = await yard.begun("a")
    await yard.first.place_all()
    await yard.worker.finish(held, "done", {}, [])
    await yard.first.place_all()
    assert yard.first._board.paces.expected("a") is not None
    await yard.job("b")
    await yard.first.place_all()
    held = await yard.begun("b")
    await yard.first.place_all()
    before = yard.first._board
    if between:
        await yard.first._leadership.give_up()
        await yard.second.place_all()
        await yard.second._leadership.give_up()
    await yard.worker.finish(held, "done", {}, [])
    await yard.job("c")
    if between:
        assert await yard.first._leadership.held()
        with pytest.raises(TransientError):
            await yard.first.explain(TENANT, "c")  # it leads, and has not looked yet
    await yard.first.place_all()
    assert (yard.first._board is before) == (not between)
    assert yard.first._board.paces.expected("a") is not None
    assert (yard.first._board.paces.expected("b") is None) == between, "it was not seen to end"


@pytest.mark.parametrize("between", [True, False], ids=["another led", "control"])
async def test_what_was_decided_before_another_led_is_not_carried_out_after_that(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, between: bool
) -> None:
    await yard.machine("m1", gpus=1)
    for name in ("a", "b"):
        await yard.job(name, gpus=1)
    confirmed = yard.first._leadership.confirmed

    async def late() -> bool:
        monkeypatch.undo()
        if between:
            await yard.first._leadership.give_up()
            await yard.job("urgent", Priority.CRITICAL, gpus=1)
            assert await yard.second.place_all() == 1
            await yard.second._leadership.give_up()
            assert await yard.first._leadership.held(), "somebody asks it for the queue"
        return await confirmed()

    monkeypatch.setattr(yard.first._leadership, "confirmed", late)
    assert await yard.first.place_all() == (0 if between else 1)
    assert await yard.on("m1") == (["urgent"] if between else ["a"]), "there is one GPU"
    assert await yard.first.place_all() == 0


async def test_a_lead_that_is_only_renewed_is_the_same_term(yard: Yard) -> None:
    now = 0.0
    leader = Leadership(yard.documents, "placing", "a", lambda: now)
    assert await leader.held()
    now += leadership.LEASE_SECONDS
    assert await leader.held()
    assert leader.term == 1
    await leader.give_up()
    assert await leader.held()
    assert leader.term == 2


async def test_durations_are_learned_from_what_ended_by_itself(yard: Yard) -> None:
    await yard.machine("m1")
    await yard.machine("m2")
    names = ["done", "failed", "cancelled", "given back", "lost"]
    for name in names:
        await yard.job(name)
    assert await yard.first.place_all() == len(names)
    held = {name: await yard.begun(name) for name in names}
    await yard.first.place_all()
    await yard.worker.finish(held["done"], "done", {}, [])
    assert (await yard.worker.fail(held["failed"], Failure("bad", "bad", transient=False), {})).state == "dead"
    assert await yard.worker.cancel(await yard.stage.one("jobs", "cancelled"))
    await yard.worker.release(held["given back"])
    await yard.documents.transition("jobs", "lost", lease=Lease(yard.worker.holder, -1.0, renew=True))
    assert [job.id for job in await yard.worker.reap()] == ["lost"]
    await yard.first.place_all()
    known = yard.first._board.paces.expected
    assert [name for name in names if known(name)] == ["done", "failed"]


class Slow:
    """The store, but for what is written to jobs: that is long under way, whoever waits for it or not."""

    def __init__(self, ports: Ports) -> None:
        self._documents = ports.documents
        self.sent, self.arrives = asyncio.Event(), asyncio.Event()
        self.writes: list[asyncio.Task[Transitioned]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._documents, name)

    async def transition(self, collection: str, identity: str, **how: Any) -> Transitioned:
        if collection != "jobs":
            return await self._documents.transition(collection, identity, **how)

        async def written() -> Transitioned:
            self.sent.set()
            await self.arrives.wait()
            return await self._documents.transition(collection, identity, **how)

        self.writes.append(asyncio.create_task(written()))
        return await asyncio.shield(self.writes[-1])


@pytest.mark.parametrize("written", [True, False], ids=["it is written", "it takes too long"])
async def test_who_stops_gives_up_the_lead_when_all_is_written_that_was_sent(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, written: bool
) -> None:
    slow: Any = Slow(yard.stage.ports)
    leaving = yard.scheduler("leaving", replace(yard.stage.ports, documents=slow))
    await yard.machine("m1", gpus=1)
    await yard.job("job", gpus=1)
    running = asyncio.create_task(leaving.run())
    await slow.sent.wait()
    await yard.job("another", Priority.HIGH, gpus=1)
    if not written:
        monkeypatch.setattr(dispatch, "LEAVING_SECONDS", 0.05)
    running.cancel()
    await asyncio.wait([running], timeout=0.2)
    assert await yard.leader() == "leaving", "what it sent is not written yet"
    assert await yard.second.place_all() == 0
    slow.arrives.set()
    await asyncio.wait([running, *slow.writes])
    assert await yard.leader() == (None if written else "leaving")
    if written:
        assert await yard.second.place_all() == 0, "there is one GPU"
        assert await yard.on("m1") == ["job"]
