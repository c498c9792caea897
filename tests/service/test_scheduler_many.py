"""Cases with many media, and what is wanted of them while it changes: nothing is overlooked."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from aima_common import pages
from aima_common.contracts import messages as m
from aima_common.contracts.media import Confidentiality, Priority
from aima_common.errors import TransientError
from aima_common.jobs import JobKind, Ledger, new_job
from aima_common.ports.documents import Change, Insert
from aima_scheduler import runs, safety, service, waiting
from aima_scheduler.service import Scheduler
from tests.service.stage import NOW, TENANT, uploaded
from tests.service.test_scheduler_runs import ANALYZERS, House, choose, housed, medium_prepared, planned, resync

PUBLIC: dict[str, Any] = {"priority": "normal", "deadline": None, "confidentiality": "public"}
SECRET: dict[str, Any] = {**PUBLIC, "confidentiality": "confidential"}


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    """A scheduler, and a public case with one medium, which is not uploaded yet."""
    async with housed(tmp_path) as house:
        await choose(house, "case", **PUBLIC)
        yield house


def before_the_first(
    monkeypatch: pytest.MonkeyPatch, house: House, method: str, collection: str, happens: Callable[[], Awaitable[Any]]
) -> list[str]:
    """Let something happen just before the next change of a collection; return a list that tells whether it has."""
    documents, happened = house.stage.ports.documents, list[str]()
    change = getattr(documents, method)

    async def changes(name: str, *arguments: Any, **more: Any) -> Any:
        if name == collection and not happened:
            happened.append("yes")
            await happens()
        return await change(name, *arguments, **more)

    monkeypatch.setattr(documents, method, changes)
    return happened


async def said(house: House, name: str) -> set[Any]:
    """Tell what jobs and runs say of themselves."""
    return {one.body[name] for one in [*await house.jobs(), await house.run()]}


async def test_a_job_that_is_claimed_while_its_case_becomes_confidential_does_so_too(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.say(uploaded(confidentiality=Confidentiality.PUBLIC))
    await house.prepare(1, whole=True)
    await house.say(medium_prepared(1))
    assert await said(house, "confidentiality") == {"public"}
    told = await choose(house, "case", **SECRET)
    claimed = list[Any]()

    async def claim() -> None:
        # Another may be changed at this moment, and can then be claimed a little later.
        found = [await house.stage.ledger.claim(job) for job in await house.jobs()]
        claimed.extend(held for held in found if held is not None)

    happened = before_the_first(monkeypatch, house, "transition", "jobs", claim)
    await house.hear(told)
    assert happened
    assert claimed
    assert await said(house, "confidentiality") == {"confidential"}
    for held in claimed:
        await house.stage.ledger.renew(held)


async def test_what_is_planned_while_its_case_becomes_confidential_does_so_too(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.say(uploaded(confidentiality=Confidentiality.PUBLIC))
    await house.prepare(1, whole=True)
    told = await choose(house, "case", **SECRET)
    happened = before_the_first(monkeypatch, house, "insert", "jobs", lambda: house.hear(told))
    prepared = house.stage.envelope(medium_prepared(1))
    with contextlib.suppress(TransientError):
        await house.hear(prepared)
    assert happened
    await house.hear(prepared)
    assert len(await house.jobs()) == len(ANALYZERS)
    assert await said(house, "confidentiality") == {"confidential"}


async def test_a_case_that_was_changed_before_there_was_a_run_counts_more_than_what_the_upload_said(
    house: House,
) -> None:
    first = house.stage.envelope(uploaded(confidentiality=Confidentiality.PUBLIC))
    await house.hear(await choose(house, "case", **{**SECRET, "priority": "high"}))
    await house.hear(first)
    await house.prepare(1, whole=True)
    await house.say(medium_prepared(1))
    assert await said(house, "confidentiality") == {"confidential"}
    assert await said(house, "priority") == {"high"}
    await house.hear(first)
    assert await said(house, "priority") == {"high"}


async def test_a_cancelled_medium_is_taken_up_again_as_the_new_case_wants_it(house: House) -> None:
    await house.say(uploaded(confidentiality=Confidentiality.PUBLIC))
    await house.prepare(1, whole=True)
    await house.say(medium_prepared(1))
    await house.say(m.CancelRequested(case="case"))
    await house.stage.ports.documents.transition("items", "item", change=Change(state="cancelled"))
    await house.accept("new case", "new item")
    await choose(house, "new case", **{**SECRET, "priority": "critical"})
    message = uploaded(case="new case", item="new item", priority=Priority.CRITICAL)
    await house.say(message)
    assert {job.state for job in await house.jobs()} == {"ready"}
    assert await said(house, "confidentiality") == {"confidential"}
    assert await said(house, "priority") == {"critical"}


async def test_of_two_cases_that_change_at_once_both_changes_count(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await planned(house)
    await house.accept("other case", "other item")
    await house.hear(await choose(house, "other case", **{**PUBLIC, "priority": "batch"}))
    low = await choose(house, "case", **{**PUBLIC, "priority": "low"})

    async def other() -> None:
        await house.hear(await choose(house, "other case", **{**SECRET, "priority": "high"}))

    happened = before_the_first(monkeypatch, house, "transition", "runs", other)
    await house.hear(low)
    assert happened
    assert (await said(house, "priority"), await said(house, "confidentiality")) == ({"high"}, {"confidential"})


async def test_the_safety_pass_finds_runs_and_jobs_that_lag_behind_their_cases_and_touches_no_others(
    house: House,
) -> None:
    await house.say(uploaded(confidentiality=Confidentiality.PUBLIC))
    await house.prepare(1, whole=True)
    await house.say(medium_prepared(1))
    before = await house.stage.everything()
    await resync(house)
    assert await house.stage.everything() == before
    # Nobody tells of the change.
    await choose(house, "case", **SECRET)
    await resync(house)
    assert await said(house, "confidentiality") == {"confidential"}
    job = (await house.jobs())[0]
    await house.stage.ports.documents.transition("jobs", job.id, change=Change(set={"confidentiality": "public"}))
    await resync(house)
    assert await said(house, "confidentiality") == {"confidential"}


async def crowd(house: House, count: int, case: str = "large", accepted_at: str = NOW.isoformat()) -> None:
    """Put a case into the store with so many media, each with an open run and a job."""
    documents = house.stage.ports.documents
    await documents.delete("items", "item")
    await documents.insert("cases", Insert(case, TENANT, "open", {"name": case, "options": PUBLIC}))
    for number in range(count):
        medium = f"{case}-{number:05d}"
        item = {"case": case, "medium": medium, "accepted_at": accepted_at}
        run = {"medium": medium, "accepted_at": accepted_at, "parts_done": 0, "parts_total": 1, "reason": None}
        await house.stage.put("items", f"item-{medium}", "accepted", **item)
        await documents.insert("media", Insert(medium, TENANT, "stored", {}))
        await house.stage.put("runs", f"run-{medium}", "accepted", **run, **PUBLIC)
        await documents.transition("runs", f"run-{medium}", change=Change(state="analysing"))
        job = new_job(f"job-{medium}", TENANT, JobKind.ANALYSE, submitted_at=NOW, medium=medium, run=f"run-{medium}")
        assert await house.stage.ledger.add(job)


async def states(house: House, collection: str) -> list[str]:
    return [one.state for one in await house.stage.all(collection)]


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everything be read a few at a time."""
    monkeypatch.setattr(pages, "PAGE", 3)
    monkeypatch.setattr(waiting, "MANY", 4)
    monkeypatch.setattr(safety, "MANY", 4)
    monkeypatch.setattr(runs, "MANY", 4)
    monkeypatch.setattr(runs, "CANCELLED_AT_A_TIME", 4)
    monkeypatch.setattr(runs, "MOST_JOBS", 2)


@pytest.mark.usefixtures("small_pages")
async def test_a_case_is_cancelled_and_changed_as_a_whole_however_few_media_are_read_at_a_time(house: House) -> None:
    await crowd(house, 23)
    for number in (3, 17):
        body = {"case": "case", "medium": f"large-{number:05d}", "accepted_at": NOW.isoformat()}
        await house.stage.put("items", f"shared-{number}", "accepted", **body)
    await house.hear(await choose(house, "large", **{**SECRET, "priority": "high"}))
    for collection in ("runs", "jobs"):
        found = await house.stage.all(collection)
        assert {one.body["priority"] for one in found} == {"high"}
        assert {one.body["confidentiality"] for one in found} == {"confidential"}
    await house.say(m.CancelRequested(case="large"))
    for collection, left in (("runs", "analysing"), ("jobs", "ready")):
        after = {one.id: one.state for one in await house.stage.all(collection)}
        assert [name[-5:] for name, state in after.items() if state == left] == ["00003", "00017"]
        assert sum(state == "cancelled" for state in after.values()) == 21


@pytest.mark.usefixtures("small_pages")
async def test_what_is_worked_on_is_cancelled_first_also_where_that_began_meanwhile(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await crowd(house, 40)
    ledger, order = house.stage.ledger, list[str]()
    cancel, names = ledger.cancel, [f"job-large-{number:05d}" for number in range(40)]
    assert await ledger.claim(await house.stage.one("jobs", names[31]))

    async def noted(job: Any) -> bool:
        order.append(job.id)
        if len(order) == 4:
            assert await ledger.claim(await house.stage.one("jobs", names[39]))
        return await cancel(job)

    monkeypatch.setattr(ledger, "cancel", noted)
    await house.say(m.CancelRequested(case="large"))
    assert names[31] in order[:5]
    assert names[39] in order[:10]
    assert sorted(order) == names
    assert await states(house, "jobs") == ["cancelled"] * 40


@pytest.mark.usefixtures("small_pages")
async def test_one_film_with_many_jobs_is_walked_in_pages(house: House) -> None:
    await crowd(house, 2)
    for number in range(9):
        job = new_job(
            f"more-{number}", TENANT, JobKind.ANALYSE, submitted_at=NOW, medium="large-00000", run="run-large-00000"
        )
        assert await house.stage.ledger.add(job)
    await house.say(m.CancelRequested(case="large"))
    assert await states(house, "jobs") == ["cancelled"] * 11


async def test_what_cannot_be_cancelled_yet_holds_up_none_of_the_others(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await crowd(house, 50)
    moved = Change(add={"parts_done": 0})

    async def move() -> None:
        await house.stage.ports.documents.transition("runs", "run-large-00000", change=moved)

    before_the_first(monkeypatch, house, "transition", "runs", move)
    cancelled = house.stage.envelope(m.CancelRequested(case="large"))
    with pytest.raises(TransientError, match="run-large-00000"):
        await house.hear(cancelled)
    assert (await states(house, "runs")).count("cancelled") == 49
    await house.hear(cancelled)
    assert (await states(house, "runs")).count("cancelled") == 50
    assert await states(house, "jobs") == ["cancelled"] * 50


@pytest.mark.usefixtures("small_pages")
async def test_the_safety_pass_reaches_all_runs_but_the_young(house: House) -> None:
    await crowd(house, 23)
    now = house.stage.ports.clock.now().isoformat()
    await crowd(house, 2, "young", accepted_at=now)
    for item in await house.stage.all("items"):
        await house.stage.ports.documents.transition("items", item.id, change=Change(state="cancelled"))
    await resync(house)
    found = {run.id: run.state for run in await house.stage.all("runs")}
    left = [name for name, state in found.items() if state != "cancelled"]
    assert left == ["run-young-00000", "run-young-00001"]
    assert len(found) == 25


async def test_the_safety_pass_goes_on_behind_a_run_that_cannot_be_repaired_now(house: House) -> None:
    await crowd(house, 3)
    await house.stage.ports.documents.delete("analyzers", ANALYZERS[0])
    await house.stage.ports.documents.delete("analyzers", ANALYZERS[1])
    # The first run has to be planned, and there are no analyzers; of the second and third a job died untold.
    change = Change(set={"parts_total": None})
    await house.stage.ports.documents.transition("runs", "run-large-00000", change=change)
    prepared: dict[str, Any] = {
        "medium": "large-00000",
        "type": "video",
        "segments": [],
        "poster": None,
        "reason": None,
    }
    await house.stage.put("preparations", "large-00000", "prepared", **prepared)
    for name in ("job-large-00001", "job-large-00002"):
        held = await house.stage.ledger.claim(await house.stage.one("jobs", name))
        assert held is not None
        await house.stage.ledger.finish(held, "dead", {"errors": [{"reason": "it broke"}]}, [])
    await resync(house)
    assert len(await house.stage.told(m.AnalysisAbandoned)) == 2
    assert (await house.stage.one("runs", "run-large-00000")).state == "analysing"


async def test_one_scheduler_at_a_time_does_the_safety_pass_and_another_takes_over(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "LEAD_SECONDS", 0.02)
    ports, passes = house.stage.ports, list[str]()
    await ports.documents.delete("items", "item")
    gone = asyncio.Event()

    def scheduler(name: str) -> Scheduler:
        made = Scheduler(ports, Ledger(ports, name))

        async def over_all(may_go_on: Callable[[], Awaitable[bool]]) -> None:
            assert await may_go_on()
            passes.append(name)
            gone.set()

        monkeypatch.setattr(made._safety, "over_all", over_all)
        return made

    first = asyncio.create_task(scheduler("first").resync())
    async with asyncio.timeout(20):
        await gone.wait()
        gone.clear()
        second = asyncio.create_task(scheduler("second").resync())
        await asyncio.sleep(0.5)
        assert passes == ["first"]
        first.cancel()
        await gone.wait()
    assert passes == ["first", "second"]
    second.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
