"""Nonsense in the documents of jobs and machines, and clocks that jump: told or absorbed, never at others' expense."""

import datetime
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from aima_common.contracts import messages as m
from aima_common.contracts.media import Priority
from aima_common.jobs import JobKind, Ledger, new_job
from aima_common.ports.documents import Change, Document, Insert
from aima_scheduler.dispatch import UNCLAIMED_SECONDS, Dispatcher
from aima_scheduler.runs import Runs
from tests.service.stage import NEEDS, NOW, TENANT, Stage, staged, uploaded

GIB = 1 << 30


class Hands:
    """A clock that goes where it is told to."""

    def __init__(self, at: datetime.datetime) -> None:
        self.at = at
        self.ticks = 0.0

    def now(self) -> datetime.datetime:
        return self.at

    def monotonic(self) -> float:
        return self.ticks

    async def sleep(self, seconds: float) -> None:
        self.pass_by(seconds)

    def pass_by(self, seconds: float) -> None:
        """Let time pass, on every clock there is."""
        self.at += datetime.timedelta(seconds=seconds)
        self.ticks += seconds


class Yard:
    """A dispatcher on stores whose documents are written as they are."""

    def __init__(self, stage: Stage, clock: Any = None) -> None:
        self.stage = stage
        self.documents = stage.ports.documents
        ports = stage.ports if clock is None else replace(stage.ports, clock=clock)
        self.ledger = Ledger(ports, "the scheduler")
        self.refused: dict[str, str] = {}
        self.dispatcher = Dispatcher(ports, self.ledger, self._refused)

    async def _refused(self, job: Document, reason: str) -> None:
        self.refused[job.id] = reason

    async def machine(self, name: str, cpus: float = 1.0, **body: Any) -> None:
        whole = {"cpus": cpus, "memory_bytes": GIB, "gpus": [], "seen_at": "now", **body}
        assert await self.documents.insert("machines", Insert(name, "", "available", whole))

    async def job(self, name: str, needs: Any = NEEDS, **body: Any) -> None:
        wanted = {**NEEDS, **needs} if isinstance(needs, dict) else needs
        known: dict[str, Any] = {"run": "r", "medium": "m", "lane": "video", "needs": wanted}
        made = new_job(name, TENANT, JobKind.ANALYSE, submitted_at=NOW, **known)
        assert await self.documents.insert("jobs", replace(made, body={**made.body, **body}))

    async def leave_one_place(self) -> None:
        """Let two jobs run in the place of the three that were first: a machine with one core has room for one more."""
        for number in range(3):
            await self.documents.delete("jobs", f"first {number}")
        for name in ("running", "running too"):
            await self.job(name, machine="m1")
            assert await self.ledger.claim(await self.stage.one("jobs", name))

    async def places(self, names: Sequence[str] = ()) -> dict[str, str | None]:
        found = {job.id: job.body["machine"] for job in await self.stage.all("jobs")}
        return {name: found[name] for name in names or found}


@pytest.fixture
async def yard(tmp_path: Path) -> AsyncIterator[Yard]:
    async with staged(tmp_path) as stage:
        yield Yard(stage)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"needs": {"cpus": -3, "memory_bytes": GIB}}, "needs.cpus is -3"),
        ({"needs": {"cpus": 1e12}}, "needs.cpus is 1000000000000"),
        ({"needs": {"cpus": 1, "memory_bytes": "a lot"}}, "needs.memory_bytes is 'a lot'"),
        ({"needs": {"cpus": 1, "members": 99}}, "needs.members is 99"),
        ({"needs": None}, "needs is None"),
        ({"priority": "whenever"}, "priority is 'whenever'"),
        ({"priority": 7}, "priority is 7"),
        ({"deadline": "soon"}, "deadline is 'soon'"),
        ({"deadline": "2026-12-24T18:00:00"}, "deadline is '2026-12-24T18:00:00'"),
        ({"submitted_at": {"at": 1}}, "submitted_at is {'at': 1}"),
        ({"lane": "smell"}, "lane is 'smell'"),
        ({"medium": None}, "medium is None"),
    ],
)
async def test_a_job_that_says_nonsense_is_set_aside_with_its_field_and_its_neighbours_start(
    yard: Yard, body: dict[str, Any], field: str
) -> None:
    await yard.machine("m1", cpus=4.0)
    await yard.job("before")
    await yard.job("nonsense", **body)
    await yard.job("after")
    assert await yard.dispatcher.place_all() == 2
    assert await yard.places(["before", "after"]) == {"before": "m1", "after": "m1"}
    set_aside = await yard.stage.one("jobs", "nonsense")
    assert set_aside.state == "unschedulable"
    assert field in set_aside.body["reason"]
    assert yard.refused == {"nonsense": set_aside.body["reason"]}
    assert await yard.dispatcher.place_all() == 0, "and it is not met again"


@pytest.mark.parametrize("deadline", ["soon", "2099-01-01T00:00:00", "2099-13-01T00:00:00Z"])
def test_a_message_with_a_deadline_that_is_no_time_is_malformed_in_that_field(deadline: str) -> None:
    for message in (uploaded(), m.CaseChanged(case="case", priority=Priority.LOW)):
        said = {**message.model_dump(mode="python"), "deadline": deadline}
        with pytest.raises(ValidationError) as told:
            type(message).model_validate(said)
        assert [error["loc"] for error in told.value.errors()] == [("deadline",)]
        kept = type(message).model_validate({**said, "deadline": "2099-01-01T00:00:00+00:00"})
        assert kept.model_dump()["deadline"] == "2099-01-01T00:00:00+00:00"


async def test_workers_find_their_work_beside_documents_that_say_nonsense(yard: Yard) -> None:
    nonsense: list[dict[str, Any]] = [{"deadline": "soon"}, {"priority": "whenever"}, {"submitted_at": 3}]
    for number, body in enumerate([*nonsense, {"not_before": "now"}, {"priority": []}]):
        await yard.job(f"nonsense {number}", machine="m1", **body)
    await yard.job("urgent", machine="m1", priority="high")
    found = await yard.ledger.ready(JobKind.ANALYSE, {"machine": "m1"})
    assert found[0].id == "urgent"
    assert len(found) == 6
    held = await yard.ledger.claim(found[0])
    assert held is not None


async def test_the_run_of_a_part_that_was_set_aside_goes_on_without_it(yard: Yard) -> None:
    facts = {"medium": "m", "parts_done": 0, "parts_total": 2, "reason": None}
    await yard.stage.put("runs", "r", "analysing", **facts)
    runs = Runs(yard.stage.ports, yard.ledger, lambda: None)
    await yard.job("without anything", {"cpus": -1}, run=None)
    await yard.job("of a run", {"cpus": -1}, segment="first")
    for name in ("without anything", "of a run"):
        await runs.abandon(await yard.stage.one("jobs", name), "nobody can tell what it needs", name)
    assert (await yard.stage.one("runs", "r")).body["parts_done"] == 1
    (told,) = await yard.stage.told(m.AnalysisAbandoned)
    assert (told.job, told.reason, told.segment) == ("of a run", "nobody can tell what it needs", None)


@pytest.mark.parametrize(
    "body",
    [{"cpus": 1e9}, {"cpus": -1.0}, {"memory_bytes": -1}, {"memory_bytes": "8 GiB"}, {"gpus": 4}, {"gpus": [7]}],
    ids=str,
)
async def test_a_machine_that_says_nonsense_gets_no_jobs_and_the_others_get_theirs(
    yard: Yard, body: dict[str, Any]
) -> None:
    await yard.machine("a boaster", **body)
    await yard.machine("honest", cpus=2.0)
    for name in ("a", "b", "c"):
        await yard.job(name)
    assert await yard.dispatcher.place_all() == 3
    assert await yard.places() == dict.fromkeys("abc", "honest")
    picture = await yard.dispatcher.queue(TENANT, 10)
    assert [one["id"] for one in picture["machines"]] == ["honest"]
    await yard.documents.transition(
        "machines", "a boaster", change=Change(set={"cpus": 1.0, "memory_bytes": GIB, "gpus": []})
    )
    for name in ("d", "e", "f"):
        await yard.job(name)
    assert await yard.dispatcher.place_all() == 3, "the control: once it says what it has"
    assert "a boaster" in (await yard.places()).values()


async def test_a_machine_has_as_many_gpus_as_it_has_whatever_it_says_to_have_free(yard: Yard) -> None:
    card = {"name": "A100", "memory_bytes": 80 * GIB}
    await yard.machine("m1", cpus=8.0, gpus=[card], free_gpus=64)
    for name in ("a", "b", "c"):
        await yard.job(name, {"gpus": 1})
    assert await yard.dispatcher.place_all() == 1


async def test_a_job_that_asks_for_too_much_and_says_nonsense_besides_does_not_stop_the_look(yard: Yard) -> None:
    await yard.machine("m1")
    await yard.job("both", {"memory_bytes": 1 << 40}, lane="sideways")
    await yard.job("fits")
    await yard.dispatcher.place_all()
    assert await yard.places(["both", "fits"]) == {"both": None, "fits": "m1"}
    assert (await yard.stage.one("jobs", "both")).state == "unschedulable"
    assert list(yard.refused) == ["both"]


@pytest.mark.parametrize("known", [True, False], ids=["known before", "control: never understood"])
async def test_what_only_a_machine_could_run_that_says_nonsense_now_waits_for_it(yard: Yard, known: bool) -> None:
    await yard.machine("small")
    large: dict[str, Any] = {"memory_bytes": 4 * GIB} | ({} if known else {"cpus": "many"})
    await yard.machine("large", **large)
    await yard.job("first", {"memory_bytes": GIB >> 1})
    await yard.dispatcher.place_all()
    await yard.documents.transition("machines", "large", change=Change(set={"cpus": "many"}))
    await yard.job("wide", {"memory_bytes": 3 * GIB})
    await yard.dispatcher.place_all()
    assert (await yard.stage.one("jobs", "wide")).state == ("ready" if known else "unschedulable")
    await yard.documents.transition("machines", "large", change=Change(set={"cpus": 1.0}))
    await yard.dispatcher.place_all()
    assert await yard.places(["wide"]) == {"wide": "large" if known else None}


async def test_how_long_a_job_took_is_known_though_nothing_waits_when_it_ends(yard: Yard) -> None:
    await yard.machine("m1")
    await yard.job("job", analyzer="kind", machine=None)
    await yard.dispatcher.place_all()
    began = yard.stage.ports.clock.now().isoformat()
    await yard.documents.transition("jobs", "job", change=Change(state="leased", set={"claimed_at": began}))
    await yard.dispatcher.place_all()
    ended = Change(state="done", set={"finished_at": yard.stage.ports.clock.now().isoformat()})
    await yard.documents.transition("jobs", "job", change=ended)
    await yard.dispatcher.place_all()
    assert yard.dispatcher._board.paces.expected("kind") is not None


async def test_what_runs_somewhere_and_says_nonsense_does_not_stop_the_look(yard: Yard) -> None:
    await yard.machine("m1", cpus=2.0)
    await yard.job("strange", {"cpus": -5}, machine="m1")
    assert await yard.ledger.claim(await yard.stage.one("jobs", "strange"))
    await yard.job("placed strangely", machine="m1", placed_at="a while ago")
    for number in range(6):
        await yard.job(f"job {number}")
    assert await yard.dispatcher.place_all() == 2 + 2, "as many as there is room for, as if it were not there"
    assert (await yard.places(["placed strangely"]))["placed strangely"] is None, "and it is placed anew"


@pytest.mark.parametrize("jump", [-3600.0, 86400.0], ids=["an hour back", "a day ahead"])
async def test_a_placement_outlives_a_jump_of_the_clock_by_no_more_than_without_it(tmp_path: Path, jump: float) -> None:
    async with staged(tmp_path) as stage:
        clock = Hands(NOW)
        yard = Yard(stage, clock)
        await yard.machine("m1")
        await yard.job("job")
        assert await yard.dispatcher.place_all() == 1
        clock.at += datetime.timedelta(seconds=jump)
        await yard.job("another", priority="batch")
        await yard.dispatcher.place_all()
        clock.pass_by(UNCLAIMED_SECONDS + 1)
        await yard.dispatcher.place_all()
        assert await yard.places(["job"]) == {"job": "m1"}, "taken back, and placed anew by the clock as it is now"
        placed = (await yard.stage.one("jobs", "job")).body["placed_at"]
        assert placed == pytest.approx(clock.now().timestamp(), abs=2 * UNCLAIMED_SECONDS)


async def test_after_a_day_ahead_and_back_jobs_are_ordered_by_the_time_that_it_is(tmp_path: Path) -> None:
    """On the clock that was wrong, tomorrow's deadline had passed, and everything had waited for a day."""
    async with staged(tmp_path) as stage:
        clock = Hands(NOW)
        yard = Yard(stage, clock)
        await yard.machine("m1")
        for number in range(3):
            await yard.job(f"first {number}")
        tomorrow = (NOW + datetime.timedelta(hours=20)).isoformat()
        await yard.job("for tomorrow", priority="low", deadline=tomorrow)
        await yard.dispatcher.place_all()
        assert (await yard.places())["for tomorrow"] is None
        clock.at += datetime.timedelta(days=1)
        await yard.dispatcher.place_all()
        clock.at -= datetime.timedelta(days=1)
        await yard.job("normal")
        await yard.leave_one_place()
        assert await yard.dispatcher.place_all() == 1
        assert await yard.places(["normal", "for tomorrow"]) == {"normal": "m1", "for tomorrow": None}


async def test_who_came_while_the_clock_was_ahead_waits_for_no_younger_one(yard: Yard) -> None:
    await yard.machine("m1")
    for number in range(3):
        await yard.job(f"first {number}")
    ahead = (datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=1)).isoformat()
    await yard.job("from tomorrow", submitted_at=ahead)
    await yard.dispatcher.place_all()
    waits = yard.dispatcher._board.engine.waiting.get("from tomorrow")
    assert waits is not None
    await yard.job("younger", submitted_at=datetime.datetime.now(datetime.UTC).isoformat())
    await yard.leave_one_place()
    assert await yard.dispatcher.place_all() == 1
    assert await yard.places(["from tomorrow", "younger"]) == {"from tomorrow": "m1", "younger": None}


@pytest.mark.parametrize(("seconds", "starts"), [(60.0, False), (3600.0, True)], ids=["control", "clock set back"])
async def test_a_pause_that_was_planned_before_the_clock_was_set_back_ends(
    yard: Yard, seconds: float, starts: bool
) -> None:
    later = await yard.documents.now() + datetime.timedelta(seconds=seconds)
    await yard.job("paused", not_before=later.isoformat())
    assert [job.id for job in await yard.ledger.ready(JobKind.ANALYSE)] == (["paused"] if starts else [])
