"""How a process of a cluster ends is told, and none is waited for without an end."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aima_cluster import Member, Process, running

PROGRAM = """
import json, os, signal, sys, time
signal.signal(signal.SIGTERM, {handler})
print(json.dumps({{"ready": True, "pid": os.getpid()}}), flush=True)
while True:
    time.sleep(0.05)
"""


@contextlib.asynccontextmanager
async def started(folder: Path, handler: str) -> AsyncIterator[Process]:
    process = Process(Member("fusion-1", "fusion", {}, ("-c", PROGRAM.format(handler=handler))), folder)
    try:
        await process.until_ready()
        yield process
    finally:
        await process.stop()


@pytest.mark.parametrize("status", [0, 3])
async def test_the_status_of_what_was_told_to_end_is_told(status: int, tmp_path: Path) -> None:
    async with started(tmp_path, f"lambda *_: sys.exit({status})") as process:
        before = process.pid
        ended = await process.restart()
        assert ended.status == status
        assert process.pid not in {0, before}


async def test_what_does_not_end_is_killed_and_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "GRACE_SECONDS", 0.3)
    async with started(tmp_path, "signal.SIG_IGN") as process:
        ended = await process.restart()
        assert ended.status == -9
        assert ended.seconds >= running.GRACE_SECONDS
        assert process.pid
