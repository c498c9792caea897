"""The life of a run: planned from what is prepared, counted, ended, cancelled, taken up again."""

import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any

from aima_common.abreast import abreast
from aima_common.collections import RUN_TERMINAL
from aima_common.contracts import messages as m
from aima_common.contracts.base import Message
from aima_common.contracts.media import MediumType, ObjectReference, Priority, SegmentDerivatives
from aima_common.contracts.telling import tell
from aima_common.errors import TransientError, UnavailableError
from aima_common.ids import job_id
from aima_common.jobs import AFRESH, JobKind, Ledger, attempt, errors_of, new_job
from aima_common.pages import every
from aima_common.ports import Ports
from aima_common.ports.documents import Change, Document, Expect, Outcome
from aima_scheduler import domain
from aima_scheduler.waiting import MANY, by_id, chunks

RUN_OPEN = ("accepted", "preparing", "analysing", "fusing")

JOB_OPEN = ("ready", "leased", "parked")

MOST_RUNS = 100_000
"""More than any number of pipelines makes of the media of one query."""

MOST_JOBS = 5000
"""So many jobs are read at once."""

CANCELLED_AT_A_TIME = 100
"""So many media that wait are cancelled before it is looked again for those that are worked on: some hundred jobs, a
fraction of a second."""

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
        return await self.of_media([medium])

    async def of_media(self, media: Iterable[str]) -> list[Document]:
        """Read the runs of these media."""
        wanted = chunks(media)
        return [run for some in wanted for run in await self._documents.find("runs", {"medium": some}, limit=MOST_RUNS)]

    async def reconcile(self, identity: str, cause: str) -> None:
        """Bring a run up to what is prepared: idempotent, whatever led here and however often."""
        run = await self._documents.load("runs", identity)
        if run is None or run.state in RUN_TERMINAL:
            return
        async for cancelled in self.jobs_of([run], ("cancelled",)):
            # The run is open, so somebody wants it again, and perhaps otherwise than before.
            await abreast(self._make_ready, cancelled)
            await self.settle([run.id] if cancelled else [])
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

    async def cancel(self, media: Sequence[str], reason: str, cause: str) -> None:
        """Stop the runs of these media and their jobs; what was found so far stays."""
        told = {
            "code": "cancelled",
            "reason": reason or "cancelled on request",
            "remedy": "upload it again to analyse it",
        }
        runs = await self.of_media(media)
        going_on = [run.id for run in runs if run.state not in RUN_TERMINAL]
        await abreast(lambda run: self.end(run, "cancelled", told, cause), going_on)
        # The jobs are looked at even when a run had ended before: a crash may lie between the two.
        after = (await by_id(self._documents, "runs", [run.id for run in runs])).values()
        async for jobs in self.jobs_of([run for run in after if run.state == "cancelled"], JOB_OPEN):
            await abreast(self._ledger.cancel, jobs)

    async def cancel_all(self, media: Iterable[str], tenant: str, reason: str, cause: str) -> None:
        """Stop the runs of any number of a tenant's media: first those that are worked on, whenever that began.

        So nothing goes on for long, however long it takes until all that waits is cancelled as well.
        """
        left, errors = dict.fromkeys(media), list[TransientError]()
        while left:
            working = [medium for medium in await self._worked_on(tenant) if medium in left]
            some = list(dict.fromkeys([*working[:MANY], *itertools.islice(left, CANCELLED_AT_A_TIME)]))
            for medium in some:
                del left[medium]
            try:
                await self.cancel(some, reason, cause)
            except UnavailableError:
                raise
            except TransientError as error:
                # Such as a run that moved just now: it is tried again after the others, with the whole message.
                errors.append(error)
        if errors:
            raise errors[0]

    async def _worked_on(self, tenant: str) -> list[str]:
        leased = {"tenant": tenant, "state": "leased"}
        return [str(job.body.get("medium")) async for job in every(self._documents, "jobs", leased)]

    async def revive(self, run: Document, cause: str, states: Sequence[str] = REVIVABLE) -> None:
        """Take up again a run that ended in one of these states: somebody wants the medium after all.

        Its jobs follow in `reconcile`. A part that was given up stays known to be missing.
        """
        ended = [job async for jobs in self.jobs_of([run], ("done", "dead", "unschedulable")) for job in jobs]
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

    async def join(self, run: Document, wish: domain.Demand, cause: str) -> bool:
        """Note that an open run is wanted once more, once per cause; what is stricter or more urgent counts.

        False where the run has ended meanwhile.
        """
        demand = domain.demand([run.body, wish.body()]).body()
        fields = {} if demand == demand_of(run) else {**demand, "changed": True}
        # Noted also where nothing changes: told again after the run's end, the message would have that told again.
        joined = await self._documents.transition(
            "runs", run.id, expect=Expect(state=RUN_OPEN), change=Change(set=fields), inbox=cause
        )
        await self.settle([run.id])
        return joined.outcome is not Outcome.REFUSED

    async def set_demand(self, run: Document, demand: domain.Demand) -> None:
        """Give an open run what is wanted of it; its jobs follow in `settle`."""
        if demand.body() == demand_of(run):
            return
        # That it was changed stays written: only then may a job lag behind.
        change = Change(set={**demand.body(), "changed": True})
        await self._documents.transition("runs", run.id, expect=Expect(state=RUN_OPEN), change=change)

    async def settle(self, runs: Sequence[str]) -> None:
        """Give the jobs of open runs what is wanted of their runs, until no run was changed meanwhile."""
        given: dict[str, Mapping[str, Any]] = {}
        while runs:
            found = (await by_id(self._documents, "runs", runs)).values()
            changed = {run.id: run for run in found if run.state in RUN_OPEN and demand_of(run) != given.get(run.id)}
            given = {name: demand_of(run) for name, run in changed.items()}
            await self._hand_down(list(changed.values()))
            runs = list(changed)

    async def _hand_down(self, runs: Sequence[Document]) -> None:
        of_run = {run.id: demand_of(run) for run in runs}
        of_medium = {str(run.body["medium"]): demand_of(run) for run in runs}

        async def give(job: Document) -> None:
            # What prepares a medium is of no run.
            await self._give(job, of_run.get(str(job.body.get("run"))) or of_medium[str(job.body["medium"])])

        async for jobs in self.jobs_of(runs, JOB_OPEN):
            await abreast(give, jobs)

    async def _give(self, job: Document, demand: Mapping[str, Any]) -> None:
        # Whether it is claimed or freed meanwhile does not matter; one that has ended is left as it is.
        if any(job.body.get(name) != value for name, value in demand.items()):
            change, expect = Change(set=demand), Expect(state=JOB_OPEN)
            await self._documents.transition("jobs", job.id, expect=expect, change=change)

    async def erase(self, medium: str, tenant: str, cause: str) -> None:
        """Remove what the scheduler owns of a medium but the fact that there was a run."""
        async for job in every(self._documents, "jobs", {"medium": medium, "tenant": tenant}):
            await self._documents.delete("jobs", job.id)
        reason = {"code": "erased", "reason": "erased on request", "remedy": ""}
        for run in await self._documents.find("runs", {"medium": medium, "tenant": tenant}):
            await self.end(run.id, "erased", reason, cause)

    async def jobs_of(self, runs: Sequence[Document], states: Sequence[str]) -> AsyncIterator[Sequence[Document]]:
        """Walk the jobs of these runs in some states, and those of their media that are of no run, many at a time."""
        if not runs:
            return
        names, media = {None, *(run.id for run in runs)}, sorted({str(run.body["medium"]) for run in runs})
        found = await self._documents.find("jobs", {"medium": media, "state": list(states)}, limit=MOST_JOBS + 1)
        if len(found) <= MOST_JOBS:
            yield [job for job in found if job.body.get("run") in names]
        elif len(media) > 1:
            # Long films: half of them at a time.
            for some in (media[::2], media[1::2]):
                async for jobs in self.jobs_of([run for run in runs if run.body["medium"] in some], states):
                    yield jobs
        else:
            page = list[Document]()
            async for job in every(self._documents, "jobs", {"medium": media, "state": list(states)}):
                page += [job] if job.body.get("run") in names else []
                if len(page) == MOST_JOBS:
                    yield page
                    page = []
            yield page

    async def _make_ready(self, job: Document) -> None:
        again = Change(state="ready", set={"machine": None, **AFRESH})
        await self._documents.transition(
            "jobs", job.id, expect=Expect(state=job.state, version=job.version), change=again
        )

    async def _plan(self, run: Document, prepared: Document, cause: str) -> None:
        preparation = _preparation(run, prepared)
        analyzers = await self.analyzers()
        planned = domain.plan(preparation, analyzers)
        if any([await self._add(run, preparation, job) for job in planned]):
            self._on_ready()
        now = await self._documents.load("runs", run.id)
        if now is not None and now.body.get("changed"):
            # Perhaps since the run was read: whoever changed it may not have seen the jobs that were added now.
            await self.settle([run.id])
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


def demand_of(run: Document) -> Mapping[str, Any]:
    """Read what is wanted of a run, as its jobs have it too."""
    return {name: run.body.get(name) for name in ("priority", "deadline", "confidentiality")}


def _job_of(run: Document, job: domain.PlannedJob) -> str:
    segment = str(job.segment.index) if job.segment else ""
    return job_id(run.id, JobKind.ANALYSE.value, job.analyzer.name, segment)


def _preparation(run: Document, prepared: Document) -> domain.Preparation:
    body = prepared.body
    picture = ObjectReference.model_validate(body["poster"]) if body.get("poster") else None
    segments = [SegmentDerivatives.model_validate(part, strict=False) for part in body["segments"]]
    return domain.Preparation(MediumType(body["type"]), run.body["medium"], segments, picture)
