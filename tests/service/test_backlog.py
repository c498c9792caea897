"""A backlog slows clients down; it never loses what was accepted, and never stops reading."""

import asyncio
import base64
import datetime
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest

from aima_client import Client
from aima_client.errors import BusyError
from aima_common.contracts.media import Priority
from aima_common.errors import UnavailableError
from aima_common.jobs import JobKind, new_job, rest_until
from aima_common.ports.documents import Change
from aima_gateway import backlog_gate
from aima_gateway.backlog import BacklogLimits
from tests.service.conftest import Doors, running

LIMITS = BacklogLimits(oldest_seconds=100.0, fewest=3)


@pytest.fixture
async def busy_doors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Doors]:
    for name in ("LOOK_SECONDS", "OUTBOX_SECONDS"):
        monkeypatch.setattr(backlog_gate, name, 0.0)
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


async def test_jobs_that_do_not_say_since_when_they_wait_neither_close_the_door_nor_break_it(
    busy_doors: Doors,
) -> None:
    case = await busy_doors.case()
    documents = busy_doors.ports.documents
    jobs = await waiting(busy_doors, 150)
    for name, said in zip(jobs, ("yesterday", None, 7), strict=True):
        await documents.transition("jobs", name, change=Change(set={"submitted_at": said}))
    assert (await send(busy_doors, case))[0] == 201
    for name in jobs:
        await documents.transition("jobs", name, change=Change("unschedulable"))
    await waiting(busy_doors, 140)
    assert (await send(busy_doors, case))[0] == 503, "the control"


async def test_a_person_who_waits_is_let_in_until_others_like_him_wait_too_long(busy_doors: Doors) -> None:
    urgent, ordinary = await busy_doors.case(priority="high"), await busy_doors.case()
    await waiting(busy_doors, 150)
    assert (await send(busy_doors, urgent))[0] == 201
    assert (await send(busy_doors, ordinary))[0] == 503
    await waiting(busy_doors, 160, priority=Priority.HIGH)
    assert (await send(busy_doors, urgent))[0] == 503


async def test_a_resumable_upload_goes_through_the_same_door_and_what_began_goes_on(busy_doors: Doors) -> None:
    case = {name: await busy_doors.case(priority=name) for name in ("high", "normal")}

    async def begin(name: str) -> tuple[int, str]:
        pairs = {"case": case[name], "filename": "file.bin"}
        metadata = ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in pairs.items())
        headers = {"Upload-Length": "5", "Upload-Metadata": metadata, "Tus-Resumable": "1.0.0"}
        async with busy_doors.http.post("/v1/uploads", headers=headers) as answer:
            return answer.status, answer.headers.get("Location", "")

    status, begun = await begin("normal")
    assert status == 201
    await waiting(busy_doors, 150)
    assert (await begin("normal"))[0] == 503
    assert (await begin("high"))[0] == 201
    headers = {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    async with busy_doors.http.patch(begun, data=b"bytes", headers=headers) as answer:
        assert answer.status == 204


async def test_content_that_is_here_already_is_no_new_work(busy_doors: Doors) -> None:
    case = await busy_doors.case()
    made = await busy_doors.upload(case, b"bytes")
    await waiting(busy_doors, 150)
    asked = {"case": case, "file_name": "again.bin", "sha256": made["sha256"], "size_bytes": 5}
    async with busy_doors.http.post("/v1/uploads/known", json=asked) as answer:
        assert answer.status == 201


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


async def test_work_that_waits_on_purpose_hides_no_backlog(busy_doors: Doors) -> None:
    later = await busy_doors.ports.documents.now() + datetime.timedelta(seconds=60)
    await waiting(busy_doors, 200, LIMITS.fewest, **rest_until(later))
    assert (await send(busy_doors, await busy_doors.case()))[0] == 201, "the control: they are no backlog themselves"
    await waiting(busy_doors, 150)
    assert (await send(busy_doors, await busy_doors.case()))[0] == 503


async def test_work_that_rests_because_a_server_is_away_is_a_backlog(busy_doors: Doors) -> None:
    now = await busy_doors.ports.documents.now()
    rests = rest_until(now + datetime.timedelta(seconds=60))
    for seconds, status in ((50, 201), (150, 503)):
        away_since = (now - datetime.timedelta(seconds=seconds)).isoformat()
        await waiting(busy_doors, 150 + seconds, LIMITS.fewest, away_since=away_since, **rests)
        assert (await send(busy_doors, await busy_doors.case()))[0] == status


async def test_reading_goes_on_and_readiness_tells_why(busy_doors: Doors) -> None:
    case = await busy_doors.case()
    await waiting(busy_doors, 150)
    async with busy_doors.http.get(f"/v1/cases/{case}") as answer:
        assert answer.status == 200
    async with busy_doors.http.get("/readyz") as answer:
        told = await answer.json()
    assert (answer.status, told["ready"]) == (200, True), "whoever reads must still be sent here"
    assert told["uploads"].startswith("uploads of priority normal and below are asked to come back: work has waited")


async def test_messages_that_nobody_tells_close_the_door(busy_doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    case = await busy_doors.case(priority="critical")
    assert (await send(busy_doors, case))[0] == 201
    since = await busy_doors.ports.documents.now() - datetime.timedelta(seconds=61)

    async def stuck() -> datetime.datetime:
        return since

    monkeypatch.setattr(busy_doors.ports.documents, "outbox_since", stuck)
    status, problem, _ = await send(busy_doors, case)
    assert (status, problem["code"]) == (503, "backlog")
    assert "messages have waited" in problem["detail"]


async def test_uploads_wait_while_nobody_can_tell_what_waits_and_reads_go_on(
    busy_doors: Doors, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = await busy_doors.case()
    find = busy_doors.ports.documents.find

    async def away(collection: str, *arguments: Any, **more: Any) -> Any:
        if collection == "jobs":
            raise UnavailableError("mongodb://10.0.0.7 refuses connections", code="mongodb")
        return await find(collection, *arguments, **more)

    monkeypatch.setattr(busy_doors.ports.documents, "find", away)
    status, problem, come_back = await send(busy_doors, case)
    assert (status, problem["code"]) == (503, "store_away")
    assert come_back is not None
    assert "document store (MongoDB)" in problem["detail"]
    assert "10.0.0.7" not in str(problem), "names of machines are for the log"
    async with busy_doors.http.get(f"/v1/cases/{case}/items") as answer:
        assert answer.status == 200
    monkeypatch.setattr(busy_doors.ports.documents, "find", find)
    assert (await send(busy_doors, case))[0] == 201


@pytest.mark.parametrize("expects", [False, True])
async def test_whoever_sends_a_large_body_to_a_closed_door_gets_the_answer(busy_doors: Doors, *, expects: bool) -> None:
    case = await busy_doors.case()
    await waiting(busy_doors, 150)
    address = urlsplit(busy_doors.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    size = 50 << 20
    lines = [
        f"POST /v1/uploads?case={case}&file_name=x HTTP/1.1",
        "Host: x",
        f"Authorization: {busy_doors.http.headers['Authorization']}",
        f"Content-Length: {size}",
        *(["Expect: 100-continue"] if expects else []),
    ]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    if not expects:
        # It looks for the answer only when everything is sent, as many clients do.
        for _ in range(size >> 20):
            writer.write(bytes(1 << 20))
            await writer.drain()
    async with asyncio.timeout(30):
        head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    assert head.startswith(b"HTTP/1.1 503"), "and nobody is invited to send a body that is refused"
    assert b"Retry-After" in head


async def test_a_patient_client_waits_for_the_door_to_open_and_says_why(
    busy_doors: Doors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"p" * 3_000_000)
    case, jobs = await busy_doors.case(), await waiting(busy_doors, 150)
    waits: list[float] = []
    told: list[str] = []
    sent: list[int] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 12:
            for job in jobs:
                await busy_doors.ports.documents.transition("jobs", job, change=Change("done"))

    # The client's own sleep alone: the services sleep, too.
    own = SimpleNamespace(sleep=sleep, IncompleteReadError=asyncio.IncompleteReadError)
    monkeypatch.setattr("aima_client.transport.asyncio", own)
    key = busy_doors.http.headers["Authorization"].removeprefix("Bearer ")
    async with Client(busy_doors.url, key, attempts=3) as aima:
        with pytest.raises(BusyError, match="AIMA is behind"):
            await aima.upload(case, photo, moved=sent.append)
        assert len(waits) == 2, "whoever is not patient gives up"
        with aima.patient(3600, lambda _seconds, problem: told.append(problem.code)):
            await aima.upload(case, photo, moved=sent.append)
    assert told == ["backlog"] * 10
    assert all(2 <= seconds <= 91 for seconds in waits)
    assert await busy_doors.ports.documents.count("items", {"case": case}) == 1


async def test_whoever_asks_before_sending_is_invited(busy_doors: Doors) -> None:
    case = await busy_doors.case()
    query = {"case": case, "file_name": "x"}
    async with busy_doors.http.post("/v1/uploads", params=query, data=b"bytes", expect100=True) as answer:
        assert answer.status == 201
    async with busy_doors.http.post("/v1/cases", json={"name": "x"}, expect100=True) as answer:
        assert answer.status == 201
