"""The life of a run: planned from what is prepared, counted, ended, cancelled, taken up again."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from aima_common.collections import RUN_TERMINAL
from aima_common.contracts import messages as m
from aima_common.contracts.base import Message
from aima_common.contracts.media import MediumType, ObjectReference, Priority, SegmentDerivatives
from aima_common.contracts.telling import tell
from aima_common.errors import TransientError
from aima_common.ids import job_id
from aima_common.jobs import AFRESH, JobKind, Ledger, attempt, errors_of, new_job
from aima_common.ports import Ports
from aima_common.ports.documents import Change, Document, Expect
from aima_scheduler import domain

RUN_OPEN = ("accepted", "preparing", "analysing", "fusing")

REVIVABLE = ("cancelled", "failed", "erased")
"""Ends that are no verdict on the medium: uploaded again, it is analysed after all."""


class Runs:
    """Every change of a run; each is one compare-and-set, so that anything may come twice."""

    def __init__(self, ports: Ports, ledger: Ledger, on_ready: Callable[[], None]) -> None:
        self._documents = ports.documents
        self._clock = ports.clock
        self._ledger = ledger
        self._on_ready = on_ready

    async def analyzers(self) -> list[domain.AnalyzerFacts]:
        """Read the analyzers there are; raise `TransientError` before analysis has announced any."""
        found = await self._documents.find("analyzers", {}, order=["id"])
        names = {document.id for document in found}
        if not found or any(not names.issuperset(d.body.get("together_with", ())) for d in found):
            raise TransientError("the analyzers have not all been announced yet", code="no_analyzers")
        return [domain.AnalyzerFacts.of(document.state, document.body) for document in found]

    async def of_medium(self, medium: str) -> Sequence[Document]:
        """Read the runs of a medium."""
        return await self._documents.find("runs", {"medium": medium})

    async def reconcile(self, identity: str, cause: str) -> None:
        """Bring a run up to what is prepared: idempotent, whatever led here and however often."""
        run = await self._documents.load("runs", identity)
        if run is None or run.state in RUN_TERMINAL:
            return
        for job in await self._jobs_of(run, ("cancelled",)):
            # The run is open, so somebody wants it again.
            await self._make_ready(job)
        prepared = await self._documents.load("preparations", run.body["medium"])
        if prepared is None:
            return
        if prepared.state == "rejected":
            reason = prepared.body["reason"]
            await self.end(run.id, "failed" if reason.get("failed") else "rejected", reason, cause)
        elif run.body["parts_total"] is None and prepared.body.get("type"):
            await self._plan(run, prepared, cause)

    async def count_part(self, identity: str, cause: str) -> None:
        """Count a part that is done, once per cause."""
        run = await self._documents.load("runs", identity)
        if run is None or run.state in RUN_TERMINAL:
            return
        await self._move(run, run.state, {}, cause, [], add={"parts_done": 1}, inbox=cause)

    async def abandon(self, job: Document, reason: str, cause: str) -> None:
        """Give a part up and tell fusion that it is known to be missing, once per job."""
        # A document that was set aside may lack anything: where it names no run, there is nobody to tell.
        run = await self._documents.load("runs", str(job.body.get("run")))
        if run is None or run.state in RUN_TERMINAL:
            return
        segment = job.body.get("segment")
        index = segment.get("index") if isinstance(segment, Mapping) else None
        told = m.AnalysisAbandoned(
            medium=run.body["medium"],
            run=run.id,
            job=job.id,
            analyzer=str(job.body.get("analyzer")),
            capability=str(job.body.get("capability")),
            segment=index if isinstance(index, int) and index >= 0 else None,
            reason=reason[:500],
        )
        inbox = f"abandon-{attempt(job)}"
        await self._move(run, run.state, {}, cause, [told], add={"parts_done": 1}, inbox=inbox)

    async def end(self, identity: str, state: str, reason: Mapping[str, Any] | None, cause: str) -> None:
        """Bring a run to its terminal state, once per cause; the first one stays, but for erasure."""
        run = await self._documents.load("runs", identity)
        if run is None or run.state == state or (run.state in RUN_TERMINAL and state != "erased"):
            return
        fields = {"reason": dict(reason) if reason else None, "ended_at": self._clock.now().isoformat()}
        await self._move(run, state, fields, cause, [], inbox=f"end-{cause}")

    async def cancel(self, run: Document, reason: str, cause: str) -> None:
        """Stop a run and its jobs; what was found so far stays."""
        told = {
            "code": "cancelled",
            "reason": reason or "cancelled on request",
            "remedy": "upload it again to analyse it",
        }
        await self.end(run.id, "cancelled", told, cause)
        # The jobs are looked at even when the run had ended before: a crash may lie between the two.
        after = await self._documents.load("runs", run.id)
        if after is not None and after.state == "cancelled":
            for job in await self._jobs_of(run, ("ready", "leased", "parked")):
                await self._ledger.cancel(job)

    async def revive(self, run: Document, cause: str, states: Sequence[str] = REVIVABLE) -> None:
        """Take up again a run that ended in one of these states: somebody wants the medium after all.

        Its jobs follow in `reconcile`. A part that was given up stays known to be missing.
        """
        ended = await self._jobs_of(run, ("done", "dead", "unschedulable"))
        done = sum(job.body["kind"] == JobKind.ANALYSE for job in ended)
        change = Change(state="accepted", set={"reason": None, "parts_total": None, "parts_done": done})
        outcome = await self._documents.transition(
            "runs", run.id, expect=Expect(state=states), change=change, inbox=cause
        )
        if outcome.applied:
            for job in ended:
                if job.state == "dead" and job.body["kind"] != JobKind.ANALYSE:
                    await self._make_ready(job)

    async def bury(self, job: Document, cause: str) -> None:
        """Draw the conclusion from a job that will not be done; telling it again changes nothing."""
        errors = errors_of(job)
        reason = job.body.get("reason") or (errors[-1]["reason"] if errors else "") or "its workers fell silent"
        if job.body["kind"] == JobKind.ANALYSE:
            await self.abandon(job, reason, cause)
        elif medium := job.body.get("medium"):
            told = {"code": "abandoned", "reason": reason, "remedy": "look at `aima jobs`, then upload the file again"}
            for run in await self.of_medium(medium):
                if job.body.get("run") in (None, run.id):
                    await self.end(run.id, "failed", told, cause)

    async def tell_again(self, run: Document, cause: str) -> None:
        """Tell that a run has ended to those who asked for it only now."""
        await self._move(run, run.state, {}, cause, [], inbox=cause)

    async def join(self, run: Document, wish: domain.Demand, cause: str) -> None:
        """Note that an open run is wanted once more; what is stricter or more urgent counts."""
        await self.set_demand(run, domain.demand([run.body, wish.body()]), cause)

    async def set_demand(self, run: Document, demand: domain.Demand, cause: str) -> None:
        """Give an open run and its jobs what is wanted of it, once per cause; a run that has ended has no such jobs."""
        fields = demand.body()
        await self._documents.transition("runs", run.id, change=Change(set=fields), inbox=cause)
        # The jobs are looked at even when the run was changed before: a crash may lie between the two.
        now = await self._documents.load("runs", run.id)
        if now is None or now.state not in RUN_OPEN:
            return
        change = Change(set={name: now.body[name] for name in fields})
        for job in await self._jobs_of(run, ("ready", "leased", "parked")):
            if any(job.body.get(name) != value for name, value in change.set.items()):
                await self._documents.transition("jobs", job.id, expect=Expect(state=job.state), change=change)

    async def erase(self, medium: str, tenant: str, cause: str) -> None:
        """Remove what the scheduler owns of a medium but the fact that there was a run."""
        for job in await self._documents.find("jobs", {"medium": medium, "tenant": tenant}, limit=100_000):
            await self._documents.delete("jobs", job.id)
        reason = {"code": "erased", "reason": "erased on request", "remedy": ""}
        for run in await self._documents.find("runs", {"medium": medium, "tenant": tenant}):
            await self.end(run.id, "erased", reason, cause)

    async def repair(self, run: Document) -> None:
        """Conclude from jobs that ended while nobody could tell of it, such as in a crash."""
        for job in await self._jobs_of(run, ("dead", "unschedulable")):
            await self.bury(job, f"{attempt(job)}-{job.version}")

    async def _make_ready(self, job: Document) -> None:
        again = Change(state="ready", set={"machine": None, **AFRESH})
        await self._documents.transition(
            "jobs", job.id, expect=Expect(state=job.state, version=job.version), change=again
        )

    async def _jobs_of(self, run: Document, states: Sequence[str]) -> list[Document]:
        wanted = {"medium": run.body["medium"], "state": list(states)}
        found = await self._documents.find("jobs", wanted, limit=100_000)
        return [job for job in found if job.body.get("run") in (None, run.id)]

    async def _plan(self, run: Document, prepared: Document, cause: str) -> None:
        preparation = _preparation(run, prepared)
        analyzers = await self.analyzers()
        planned = domain.plan(preparation, analyzers)
        if any([await self._add(run, preparation, job) for job in planned]):
            self._on_ready()
        if prepared.state != "prepared":
            if run.state == "accepted":
                await self._move(run, "preparing", {}, cause, [])
            return
        parts = [
            m.PlannedPart(
                job=_job_of(run, job),
                analyzer=job.analyzer.name,
                capability=job.analyzer.capability,
                segment=job.segment.index if job.segment else None,
            )
            for job in planned
        ]
        missing = domain.missing_capabilities(preparation, analyzers)
        told = m.AnalysisPlanned(medium=run.body["medium"], run=run.id, parts=parts, missing=missing)
        await self._move(run, "analysing", {"parts_total": len(parts)}, cause, [told])

    async def _add(self, run: Document, preparation: domain.Preparation, job: domain.PlannedJob) -> bool:
        return await self._ledger.add(
            new_job(
                _job_of(run, job),
                run.tenant,
                JobKind.ANALYSE,
                submitted_at=self._clock.now(),
                priority=Priority(run.body["priority"]),
                deadline=run.body["deadline"],
                confidentiality=run.body["confidentiality"],
                run=run.id,
                medium=run.body["medium"],
                lane=preparation.type.value,
                analyzer=job.analyzer.name,
                analyzer_version=job.analyzer.version,
                capability=job.analyzer.capability,
                segment=job.segment.model_dump(mode="json") if job.segment else None,
                input=job.input.model_dump(mode="json"),
                result_key=job.result_key,
                needs=dict(job.analyzer.needs),
            )
        )

    async def _move(
        self,
        run: Document,
        state: str,
        fields: Mapping[str, Any],
        cause: str,
        told: Sequence[Message],
        *,
        add: Mapping[str, int] | None = None,
        inbox: str | None = None,
    ) -> None:
        done = run.body["parts_done"] + (add or {}).get("parts_done", 0)
        total = fields.get("parts_total", run.body["parts_total"])
        if state == "analysing" and total is not None and done >= total:
            state = "fusing"
        medium, now = run.body["medium"], self._clock.now()
        progress = m.ProgressMade(medium=medium, run=run.id, stage=state, done=done, total=max(total or 0, done))
        outcome = await self._documents.transition(
            "runs",
            run.id,
            expect=Expect(state=run.state, version=run.version),
            change=Change(state=state, set=fields, add=add or {}),
            outbox=[tell(x, tenant=run.tenant, key=medium, cause=cause, time=now) for x in (*told, progress)],
            inbox=inbox,
        )
        if outcome.outcome.value == "refused":
            # Another event moved the run since it was read: the message is handled again, with fresh eyes.
            raise TransientError(f"run {run.id} moved on", code="run_moved")


def _job_of(run: Document, job: domain.PlannedJob) -> str:
    segment = str(job.segment.index) if job.segment else ""
    return job_id(run.id, JobKind.ANALYSE.value, job.analyzer.name, segment)


def _preparation(run: Document, prepared: Document) -> domain.Preparation:
    body = prepared.body
    picture = ObjectReference.model_validate(body["poster"]) if body.get("poster") else None
    segments = [SegmentDerivatives.model_validate(part, strict=False) for part in body["segments"]]
    return domain.Preparation(MediumType(body["type"]), run.body["medium"], segments, picture)
