"""A backlog slows clients down; it never loses what was accepted, and never stops reading."""

import datetime
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aima_common.jobs import JobKind, new_job
from aima_common.ports.documents import Change
from aima_gateway import backlog
from aima_gateway.backlog import BacklogLimits
from tests.service.conftest import Doors, running

LIMITS = BacklogLimits(oldest_seconds=100.0, fewest=3)


@pytest.fixture
async def busy_doors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Doors]:
    monkeypatch.setattr(backlog, "LOOK_SECONDS", 0.0)
    async with running(tmp_path / "data", backlog=LIMITS) as doors:
        yield doors


async def waiting(doors: Doors, age_seconds: float, count: int = 3, **fields: Any) -> list[str]:
    """Let jobs wait for so long."""
    since = await doors.ports.documents.now() - datetime.timedelta(seconds=age_seconds)
    names = [f"job-{age_seconds:.0f}-{number}" for number in range(count)]
    for name in names:
        job = new_job(name, "default", JobKind.ANALYSE, submitted_at=since, medium="m", run="r", **fields)
        assert await doors.ports.documents.insert("jobs", job)
    return names


async def send(doors: Doors, case: str) -> tuple[int, dict[str, Any], str | None]:
    query = {"case": case, "file_name": "file.bin"}
    async with doors.http.post("/v1/uploads", params=query, data=b"bytes") as answer:
        return answer.status, await answer.json(), answer.headers.get("Retry-After")


async def test_old_work_closes_the_door_for_uploads_and_finished_work_opens_it(busy_doors: Doors) -> None:
    case = await busy_doors.case()
    assert (await send(busy_doors, case))[0] == 201
    jobs = await waiting(busy_doors, 150)
    status, problem, come_back = await send(busy_doors, case)
    assert (status, problem["code"]) == (503, "backlog")
    assert come_back is not None
    assert int(come_back) >= 2
    assert await busy_doors.ports.documents.count("items", {"case": case}) == 1, "a refusal leaves nothing behind"
    for job in jobs:
        await busy_doors.ports.documents.transition("jobs", job, change=Change("done"))
    assert (await send(busy_doors, case))[0] == 201


async def test_a_person_who_waits_is_let_in_longer(busy_doors: Doors) -> None:
    urgent, ordinary = await busy_doors.case(priority="high"), await busy_doors.case()
    await waiting(busy_doors, 150)
    assert (await send(busy_doors, urgent))[0] == 201
    assert (await send(busy_doors, ordinary))[0] == 503
    await waiting(busy_doors, 500)
    assert (await send(busy_doors, urgent))[0] == 503


@pytest.mark.parametrize("count", [1, 2])
async def test_a_job_that_is_stuck_is_no_backlog(busy_doors: Doors, count: int) -> None:
    await waiting(busy_doors, 10_000, count)
    assert (await send(busy_doors, await busy_doors.case()))[0] == 201


async def test_work_that_waits_on_purpose_does_not_count(busy_doors: Doors) -> None:
    jobs = await waiting(busy_doors, 150)
    later = (await busy_doors.ports.documents.now() + datetime.timedelta(seconds=60)).isoformat()
    for job in jobs:
        await busy_doors.ports.documents.transition("jobs", job, change=Change(set={"not_before": later}))
    assert (await send(busy_doors, await busy_doors.case()))[0] == 201


async def test_reading_goes_on_and_readiness_tells_why(busy_doors: Doors) -> None:
    case = await busy_doors.case()
    await waiting(busy_doors, 150)
    async with busy_doors.http.get(f"/v1/cases/{case}") as answer:
        assert answer.status == 200
    async with busy_doors.http.get("/readyz") as answer:
        assert "come back" in (await answer.json())["checks"]["backlog"]
