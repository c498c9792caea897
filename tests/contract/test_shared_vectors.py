"""Vectors that many processes share against the promise of the socket, and what only a shared process can show."""

import asyncio
import os
import signal
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aima_common.adapters.embedded.shared_vectors import SharedVectors
from aima_common.errors import UnavailableError
from aima_servers.processes import Served
from aima_servers.vectors import vectors as serving_vectors
from tests.contract.vectors_promise import ACME, EAST, VectorsPromise, at_angle, identifier


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving_vectors(tmp_path) as served:
        yield served


@pytest.fixture
async def vectors(served: Served) -> AsyncIterator[SharedVectors]:
    async with SharedVectors.open(Path(served.address)) as plug:
        yield plug


class TestSharedVectors(VectorsPromise):
    pass


async def test_what_one_puts_another_finds(served: Served, vectors: SharedVectors) -> None:
    async with SharedVectors.open(Path(served.address)) as other:
        await vectors.put("faces", [at_angle(1, 0)])
        assert [point.id for point in await other.nearest("faces", EAST, where=ACME)] == [identifier(1)]


async def test_many_write_at_once_and_nothing_is_lost(served: Served) -> None:
    async def fill(start: int) -> None:
        async with SharedVectors.open(Path(served.address)) as mine:
            for number in range(start, start + 30):
                await mine.put("faces", [at_angle(number, number / 10)])

    await asyncio.gather(*(fill(start) for start in range(0, 300, 30)))
    async with SharedVectors.open(Path(served.address)) as reader:
        assert len(await reader.nearest("faces", EAST, where=ACME, limit=1000)) == 300


async def test_a_process_that_was_replaced_is_found_again_with_all_it_acknowledged(
    served: Served, vectors: SharedVectors
) -> None:
    await vectors.put("faces", [at_angle(1, 0)])
    async with served.stopped():
        with pytest.raises(UnavailableError):
            await vectors.nearest("faces", EAST, where=ACME)
    assert [point.id for point in await vectors.nearest("faces", EAST, where=ACME)] == [identifier(1)]


async def test_a_socket_that_nobody_serves_is_told_by_its_path(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="nobody"):
        async with SharedVectors.open(tmp_path / "nobody"):
            pass


async def test_only_its_owner_may_use_the_socket(served: Served) -> None:
    assert stat.S_IMODE(Path(served.address).stat().st_mode) == 0o600


async def test_the_process_ends_in_order_when_it_is_told_to(served: Served, vectors: SharedVectors) -> None:
    await vectors.put("faces", [at_angle(1, 0)])
    os.kill(served.process, signal.SIGTERM)
    async with asyncio.timeout(30):
        while Path(served.address).exists():
            await asyncio.sleep(0.02)
