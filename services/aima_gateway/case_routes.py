"""Cases: what was made, how far it is, what is happening, and what came of it."""

import asyncio
import contextlib
import uuid
from typing import Any

from aiohttp import web

from aima_common import ids
from aima_common.contracts.codec import loads
from aima_common.errors import MalformedMessageError, TransientError
from aima_common.problems import Problem, ProblemError, later
from aima_gateway import views
from aima_gateway.answers import (
    REQUEST_ID,
    Handlers,
    actor,
    choice,
    event_line,
    json_answer,
    json_object,
    raw_body,
    whole_number,
)
from aima_gateway.audit import Audit
from aima_gateway.events import CaseEvents
from aima_gateway.idempotency import Answer, Idempotency
from aima_gateway.reading import Reading
from aima_gateway.requests import Requests
from aima_gateway.settings import Settings
from aima_gateway.uploads import UploadReplicas

HEARTBEAT_SECONDS = 15.0
"""Silence that proxies and clients still take for a living stream."""


class CaseRoutes:
    """HTTP in, HTTP out; what is shown is decided in `views`."""

    def __init__(
        self,
        reading: Reading,
        events: CaseEvents,
        replicas: UploadReplicas,
        idempotency: Idempotency,
        requests: Requests,
        audit: Audit,
        settings: Settings,
    ) -> None:
        self._reading = reading
        self._events = events
        self._replicas = replicas
        self._idempotency = idempotency
        self._requests = requests
        self._audit = audit
        self._settings = settings

    def handlers(self) -> Handlers:
        """Map operations to what answers them."""
        return {
            "list_cases": self.list_cases,
            "create_case": self.create,
            "show_case": self.show,
            "cancel_case": self.cancel,
            "list_items": self.list_items,
            "follow_case": self.follow,
        }

    async def list_cases(self, request: web.Request) -> web.StreamResponse:
        limit = whole_number(request, "limit", 50, 1, 500)
        where: dict[str, Any] = {"name": request.query["name"]} if "name" in request.query else {}
        after = request.query.get("after")
        # Times of creation are ISO 8601 in UTC: in the order of their letters they are in that of time.
        found = await self._reading.before("cases", actor(request).tenant, where, "created_at", after, limit)
        shown = [await self._reading.case_in_short(case) for case in found]
        return json_answer({"cases": shown, "next": shown[-1]["created_at"] if len(shown) == limit else None})

    async def create(self, request: web.Request) -> web.StreamResponse:
        body, tenant = await raw_body(request), actor(request).tenant

        async def compute(case: str) -> Answer:
            return _answer(*await self._replicas.post("/v1/cases", tenant, body, {"Aima-New-Case": case}))

        key = request.headers.get("Idempotency-Key")
        seed = ids.new_case_id()
        if key is None:
            made = await compute(seed)
        else:
            made = await self._idempotency.once(tenant, "create_case", key, body, seed, compute)
        return json_answer(made.body, made.status, {"Location": f"/v1/cases/{made.body['id']}"})

    async def show(self, request: web.Request) -> web.StreamResponse:
        case = await self._reading.one("cases", actor(request).tenant, request.match_info["case"], "case")
        return json_answer(await self._reading.case_in_full(case))

    async def cancel(self, request: web.Request) -> web.StreamResponse:
        who = actor(request)
        case = await self._reading.one("cases", who.tenant, request.match_info["case"], "case")
        reason = str((await json_object(request, optional=True)).get("reason", ""))
        await self._requests.cancel(who.tenant, case.id, None, reason, request[REQUEST_ID])
        await self._audit.note(who.tenant, "cancel_case", actor=who.key, subject=case.id)
        return json_answer({"cancelled": [case.id]}, 202)

    async def list_items(self, request: web.Request) -> web.StreamResponse:
        tenant = actor(request).tenant
        case = await self._reading.one("cases", tenant, request.match_info["case"], "case")
        limit, after = whole_number(request, "limit", 50, 1, 500), whole_number(request, "after", 0, 0, 1 << 40)
        items = [i for i in await self._reading.items(tenant, case.id) if int(i.body["ordinal"]) > after][:limit]
        runs = await self._reading.runs(tenant, {str(item.body["medium"]) for item in items})
        shown = [views.item_view(item, runs.get(str(item.body["medium"]))) for item in items]
        return json_answer({"items": shown, "next": str(shown[-1]["ordinal"]) if len(shown) == limit else None})

    async def follow(self, request: web.Request) -> web.StreamResponse:
        case = await self._reading.one("cases", actor(request).tenant, request.match_info["case"], "case")
        after = _after(request)
        onwards = choice(request, "follow", ("yes", "no"), "yes") == "yes"
        headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        # A client or a store that goes away, and the end of the stream's time, all end it; it is asked for again.
        with contextlib.suppress(ConnectionResetError, TimeoutError, TransientError):
            async with asyncio.timeout(self._settings.stream_seconds):
                await self._stream(request, response, case.id, after, onwards=onwards)
        return response

    async def _stream(
        self, request: web.Request, response: web.StreamResponse, case: str, after: int, *, onwards: bool
    ) -> None:
        clock = asyncio.get_running_loop().time
        spoke = clock()
        await response.write(b"retry: 1000\n\n")
        async with contextlib.aclosing(self._events.follow(case, after, onwards=onwards)) as news:
            async for entries in news:
                if request.transport is None:
                    return
                if entries:
                    lines = [event_line(e.sequence, str(e.body["type"]), e.body) for e in entries]
                    await response.write(b"".join(lines))
                    spoke = clock()
                elif clock() - spoke > HEARTBEAT_SECONDS:
                    await response.write(b": still here\n\n")
                    spoke = clock()


def new_request_id() -> str:
    """Draw the name of a request."""
    return str(uuid.uuid4())


def _after(request: web.Request) -> int:
    last = request.headers.get("Last-Event-ID", "")
    if "after" not in request.query and last.isascii() and last.isdigit() and len(last) < 16:
        return int(last)
    return whole_number(request, "after", 0, 0, 1 << 50)


def _answer(status: int, raw: bytes, retry_after: int | None) -> Answer:
    try:
        body = loads(raw)
    except MalformedMessageError as error:
        raise later(503, "unavailable", "upload answered with something unreadable") from error
    if status == 201:
        return Answer(status, body)
    errors = [views.field_error(error) for error in body.get("errors", [])]
    raise ProblemError(Problem(status, body["code"], body["detail"], body["remedy"], errors, retry_after))
