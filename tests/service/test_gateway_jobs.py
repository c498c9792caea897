"""Jobs over HTTP: those of a large case, and what is told of a place in the queue, and what is not."""

import contextlib
import datetime
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from aima_common.contracts import messages as m
from aima_common.contracts.codec import decode
from aima_common.contracts.media import Priority
from aima_common.contracts.topics import BY_MESSAGE
from aima_common.errors import UnavailableError
from aima_common.jobs import JobKind, Ledger, new_job
from aima_common.ports.documents import Document, Insert
from aima_gateway import job_routes
from aima_gateway.keys import Role
from aima_gateway.service import Gateway
from aima_gateway.settings import Settings
from aima_scheduler.dispatch import Dispatcher
from tests.service.conftest import SECRET, Doors, bearer

TIME = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
TIMES: dict[str, Any] = {"claimed_at": "2026-01-02T03:00:00+00:00", "finished_at": "2026-01-02T03:00:30+00:00"}


async def job_of(
    doors: Doors,
    identity: str,
    medium: str = "medium",
    state: str = "ready",
    *,
    kind: JobKind = JobKind.PREPARE,
    tenant: str = "default",
    after_seconds: float = 0,
    **fields: Any,
) -> None:
    """Write a job, as its owner would."""
    at = TIME + datetime.timedelta(seconds=after_seconds)
    body = {"run": None, "medium": medium, "segment": None, "lane": "image", "analyzer": "faces", **fields}
    job = new_job(identity, tenant, kind, submitted_at=at, state=state, **body)
    assert await doors.ports.documents.insert("jobs", job)


async def explained(doors: Doors, job: str) -> dict[str, Any]:
    async with doors.http.get(f"/v1/jobs/{job}/explain") as answer:
        assert answer.status == 200, await answer.text()
        return dict(await answer.json())


async def test_a_job_explains_what_it_waits_for(doors: Doors) -> None:
    case = await doors.case()
    medium = (await doors.upload(case, b"hello"))["medium"]
    await job_of(doors, "a-first", medium, lane=None)
    await job_of(doors, "b-second", medium, lane=None)
    await job_of(doors, "c-dead", medium, "dead", errors=[{"at": "", "code": "x", "reason": "it broke"}])
    told = await explained(doors, "b-second")
    assert (told["position"], told["blocked_by"]) == (2, ["1 more urgent or older jobs come first"])
    assert told["estimated_start_seconds"] is None
    await job_of(doors, "d-done", medium, "done", lane=None, **TIMES)
    assert (await explained(doors, "b-second"))["estimated_start_seconds"] == 30.0
    async with doors.http.get("/v1/jobs/d-done") as answer:
        assert TIMES.items() <= (await answer.json()).items()
    assert (await explained(doors, "c-dead"))["blocked_by"] == ["it failed too often: it broke"]
    async with doors.http.get(f"/v1/jobs?case={case}&state=ready&kind=prepare") as answer:
        assert {"a-first", "b-second"} <= {job["id"] for job in (await answer.json())["jobs"]}
    async with doors.http.post("/v1/jobs/c-dead/cancel") as answer:
        assert answer.status == 409
    async with doors.http.post("/v1/jobs/a-first/cancel") as answer:
        assert answer.status == 202
    async with doors.ports.bus.subscribe("test", [BY_MESSAGE[m.CancelRequested].name]) as subscription:
        asked: Any = decode((await anext(subscription.batches()))[0].record).body
    assert (asked.case, asked.medium) == (case, medium)


async def test_a_place_is_told_among_the_jobs_of_all_tenants_or_not_at_all(
    doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        await job_of(doors, f"older-{number}", tenant="another")
    await job_of(doors, "urgent", tenant="another", after_seconds=9, priority=Priority.CRITICAL)
    await job_of(doors, "younger", tenant="another", after_seconds=9)
    await job_of(doors, "mine", after_seconds=1)
    assert (await explained(doors, "mine"))["position"] == 5
    monkeypatch.setattr(job_routes, "MOST_RANKED", 5)
    told = await explained(doors, "mine")
    assert (told["position"], told["estimated_start_seconds"]) == (None, None)
    assert told["blocked_by"] == ["more than 5 jobs of its kind wait; its place among them is not known"]


@contextlib.asynccontextmanager
async def asked_through(doors: Doors, explain: Any) -> AsyncIterator[Doors]:
    """Run another gateway on the same stores, which asks this scheduler."""
    gateway = Gateway(doors.ports, Settings(secret=SECRET), upload_urls=_nowhere, explain_job=explain)
    key = await doors.key(Role.reader)
    async with (
        TestServer(gateway.application()) as server,
        aiohttp.ClientSession(server.make_url("/"), headers=bearer(key)) as http,
    ):
        yield Doors(str(server.make_url("/")), "", doors.ports, gateway, doors.upload_service, doors.folder, http)


async def _nowhere() -> list[str]:
    return []


async def _refused(job: Document, reason: str) -> None:
    raise AssertionError(f"{job.id} is refused: {reason}")


async def test_a_job_that_the_scheduler_does_not_look_at_has_no_place(doors: Doors) -> None:
    dispatcher = Dispatcher(doors.ports, Ledger(doors.ports, "the scheduler"), _refused)
    machine = {"cpus": 1.0, "memory_bytes": 1 << 30, "gpus": [], "seen_at": TIME.isoformat()}
    assert await doors.ports.documents.insert("machines", Insert("m1", "", "available", machine))
    needs = {"cpus": 1.0, "memory_bytes": 1 << 20, "gpus": 0}
    for name in ("placed", "next", "also-next"):
        await job_of(doors, name, kind=JobKind.ANALYSE, needs=needs)
    await job_of(doors, "waits", kind=JobKind.ANALYSE, needs=needs, deadline="2099-01-01T00:00:00+00:00")
    await dispatcher.place_all()
    await job_of(doors, "unseen", kind=JobKind.ANALYSE, needs=needs)
    async with asked_through(doors, dispatcher.explain) as gateway:
        told = await explained(gateway, "waits")
        assert told["position"] == 1
        assert told["deadline_outlook"].endswith("how long such a job takes is not known yet")
        told = await explained(gateway, "unseen")
        assert (told["position"], told["blocked_by"]) == (None, [job_routes.NOT_LOOKED_AT])
        assert told["deadline_outlook"] is None
        told = await explained(gateway, "placed")
        assert (told["position"], told["blocked_by"]) == (None, ["it waits for a free worker of machine m1"])

    async def away(tenant: str, job: str) -> None:
        raise UnavailableError("no scheduler answers")

    for explain in (away, None):
        async with asked_through(doors, explain) as gateway:
            told = await explained(gateway, "waits")
            assert (told["position"], told["blocked_by"]) == (None, [job_routes.CANNOT_BE_ASKED])


async def test_the_jobs_of_a_large_case_are_those_of_all_its_media(doors: Doors) -> None:
    case, media = await doors.case(), [f"medium-{number:03d}" for number in range(405)]
    for number, medium in enumerate(media):
        body = {"case": case, "medium": medium, "ordinal": number, "accepted_at": TIME.isoformat()}
        assert await doors.ports.documents.insert("items", Insert(f"item-{number}", "default", "accepted", body))
    await job_of(doors, "oldest", media[0])
    for number in range(3):
        await job_of(doors, f"job-{number}", media[400 + number], after_seconds=1 + number)
    await job_of(doors, "of-another-case", "another medium", after_seconds=99)
    async with doors.http.get(f"/v1/jobs?case={case}") as answer:
        assert [job["id"] for job in (await answer.json())["jobs"]] == ["job-2", "job-1", "job-0", "oldest"]
    async with doors.http.get(f"/v1/jobs?case={case}&limit=2") as answer:
        assert [job["id"] for job in (await answer.json())["jobs"]] == ["job-2", "job-1"]
    async with doors.http.get(f"/v1/jobs?case={await doors.case()}") as answer:
        assert (await answer.json())["jobs"] == []
