"""A service as a process of its own: settings it cannot use, servers that are away, and how it ends."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import aiohttp
import pytest

from aima_cluster.plan import REPLICAS
from aima_servers.processes import free_ports

SERVICES = sorted({kind.partition("-")[0] for kind in REPLICAS})
PATIENCE_SECONDS = 60.0


def nowhere() -> dict[str, str]:
    """Settings that lead to servers that are away."""
    kafka, mongodb, s3, health = free_ports(4)
    return {
        "AIMA_KAFKA": f"127.0.0.1:{kafka}",
        "AIMA_MONGODB": f"mongodb://127.0.0.1:{mongodb}/?replicaSet=rs0&serverSelectionTimeoutMS=500",
        "AIMA_S3": f"http://127.0.0.1:{s3}",
        "AIMA_S3_ACCESS_KEY": "access",
        "AIMA_S3_SECRET_KEY": "secret",
        "AIMA_VECTORS": "unix:/nowhere/vectors",
        "AIMA_HEALTH_PORT": str(health),
        "AIMA_INTERNAL_SECRET": "secret",
        "AIMA_UPLOAD_URLS": "http://127.0.0.1:1",
    }


async def start(service: str, settings: Mapping[str, str]) -> asyncio.subprocess.Process:
    bare = {name: value for name, value in os.environ.items() if not name.startswith("AIMA_")}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"aima_{service}"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**bare, **settings},
    )


async def refused(service: str, settings: Mapping[str, str]) -> str:
    process = await start(service, settings)
    _, wrong = await asyncio.wait_for(process.communicate(), PATIENCE_SECONDS)
    assert process.returncode == 2, wrong.decode()
    return wrong.decode()


@contextlib.asynccontextmanager
async def waiting(service: str, settings: Mapping[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await start(service, settings)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def asked(settings: Mapping[str, str], path: str) -> tuple[int, str]:
    url = f"http://127.0.0.1:{settings['AIMA_HEALTH_PORT']}{path}"
    async with aiohttp.ClientSession() as session, asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with contextlib.suppress(aiohttp.ClientConnectionError):
                async with session.get(url) as answer:
                    return answer.status, await answer.text()
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("service", SERVICES)
async def test_every_service_refuses_a_setting_that_does_not_exist(service: str) -> None:
    said = await refused(service, {**nowhere(), "AIMA_MONGO": "mongodb://db"})
    assert "AIMA_MONGO is no setting of AIMA; did you mean AIMA_MONGODB" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("name", ["AIMA_KAFKA", "AIMA_MONGODB", "AIMA_S3", "AIMA_S3_SECRET_KEY", "AIMA_VECTORS"])
async def test_a_missing_setting_is_named_with_its_meaning(name: str) -> None:
    said = await refused("fusion", {key: value for key, value in nowhere().items() if key != name})
    assert f"{name} is not set: " in said


WRONG_WORDS = [
    ("analysis", "AIMA_LANES", "vidoe"),
    ("analysis", "AIMA_ANALYZERS", "no_such_analyzer"),
    ("scheduler", "AIMA_ORDER", "shortest"),
    ("scheduler", "AIMA_PREEMPTION", "sometimes"),
    ("scheduler", "AIMA_RULES", "sed"),
    ("scheduler", "AIMA_SCORING", "worst_fit"),
    ("gateway", "AIMA_RESULTS", "some"),
    ("gateway", "AIMA_ADMISSION_SECONDS", "a while"),
    ("upload", "AIMA_MAX_UPLOAD_BYTES", "5 GiB"),
    ("preprocessing", "AIMA_UNSANDBOXED", "perhaps"),
    ("fusion", "AIMA_LOG_LEVEL", "loud"),
]


@pytest.mark.parametrize(("service", "name", "value"), WRONG_WORDS)
async def test_a_word_that_only_one_service_reads_is_refused_before_any_server_is_waited_for(
    service: str, name: str, value: str
) -> None:
    said = await refused(service, {**nowhere(), name: value})
    assert f"aima-{service}: {name} " in said
    assert value in said
    assert "Traceback" not in said
    assert "waits_for_a_server" not in said


@pytest.mark.parametrize(
    ("service", "right"),
    [
        ("analysis", {"AIMA_LANES": "video, audio", "AIMA_ANALYZERS": "echo"}),
        ("scheduler", {"AIMA_ORDER": "seed_short", "AIMA_SCORING": "fgd", "AIMA_LOG_LEVEL": "warning"}),
        ("scheduler", {"AIMA_PREEMPTION": "on", "AIMA_PREEMPTION_BUDGET": "60"}),
    ],
)
async def test_with_right_words_a_service_waits_for_its_servers(service: str, right: dict[str, str]) -> None:
    settings = {**nowhere(), **right}
    async with waiting(service, settings) as process, asyncio.timeout(PATIENCE_SECONDS):
        while "AIMA_MONGODB" not in (await asked(settings, "/readyz"))[1]:
            await asyncio.sleep(0.1)
        assert process.returncode is None


async def test_a_service_waits_for_servers_that_are_away_and_says_for_which() -> None:
    settings = nowhere()
    async with waiting("fusion", settings) as process:
        assert (await asked(settings, "/livez"))[0] == 200
        async with asyncio.timeout(PATIENCE_SECONDS):
            while "AIMA_MONGODB" not in (ready := await asked(settings, "/readyz"))[1]:
                await asyncio.sleep(0.1)
        assert ready[0] == 503
        assert (await asked(settings, "/startupz"))[0] == 503
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), PATIENCE_SECONDS) == 0


async def test_whoever_comes_to_the_gateway_before_its_stores_is_told_what_is_away() -> None:
    (port,) = free_ports(1)
    settings = {**nowhere(), "AIMA_GATEWAY_PORT": str(port)}
    url = f"http://127.0.0.1:{port}"
    async with waiting("gateway", settings), aiohttp.ClientSession(url) as client:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while "AIMA_MONGODB" not in (await asked(settings, "/readyz"))[1]:
                await asyncio.sleep(0.1)
        async with client.post("/v1/uploads?case=x&file_name=y", data=bytes(1 << 20)) as answer:
            problem = await answer.json(content_type="application/problem+json")
            assert (answer.status, problem["code"]) == (503, "store_away")
            assert int(answer.headers["Retry-After"]) > 0
        assert "document store (MongoDB)" in problem["detail"]
        assert "127.0.0.1" not in str(problem), "names of machines are for those who run AIMA"
        async with client.get("/livez") as answer:
            assert answer.status == 200
        async with client.get("/readyz") as answer:
            assert answer.status == 503


async def test_help_tells_what_a_service_is_set_up_by(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "aima_gateway", "--help"), stdout=asyncio.subprocess.PIPE
    )
    said, _ = await process.communicate()
    assert process.returncode == 0
    for name in ("AIMA_KAFKA", "AIMA_UPLOAD_URLS", "AIMA_HEALTH_PORT"):
        assert name in said.decode()
    assert "AIMA_LANES" not in said.decode()
