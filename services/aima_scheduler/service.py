"""Owns the runs and the analysis jobs; reaps the jobs of everybody."""

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import structlog

from aima_common import erasures
from aima_common.collections import RUN_TERMINAL
from aima_common.contracts import messages as m
from aima_common.contracts.base import Message
from aima_common.contracts.envelope import Envelope
from aima_common.contracts.telling import tell
from aima_common.errors import TransientError
from aima_common.ids import MediumId, run_id
from aima_common.jobs import JobKind, Leadership, Ledger, attempt
from aima_common.ports import Ports
from aima_common.ports.documents import Document, Insert
from aima_common.runtime.telemetry import READY_JOBS
from aima_scheduler import domain
from aima_scheduler.deciders.engine import Settings
from aima_scheduler.demands import Demands
from aima_scheduler.dispatch import Dispatcher
from aima_scheduler.explaining import Door, Explaining
from aima_scheduler.runs import REVIVABLE, Runs
from aima_scheduler.safety import PASS_SECONDS, SafetyPass
from aima_scheduler.waiting import Waiting

LEAD_SECONDS = 3.0
"""How often it is seen to that one scheduler does the safety pass: often enough to keep a lease."""

REAP_SECONDS = 5.0

ROUSE_SECONDS = 0.5
"""So often it is looked for jobs whose rest is over and that a crowd hides."""

log = structlog.get_logger()


class Scheduler:
    """Turns prepared media into runs of jobs, and places the jobs on machines."""

    name = "scheduler"

    def __init__(self, ports: Ports, ledger: Ledger, door: Door | None = None, rules: Settings | None = None) -> None:
        self._bus = ports.bus
        self._documents = ports.documents
        self._clock = ports.clock
        self._ledger = ledger
        self._dispatcher = Dispatcher(ports, ledger, self._abandon_unschedulable, rules)
        self._explaining = Explaining(self.explain, door, self.queue) if door else None
        self._runs = Runs(ports, ledger, self._dispatcher.wake)
        self._waiting = Waiting(ports.documents)
        self._demands = Demands(ports.documents, self._waiting, self._runs)
        self._safety = SafetyPass(ports, self._runs, self._waiting, self._demands)
        self._repairing = Leadership(ports.documents, "repairing", ledger.holder, ports.clock.monotonic)

    def handlers(self) -> Mapping[type[Message], Callable[[Envelope[Any]], Awaitable[None]]]:
        """Map messages to what follows from them."""
        return {
            m.MediumUploaded: self.on_medium_uploaded,
            m.MediumRejected: self.on_medium_rejected,
            m.MediumReadmitted: self.on_medium_readmitted,
            m.SegmentPrepared: self.on_preparation,
            m.MediumPrepared: self.on_preparation,
            m.AnalysisCompleted: self.on_analysis_completed,
            m.AnalysisFailed: self.on_analysis_failed,
            m.PictureCompleted: self.on_picture_completed,
            m.CaseChanged: self.on_case_changed,
            m.CancelRequested: self.on_cancel_requested,
            m.ErasureRequested: self.on_erasure_requested,
            m.CapacityChanged: self.on_capacity_changed,
        }

    def background(self) -> Sequence[Callable[[], Awaitable[None]]]:
        """Place, reap, rouse and resync for as long as the process lives."""
        loops = [self._dispatcher.run, self.reap, self.rouse, self.resync]
        return [*loops, self._explaining.serve] if self._explaining else loops

    async def explain(self, tenant: str, job: str) -> Mapping[str, Any] | None:
        """Tell why a job waits, or None where it does not; raise `TransientError` where another scheduler knows."""
        return await self._dispatcher.explain(tenant, job)

    async def queue(self, tenant: str, most: int) -> Mapping[str, Any]:
        """Show a tenant its waiting jobs in their order, the machines, and what is kept free; raise as `explain`."""
        return await self._dispatcher.queue(tenant, most)

    async def url(self) -> str:
        """Tell where it answers gateways."""
        return await self._explaining.url() if self._explaining else ""

    async def on_medium_uploaded(self, envelope: Envelope[m.MediumUploaded]) -> None:
        """Open a run for a medium, unless the same pipeline has run on it before."""
        body = envelope.body
        pipeline = domain.pipeline_digest(body.profile, await self._runs.analyzers())
        identity = run_id(MediumId(body.medium), pipeline)
        facts = {
            "medium": body.medium,
            "sha256": body.original.sha256,
            "pipeline": pipeline,
            "profile": body.profile.value,
            "priority": body.priority.value,
            "deadline": body.deadline,
            "confidentiality": body.confidentiality.value,
            "accepted_at": envelope.time.isoformat(),
            "parts_done": 0,
            "parts_total": None,
            "reason": None,
        }
        run = Insert(identity, envelope.tenant, "accepted", facts)
        if not await self._documents.insert("runs", run, inbox=envelope.id):
            wish = domain.Demand(body.priority, body.deadline, body.confidentiality)
            await self._wanted_again(identity, wish, envelope.id)
        # What the message says may be over: a case that was changed meanwhile had no run to change.
        await self._demands.renew([body.medium])
        await self._runs.reconcile(identity, envelope.id)

    async def on_preparation(self, envelope: Envelope[m.SegmentPrepared] | Envelope[m.MediumPrepared]) -> None:
        """Bring the medium's runs up to what has been prepared."""
        for run in await self._runs.of_medium(envelope.body.medium):
            await self._runs.reconcile(run.id, envelope.id)

    async def on_medium_rejected(self, envelope: Envelope[m.MediumRejected]) -> None:
        """End the runs of a medium that cannot be analysed."""
        body = envelope.body
        reason = {"code": body.code, "reason": body.reason, "remedy": body.remedy}
        for run in await self._runs.of_medium(body.medium):
            await self._runs.end(run.id, "failed" if body.failed else "rejected", reason, envelope.id)

    async def on_medium_readmitted(self, envelope: Envelope[m.MediumReadmitted]) -> None:
        """Take up the runs that a rejection had ended: the medium is being prepared once more."""
        for run in await self._runs.of_medium(envelope.body.medium):
            await self._runs.revive(run, envelope.id, states=("rejected",))
            await self._runs.reconcile(run.id, envelope.id)

    async def on_analysis_completed(self, envelope: Envelope[m.AnalysisCompleted]) -> None:
        """Count the part; a worker is free."""
        self._dispatcher.wake()
        await self._runs.count_part(envelope.body.run, envelope.id)

    async def on_analysis_failed(self, envelope: Envelope[m.AnalysisFailed]) -> None:
        """Give the part up when its job is dead; otherwise it is ready again already."""
        self._dispatcher.wake()
        job = await self._documents.load("jobs", envelope.body.job)
        if job and job.state == "dead":
            await self._runs.abandon(job, envelope.body.reason, envelope.id)

    async def on_picture_completed(self, envelope: Envelope[m.PictureCompleted]) -> None:
        """End the run."""
        await self._runs.end(envelope.body.run, "analysed", None, envelope.id)

    async def on_case_changed(self, envelope: Envelope[m.CaseChanged]) -> None:
        """Give what waits for a case's media the urgency and the confidentiality that the open cases ask for now."""
        async for media in self._waiting.media_of(envelope.body.case, envelope.tenant, state="accepted"):
            await self._demands.renew(media)
        self._dispatcher.wake()

    async def on_cancel_requested(self, envelope: Envelope[m.CancelRequested]) -> None:
        """Stop the runs of a medium, or of a case's media that no other open case waits for."""
        wanted = envelope.body
        unwanted: dict[str, None] = {}
        async for media in self._waiting.media_of(wanted.case, envelope.tenant, wanted.medium):
            waited_for = await self._waiting.cases(media)
            unwanted |= {one: None for one in media if all(case.id == wanted.case for case in waited_for[one])}
        await self._runs.cancel_all(unwanted, envelope.tenant, wanted.reason, envelope.id)

    async def on_erasure_requested(self, envelope: Envelope[m.ErasureRequested]) -> None:
        """Remove the runs' jobs, leaving only that there was a run."""
        medium = envelope.body.medium
        if await erasures.is_over(self._documents, envelope):
            return
        await self._runs.erase(medium, envelope.tenant, envelope.id)
        # Told even where there was nothing to erase: storage waits for every owner.
        told = m.PartErased(medium=medium, owner=self.name)
        record = tell(told, tenant=envelope.tenant, key=medium, cause=envelope.id, time=envelope.time)
        await self._bus.publish([record])

    async def on_capacity_changed(self, envelope: Envelope[m.CapacityChanged]) -> None:
        """Look again at what fits."""
        self._dispatcher.wake()

    async def reap(self) -> None:
        """Free the jobs of holders that fell silent, whatever their kind."""
        while True:
            with contextlib.suppress(TransientError):
                for job in await self._ledger.reap():
                    log.info("lease_expired", job=job.id, kind=job.body["kind"], state=job.state)
                    if job.state == "dead":
                        await self._runs.bury(job, f"{attempt(job)}-{job.version}")
                    self._dispatcher.wake()
            await self._clock.sleep(REAP_SECONDS)

    async def rouse(self) -> None:
        """Let jobs be seen again that rested after a failure, whatever their kind."""
        while True:
            with contextlib.suppress(TransientError):
                if await self._ledger.rouse():
                    self._dispatcher.wake()
            await self._clock.sleep(ROUSE_SECONDS)

    async def resync(self) -> None:
        """Repair what a lost event may have left behind, one scheduler at a time, and report what waits."""
        passed_at = reported_at = -math.inf
        try:
            while True:
                with contextlib.suppress(TransientError):
                    now = self._clock.monotonic()
                    # Kept also while nothing is done: else each scheduler would do all of it at a time of its own.
                    if await self._repairing.held() and now - passed_at >= PASS_SECONDS:
                        await self._safety.over_all(self._repairing.held)
                        passed_at = now
                    if now - reported_at >= PASS_SECONDS:
                        await self._report()
                        reported_at = now
                await self._clock.sleep(LEAD_SECONDS)
        finally:
            with contextlib.suppress(TransientError):
                await asyncio.shield(self._repairing.give_up())

    async def _report(self) -> None:
        """Tell how much waits, and look for something to place."""
        for kind in JobKind:
            waiting = await self._documents.count("jobs", {"kind": kind.value, "state": "ready"})
            READY_JOBS.labels(kind.value).set(waiting)
        self._dispatcher.wake()

    async def _wanted_again(self, identity: str, wish: domain.Demand, cause: str) -> None:
        while (run := await self._documents.load("runs", identity)) is not None:
            if run.state in REVIVABLE:
                await self._runs.revive(run, cause)
            elif run.state in RUN_TERMINAL:
                await self._runs.tell_again(run, cause)
            elif not await self._runs.join(run, wish, cause):
                continue  # it has ended just now
            return

    async def _abandon_unschedulable(self, job: Document, reason: str) -> None:
        await self._runs.abandon(job, reason, f"{attempt(job)}-unschedulable")
