"""The queue over HTTP: what the scheduler tells its gateway, and the gateway a tenant."""

import asyncio
import contextlib
import datetime
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from aima_common.contracts.media import Priority
from aima_common.errors import TransientError, UnavailableError
from aima_common.jobs import JobKind, Ledger, new_job
from aima_common.ports.documents import Document, Insert
from aima_gateway.keys import Role
from aima_gateway.remote_explanations import RemoteExplanations
from aima_gateway.service import Gateway
from aima_gateway.settings import Settings
from aima_scheduler.dispatch import Dispatcher
from aima_scheduler.explaining import Door, Explaining
from tests.service.conftest import SECRET, Doors, bearer

GIB = 1 << 30
NOW = datetime.datetime(2026, 11, 23, 12, tzinfo=datetime.UTC)


class Installation:
    """Stores with machines and jobs, and a scheduler that answers gateways."""

    def __init__(self, doors: Doors) -> None:
        self.doors = doors
        self.ledger = Ledger(doors.ports, "the scheduler")
        self.dispatcher = Dispatcher(doors.ports, self.ledger, self._refused)

    async def _refused(self, job: Document, reason: str) -> None:
        raise AssertionError(f"{job.id} is refused: {reason}")

    async def machine(self, name: str, cpus: float = 1.0) -> None:
        body = {"cpus": cpus, "memory_bytes": GIB, "gpus": [], "seen_at": NOW.isoformat()}
        assert await self.doors.ports.documents.insert("machines", Insert(name, "", "available", body))

    async def job(self, name: str, tenant: str, priority: Priority = Priority.NORMAL) -> None:
        body: dict[str, Any] = {"run": "r", "medium": f"medium-of-{tenant}", "lane": "video", "analyzer": "faces"}
        needs = {"cpus": 1.0, "memory_bytes": 1 << 20, "gpus": 0}
        made = new_job(name, tenant, JobKind.ANALYSE, submitted_at=NOW, priority=priority, needs=needs, **body)
        assert await self.ledger.add(made)

    @contextlib.asynccontextmanager
    async def asked_through(self, show_queue: Any) -> AsyncIterator[TestServer]:
        """Run another gateway on the same stores."""
        gateway = Gateway(self.doors.ports, Settings(secret=SECRET), upload_urls=_nowhere, show_queue=show_queue)
        server = TestServer(gateway.application())
        async with server:
            yield server

    async def seen_by(self, server: TestServer, tenant: str, query: str = "") -> dict[str, Any]:
        key = await self.doors.key(Role.reader, tenant)
        async with (
            aiohttp.ClientSession(headers=bearer(key)) as http,
            http.get(server.make_url(f"/v1/queue{query}")) as answer,
        ):
            assert answer.status == 200, await answer.text()
            return dict(await answer.json())


async def _nowhere() -> list[str]:
    return []


@pytest.fixture
async def installation(doors: Doors) -> Installation:
    """Let red and blue share one machine with one core: three jobs are placed there, the others wait."""
    made = Installation(doors)
    await made.machine("m1")
    for name in ("red-1", "red-2", "blue-1", "blue-2", "red-3"):
        await made.job(name, name.split("-")[0])
        await made.dispatcher.place_all()
    return made


async def test_a_tenant_sees_its_own_jobs_and_of_others_only_what_is_used(installation: Installation) -> None:
    first = await installation.doors.ports.documents.load("jobs", "blue-1")
    assert first is not None
    assert await installation.ledger.claim(first)
    async with installation.asked_through(installation.dispatcher.queue) as server:
        red, blue = await installation.seen_by(server, "red"), await installation.seen_by(server, "blue")
    assert [(job["job"], job["position"]) for job in blue["waiting"]] == [("blue-2", 1)]
    assert [(job["job"], job["position"]) for job in red["waiting"]] == [("red-3", 2)]
    assert (red["counts"]["ready"], red["counts"]["leased"]) == (3, 0)
    assert (blue["counts"]["ready"], blue["counts"]["leased"]) == (1, 1)
    [seen_by_red], [seen_by_blue] = red["machines"], blue["machines"]
    assert seen_by_red["used"] == seen_by_blue["used"] == {"cpus": 1, "memory_bytes": 1 << 20, "gpus": 0}
    assert (seen_by_red["your_jobs"], seen_by_red["your_next_jobs"]) == (0, 2)
    assert (seen_by_blue["your_jobs"], seen_by_blue["your_next_jobs"]) == (1, 0)
    [kept], [kept_for_another] = blue["reservations"], red["reservations"]
    assert (kept["job"], kept_for_another["job"], kept_for_another["machines"]) == ("blue-2", None, ["m1"])
    assert "blue-" in json.dumps(blue), "the control: its owner is told"
    assert "blue" not in json.dumps(red)
    assert "red" not in json.dumps(blue)


async def test_gateways_ask_by_http_the_one_that_places(installation: Installation) -> None:
    ports = installation.doors.ports
    other = Dispatcher(ports, Ledger(ports, "another scheduler"), installation._refused)
    with pytest.raises(TransientError):
        await other.queue("red", 5)
    doors = [Explaining(one.explain, Door("secret", port=0), one.queue) for one in (other, installation.dispatcher)]
    serving = [asyncio.create_task(door.serve()) for door in doors]
    try:
        urls = [await door.url() for door in doors]
        async with installation.asked_through(RemoteExplanations(urls, "secret").queue) as server:
            told = await installation.seen_by(server, "red")
            assert [job["job"] for job in told["waiting"]] == ["red-3"]
            assert told["scheduler"]
        with pytest.raises(UnavailableError):
            await RemoteExplanations(urls, "wrong").queue("red", 5)
        async with aiohttp.ClientSession(urls[1]) as http, http.get("/v1/queue?tenant=red&limit=5") as answer:
            assert answer.status == 401
    finally:
        for one in serving:
            one.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


async def test_without_a_scheduler_the_store_tells_what_waits_and_says_that_the_rest_is_unknown(
    installation: Installation,
) -> None:
    await installation.job("red-urgent", "red", Priority.CRITICAL)
    async with installation.asked_through(None) as server:
        told = await installation.seen_by(server, "red")
        [first] = (await installation.seen_by(server, "red", "?limit=1"))["waiting"]
    assert [job["job"] for job in told["waiting"]] == ["red-urgent", "red-3"]
    assert first["job"] == "red-urgent"
    assert first["position"] is first["estimated_start_seconds"] is None
    assert (told["machines"], told["reservations"], told["scheduler"]) == ([], [], False)


async def test_all_who_ask_within_a_second_share_one_picture(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn, draw = [], installation.dispatcher._draw

    async def counted(now: float) -> Any:
        drawn.append(now)
        return await draw(now)

    monkeypatch.setattr(installation.dispatcher, "_draw", counted)
    monkeypatch.setattr("aima_scheduler.dispatch.PICTURE_SECONDS", 60.0)
    await asyncio.gather(*(installation.dispatcher.queue(tenant, 5) for tenant in ("red", "blue") * 10))
    assert len(drawn) == 1
    monkeypatch.setattr(installation.dispatcher, "_picture_until", 0.0)
    await installation.dispatcher.queue("red", 5)
    assert len(drawn) == 2


def _hear_ctrl_c() -> None:
    """Undo what a shell does to whatever it starts in the background: ignoring Ctrl-C is inherited."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


async def test_the_live_picture_ends_with_ctrl_c_as_what_it_is_for(installation: Installation) -> None:
    key = await installation.doors.key(Role.reader, "red")
    screen, terminal = os.openpty()
    async with installation.asked_through(installation.dispatcher.queue) as server:
        place = {
            "AIMA_URL": str(server.make_url("")),
            "AIMA_KEY": key,
            "TERM": "xterm",
            "COLUMNS": "100",
            "LINES": "50",
        }
        command = (sys.executable, "-m", "aima_client", "jobs", "--watch")
        watching = await asyncio.create_subprocess_exec(
            *command, stdout=terminal, env={**os.environ, **place}, preexec_fn=_hear_ctrl_c
        )
        os.close(terminal)
        try:
            async with asyncio.timeout(30):
                shown = b""
                while shown.count(b"red-3") < 2:
                    shown += await asyncio.to_thread(os.read, screen, 65536)
                watching.send_signal(signal.SIGINT)
                assert await watching.wait() == 0
        finally:
            if watching.returncode is None:
                watching.kill()
                await watching.wait()
            os.close(screen)
    assert b"blue" not in shown
