"""Jobs: what is being done, why it is not done yet, and stopping it."""

import contextlib
import datetime
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from aima_common.collections import JOB_STATES, JOB_TERMINAL
from aima_common.errors import TransientError
from aima_common.ports.clock import Clock
from aima_common.ports.documents import Document
from aima_common.problems import refuse
from aima_gateway import views
from aima_gateway.answers import REQUEST_ID, Handlers, actor, choice, json_answer, json_object, whole_number
from aima_gateway.audit import Audit
from aima_gateway.reading import Reading
from aima_gateway.requests import Requests

ExplainJob = Callable[[str, str], Awaitable[Mapping[str, Any] | None]]
"""Asks the scheduler about a tenant's job; None where it says nothing."""

PACE_SAMPLE = 20
"""Jobs of the same kind whose durations estimate the next one's."""


class JobRoutes:
    """Reads jobs, and turns the wish to stop one into a message."""

    def __init__(
        self, reading: Reading, requests: Requests, audit: Audit, clock: Clock, explain: ExplainJob | None = None
    ) -> None:
        self._reading = reading
        self._requests = requests
        self._audit = audit
        self._clock = clock
        self._explain = explain

    def handlers(self) -> Handlers:
        """Map operations to what answers them."""
        return {
            "list_jobs": self.list_jobs,
            "show_job": self.show,
            "explain_job": self.explain,
            "cancel_job": self.cancel,
        }

    async def list_jobs(self, request: web.Request) -> web.StreamResponse:
        tenant, limit = actor(request).tenant, whole_number(request, "limit", 50, 1, 500)
        where: dict[str, Any] = {}
        if "state" in request.query:
            where["state"] = choice(request, "state", JOB_STATES, "ready")
        if "kind" in request.query:
            where["kind"] = choice(request, "kind", ("prepare", "analyse", "fuse", "write"), "analyse")
        if "medium" in request.query:
            where["medium"] = request.query["medium"]
        elif "case" in request.query:
            case = await self._reading.one("cases", tenant, request.query["case"], "case")
            where["medium"] = sorted({str(i.body["medium"]) for i in await self._reading.items(tenant, case.id)})[:400]
        found = await self._reading.some("jobs", tenant, where, ["-submitted_at"], limit)
        return json_answer({"jobs": [views.job_view(job) for job in found]})

    async def show(self, request: web.Request) -> web.StreamResponse:
        return json_answer(views.job_view(await self._job(request)))

    async def explain(self, request: web.Request) -> web.StreamResponse:
        job = await self._job(request)
        alike = {name: job.body[name] for name in ("kind", "lane") if job.body.get(name)}
        rivals = await self._reading.some("jobs", job.tenant, {**alike, "state": "ready"}, limit=10_000)
        running = await self._reading.some("jobs", job.tenant, {**alike, "state": "leased"}, limit=1000)
        done = await self._reading.some("jobs", job.tenant, {**alike, "state": "done"}, ["-submitted_at"], PACE_SAMPLE)
        explained = views.explain(job, rivals, len(running), _pace(done), self._clock.now())
        told = await self._asked(job) if job.state == "ready" else None
        return json_answer(views.explain_by_scheduler(explained, told) if told else explained)

    async def _asked(self, job: Document) -> Mapping[str, Any] | None:
        """Ask the scheduler; where none can be asked, what the store says has to do."""
        with contextlib.suppress(TransientError):
            return await self._explain(job.tenant, job.id) if self._explain else None
        return None

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        job, who = await self._job(request), actor(request)
        reason = str((await json_object(request, optional=True)).get("reason", ""))
        if job.state in JOB_TERMINAL:
            raise refuse(409, "job_ended", f"the job is {job.state} already", "Nothing needs to be stopped.")
        medium = job.body.get("medium")
        if not medium:
            raise refuse(409, "not_cancellable", "this job is for a whole case", "Cancel the case instead.")
        items = await self._reading.items_of_media(who.tenant, [medium])
        cases = sorted({str(item.body["case"]) for item in items if item.state == "accepted"})
        for case in cases:
            await self._requests.cancel(who.tenant, case, medium, reason, f"{request[REQUEST_ID]}-{case}")
        await self._audit.note(who.tenant, "cancel_job", actor=who.key, subject=job.id, medium=medium)
        return json_answer({"cancelled": [job.id]}, 202)

    async def _job(self, request: web.Request) -> Document:
        return await self._reading.one("jobs", actor(request).tenant, request.match_info["job"], "job")


def _pace(done: Any) -> float | None:
    seconds = [
        (
            datetime.datetime.fromisoformat(job.body["finished_at"])
            - datetime.datetime.fromisoformat(job.body["claimed_at"])
        )
        for job in done
        if job.body.get("finished_at") and job.body.get("claimed_at")
    ]
    return sum(value.total_seconds() for value in seconds) / len(seconds) if seconds else None
