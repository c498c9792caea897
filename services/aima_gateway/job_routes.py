"""Jobs: what is being done, why it is not done yet, and stopping it."""

import datetime
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from aima_common.collections import JOB_STATES, JOB_TERMINAL
from aima_common.errors import TransientError
from aima_common.jobs import JobKind
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

MOST_RANKED = 1000
"""So many waiting jobs of a kind that nobody places are put in order to tell one's place; where more wait, none is."""

CANNOT_BE_ASKED = "the scheduler cannot be asked now; its place among all that wait is not known"

NOT_LOOKED_AT = (
    "the scheduler does not look at it yet, as others come first or it came a moment ago; its place is not known"
)


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
        media: list[str] | None = None
        if "medium" in request.query:
            media = [request.query["medium"]]
        elif "case" in request.query:
            case = await self._reading.one("cases", tenant, request.query["case"], "case")
            media = [str(item.body["medium"]) for item in await self._reading.items(tenant, case.id)]
        found = await self._reading.newest_jobs(tenant, where, media, limit)
        return json_answer({"jobs": [views.job_view(job) for job in found]})

    async def show(self, request: web.Request) -> web.StreamResponse:
        return json_answer(views.job_view(await self._job(request)))

    async def explain(self, request: web.Request) -> web.StreamResponse:
        job = await self._job(request)
        alike = {name: job.body[name] for name in ("kind", "lane") if job.body.get(name)}
        told, queue, unknown = None, None, ""
        if job.state == "ready" and job.body.get("kind") == JobKind.ANALYSE:
            told, unknown = await self._asked(job)
        elif job.state == "ready":
            queue = await self._reading.queue_of(alike, self._clock.now(), MOST_RANKED)
            unknown = f"more than {MOST_RANKED} jobs of its kind wait; its place among them is not known"
        running = await self._reading.running(alike)
        done = await self._reading.some("jobs", job.tenant, {**alike, "state": "done"}, ["-submitted_at"], PACE_SAMPLE)
        explained = views.explain(job, queue, running, _pace(done), self._clock.now(), unknown)
        return json_answer(views.explain_by_scheduler(explained, told) if told else explained)

    async def _asked(self, job: Document) -> tuple[Mapping[str, Any] | None, str]:
        """Ask the scheduler; where it does not tell, say why."""
        if machine := job.body.get("machine"):
            return None, f"it waits for a free worker of machine {machine}"
        try:
            told = await self._explain(job.tenant, job.id) if self._explain else None
        except TransientError:
            return None, CANNOT_BE_ASKED
        return told, "" if told else NOT_LOOKED_AT if self._explain else CANNOT_BE_ASKED

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
