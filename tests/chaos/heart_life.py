"""One life of the scheduler's heart on the real embedded store, until it is killed.

Three schedulers place, three machines' runners claim and commit; jobs come, are cancelled and change their urgency,
machines come and go, the clock jumps, hints and ends are told twice and out of order. What must be so is looked at
before anything of this begins, when the store is as the last life left it.
"""

import asyncio
import contextlib
import datetime
import json
import os
import random
import signal
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from aima_common.adapters.embedded.bus import SqliteBus
from aima_common.adapters.embedded.documents import SqliteDocuments
from aima_common.contracts import messages as m
from aima_common.contracts.base import Message
from aima_common.contracts.envelope import Envelope
from aima_common.contracts.media import Confidentiality, MediumType, ObjectReference, Priority
from aima_common.contracts.telling import tell
from aima_common.errors import TransientError
from aima_common.jobs import Done, Held, JobKind, JobRunner, Leadership, Ledger, leadership, new_job
from aima_common.ports import Ports
from aima_common.ports.bus import Record
from aima_common.ports.documents import Change, Document, Expect, Insert
from aima_common.runtime import run
from aima_common.wiring import EMBEDDED_PARTITIONS, topic_specifications
from aima_scheduler.deciders.engine import Settings
from aima_scheduler.deciders.preemption import Preemption
from aima_scheduler.dispatch import Dispatcher
from tests.chaos import heart_check

SCHEDULERS = 3
TENANTS = ("red", "green", "blue")
GIB = 1 << 30
MACHINES: Mapping[str, Mapping[str, Any]] = {
    "m0": {"cpus": 4, "memory_bytes": 8 * GIB, "gpus": []},
    "m1": {"cpus": 4, "memory_bytes": 8 * GIB, "gpus": []},
    "m2": {"cpus": 6, "memory_bytes": 16 * GIB, "gpus": [{"name": "T4", "memory_bytes": 16 * GIB}] * 2},
}
JUMPS_SECONDS = (-1500.0, 0.0, 0.0, 0.0, 1500.0)
"""By how much the clock may be wrong: between two lives it goes forward or back, by many leases, and by less than a
machine that is away is waited for. So no job may ever be refused as one that nothing can run."""

SETTLING_SECONDS = 0.1
"""So long waits who takes over the lead: a life lasts a quarter of a second, and its store answers in milliseconds."""

IMPATIENT = Settings(preemption=Preemption(patience=0.0))
"""The rules of every other life: whoever is critical takes the room of others at once."""

ENDED = "ended"
"""File of what became of the jobs."""

ACCEPTED = "accepted"
"""File of the names of jobs that the store has taken, written when it had answered."""


@dataclass(frozen=True)
class Life:
    """What is to happen in one life."""

    number: int
    seed: int
    first: int
    """Jobs from this number on are submitted, those before were."""
    last: int
    """And up to this one, not included."""
    dies_at_call: int | None = None
    """The store's call with which it ends by itself; None: it is killed from outside, or lives until all is done."""
    dies_before: bool = False
    fencing: bool = True
    inherits: bool = True
    """Whether it takes over what the dead held, as `aima up` does; False for a control, as is `fencing`."""
    patience_seconds: float = 120.0
    """How long the last life waits until all jobs have ended; more counts as hung."""


class JumpingClock:
    """The real time, but for what it is wrong by."""

    def __init__(self) -> None:
        self.wrong_by = 0.0

    def time(self) -> float:
        """Tell seconds since 1970."""
        return time.time() + self.wrong_by

    def now(self) -> datetime.datetime:
        """Tell the aware UTC time."""
        return datetime.datetime.fromtimestamp(self.time(), datetime.UTC)

    def monotonic(self) -> float:
        """Tell seconds that never go back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


def job_of(number: int, seed: int, submitted_at: datetime.datetime) -> Insert:
    """Draw the job of this number; the same seed draws the same one."""
    rng = random.Random(f"{seed} job {number}")
    cpus = 64 if rng.random() < 0.02 else rng.choice((1, 1, 2, 4))
    needs = {"cpus": cpus, "memory_bytes": rng.choice((1, 2)) * GIB, "gpus": int(rng.random() < 0.3)}
    tenant = rng.choice(TENANTS)
    body: dict[str, Any] = {
        "medium": f"medium-{number}",
        "run": f"run-{number}",
        "lane": MediumType.IMAGE.value,
        "analyzer": f"kind-{cpus}",
        "needs": needs,
        "seconds": rng.uniform(0.001, 0.1),
        "fails": rng.random() < 0.03,
        "confidentiality": Confidentiality.INTERNAL.value,
    }
    deadline = (submitted_at + datetime.timedelta(seconds=rng.uniform(-60, 600))).isoformat()
    return new_job(
        f"job-{number:05}",
        tenant,
        JobKind.ANALYSE,
        submitted_at=submitted_at,
        priority=rng.choice(list(Priority)),
        deadline=deadline if rng.random() < 0.2 else None,
        **body,
    )


@contextlib.asynccontextmanager
async def stores(folder: Path, clock: JumpingClock, *, fencing: bool = True) -> AsyncIterator[Ports]:
    """Open what the heart works on."""
    nothing = cast("Any", None)  # no step of a job that only waits touches objects, vectors or the search
    async with (
        SqliteDocuments.open(folder / "documents.db", clock=clock.time, fencing=fencing) as documents,
        SqliteBus.open(folder / "log.db") as bus,
    ):
        await bus.inherit()
        await bus.ensure_topics(topic_specifications(EMBEDDED_PARTITIONS))
        yield Ports(bus, documents, nothing, nothing, nothing, clock)


class Machines:
    """The machines' workers: jobs that only take their time, hints and ends that come twice or late."""

    name = "analysis"
    lanes: Sequence[str] = (MediumType.IMAGE.value,)

    def __init__(self, ports: Ports, life: Life, rng: random.Random) -> None:
        self._ports = ports
        self._rng = rng
        self._told: deque[tuple[Held, Record]] = deque(maxlen=20)
        self._runners = {name: self._runner(ports, name, life) for name in MACHINES}

    def handlers(self) -> Mapping[type[Message], Callable[[Envelope[Any]], Awaitable[None]]]:
        """Listen to hints, as analysis does."""
        return {m.AnalysisRequested: self.on_analysis_requested}

    def background(self) -> Sequence[Callable[[], Awaitable[None]]]:
        """Work until cancelled."""
        return [runner.run for runner in self._runners.values()]

    async def on_analysis_requested(self, envelope: Envelope[m.AnalysisRequested]) -> None:
        """Take the hint, which may be an old one."""
        self._runners[envelope.body.machine].wake()

    def _runner(self, ports: Ports, machine: str, life: Life) -> JobRunner:
        where = {"machine": machine, "lane": list(self.lanes)}
        ledger = Ledger(ports, f"{machine}, life {life.number}")
        return JobRunner(ledger, JobKind.ANALYSE, self._work, slots=int(MACHINES[machine]["cpus"]), where=where)

    async def _work(self, held: Held) -> Done:
        await asyncio.sleep(float(held.body["seconds"]))
        if held.body["fails"] and held.body["attempts"] < 2:
            raise TransientError("drawn to fail once", code="drawn", retry_after_seconds=0.05)
        result = ObjectReference(key="results/nothing", sha256="0" * 64, size_bytes=0)
        told = m.AnalysisCompleted(
            medium=held.body["medium"],
            run=held.body["run"],
            job=held.id,
            analyzer=held.body["analyzer"],
            result=result,
            finding_count=0,
        )
        key, time_ = str(held.body["medium"]), self._ports.clock.now()
        record = tell(told, tenant=held.tenant, key=key, cause=held.cause, time=time_)
        if self._told and self._rng.random() < 0.4:
            await self._tell_again(*self._rng.choice(self._told))
        self._told.append((held, record))
        return Done({"result": held.id}, [record])

    async def _tell_again(self, held: Held, record: Record) -> None:
        """Tell once more what is the past by now, late and out of order; what was refused was never told."""
        known = await self._ports.documents.load("jobs", held.id)
        if known is not None and known.state == "done" and known.epoch == held.epoch:
            await self._ports.bus.publish([record])


class Schedulers:
    """Several at once; one of them leads."""

    name = "scheduler"

    def __init__(self, ports: Ports, life: Life) -> None:
        rules = IMPATIENT if life.number % 2 else None
        self.all = [
            Dispatcher(ports, Ledger(ports, f"scheduler {number}, life {life.number}"), _refused, rules)
            for number in range(SCHEDULERS)
        ]

    def handlers(self) -> Mapping[type[Message], Callable[[Envelope[Any]], Awaitable[None]]]:
        """Listen for work that ended."""
        return {m.AnalysisCompleted: self.on_analysis_completed}

    def background(self) -> Sequence[Callable[[], Awaitable[None]]]:
        """Place until cancelled."""
        return [one.run for one in self.all]

    async def on_analysis_completed(self, _envelope: Envelope[m.AnalysisCompleted]) -> None:
        """There is room."""
        self.wake()

    def wake(self) -> None:
        """Let all of them look."""
        for one in self.all:
            one.wake()


async def _refused(_job: Document, _reason: str) -> None:
    """The run would be told; there is none here."""


async def live(folder: Path, life: Life, begun: Callable[[], None]) -> list[str]:
    """Look at what the last life left, say that it was looked at, and go on until killed or until all jobs have ended.

    A life that is to be killed has no last job to wait for, and is.

    Returns what was found to be wrong, and writes each finding to the folder as soon as it is known.
    """
    leadership.SETTLING_SECONDS = SETTLING_SECONDS
    rng = random.Random(f"{life.seed} life {life.number}")
    clock = JumpingClock()
    clock.wrong_by = rng.choice(JUMPS_SECONDS)
    async with stores(folder, clock, fencing=life.fencing) as ports:
        for name, body in MACHINES.items():
            seen_at = clock.now().isoformat()
            await ports.documents.insert("machines", Insert(name, "", "available", {**body, "seen_at": seen_at}))
        wrong = await heart_check.as_left(ports, (folder / ACCEPTED).read_text().split())
        if life.inherits:
            await Ledger(ports, f"life {life.number}").inherit()
            await Leadership.inherit(ports.documents)
        schedulers = Schedulers(ports, life)
        wrong += await heart_check.allocation(ports, schedulers.all[0])
        _report(folder, life, wrong)
        begun()
        if life.dies_at_call is not None:
            _arm(ports.documents, life.dies_at_call, before=life.dies_before)
        machines = Machines(ports, life, rng)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(run(ports, machines, schedulers))
            others = [
                group.create_task(work)
                for work in (_submit(ports, folder, life, schedulers.wake), _trouble(ports, life, clock, rng))
            ]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(life.patience_seconds):
                    await _all_ended(ports, life.last)
            for task in (running, *others):
                task.cancel()
        wrong += await heart_check.in_the_end(ports, life.last)
        _report(folder, life, wrong)
        jobs = await ports.documents.find("jobs", {}, limit=100_000)
        told = {
            "states": Counter(job.state for job in jobs),
            "interruptions": sum(job.body["interruptions"] for job in jobs),
            "gave_way": sum(job.body.get("preemptions", 0) for job in jobs),
        }
        (folder / ENDED).write_text(json.dumps(told))
        return wrong


def _report(folder: Path, life: Life, wrong: Sequence[str]) -> None:
    if wrong:
        with (folder / "wrong").open("a") as file:
            file.writelines(f"life {life.number}: {one}\n" for one in wrong)


def _arm(documents: Any, calls: int, *, before: bool) -> None:
    """Let the process die with the store's call of this number: before it is made, or before its answer is heard."""
    left = calls

    def wrapped(call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def counted(*args: Any, **kwargs: Any) -> Any:
            nonlocal left
            left -= 1
            if left <= 0 and before:
                os.kill(os.getpid(), signal.SIGKILL)
            dies = left <= 0
            answer = await call(*args, **kwargs)
            if dies:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        return counted

    for name in ("insert", "transition", "published"):
        setattr(documents, name, wrapped(getattr(documents, name)))


async def _submit(ports: Ports, folder: Path, life: Life, wake: Callable[[], None]) -> None:
    """Submit what this life adds, and once more what an earlier one may have been killed at; the last one, all."""
    ledger = Ledger(ports, "submitter")
    first = max(0, life.first - 20) if life.first < life.last else 0
    with (folder / ACCEPTED).open("a") as accepted:
        for number in range(first, life.last):
            job = job_of(number, life.seed, ports.clock.now())
            if await ledger.add(job):
                accepted.write(f"{job.id}\n")
                accepted.flush()
                wake()


async def _trouble(ports: Ports, life: Life, clock: JumpingClock, rng: random.Random) -> None:
    """Cancel, change, take machines away and bring them back, set the clock, and tell what is not so."""
    ledger = Ledger(ports, "somebody")
    while True:
        await asyncio.sleep(rng.uniform(0.01, 0.06))
        what = rng.random()
        # One of the newest: the others have ended.
        job = await ports.documents.load("jobs", f"job-{max(0, life.last - rng.randint(1, 15)):05}")
        if what < 0.2:
            await _turn(ports, rng.choice(list(MACHINES)))
        elif what < 0.3:
            clock.wrong_by = rng.choice(JUMPS_SECONDS)
        elif job is not None and what < 0.4:
            await ledger.cancel(job)
        elif job is not None and what < 0.7:
            change = Change(set={"priority": rng.choice(list(Priority)).value, "changed": True})
            await ports.documents.transition("jobs", job.id, expect=Expect(state=job.state), change=change)
        elif job is not None:
            machine = rng.choice(list(MACHINES))
            hint = m.AnalysisRequested(medium=job.body["medium"], job=job.id, lane=MediumType.IMAGE, machine=machine)
            cause = f"nobody {rng.random()}"
            record = tell(hint, tenant=job.tenant, key=job.body["medium"], cause=cause, time=clock.now())
            await ports.bus.publish([record])


async def _turn(ports: Ports, machine: str) -> None:
    known = await ports.documents.load("machines", machine)
    state = "away" if known is not None and known.state == "available" else "available"
    change = Change(state=state, set={"seen_at": ports.clock.now().isoformat()})
    await ports.documents.transition("machines", machine, change=change)


async def _all_ended(ports: Ports, last: int) -> None:
    """Wait until every job has ended; machines that went away come back in the end."""
    while await ports.documents.count("jobs", {"state": list(heart_check.ENDED)}) < last:
        await asyncio.sleep(0.05)
