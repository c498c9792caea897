"""Jobs that do nothing, through the real ledger and runner, on whatever stores are plugged in."""

import asyncio
import contextlib
import datetime
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aima_common import ids
from aima_common.contracts import messages as m
from aima_common.contracts.base import Message
from aima_common.contracts.envelope import Envelope
from aima_common.contracts.media import MediumType
from aima_common.contracts.telling import tell
from aima_common.jobs import Done, Held, JobKind, JobRunner, Ledger, new_job
from aima_common.ports import Ports
from aima_common.ports.bus import Record
from aima_common.ports.documents import Documents, Insert
from aima_common.runtime import run

LIMIT_SECONDS = 300.0
"""A run that takes longer has got stuck."""

TENANT = "default"
MACHINE = "this machine"
LANE = MediumType.IMAGE


@dataclass(frozen=True)
class Load:
    """How much is done, and how much of it at a time."""

    jobs: int = 2000
    submitters: int = 8
    """Jobs that are being submitted at a time."""
    workers: int = 8
    """Jobs that are under way at a time."""


class NoOps:
    """A service whose jobs do nothing; it counts them."""

    name = "analysis"
    lanes: Sequence[str] = (LANE.value,)

    def __init__(self, ports: Ports, load: Load) -> None:
        self._ports = ports
        self._load = load
        self._executed: list[str] = []
        self._all_executed = asyncio.Event()
        self.heard = asyncio.Event()
        self.ledger = Ledger(ports, "the holder")
        where = {"machine": MACHINE, "lane": list(self.lanes)}
        self.runner = JobRunner(self.ledger, JobKind.ANALYSE, self.work, slots=load.workers, where=where)

    def handlers(self) -> Mapping[type[Message], Callable[[Envelope[Any]], Awaitable[None]]]:
        """Listen to hints, as analysis does."""
        return {m.AnalysisRequested: self.on_analysis_requested}

    def background(self) -> Sequence[Callable[[], Awaitable[None]]]:
        """Work until cancelled."""
        return [self.runner.run]

    async def on_analysis_requested(self, envelope: Envelope[m.AnalysisRequested]) -> None:
        """Take the hint."""
        self.heard.set()
        self.runner.wake()

    async def work(self, held: Held) -> Done:
        """Do nothing."""
        self._executed.append(held.id)
        if len(self._executed) == self._load.jobs:
            self._all_executed.set()
        return Done({"result": held.id})

    async def measure(self, *, hinted: bool) -> float:
        """Submit everything and give the seconds until the last is done; RuntimeError unless each was done once.

        A job is told of through outbox and bus where `hinted`; otherwise the loop beside is woken directly.
        """
        self._executed.clear()
        started = time.perf_counter()
        first = range(self._load.submitters)
        await asyncio.gather(*(self._submit(number, hinted=hinted) for number in first))
        async with asyncio.timeout(LIMIT_SECONDS):
            await self._all_executed.wait()
            await self._all_committed()
        seconds = time.perf_counter() - started
        if len(self._executed) != self._load.jobs or len(set(self._executed)) != self._load.jobs:
            raise RuntimeError(f"{len(self._executed)} attempts at {self._load.jobs} jobs")
        return seconds

    async def _submit(self, first: int, *, hinted: bool) -> None:
        for number in range(first, self._load.jobs, self._load.submitters):
            job = described(f"{number}")
            await self.ledger.add(job, [hint_of(job)] if hinted else [])
            if not hinted:
                self.runner.wake()

    async def _all_committed(self) -> None:
        done = {"kind": JobKind.ANALYSE.value, "state": "done"}
        while True:
            if await self._ports.documents.count("jobs", done) >= self._load.jobs:
                return
            await asyncio.sleep(0.001)


def described(name: str) -> Insert:
    """Describe a job that was placed here, as the scheduler does."""
    medium = ids.derive("medium", name)
    run_name = ids.derive("run", medium)
    job = ids.job_id(run_name, JobKind.ANALYSE, "nothing", name)
    now = datetime.datetime.now(datetime.UTC)
    body: dict[str, Any] = {"medium": medium, "run": run_name, "lane": LANE.value, "analyzer": "nothing"}
    added = new_job(job, TENANT, JobKind.ANALYSE, submitted_at=now, **body)
    return Insert(added.id, added.tenant, added.state, {**added.body, "machine": MACHINE})


def hint_of(job: Insert) -> Record:
    """Tell that a job can be had, as the scheduler does."""
    medium, now = job.body["medium"], datetime.datetime.now(datetime.UTC)
    hint = m.AnalysisRequested(medium=medium, job=job.id, lane=LANE, machine=MACHINE)
    return tell(hint, tenant=TENANT, key=medium, cause=job.id, time=now)


@contextlib.asynccontextmanager
async def working(ports: Ports, service: NoOps, *, hinted: bool) -> AsyncIterator[None]:
    """Run the service: with relay and consumer where it is `hinted`, else its loop alone."""
    running = asyncio.create_task(run(ports, service) if hinted else service.runner.run())
    try:
        if hinted:
            await _until_heard(service)
        yield
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def _until_heard(service: NoOps) -> None:
    """Wait until hints arrive: joining a group takes seconds and belongs to the start of a process."""
    job = described("warming up")
    await service.ledger.add(Insert(job.id, job.tenant, "parked", job.body), [hint_of(job)])
    async with asyncio.timeout(LIMIT_SECONDS):
        await service.heard.wait()


class Watched:
    """A documents store whose calls are counted and timed."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self.calls: dict[str, list[float]] = {}

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._documents, name)
        if not asyncio.iscoroutinefunction(real):
            return real

        async def call(*arguments: Any, **options: Any) -> Any:
            with self._timed(name):
                return await real(*arguments, **options)

        return call

    @contextlib.contextmanager
    def _timed(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        try:
            yield
        finally:
            self.calls.setdefault(name, []).append(time.perf_counter() - started)
