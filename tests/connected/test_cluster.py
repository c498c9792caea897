"""The demo case on a cluster: real servers, every service as processes, two of most; nothing differs but the plugs."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from aima_client.client import Client
from aima_cluster import GRACE_SECONDS, Cluster, cluster
from aima_cluster.__main__ import CASE, analyse
from aima_cluster.plan import REPLICAS
from aima_dossier.canonical import canonical
from aima_dossier.model import Dossier
from aima_servers import MeansMissingError
from tests.chaos.cluster_faults import Fault
from tests.chaos.cluster_ground import Ground
from tests.chaos.cluster_lines import Lines, proxied
from tests.chaos.cluster_matrix import one_round
from tests.chaos.cluster_plan import selection
from tests.demo import AnalysedDemo

PICTURES = 8
"""Of each case that is worked on under a fault; `python -m tests.chaos.cluster_matrix` takes 200."""

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lines() -> AsyncIterator[Lines]:
    """Run the servers, with something in between that can do harm."""
    try:
        async with proxied(lambda _line: None) as lines:
            yield lines
    except MeansMissingError as error:
        pytest.skip(str(error))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(lines: Lines, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    try:
        async with cluster(
            tmp_path_factory.mktemp("cluster"),
            extra={"AIMA_SLOTS": "1", "AIMA_KAFKA_SESSION_SECONDS": "10"},
            servers=lines.servers,
            detours=lines.detours,
        ) as running:
            yield running
    except MeansMissingError as error:
        pytest.skip(str(error))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def results(running: Cluster, analysed_demo: AnalysedDemo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Analyse the demo case on the cluster as a person would."""
    folder = tmp_path_factory.mktemp("results")
    assert await analyse(running, analysed_demo.case.media_folder, folder) == 3, "some files are broken on purpose"
    return folder


def read(folder: Path) -> Dossier:
    return Dossier.model_validate_json((folder / "dossier.json").read_bytes())


async def ask(url: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.json()


async def test_every_process_is_ready_and_says_so(running: Cluster) -> None:
    assert len(running.processes) == sum(REPLICAS.values())
    for name, process in running.processes.items():
        status, told = await ask(f"{process.health}/readyz")
        async with asyncio.timeout(60):
            while status != 200:  # twenty processes start at once, and each asks its stores
                await asyncio.sleep(0.5)
                status, told = await ask(f"{process.health}/readyz")
        assert status == 200, (name, told)
        assert set(told["checks"]) >= {"documents", "bus", "objects"}


async def test_the_dossier_is_the_one_that_one_process_writes_byte_for_byte(
    results: Path, analysed_demo: AnalysedDemo
) -> None:
    ours, theirs = canonical(read(results)), canonical(read(analysed_demo.folder))
    assert len(theirs) > 10_000
    assert ours == theirs


async def test_what_was_analysed_once_is_not_analysed_again(
    running: Cluster, results: Path, analysed_demo: AnalysedDemo
) -> None:
    async with Client(running.urls[1], await running.key()) as client:
        before = [event.data.get("computed") async for event in client.events(await _case(client), follow=False)]
        shutil.rmtree(results)
        assert await analyse(running, analysed_demo.case.media_folder, results) == 3
        after = [event.data.get("computed") async for event in client.events(await _case(client), follow=False)]
    assert any(before)
    assert after == before


async def test_both_gateways_find_what_was_said_by_words_and_by_meaning(running: Cluster, results: Path) -> None:
    key = await running.key()
    spoken = next(finding.text for medium in read(results).media for finding in medium.findings if finding.text)
    for url in running.urls:
        async with Client(url, key) as client:
            for mode in ("words", "meaning"):
                found = await client.search(spoken, mode=mode)
                assert found["missing"] == []
                assert found["hits"], (url, mode, spoken)


async def test_a_key_of_another_tenant_sees_nothing_of_it(running: Cluster, results: Path) -> None:
    async with Client(running.urls[0], await running.key("other", "admin")) as client:
        assert (await client.cases())["cases"] == []
    async with Client(running.urls[0], await running.key()) as client:
        assert [case["name"] for case in (await client.cases())["cases"]] == [CASE], "the control"


async def test_every_process_drains_when_it_is_told_to_and_comes_back(running: Cluster) -> None:
    for name in ("scheduler-1", "gateway-1", "analysis-image-1", "preprocessing-1"):
        process = running.processes[name]
        before = process.pid
        ended = await process.restart()
        assert process.pid != before
        assert ended.status == 0
        assert 0 < ended.seconds < GRACE_SECONDS
        said = [json.loads(line) for line in process.log.read_text().splitlines() if line.startswith("{")]
        assert any(line["event"] == "draining" for line in said)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ground(lines: Lines, running: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return Ground(running, tmp_path_factory.mktemp("pictures"), await running.key(), proxies=lines.proxies)


@pytest.mark.parametrize("fault", selection(), ids=lambda fault: fault.name)
async def test_nothing_is_lost_or_doubled_by(fault: Fault, ground: Ground, results: Path) -> None:
    done = await one_round(ground, fault, PICTURES, seed=1, pause_seconds=0.1)
    assert done.evidence
    assert done.failures() == []


async def _case(client: Client) -> str:
    return str((await client.find_case(CASE))["id"])
