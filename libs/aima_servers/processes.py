"""Server processes: started on loopback, awaited until they serve, stopped and started again, ended by their id."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

LAUNCHER = Path(__file__).with_name("launch.py")
POLL_SECONDS = 0.05
READY_SECONDS = 90.0
"""Generous: a cold Java on a busy two-core machine."""


class ServerDiedError(Exception):
    """A server ended, or did not serve in time; the message holds the end of its log."""


async def at_once() -> None:
    """Settle nothing: a server that answers can be used."""


class Server:
    """A server in a folder of its own: the same port and the same data each time it is started.

    It cannot outlive this process, and is stopped without ceremony (SIGKILL): its data is thrown away with it, or
    the test wants to see what a crash does.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        ready: Callable[[str], bool],
        *,
        environment: Mapping[str, str] | None = None,
        settled: Callable[[], Awaitable[None]] = at_once,
    ) -> None:
        self._command = command
        self._folder = folder
        self._ready = ready
        self._environment = environment or {}
        self._settled = settled
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process that serves now; raise `ServerDiedError` while none does."""
        if self._process is None:
            raise ServerDiedError("the server is stopped")
        return self._process.pid

    async def start(self) -> None:
        """Start, and return once `ready(its log)` holds and it has settled; raise `ServerDiedError` otherwise."""
        log = self._folder / "server.log"
        with log.open("ab") as sink:
            begins = sink.tell()
            # Not asyncio's: its watchers belong to one loop, and tests start servers for many.
            self._process = subprocess.Popen(  # noqa: ASYNC220 - starting takes no time
                [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), *self._command],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._environment},
            )
        await _until_ready(self._process, lambda: log.read_bytes()[begins:].decode(errors="replace"), self._ready)
        await self._settled()

    async def stop(self) -> None:
        """Kill the process; stopping twice is fine."""
        if self._process is not None:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
            self._process = None


@dataclass(frozen=True)
class Served:
    """A server that runs: where it listens, who may come in, and its process, for tests that stop and continue it."""

    address: str
    server: Server
    access_key: str = ""
    secret_key: str = field(default="", repr=False)
    """For servers that ask who is there; made anew each time."""

    @property
    def process(self) -> int:
        """The id of the process that serves now."""
        return self.server.pid

    @asynccontextmanager
    async def stopped(self) -> AsyncIterator[None]:
        """Keep the server dead while the block runs; afterwards it serves again, with the same address and data."""
        await self.server.stop()
        try:
            yield
        finally:
            await self.server.start()


@asynccontextmanager
async def serving_from(server: Server) -> AsyncIterator[None]:
    """Run a server while the block runs."""
    try:
        await server.start()
        yield
    finally:
        await server.stop()


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


async def _until_ready(process: subprocess.Popen[bytes], log: Callable[[], str], ready: Callable[[str], bool]) -> None:
    deadline = asyncio.get_running_loop().time() + READY_SECONDS
    while not ready(log()):
        if process.poll() is not None:
            raise ServerDiedError(f"the server ended with status {process.returncode}:\n{log()[-3000:]}")
        if asyncio.get_running_loop().time() > deadline:
            raise ServerDiedError(f"the server did not serve within {READY_SECONDS:.0f} s:\n{log()[-3000:]}")
        await asyncio.sleep(POLL_SECONDS)
