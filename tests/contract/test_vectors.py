"""The vector process against the promise of the socket, and what only a process of one's own can show."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from aima_common.adapters.embedded.vectors import EdgeVectors
from aima_common.errors import StorageFullError, UnavailableError
from aima_common.ports.vectors import Point
from tests.contract.vectors_promise import ACME, EAST, VectorsPromise, at_angle, identifier


@pytest.fixture
async def vectors(tmp_path: Path) -> AsyncIterator[EdgeVectors]:
    plug = EdgeVectors.open(tmp_path / "vectors")
    yield plug
    await plug.close()


class TestEdgeVectors(VectorsPromise):
    pass


def living(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


async def test_nothing_runs_and_nothing_is_written_before_the_first_use(tmp_path: Path, vectors: EdgeVectors) -> None:
    assert vectors.pid is None
    assert list(tmp_path.iterdir()) == []
    await vectors.nearest("faces", EAST, where=ACME)
    assert vectors.pid is not None


async def test_vectors_outlive_the_process(tmp_path: Path, vectors: EdgeVectors) -> None:
    await vectors.put("faces", [at_angle(n, n) for n in range(600)])
    await vectors.close()
    again = EdgeVectors.open(tmp_path / "vectors")
    assert len(await again.nearest("faces", EAST, where=ACME, limit=1000)) == 600
    await again.close()


async def test_a_killed_child_is_replaced_and_nothing_acknowledged_is_lost(vectors: EdgeVectors) -> None:
    acknowledged: list[str] = []

    async def fill() -> None:
        for number in range(120):
            await vectors.put("faces", [at_angle(number, number / 10)])
            acknowledged.append(identifier(number))

    async def kill() -> None:
        for threshold in (10, 40, 80):
            while len(acknowledged) < threshold:
                await asyncio.sleep(0.001)
            if vectors.pid is not None:
                os.kill(vectors.pid, signal.SIGKILL)

    await asyncio.gather(fill(), kill())
    assert [point.id for point in await vectors.nearest("faces", EAST, where=ACME, limit=500)] == acknowledged


async def test_a_child_that_cannot_live_is_reported_and_not_started_forever(
    vectors: EdgeVectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    await vectors.put("faces", [at_angle(1, 0)])
    await asyncio.to_thread(os.kill, vectors.pid or 0, signal.SIGKILL)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(UnavailableError):
        await vectors.nearest("faces", EAST, where=ACME)
    monkeypatch.undo()
    assert len(await vectors.nearest("faces", EAST, where=ACME)) == 1


async def test_closing_ends_the_child_and_further_use_is_refused(vectors: EdgeVectors) -> None:
    await vectors.put("faces", [at_angle(1, 0)])
    pid = vectors.pid
    assert pid is not None
    await vectors.close()
    assert not living(pid)
    with pytest.raises(UnavailableError):
        await vectors.nearest("faces", EAST, where=ACME)


async def test_what_is_forgotten_is_not_on_the_disk_any_more(tmp_path: Path, vectors: EdgeVectors) -> None:
    def found(words: bytes) -> list[Path]:
        return [p for p in tmp_path.rglob("*") if p.is_file() and words in p.read_bytes()]

    await vectors.put("words", [at_angle(n, n, medium="a", text=f"UNMISTAKABLE{n}") for n in range(50)])
    await vectors.put("words", [at_angle(100 + n, n, medium="b", text=f"HARMLESSWORD{n}") for n in range(50)])
    assert found(b"UNMISTAKABLE")
    await vectors.forget("words", {**ACME, "medium": "a"})
    await vectors.close()
    assert not found(b"UNMISTAKABLE")
    assert found(b"HARMLESSWORD")


PARENT = """
import asyncio, sys, time
from aima_common.adapters.embedded.vectors import EdgeVectors

async def main():
    vectors = EdgeVectors.open(sys.argv[1])
    await vectors.nearest("faces", [1.0], where={"tenant": "acme"})
    print(vectors.pid, flush=True)
    time.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("parent_signal", [signal.SIGKILL, signal.SIGTERM])
def test_the_child_dies_with_its_parent(tmp_path: Path, parent_signal: signal.Signals) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        assert child.is_running()
        parent.send_signal(parent_signal)
        parent.wait(10)
    psutil.wait_procs([child], timeout=10)
    assert not living(child.pid)


FULL_DISK = """
import asyncio, resource, sys, uuid
from aima_common.adapters.embedded.vectors import EdgeVectors
from aima_common.errors import UnavailableError
from aima_common.ports.vectors import Point

def points(start):
    return [Point(str(uuid.UUID(int=n)), [1.0, n / 100], {"tenant": "acme"}) for n in range(start, start + 50)]

async def count(vectors):
    return len(await vectors.nearest("faces", [1.0, 0.0], where={"tenant": "acme"}, limit=1000))

async def main(root, limit):
    before = EdgeVectors.open(root)
    await before.put("faces", points(0))
    await before.close()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    during = EdgeVectors.open(root)
    try:
        for start in range(50, 20_000, 50):
            await during.put("faces", points(start))
            if limit < 0 and start > 200:
                break
        print("stored", end=" ")
    except UnavailableError as error:
        print(type(error).__name__, end=" ")
    await during.close()
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    after = EdgeVectors.open(root)
    print(await count(after) >= 50, end=" ")
    await after.put("faces", points(50))
    print(await count(after) >= 100)
    await after.close()

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


@pytest.mark.parametrize(
    ("limit", "said"),
    [(1024, "StorageFullError True True"), (resource.RLIM_INFINITY, "stored True True")],
    ids=["full", "positive control"],
)
def test_a_full_disk_is_named_and_what_was_stored_stays(tmp_path: Path, limit: int, said: str) -> None:
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path / "vectors"), str(limit)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert ended.stdout.strip() == said, ended.stderr


async def test_too_little_room_on_the_disk_is_noticed_before_anything_is_written(
    vectors: EdgeVectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aima_common.adapters.embedded.vectors.ROOM_BYTES", 1 << 60)
    with pytest.raises(StorageFullError):
        await vectors.put("faces", [Point(identifier(1), EAST, ACME)])
    assert vectors.pid is None
    monkeypatch.undo()
    await vectors.put("faces", [Point(identifier(1), EAST, ACME)])
