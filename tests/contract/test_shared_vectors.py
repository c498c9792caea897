"""Vectors that many processes share against the promise of the socket, and what only a shared process can show."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aima_common.adapters.embedded import vector_process, vector_server
from aima_common.adapters.embedded.shared_vectors import SharedVectors
from aima_common.errors import UnavailableError
from aima_servers.processes import Served
from aima_servers.vectors import MODULE
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


def started(folder: Path, socket: Path) -> tuple[int, str]:
    """Start a vector process that will not stay, and give its status and what it said."""
    command = [sys.executable, "-m", MODULE, "--folder", str(folder), "--socket", str(socket)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return ended.returncode, ended.stderr


async def test_nobody_takes_the_socket_of_a_process_that_serves(served: Served, vectors: SharedVectors) -> None:
    socket = Path(served.address)
    status, said = await asyncio.to_thread(started, socket.parent / "other", socket)
    assert status == 2
    assert "serves" in said
    await vectors.put("faces", [at_angle(1, 0)])


async def test_nobody_opens_a_folder_that_is_open(
    served: Served, vectors: SharedVectors, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(vector_process, "LOCK_SECONDS", 0.1)
    folder = Path(served.address).parent / "data"
    with pytest.raises(SystemExit, match="another process has the vectors"):
        vector_process.Spaces(folder)
    await vectors.put("faces", [at_angle(1, 0)])
    vector_process.Spaces(tmp_path / "free").close()


@pytest.mark.parametrize(("mode", "refused"), [(0o755, True), (0o770, True), (0o700, False)])
async def test_a_socket_that_others_could_reach_is_refused(tmp_path: Path, mode: int, refused: bool) -> None:
    tmp_path.chmod(mode)
    complaint = vector_server.complaint(tmp_path / "socket")
    assert ("chmod 700" in complaint) is refused


async def test_a_path_that_no_socket_can_have_is_refused(tmp_path: Path) -> None:
    assert "shorter" in vector_server.complaint(tmp_path / ("x" * 120))
    assert vector_server.complaint(tmp_path / "x") == ""


async def test_closing_refuses_further_use(served: Served) -> None:
    async with SharedVectors.open(Path(served.address)) as plug:
        await plug.put("faces", [at_angle(1, 0)])
    with pytest.raises(UnavailableError, match="closed"):
        await plug.nearest("faces", EAST, where=ACME)


async def test_whoever_talks_nonsense_disturbs_nobody_else(served: Served, vectors: SharedVectors) -> None:
    await vectors.put("faces", [at_angle(1, 0)])
    for nonsense in (b"", b"\0", b"\0\0\0\3{]}", b"\0\0\0\2{}", b"\xff\xff\xff\xff{"):
        _, writer = await asyncio.open_unix_connection(served.address)
        writer.write(nonsense)
        writer.close()
        await writer.wait_closed()
    assert len(await vectors.nearest("faces", EAST, where=ACME)) == 1
