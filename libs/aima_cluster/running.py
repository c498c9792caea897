"""Runs a plan: starts the processes, starts those anew that die, and stops them all in good order."""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aima_cluster.plan import REPLICAS, Member, plan, ports_needed
from aima_common.process import DRAIN_SECONDS
from aima_servers import Served, ServerDiedError, serving
from aima_servers.processes import LAUNCHER, free_ports

READY_SECONDS = 120.0
"""Fifteen cold processes on a busy machine of two cores."""

RESTART_SECONDS = 0.5
"""Pause before a process that died is started anew, as Kubernetes would."""

GRACE_SECONDS = DRAIN_SECONDS + 5
"""How long a process that was told to end may take until it is killed: as Kubernetes does by default."""

Report = Callable[[str], None]


@dataclass(frozen=True)
class Ended:
    """How a process ended that was told to."""

    status: int
    """Its exit status; below zero the number of the signal that killed it."""
    seconds: float
    """From the signal to its end."""


class Process:
    """One process of the cluster; a supervisor starts it anew whenever it dies, unless it is told not to."""

    def __init__(self, member: Member, folder: Path) -> None:
        self.member = member
        self.log = folder / f"{member.name}.log"
        self.ready = asyncio.Event()
        self.told: dict[str, Any] = {}
        """What it said when it was ready: pid, health, url."""
        self.deaths = 0
        self.status: int | None = None
        """How the process before this one ended."""
        self._next: Member | None = None
        self._wanted = asyncio.Event()
        self._wanted.set()
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor = asyncio.create_task(self._supervise(), name=member.name)

    @property
    def pid(self) -> int:
        """The id of the service's own process; 0 while there is none."""
        return int(self.told.get("pid", 0)) if self.ready.is_set() else 0

    @property
    def url(self) -> str:
        """Where its service listens, for those that do."""
        return str(self.told.get("url", ""))

    @property
    def health(self) -> str:
        """Where its health is told."""
        return f"http://127.0.0.1:{self.member.environment['AIMA_HEALTH_PORT']}"

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the service's process, if it lives."""
        if self._process and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    async def restart(self, once: Member | None = None) -> Ended:
        """Have it drained and started anew, as a rolling deployment would; tell how it ended when it is ready again.

        The next process is started as `once` says, and those after it as before.
        """
        self._next = once
        self.ready.clear()
        ended = await self._end()
        await self.until_ready()
        return ended

    async def until_ready(self) -> None:
        """Wait until it works; raise `ServerDiedError` with its last words when it does not come up."""
        waiting = asyncio.create_task(self.ready.wait())
        await asyncio.wait({waiting, self._supervisor}, timeout=READY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if not self.ready.is_set():
            raise ServerDiedError(f"{self.member.name} is not ready:\n{self.last_words()}")

    def last_words(self) -> str:
        """Give the end of its log."""
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""

    async def stop(self) -> int | None:
        """Let it drain, and end it when it does not; give its exit status."""
        self._wanted.clear()
        started = self._process is not None
        ended = await self._end()
        self._supervisor.cancel()
        await asyncio.gather(self._supervisor, return_exceptions=True)
        return ended.status if started else None

    async def _end(self) -> Ended:
        """Tell the process to end; kill it when it takes too long."""
        process, began = self._process, time.monotonic()
        if process is None:
            return Ended(0, 0.0)
        self.signal(signal.SIGTERM)
        try:
            status = await asyncio.wait_for(process.wait(), GRACE_SECONDS)
        except TimeoutError:
            self.signal(signal.SIGKILL)
            status = await process.wait()
        return Ended(status, time.monotonic() - began)

    async def _supervise(self) -> None:
        while self._wanted.is_set():
            self.status = await self._run()
            self.ready.clear()
            if self.status == 2:
                return  # settings that cannot be used do not get better
            if self._wanted.is_set():
                self.deaths += 1
                await asyncio.sleep(RESTART_SECONDS)

    async def _run(self) -> int:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AIMA_")}
        kept = {name: os.environ[name] for name in ("AIMA_MODELS",) if name in os.environ}
        member, self._next = self._next or self.member, None
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid())),
                *(sys.executable, *(member.arguments or ("-m", member.module))),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env={**environment, **kept, **member.environment},
            )
        await self._listen(self._process)
        return await self._process.wait()

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        if process.stdout is None:
            return
        while line := await process.stdout.readline():
            with contextlib.suppress(ValueError):
                said = json.loads(line)
                if isinstance(said, dict) and said.get("ready"):
                    self.told = said
                    self.ready.set()


@dataclass(frozen=True)
class Cluster:
    """A cluster that runs."""

    processes: Mapping[str, Process]
    servers: Mapping[str, Served]
    stores: Mapping[str, str]
    """The settings that lead to its servers, past whatever stands between them and the services."""
    folder: Path

    @property
    def urls(self) -> list[str]:
        """The gateways."""
        return [one.url for one in self.of("gateway")]

    def of(self, service: str) -> list[Process]:
        """List the processes of a service, or of a lane such as `analysis-video`."""
        return [one for name, one in self.processes.items() if name.rpartition("-")[0].startswith(service)]

    async def key(self, tenant: str = "default", role: str = "operator") -> str:
        """Make a key, as an operator would for the first one."""
        made = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "aima_gateway", "make-key", "--tenant", tenant, "--role", role),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, **self.stores},
        )
        said, wrong = await made.communicate()
        if made.returncode:
            raise ServerDiedError(f"no key could be made:\n{wrong.decode(errors='replace')[-3000:]}")
        return said.decode().strip()


@contextlib.asynccontextmanager
async def cluster(
    folder: Path,
    *,
    replicas: Mapping[str, int] = REPLICAS,
    extra: Mapping[str, str] | None = None,
    servers: Mapping[str, Served] | None = None,
    detours: Mapping[str, str] | None = None,
    report: Report = lambda _line: None,
) -> AsyncIterator[Cluster]:
    """Run a cluster while in context, on `servers` or on servers of its own; logs lie in `folder`.

    `detours` are settings by which the services alone reach the servers: addresses of proxies before them.

    Raises `MeansMissingError` when this machine cannot run the servers, `ServerDiedError` when something does not
    come up.
    """
    folder.mkdir(parents=True, exist_ok=True)
    async with contextlib.AsyncExitStack() as stack:
        if servers is None:
            servers = await stack.enter_async_context(serving("kafka", "mongod", "s3", "vectors", report=report))
        stores = stores_of(servers)
        told = {**stores, **(detours or {})}
        members = plan(
            told, free_ports(ports_needed(replicas)), secrets.token_urlsafe(32), replicas=replicas, extra=extra
        )
        processes = {member.name: Process(member, folder) for member in members}
        stack.push_async_callback(_stop, list(processes.values()))
        for name, process in processes.items():
            await process.until_ready()
            report(f"{name} works, process {process.pid}")
        yield Cluster(processes, servers, stores, folder)


def stores_of(servers: Mapping[str, Served]) -> dict[str, str]:
    """Write the settings that lead to these servers."""
    s3 = servers["s3"]
    return {
        "AIMA_KAFKA": servers["kafka"].address,
        "AIMA_KAFKA_REPLICATION": "1",
        "AIMA_MONGODB": servers["mongod"].address,
        "AIMA_S3": s3.address,
        "AIMA_S3_ACCESS_KEY": s3.access_key,
        "AIMA_S3_SECRET_KEY": s3.secret_key,
        "AIMA_VECTORS": f"unix:{servers['vectors'].address}",
    }


async def _stop(processes: Sequence[Process]) -> None:
    await asyncio.gather(*(process.stop() for process in processes))
