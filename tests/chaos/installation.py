"""A real AIMA in a process of its own, which can be started, looked into, and killed in every way."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import psutil

from aima_client.client import Client
from aima_common.adapters.embedded.bus import SqliteBus
from aima_common.adapters.embedded.documents import SqliteDocuments
from aima_common.contracts.topics import all_groups

READY_SECONDS = 60.0
STOP_SECONDS = 60.0
ORPHAN_SECONDS = 10.0
"""How long children may outlive the process that started them."""

POLL_SECONDS = 0.2

CHILDREN: Mapping[str, str] = {
    "inference": "aima_analysis.inference",
    "decoder server": "aima_preprocessing.decoder_server",
    "vector process": "vector_process",
}
"""Kind of child -> what its command line says."""


class Installation:
    """One data folder, and the process that works on it while there is one."""

    def __init__(self, data: Path, analyzers: str | None = None) -> None:
        self.data = data
        self.starts = 0
        self._analyzers = analyzers
        self._process: subprocess.Popen[str] | None = None
        self._url = ""

    @property
    def running(self) -> bool:
        """Whether the main process is there."""
        return self._process is not None and self._process.poll() is None

    async def start(self) -> None:
        """Start `python -m aima_embedded` in a process group of its own, and wait until it is ready."""
        self.data.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "aima_embedded", "--data", str(self.data)]
        if self._analyzers:
            command += ["--analyzers", self._analyzers]
        environment = {**os.environ, "AIMA_STATE": str(self.data.parent / "state")}
        with (self.data.parent / "aima.log").open("a") as log:
            self._process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True, env=environment
            )
        assert self._process.stdout is not None
        line = await asyncio.wait_for(asyncio.to_thread(self._process.stdout.readline), READY_SECONDS)
        if not line:
            raise RuntimeError(f"AIMA did not start; see {self.data.parent / 'aima.log'}")
        self._url = str(json.loads(line)["url"])
        self.starts += 1

    def client(self) -> Client:
        """Make a client that takes a broken connection for what it is: an unknown outcome."""
        return Client(self._url, (self.data / "key").read_text().strip(), attempts=1)

    async def stop(self) -> None:
        """Stop it the polite way; raise when it does not go."""
        assert self._process is not None
        family = self._family()
        self._process.send_signal(signal.SIGTERM)
        status = await asyncio.to_thread(self._process.wait, STOP_SECONDS)
        self._close_output()
        if status:
            raise RuntimeError(f"AIMA ended with status {status} when it was asked to stop")
        await self._gone(family)

    async def kill(self, *, group: bool) -> None:
        """Kill the main process, or its whole group at once, and see that nothing of it lives on."""
        assert self._process is not None
        family = self._family()
        if group:
            os.killpg(self._process.pid, signal.SIGKILL)
        else:
            self._process.kill()
        await asyncio.to_thread(self._process.wait)
        self._close_output()
        await self._gone(family)

    async def kill_child(self, kind: str) -> int | None:
        """Kill one child; return how many leases were held at that moment, or None when there is no such child."""
        assert self._process is not None
        victim = next(iter(self.children(kind)), None)
        if victim is None:
            return None
        self._process.send_signal(signal.SIGSTOP)
        try:
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()
            return await self.leases()
        finally:
            self._process.send_signal(signal.SIGCONT)

    def children(self, kind: str) -> list[psutil.Process]:
        """List the children of a kind."""
        if kind == "decoder child":
            return [child for server in self.children("decoder server") for child in _descendants(server)]
        assert self._process is not None
        main = psutil.Process(self._process.pid)
        word = CHILDREN[kind]
        return [child for child in _descendants(main, recursive=False) if word in " ".join(_command(child))]

    def end(self) -> None:
        """Leave nothing behind, whatever happened."""
        if self.running:
            assert self._process is not None
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._close_output()

    def _close_output(self) -> None:
        if self._process is not None and self._process.stdout is not None:
            self._process.stdout.close()

    async def leases(self) -> int:
        """Count the jobs that somebody holds, as the store has it now."""
        async with SqliteDocuments.open(self.data / "documents.db") as documents:
            return await documents.count("jobs", {"state": "leased"})

    async def rest(self) -> None:
        """Wait until nothing is ready, held, waiting to be published or not yet consumed, twice in a row."""
        async with (
            SqliteDocuments.open(self.data / "documents.db") as documents,
            SqliteBus.open(self.data / "log.db") as bus,
        ):
            quiet = 0
            while quiet < 2:
                busy = await documents.count("jobs", {"state": ["ready", "leased", "parked"]})
                busy += len(await documents.outbox(1))
                for group, topics in all_groups().items():
                    busy += await bus.lag(group, topics)
                quiet = 0 if busy else quiet + 1
                await asyncio.sleep(POLL_SECONDS * 2)

    def _family(self) -> list[psutil.Process]:
        assert self._process is not None
        with contextlib.suppress(psutil.NoSuchProcess):
            return _descendants(psutil.Process(self._process.pid))
        return []

    async def _gone(self, family: list[psutil.Process]) -> None:
        _, alive = await asyncio.to_thread(psutil.wait_procs, family, ORPHAN_SECONDS)
        if alive:
            told = [" ".join(_command(process))[:200] for process in alive]
            raise RuntimeError(f"children outlived their parent: {told}")


def _descendants(process: psutil.Process, *, recursive: bool = True) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return list(process.children(recursive=recursive))
    return []


def _command(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
        return list(process.cmdline())
    return []
