"""One seed: a small house with three schedulers, two workers and monitoring, its faults, and what the checker says.

outcome = play(17)                                   # the house as it is
outcome = play(17, Protections(fencing=False))       # a control: the checker must find what breaks
"""

import asyncio
import contextlib
import datetime
import math
import random
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

from aima_common.collections import JOB_TERMINAL, RUN_TERMINAL
from aima_common.contracts.messages import AnalysisCompleted, AnalysisFailed, MediumUploaded
from aima_common.contracts.topics import TOPICS, heard_by
from aima_common.errors import TransientError
from aima_common.jobs import Ledger, runner
from aima_common.ports import Ports
from aima_common.ports.documents import Document
from aima_common.ports.documents import Outcome as Kind
from aima_common.runtime import Service, consumer, relay, run
from aima_common.runtime.failures import DEAD_SUFFIX
from aima_monitoring import snapshot
from aima_monitoring.completeness import DRAIN_SECONDS
from aima_monitoring.invariants import Sent, Violation, check
from aima_monitoring.service import Monitoring
from tests.simulation.faults import ROLES, WORKERS, Fault, draw
from tests.simulation.memory_bus import MemoryBus, MemoryLog
from tests.simulation.memory_documents import MemoryDocuments
from tests.simulation.memory_store import MemoryStore, Protections
from tests.simulation.network import CrashPoint, Direct, Server, Wire
from tests.simulation.small_house import TENANT, SmallScheduler, SmallWorker, accept
from tests.simulation.virtual_time import Process, run_virtually

START = 1_800_000_000.0
MEDIA = 2
MANY = 1000
"""Attempts of a client that does not give up."""

SESSION_SECONDS = 10.0
"""How long a silent member keeps its partitions."""

LOST_SECONDS = 2.0
"""How much a store that is not durable loses when it goes down."""

CLOCK_JUMP_SECONDS = 3 * 3600.0
SLOWER = ((relay, "IDLE_SECONDS", 4.0), (runner, "POLL_SECONDS", 3.0), (consumer, "COMMIT_SECONDS", 4.0))
"""Backstops that look for what nobody told of. To look less often saves most of the turns, and is no easier."""

GROUPS = ("scheduler", "monitoring")
USED = (MediumUploaded, AnalysisCompleted, AnalysisFailed)
"""Messages that are told here; their topics have two partitions, the others one."""

LOOK_SECONDS = 2.0
"""How often somebody from outside looks whether all is done."""


@dataclass(frozen=True)
class Outcome:
    """What a seed led to."""

    seed: int
    faults: list[str]
    violations: list[Violation]
    sent: list[Sent]
    """What the client sent, and what it was told."""
    jobs: list[Document]
    counted: dict[str, int]
    """Message -> how often monitoring counted it."""
    transitions: Counter[Kind]
    """How the transitions ended: refused ones were fenced, repeated ones were known to an inbox."""
    drained_after: float
    """Seconds between the end of the last fault and the end of all work."""
    deaths: list[str]
    """Processes that ended by themselves; a bug."""
    trace: int
    """Stands for everything that happened, in its order."""

    def __str__(self) -> str:
        """Write down what is needed to look into it."""
        return f"seed {self.seed}: {'; '.join(self.faults)} -> {self.violations or self.deaths or 'fine'}"


class ProcessClock:
    """A process's own clock: its wall time may be wrong, its monotonic time never is."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def now(self) -> datetime.datetime:
        seconds = START + self.monotonic() + self._process.wall_offset
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class NoObjects:
    """The house keeps no objects."""

    async def list(self, prefix: str) -> AsyncIterator[Any]:
        none: tuple[Any, ...] = ()
        for nothing in none:
            yield nothing


class World:
    """Servers, processes, and what befalls them."""

    def __init__(self, seed: int, protections: Protections, faults: Iterable[Fault] | None) -> None:
        self._seed = seed
        self._rng = random.Random(seed)
        self._faults = draw(self._rng) if faults is None else list(faults)
        loop = asyncio.get_running_loop()
        self._store = MemoryStore(lambda: START + loop.time(), protections)
        self._log = MemoryLog(random.Random(self._rng.random()), manual_commits=protections.manual_commits)
        self._servers = {"store": Server("the store"), "bus": Server("the bus")}
        self._processes: dict[str, Process] = {}
        self._mains: dict[str, asyncio.Task[Any]] = {}
        self._incarnations = 0
        self._protections = protections
        self._sent: list[Sent] = []
        self._deaths: list[str] = []

    async def run(self) -> Outcome:
        """Let everything happen, wait until it is over, and have it checked."""
        for topic in TOPICS:
            for name in topic.names:
                self._log.ensure({name: 2 if topic.message in USED else 1, name + DEAD_SUFFIX: 1})
        for role in ROLES:
            self._start(role)
        client = asyncio.create_task(self._client())
        await asyncio.gather(*(self._inflict(fault) for fault in self._faults))
        quiet = asyncio.get_running_loop().time()
        while not (client.done() and self._calm()):
            if asyncio.get_running_loop().time() - quiet > DRAIN_SECONDS + 1:
                break
            await asyncio.sleep(LOOK_SECONDS)
        client.cancel()
        for role in ROLES:
            self._processes[role].kill()
        return await self._outcome(quiet)

    # --------------------------------------------------------------------------------------------- processes

    def _start(self, role: str, wall_offset: float = 0.0, crash_point: CrashPoint | None = None) -> None:
        """Start what a role does, unless it runs already: two faults may befall one role at the same time."""
        if role in self._processes and self._processes[role].alive:
            return
        self._incarnations += 1
        process = Process(f"{role}#{self._incarnations}")
        process.wall_offset = wall_offset
        ports = self._ports(process, crash_point)
        ledger = Ledger(ports, process.name, self._fork())
        service: Service = SmallScheduler(ports, ledger, reaping=self._protections.reaping)
        if role in WORKERS:
            service = SmallWorker(ledger, self._fork())
        elif role == "monitoring":
            # Who looks at the stores here looks once, in the end.
            service = Monitoring(ports, audit_seconds=math.inf)
        self._processes[role] = process
        main = process.start(run(ports, service))
        self._mains[role] = main
        main.add_done_callback(lambda task: self._ended(process, task))

    def _ports(self, process: Process, crash_point: CrashPoint | None = None) -> Ports:
        to_store, to_bus = (Wire(process, self._servers[name], self._fork(), self._crash) for name in ("store", "bus"))
        to_store.crash_point = crash_point
        nothing: Any = None
        documents = MemoryDocuments(self._store, to_store)
        bus = MemoryBus(self._log, to_bus, process)
        return Ports(bus, documents, nothing, nothing, nothing, ProcessClock(process))

    def _fork(self) -> random.Random:
        return random.Random(self._rng.random())

    def _ended(self, process: Process, main: "asyncio.Task[Any]") -> None:
        if process.alive and not main.cancelled():
            self._deaths.append(f"{process.name}: {main.exception()!r}")

    def _crash(self, process: Process) -> None:
        """Kill a process, and have a supervisor start it anew."""
        if not process.alive:
            return
        process.kill()
        loop = asyncio.get_running_loop()
        loop.call_later(SESSION_SECONDS, self._log.evict, process)
        role = process.name.partition("#")[0]
        loop.call_later(self._rng.uniform(0.5, 8), self._start, role, process.wall_offset)

    # ------------------------------------------------------------------------------------------------ faults

    async def _inflict(self, fault: Fault) -> None:
        await asyncio.sleep(fault.at)
        process = self._processes[fault.role]
        if fault.kind == "crash":
            self._crash(process)
        elif fault.kind == "crash at a call":
            await self._stop(process, fault.role)
            self._start(fault.role, process.wall_offset, CrashPoint(fault.call, fault.flag))
        elif fault.kind == "stop":
            await self._stop(process, fault.role)
            await asyncio.sleep(fault.seconds)
            self._start(fault.role, process.wall_offset)
        elif fault.kind == "freeze":
            await self._freeze(process, fault.seconds)
        elif fault.kind in {"store away", "bus away"}:
            await self._away(fault)
        elif fault.kind == "lossy":
            await self._lose(self._servers["store" if fault.flag else "bus"], fault.seconds)
        elif fault.kind == "clock jump":
            process.wall_offset += CLOCK_JUMP_SECONDS if fault.flag else -CLOCK_JUMP_SECONDS
        else:
            self._log.evict()

    async def _stop(self, process: Process, role: str) -> None:
        """Stop a process as SIGTERM does; who does not end is killed."""
        main = self._mains[role]
        main.cancel()
        await asyncio.wait([main], timeout=20)
        process.kill()
        self._log.evict(process)

    async def _freeze(self, process: Process, seconds: float) -> None:
        process.freeze()
        asyncio.get_running_loop().call_later(SESSION_SECONDS, self._put_out_if_frozen, process)
        await asyncio.sleep(seconds)
        process.thaw()

    def _put_out_if_frozen(self, process: Process) -> None:
        if process.frozen:
            self._log.evict(process)

    async def _away(self, fault: Fault) -> None:
        store = fault.kind == "store away"
        server = self._servers["store" if store else "bus"]
        server.go(silent=fault.flag)
        if store:
            self._store.go_down(LOST_SECONDS)
        await asyncio.sleep(fault.seconds)
        server.come_back()
        if not store and fault.seconds > SESSION_SECONDS:
            self._log.evict()

    async def _lose(self, server: Server, seconds: float) -> None:
        server.lost_requests, server.lost_replies = 0.1, 0.2
        await asyncio.sleep(seconds)
        server.lost_requests = server.lost_replies = 0.0

    # ---------------------------------------------------------------------------------------- client and end

    async def _client(self) -> None:
        """Hand media in, each until it is acknowledged, unless patience ends before."""
        process = Process("client")
        ports = self._ports(process)
        for number in range(MEDIA):
            await asyncio.sleep(self._rng.uniform(0, 6))
            medium = f"medium-{number}"
            for _ in range(self._rng.choice([1, MANY, MANY])):
                try:
                    await accept(ports, medium)
                except TransientError:
                    self._sent.append(Sent("case", medium, "unknown"))
                    await asyncio.sleep(self._rng.uniform(0.1, 2))
                else:
                    self._sent.append(Sent("case", medium, "ok", f"item-{medium}", sha256=medium))
                    break

    def _calm(self) -> bool:
        """Tell whether all work is done and told."""
        store = self._store
        ended = store.count("runs", {"state": RUN_TERMINAL}) == store.count("items", {})
        done = store.count("jobs", {"state": JOB_TERMINAL}) == store.count("jobs", {})
        return ended and done and store.outbox_since() is None and not any(self._lag().values())

    def _lag(self) -> dict[str, int]:
        return {group: self._log.lag(group, [topic.name for topic in heard_by(group)]) for group in GROUPS}

    async def _outcome(self, quiet: float) -> Outcome:
        nothing: Any = None
        objects: Any = NoObjects()
        documents = MemoryDocuments(self._store, Direct())
        bus = MemoryBus(self._log, Direct())
        ports = Ports(bus, documents, objects, nothing, nothing, ProcessClock(Process("the checker")))
        seen = await snapshot.take(ports, at_rest=True)
        ended = datetime.datetime.fromtimestamp(START + quiet, datetime.UTC)
        # The other services do not exist here, so nobody reads what is meant for them.
        seen = replace(seen, lag=self._lag(), sent=self._sent, faults_ended_at=ended)
        counted: Counter[str] = Counter()
        for rollup in self._store.find("rollups", {"tenant": TENANT}):
            counted.update(rollup.body.get("messages", {}))
        return Outcome(
            seed=self._seed,
            faults=[str(fault) for fault in self._faults],
            violations=check(seen),
            sent=self._sent,
            jobs=list(seen.documents["jobs"]),
            counted=dict(counted),
            transitions=self._store.outcomes,
            drained_after=asyncio.get_running_loop().time() - quiet,
            deaths=self._deaths,
            trace=zlib.crc32("\n".join(str(lines) for lines in seen.histories.values()).encode()),
        )


def play(
    seed: int,
    protections: Protections = Protections(),  # noqa: B008 - frozen
    faults: Iterable[Fault] | None = None,
) -> Outcome:
    """Play one seed from its beginning to its end."""

    async def whole() -> Outcome:
        return await World(seed, protections, faults).run()

    with contextlib.ExitStack() as stack:
        for module, name, seconds in SLOWER:
            stack.enter_context(mock.patch.object(module, name, seconds))
        return run_virtually(seed, whole)
