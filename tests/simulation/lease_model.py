"""The real ledger and the real inbox under a clock that jumps, workers that die, and messages that come again.

Everything that happens is decided by one seed, one step after the other, so that a seed is a replay.
"""

import datetime
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, cast

from aima_common.contracts import messages as m
from aima_common.contracts.codec import decode
from aima_common.contracts.media import ObjectReference
from aima_common.contracts.telling import tell
from aima_common.errors import StaleLeaseError
from aima_common.jobs import Failure, Held, JobKind, Ledger, new_job
from aima_common.jobs.ledger import LEASE_SECONDS
from aima_common.ports import Ports
from aima_common.ports.bus import Record
from aima_common.ports.documents import Document, Documents
from aima_monitoring.invariants import Snapshot, Violation, check
from aima_monitoring.service import Monitoring

EPOCH = 1_800_000_000.0
WORKERS = 3
JOBS = 4
STEPS = 120
RESULT = ObjectReference(key="t/default/results/r", sha256="a" * 64, size_bytes=1)


@dataclass
class VirtualClock:
    """Time that only the simulation moves."""

    seconds: float = EPOCH

    def __call__(self) -> float:
        return self.seconds

    def now(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(self.seconds, datetime.UTC)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


@dataclass
class Worker:
    """A process that believes what it last heard."""

    ledger: Ledger
    seen: list[Document] = field(default_factory=list)
    held: Held | None = None


@dataclass
class Outcome:
    """What a seed led to."""

    violations: list[Violation]
    commits: Counter[str]
    """Job -> how many workers were told that their result is the one."""
    counted: int
    """How many completions monitoring counted."""
    jobs: list[Document]
    trace: list[str]


class Simulation:
    """One seed on a store that may have seen other seeds before."""

    def __init__(self, documents: Documents, clock: VirtualClock, seed: int) -> None:
        self._documents = documents
        self._clock = clock
        self._seed = seed
        self._rng = random.Random(seed)
        nothing = cast("Any", None)
        self._ports = Ports(nothing, documents, nothing, nothing, nothing, clock)
        self._monitoring = Monitoring(self._ports)
        self._workers = [
            Worker(Ledger(self._ports, f"w{n}-{seed}", random.Random(seed * 10 + n))) for n in range(WORKERS)
        ]
        self._reaper = Ledger(self._ports, f"reaper-{seed}", random.Random(seed))
        self._ids = [f"job-{seed}-{n}" for n in range(JOBS)]
        self._commits: Counter[str] = Counter()
        self._log: list[Record] = []
        self._position = 0
        self._trace: list[str] = []

    @property
    def tenant(self) -> str:
        """Keep this seed's rollups apart from those of others."""
        return f"tenant-{self._seed}"

    async def run(self) -> Outcome:
        """Let the seed happen, then let the dust settle."""
        for identity in self._ids:
            body: dict[str, Any] = {"run": f"run-{self._seed}", "medium": f"medium-{self._seed}"}
            job = new_job(identity, self.tenant, JobKind.ANALYSE, submitted_at=self._clock.now(), **body)
            await self._reaper.add(job)
        for _ in range(STEPS):
            await self._step()
        await self._settle()
        return await self._outcome()

    async def _step(self) -> None:
        worker = self._rng.choice(self._workers)
        steps = [self._look, self._look, self._claim, self._claim, self._claim, self._renew, self._finish, self._finish]
        steps += [self._fail, self._die, self._release]
        shared = [self._pass_time, self._pass_time, self._reap, self._relay, self._consume]
        chosen = self._rng.randrange(len(steps) + len(shared))
        if chosen < len(steps):
            await steps[chosen](worker)
        else:
            await shared[chosen - len(steps)]()
        self._trace.append(f"{chosen}@{self._clock.seconds:.3f}")

    async def _look(self, worker: Worker) -> None:
        worker.seen = await worker.ledger.ready(JobKind.ANALYSE, {"run": f"run-{self._seed}"})

    async def _claim(self, worker: Worker) -> None:
        if worker.held is None and worker.seen:
            # What was seen may be long out of date.
            worker.held = await worker.ledger.claim(worker.seen.pop(0))

    async def _renew(self, worker: Worker) -> None:
        if worker.held:
            try:
                await worker.ledger.renew(worker.held)
            except StaleLeaseError:
                worker.held = None

    async def _finish(self, worker: Worker) -> None:
        if held := worker.held:
            worker.held = None
            medium = f"medium-{self._seed}"
            told = m.AnalysisCompleted(
                medium=medium, run=f"run-{self._seed}", job=held.id, analyzer="a", result=RESULT, finding_count=1
            )
            cause = f"{held.id}-{held.epoch}"
            record = tell(told, tenant=self.tenant, key=medium, cause=cause, time=self._clock.now())
            try:
                await worker.ledger.finish(held, "done", {}, [record])
            except StaleLeaseError:
                return
            self._commits[held.id] += 1

    async def _fail(self, worker: Worker) -> None:
        if held := worker.held:
            worker.held = None
            try:
                await worker.ledger.fail(held, Failure("timeout", "too slow", transient=True), {})
            except StaleLeaseError:
                return

    async def _die(self, worker: Worker) -> None:
        worker.held, worker.seen = None, []

    async def _release(self, worker: Worker) -> None:
        if held := worker.held:
            worker.held = None
            try:
                await worker.ledger.release(held)
            except StaleLeaseError:
                return

    async def _pass_time(self) -> None:
        jump = self._rng.random() < 0.3
        self._clock.seconds += self._rng.uniform(LEASE_SECONDS, 3 * LEASE_SECONDS) if jump else self._rng.uniform(0, 8)

    async def _reap(self) -> None:
        await self._reaper.reap()

    async def _relay(self) -> None:
        entries = await self._documents.outbox()
        self._log += [entry.record for entry in entries]
        if self._rng.random() < 0.7:
            # Otherwise it dies between publishing and noting that it has published.
            await self._documents.published([entry.token for entry in entries])

    async def _consume(self) -> None:
        batch = self._log[self._position :]
        for record in batch:
            await self._monitoring.count(decode(record))
        if self._rng.random() < 0.7:
            # Otherwise it dies before the commit of its offset, and the batch comes again.
            self._position = len(self._log)

    async def _settle(self) -> None:
        for worker in self._workers:
            await self._die(worker)
        for _ in range(100):
            self._clock.seconds += 2 * LEASE_SECONDS + 1
            await self._reap()
            for worker in self._workers:
                await self._look(worker)
                await self._claim(worker)
                await self._finish(worker)
            if all(job.state in {"done", "dead"} for job in await self._jobs()):
                break
        self._log += [entry.record for entry in await self._documents.outbox()]
        await self._documents.published([entry.token for entry in await self._documents.outbox()])
        for record in self._log[self._position :]:
            await self._monitoring.count(decode(record))

    async def _jobs(self) -> list[Document]:
        return list(await self._documents.find("jobs", {"run": f"run-{self._seed}"}, order=["id"]))

    async def _outcome(self) -> Outcome:
        jobs = await self._jobs()
        rollups = await self._documents.find("rollups", {"tenant": self.tenant})
        histories = {
            "jobs": [line for identity in self._ids for line in await self._documents.history("jobs", identity)],
            "rollups": [line for rollup in rollups for line in await self._documents.history("rollups", rollup.id)],
        }
        waiting = [entry.written_at for entry in await self._documents.outbox()]
        documents = {"jobs": jobs, "rollups": rollups}
        snapshot = Snapshot(self._clock.now(), documents, histories, {}, waiting, at_rest=True)
        counted = sum(int(r.body.get("messages", {}).get("AnalysisCompleted", 0)) for r in rollups)
        return Outcome(check(snapshot), self._commits, counted, jobs, self._trace)
