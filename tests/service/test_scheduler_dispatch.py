"""Jobs find their machines, and leave those that fell silent."""

import asyncio
import datetime
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aima_common.contracts import messages as m
from aima_common.contracts.media import Priority
from aima_common.errors import UnavailableError
from aima_common.jobs import JobKind, Ledger, leadership, new_job
from aima_common.ports.documents import Change, Document, Lease, Transitioned
from aima_gateway.remote_explanations import RemoteExplanations
from aima_scheduler.deciders.engine import Settings
from aima_scheduler.deciders.placement import Prices
from aima_scheduler.dispatch import EXPECTED_SECONDS, UNCLAIMED_SECONDS, WRITTEN_AT_A_TIME, Dispatcher
from aima_scheduler.explaining import Door, Explaining
from tests.service.stage import NEEDS, NOW, TENANT, Stage, staged

GIB = 1 << 30


class Yard:
    """A dispatcher, machines and jobs."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.refused: list[tuple[str, str]] = []
        self.dispatcher = Dispatcher(stage.ports, stage.ledger, self._refused)

    async def _refused(self, job: Document, reason: str) -> None:
        self.refused.append((job.id, reason))

    async def machine(self, name: str, cpus: float = 1.0, gpus: int = 0, state: str = "available") -> None:
        await self.stage.put("machines", name, state, cpus=cpus, memory_bytes=GIB, gpus=[{}] * gpus, seen_at="now")

    async def job(self, name: str, priority: Priority = Priority.NORMAL, **needs: Any) -> None:
        body: dict[str, Any] = {"run": "r", "medium": "m", "lane": "video", "needs": {**NEEDS, **needs}}
        job = new_job(name, TENANT, JobKind.ANALYSE, submitted_at=NOW, priority=priority, **body)
        assert await self.stage.ledger.add(job)

    async def places(self) -> dict[str, str | None]:
        return {job.id: job.body["machine"] for job in await self.stage.all("jobs")}

    async def some_places(self, names: list[str]) -> dict[str, str | None]:
        return {name: (await self.stage.one("jobs", name)).body["machine"] for name in names}


@pytest.fixture
async def yard(tmp_path: Path) -> AsyncIterator[Yard]:
    async with staged(tmp_path) as stage:
        yield Yard(stage)


async def test_a_job_is_placed_once_and_a_hint_is_told(yard: Yard) -> None:
    await yard.machine("m1")
    await yard.job("job")
    assert [await yard.dispatcher.place_all() for _ in range(2)] == [1, 0]
    assert await yard.places() == {"job": "m1"}
    (hint,) = await yard.stage.told(m.AnalysisRequested)
    assert (hint.job, hint.machine, hint.lane) == ("job", "m1", "video")


async def test_without_a_machine_jobs_wait(yard: Yard) -> None:
    await yard.job("job")
    assert await yard.dispatcher.place_all() == 0
    assert yard.refused == []


async def test_a_full_machine_takes_the_most_urgent_only(yard: Yard) -> None:
    await yard.machine("m1")
    for name in ("a", "b", "c", "d"):
        await yard.job(name)
    await yard.job("urgent", Priority.HIGH)
    await yard.dispatcher.place_all()
    placed = {name for name, machine in (await yard.places()).items() if machine}
    assert placed == {"urgent", "a", "b"}


@pytest.mark.parametrize("led", [True, False], ids=["control", "led no more"])
async def test_who_stood_still_until_another_leads_places_no_more(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, led: bool
) -> None:
    await yard.machine("m1", cpus=64)
    for number in range(WRITTEN_AT_A_TIME + 8):
        await yard.job(f"job-{number}")
    answers = iter([True, led])

    async def confirmed() -> bool:
        return next(answers)

    monkeypatch.setattr(yard.dispatcher._leadership, "confirmed", confirmed)
    assert await yard.dispatcher.place_all() == WRITTEN_AT_A_TIME + 8 * led
    assert len([one for one in (await yard.places()).values() if one]) == WRITTEN_AT_A_TIME + 8 * led
    monkeypatch.undo()
    assert await yard.dispatcher.place_all() == 8 * (not led), "and forgets what it did not place"


@pytest.mark.parametrize("settles", [True, False], ids=["settles", "control"])
async def test_who_takes_over_counts_what_the_one_before_had_sent(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, settles: bool
) -> None:
    monkeypatch.setattr(leadership, "SETTLING_SECONDS", 0.5 * settles)
    ports, sent, arrives = yard.stage.ports, asyncio.Event(), asyncio.Event()

    class Slow:
        """The store, but for what is written to jobs, which is long under way."""

        def __getattr__(self, name: str) -> Any:
            return getattr(ports.documents, name)

        async def transition(self, collection: str, identity: str, **how: Any) -> Transitioned:
            if collection == "jobs":
                sent.set()
                await arrives.wait()
            return await ports.documents.transition(collection, identity, **how)

    slow: Any = Slow()
    first = Dispatcher(replace(ports, documents=slow), yard.stage.ledger, yard._refused)
    second = Dispatcher(ports, Ledger(ports, "second"), yard._refused)
    await yard.machine("m1", gpus=1)
    await yard.job("job", gpus=1)
    async with asyncio.TaskGroup() as group:
        placing = group.create_task(first.place_all())
        await sent.wait()
        await yard.job("another", Priority.HIGH, gpus=1)
        over = Lease(yard.stage.ledger.holder, -1.0, renew=True)
        await ports.documents.transition(leadership.COLLECTION, "placing", lease=over)
        assert await second.place_all() == (0 if settles else 1), "it leads now"
        arrives.set()
    assert placing.result() == 1
    await asyncio.sleep(leadership.SETTLING_SECONDS)
    assert await second.place_all() == 0
    placed = [name for name, machine in (await yard.places()).items() if machine]
    assert placed == (["job"] if settles else ["another", "job"]), "there is one GPU"


@pytest.mark.parametrize(
    ("bucket", "megabytes", "secrecy", "machine"),
    [
        ("local", 100, "public", "here"),
        ("cloud", 100, "public", "there"),
        ("local", 0, "public", "there"),
        ("cloud", 100, "internal", "here"),
    ],
    ids=["where the bytes lie", "wherever that is", "control: none are sent", "but what is not public stays"],
)
async def test_a_job_goes_where_its_input_lies(
    yard: Yard, bucket: str, megabytes: int, secrecy: str, machine: str
) -> None:
    rules = Settings(data_location=bucket, prices=Prices(default_bandwidth=1e6))
    dispatcher = Dispatcher(yard.stage.ports, yard.stage.ledger, yard._refused, rules)
    size = {"cpus": 4.0, "memory_bytes": GIB, "gpus": [], "seen_at": "now"}
    # Without anything to be sent the cheaper one is taken.
    await yard.stage.put("machines", "here", "available", **size, location="local", cost_per_hour=1.0)
    await yard.stage.put("machines", "there", "available", **size, location="cloud", cost_per_hour=0.5)
    given = {"confidentiality": secrecy, "input": {"key": "k", "sha256": "0" * 64, "size_bytes": megabytes * 10**6}}
    body: dict[str, Any] = {"run": "r", "medium": "m", "lane": "video", "needs": NEEDS, **given}
    assert await yard.stage.ledger.add(new_job("job", TENANT, JobKind.ANALYSE, submitted_at=NOW, **body))
    assert await dispatcher.place_all() == 1
    assert await yard.places() == {"job": machine}


async def test_a_job_that_no_machine_can_ever_run_is_told_why(yard: Yard) -> None:
    await yard.machine("m1")
    await yard.job("huge", memory_bytes=2 * GIB)
    await yard.job("fits", memory_bytes=GIB)
    await yard.dispatcher.place_all()
    ((job, reason),) = yard.refused
    assert job == "huge"
    assert "2048 MiB" in reason
    refused = await yard.stage.one("jobs", "huge")
    assert (refused.state, refused.body["reason"]) == ("unschedulable", reason)
    assert (await yard.places())["fits"] == "m1"


@pytest.mark.parametrize(("away_seconds", "state"), [(60, "ready"), (2 * EXPECTED_SECONDS, "unschedulable")])
async def test_a_job_for_a_machine_that_is_away_waits_until_it_is_not_expected_any_more(
    yard: Yard, away_seconds: float, state: str
) -> None:
    seen_at = yard.stage.ports.clock.now() - datetime.timedelta(seconds=away_seconds)
    await yard.machine("m1")
    body = {"cpus": 1.0, "memory_bytes": 4 * GIB, "gpus": [], "seen_at": seen_at.isoformat()}
    await yard.stage.put("machines", "large", "away", **body)
    await yard.job("wide", memory_bytes=3 * GIB)
    await yard.dispatcher.place_all()
    assert (await yard.stage.one("jobs", "wide")).state == state
    back = Change(state="available", set={"seen_at": yard.stage.ports.clock.now().isoformat()})
    await yard.stage.ports.documents.transition("machines", "large", change=back)
    await yard.dispatcher.place_all()
    assert (await yard.places())["wide"] == ("large" if state == "ready" else None)


async def test_who_came_before_there_was_a_machine_is_told_as_well_that_none_can_ever_run_it(yard: Yard) -> None:
    await yard.job("huge", memory_bytes=2 * GIB)
    await yard.job("fits")
    await yard.dispatcher.place_all()
    assert yard.refused == []
    await yard.machine("m1")
    await yard.dispatcher.place_all()
    assert [name for name, _ in yard.refused] == ["huge"]
    assert (await yard.places())["fits"] == "m1"


async def test_a_placement_that_nobody_claims_is_taken_back_and_made_anew(yard: Yard) -> None:
    await yard.machine("m1")
    await yard.job("job")
    await yard.dispatcher.place_all()
    before = yard.stage.ports.clock.now().timestamp() - UNCLAIMED_SECONDS - 1
    await yard.stage.ports.documents.transition("jobs", "job", change=Change(set={"placed_at": before}))
    await yard.job("another", Priority.BATCH)
    await yard.dispatcher.place_all()
    assert (await yard.places())["job"] is None
    await yard.dispatcher.place_all()
    assert (await yard.places())["job"] == "m1"


@pytest.mark.parametrize("claimed", [True, False], ids=["claimed", "control"])
async def test_a_job_that_is_claimed_while_it_is_taken_back_keeps_its_room(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, claimed: bool
) -> None:
    await yard.machine("m1")
    for name in ("a", "b", "c"):
        await yard.job(name)
    assert await yard.dispatcher.place_all() == 3, "one on its core, and two ahead"
    documents = yard.stage.ports.documents
    before = yard.stage.ports.clock.now().timestamp() - UNCLAIMED_SECONDS - 1
    for name in ("a", "b", "c"):
        await documents.transition("jobs", name, change=Change(set={"placed_at": before}))
        await yard.job(f"more {name}")
    change = documents.transition

    async def claims_first(collection: str, identity: str, **options: Any) -> Any:
        if claimed and options["change"] == Change(set={"machine": None}):
            assert await yard.stage.ledger.claim(await yard.stage.one("jobs", identity))
        return await change(collection, identity, **options)

    monkeypatch.setattr(documents, "transition", claims_first)
    assert await yard.dispatcher.place_all() == (0 if claimed else 3)


async def test_jobs_of_a_machine_that_is_gone_move_to_another(yard: Yard) -> None:
    await yard.machine("old")
    await yard.job("waiting")
    await yard.dispatcher.place_all()
    await yard.stage.ports.documents.transition("machines", "old", change=Change(state="away"))
    await yard.machine("new")
    await yard.dispatcher.place_all()
    assert await yard.places() == {"waiting": "new"}


async def test_what_a_silent_machine_had_begun_stays_until_its_lease_ends(yard: Yard) -> None:
    await yard.machine("old")
    await yard.job("begun")
    await yard.dispatcher.place_all()
    assert await yard.stage.ledger.claim(await yard.stage.one("jobs", "begun"))
    await yard.stage.ports.documents.transition("machines", "old", change=Change(state="away"))
    await yard.machine("new")
    await yard.dispatcher.place_all()
    assert await yard.places() == {"begun": "old"}


async def test_a_job_that_waits_is_explained_to_its_tenant_alone_and_a_placed_one_says_why_it_went_there(
    yard: Yard,
) -> None:
    await yard.machine("m1")
    for name in ("a", "b", "c", "waits"):
        await yard.job(name)
    await yard.dispatcher.place_all()
    told = await yard.dispatcher.explain(TENANT, "waits")
    assert told is not None
    assert (told["position"], told["dimension"], told["blockers"]) == (1, "cpu", ("a",))
    assert "0 of 1 machines" in told["reasons"][0]
    assert await yard.dispatcher.explain("somebody else", "waits") is None
    assert await yard.dispatcher.explain(TENANT, "a") is None
    placed = await yard.stage.one("jobs", "a")
    assert "m1" in placed.body["placed_because"]


async def test_gateways_ask_by_http_and_only_the_one_that_places_knows(yard: Yard) -> None:
    await yard.machine("m1")
    for name in ("a", "b", "c", "waits"):
        await yard.job(name)
    other = Dispatcher(yard.stage.ports, Ledger(yard.stage.ports, "another scheduler"), yard._refused)
    await yard.dispatcher.place_all()
    doors = [Explaining(one.explain, Door("secret", port=0)) for one in (other, yard.dispatcher)]
    serving = [asyncio.create_task(door.serve()) for door in doors]
    try:
        urls = [await door.url() for door in doors]
        asked = RemoteExplanations(urls, "secret")
        told = await asked(TENANT, "waits")
        assert told is not None
        assert told["position"] == 1
        assert await asked(TENANT, "no such job") is None
        with pytest.raises(UnavailableError):
            await RemoteExplanations(urls, "wrong")(TENANT, "waits")
    finally:
        for one in serving:
            one.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


async def test_who_is_waited_for_goes_first_however_many_batch_jobs_wait(yard: Yard) -> None:
    await yard.machine("m1")
    names = [f"batch-{number:05}" for number in range(10_000)]
    for start in range(0, len(names), 500):
        await asyncio.gather(*(yard.job(name, Priority.BATCH) for name in names[start : start + 500]))
    await yard.dispatcher.place_all()
    assert {name for name, machine in (await yard.some_places(names[:5])).items() if machine} == set(names[:3])
    await yard.job("photo", Priority.HIGH)
    assert await yard.dispatcher.place_all() == 1
    assert await yard.some_places(["photo", names[3]]) == {"photo": "m1", names[3]: None}
