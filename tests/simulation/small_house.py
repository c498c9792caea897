"""A small house on the real engine: items become runs, runs become jobs, jobs are done, and it is told.

The services are as thin as they can be and follow the same rules as AIMA's own: one atomic change per step, an inbox
where something is counted, and a pass that repairs what a crash left unsaid. The engine is the product's: `runtime.run`
with its relay and consumers, `Ledger`, `JobRunner`, and monitoring's own handler.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aima_common.collections import RUN_TERMINAL
from aima_common.contracts import messages as m
from aima_common.contracts.base import Message
from aima_common.contracts.envelope import Envelope
from aima_common.contracts.media import ObjectReference
from aima_common.contracts.telling import tell
from aima_common.errors import PermanentError, TransientError
from aima_common.ids import job_id
from aima_common.jobs import Done, Failure, Held, JobKind, JobRunner, Ledger, attempt, new_job
from aima_common.ports import Ports
from aima_common.ports.bus import Record
from aima_common.ports.documents import Change, Document, Expect, Insert

TENANT = "default"
PARTS = 2
"""Jobs of a run."""

REAP_SECONDS = 5.0
RESYNC_SECONDS = 15.0
RUN_OPEN = ("accepted", "analysing")
OBJECT = ObjectReference(key="t/default/results/film/r", sha256="a" * 64, size_bytes=1)

Handlers = Mapping[type[Message], Callable[[Envelope[Any]], Awaitable[None]]]
Loops = Sequence[Callable[[], Awaitable[None]]]


async def accept(ports: Ports, medium: str) -> None:
    """Do what upload does: a medium, then its item together with the message that tells of it."""
    body = {"sha256": medium}
    await ports.documents.insert("media", Insert(medium, TENANT, "stored", body))
    item = f"item-{medium}"
    told = m.MediumUploaded(case="case", item=item, medium=medium, original=OBJECT)
    record = tell(told, tenant=TENANT, key=medium, cause=item, time=ports.clock.now())
    facts = {"case": "case", "medium": medium, "file_name": medium, "sha256": medium}
    facts["accepted_at"] = ports.clock.now().isoformat()
    await ports.documents.insert("items", Insert(item, TENANT, "accepted", facts), outbox=[record])


class SmallScheduler:
    """Opens runs, counts their parts, reaps; any number of it at once."""

    name = "scheduler"

    def __init__(self, ports: Ports, ledger: Ledger, *, reaping: bool = True) -> None:
        self._documents = ports.documents
        self._clock = ports.clock
        self._ledger = ledger
        self._reaping = reaping

    def handlers(self) -> Handlers:
        return {
            m.MediumUploaded: self.on_medium_uploaded,
            m.AnalysisCompleted: self.on_analysis_completed,
            m.AnalysisFailed: self.on_analysis_failed,
        }

    def background(self) -> Loops:
        return [self.reap, self.resync] if self._reaping else [self.resync]

    async def on_medium_uploaded(self, envelope: Envelope[m.MediumUploaded]) -> None:
        medium = envelope.body.medium
        run = f"run-{medium}"
        facts = {"medium": medium, "accepted_at": envelope.time.isoformat(), "ended": 0}
        await self._documents.insert("runs", Insert(run, TENANT, "accepted", facts), inbox=envelope.id)
        for part in range(PARTS):
            job = new_job(
                job_id(run, JobKind.ANALYSE, "a", str(part)),
                TENANT,
                JobKind.ANALYSE,
                submitted_at=self._clock.now(),
                run=run,
                medium=medium,
            )
            await self._ledger.add(job, inbox=envelope.id)
        await self._documents.transition("runs", run, expect=Expect(state="accepted"), change=Change("analysing"))

    async def on_analysis_completed(self, envelope: Envelope[m.AnalysisCompleted]) -> None:
        await self._count(envelope.body.run, envelope.id)

    async def on_analysis_failed(self, envelope: Envelope[m.AnalysisFailed]) -> None:
        job = await self._documents.load("jobs", envelope.body.job)
        if job and job.state == "dead":
            await self._bury(job)

    async def reap(self) -> None:
        while True:
            with contextlib.suppress(TransientError):
                for job in await self._ledger.reap():
                    if job.state == "dead":
                        await self._bury(job)
            await self._clock.sleep(REAP_SECONDS)

    async def resync(self) -> None:
        """Repair what a crash left unsaid: a job that died while nobody could tell of it."""
        while True:
            with contextlib.suppress(TransientError):
                for run in await self._documents.find("runs", {"state": RUN_OPEN}):
                    for job in await self._documents.find("jobs", {"run": run.id, "state": "dead"}):
                        await self._bury(job)
            await self._clock.sleep(RESYNC_SECONDS)

    async def _bury(self, job: Document) -> None:
        await self._count(job.body["run"], f"{attempt(job)}-dead")

    async def _count(self, run: str, cause: str) -> None:
        done = await self._documents.transition("runs", run, change=Change(add={"ended": 1}), inbox=cause)
        if done.document is None:
            raise TransientError("a part ended before its run was seen")
        if done.document.body["ended"] >= PARTS and done.document.state not in RUN_TERMINAL:
            await self._documents.transition(
                "runs", run, expect=Expect(state=RUN_OPEN), change=Change(state="analysed")
            )


class SmallWorker:
    """Works on jobs: for a while, for very long, or without success."""

    name = "analysis"

    def __init__(self, ledger: Ledger, rng: random.Random) -> None:
        self._rng = rng
        self._runner = JobRunner(ledger, JobKind.ANALYSE, self.work, slots=1, on_failure=self._on_failure)

    def handlers(self) -> Handlers:
        return {}

    def background(self) -> Loops:
        return [self._runner.run]

    async def work(self, held: Held) -> Done:
        long = self._rng.random() < 0.15
        await asyncio.sleep(self._rng.uniform(20, 40) if long else self._rng.uniform(0.2, 5))
        luck = self._rng.random()
        if luck < 0.08:
            raise TransientError("something was away")
        if luck < 0.1:
            raise PermanentError("it cannot be read")
        told = m.AnalysisCompleted(
            medium=held.body["medium"],
            run=held.body["run"],
            job=held.id,
            analyzer="a",
            result=OBJECT,
            finding_count=1,
        )
        return Done(outbox=[self._tell(held, told)])

    def _on_failure(self, held: Held, failure: Failure) -> Mapping[str, Sequence[Record]]:
        told = m.AnalysisFailed(
            medium=held.body["medium"],
            run=held.body["run"],
            job=held.id,
            epoch=held.epoch,
            code=failure.code,
            reason=failure.reason,
            transient=failure.transient,
        )
        return {"dead": [self._tell(held, told)]}

    def _tell(self, held: Held, message: Message) -> Record:
        key = held.body["medium"]
        # The store's time of the claim: a message says when something was, and its id does not depend on it.
        time = held.document.lease_until
        assert time is not None
        return tell(message, tenant=held.tenant, key=key, cause=held.cause, time=time)
