"""Server processes: started on loopback, awaited until they serve, ended by their id."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

LAUNCHER = Path(__file__).with_name("launch.py")
POLL_SECONDS = 0.05
READY_SECONDS = 90.0
"""Generous: a cold Java on a busy two-core machine."""


@dataclass(frozen=True)
class Served:
    """A server that runs: where it listens, and its process, for tests that stop and continue it."""

    address: str
    process: int


class ServerDiedError(Exception):
    """A server ended, or did not serve in time; the message holds the end of its log."""


def free_ports(count: int) -> list[int]:
    """Find ports of 127.0.0.1 that nobody listens on, all different."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


def answers(port: int) -> bool:
    """Tell whether somebody listens on this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@asynccontextmanager
async def server(
    command: Sequence[str],
    folder: Path,
    ready: Callable[[str], bool],
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[int]:
    """Run a server in `folder` while the block runs; yield its process id once `ready(its log)` holds.

    It cannot outlive this process. It is ended without ceremony, as its data is thrown away with it.
    """
    log = folder / "server.log"
    with log.open("wb") as sink:
        # Not asyncio's: its watchers belong to one loop, and tests start servers for many.
        process = subprocess.Popen(  # noqa: ASYNC220 - starting takes no time
            [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), *command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )
    try:
        await _until_ready(process, log, ready)
        yield process.pid
    finally:
        await _stop(process)


async def _until_ready(process: subprocess.Popen[bytes], log: Path, ready: Callable[[str], bool]) -> None:
    deadline = asyncio.get_running_loop().time() + READY_SECONDS
    while not ready(_read(log)):
        if process.poll() is not None:
            raise ServerDiedError(f"the server ended with status {process.returncode}:\n{_read(log)[-3000:]}")
        if asyncio.get_running_loop().time() > deadline:
            raise ServerDiedError(f"the server did not serve within {READY_SECONDS:.0f} s:\n{_read(log)[-3000:]}")
        await asyncio.sleep(POLL_SECONDS)


def _read(log: Path) -> str:
    return log.read_text(errors="replace")


async def _stop(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    await asyncio.to_thread(process.wait)
