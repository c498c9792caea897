"""The upload service's own door: for the gateway, which has asked who is there.

Besides whole files it speaks tus 1.0 (core, creation, termination) for uploads that go on after an interruption.
"""

import contextlib
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import structlog
from aiohttp import web

from aima_common.contracts.codec import dumps, loads
from aima_common.errors import AimaError, MalformedMessageError
from aima_common.ports.documents import Document
from aima_common.problems import CONTENT_TYPE, Problem, from_error, refuse
from aima_upload import domain
from aima_upload.direct import write_of
from aima_upload.domain import Declared
from aima_upload.intake import Intake

TENANT = "Aima-Tenant"
NEW_CASE = "Aima-New-Case"
"""The id that a case shall have, drawn by the gateway so that a repeated request makes one case."""

TUS = {"Tus-Resumable": "1.0.0"}
MAX_JSON_BYTES = 64 * 1024
PART_TYPE = "application/offset+octet-stream"

log = structlog.get_logger()
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@contextlib.asynccontextmanager
async def listening(intake: Intake) -> AsyncIterator[str]:
    """Serve until the context ends; yield the address."""
    runner = web.AppRunner(
        application(intake),
        access_log=None,
        shutdown_timeout=5,
        # A compressed body could unfold without end; whoever sends one is told so instead.
        auto_decompress=False,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, intake.settings.host, intake.settings.port)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def application(intake: Intake) -> web.Application:
    """Make the routes."""
    app = web.Application(middlewares=[_problems, _gateway_only(intake)], client_max_size=MAX_JSON_BYTES)
    routes = Routes(intake)
    app.add_routes(
        [
            web.get("/livez", routes.alive),
            web.post("/v1/cases", routes.create_case),
            web.patch("/v1/cases/{case}", routes.change_case),
            web.options("/v1/uploads", routes.capabilities),
            web.post("/v1/uploads", routes.upload),
            web.post("/v1/uploads/known", routes.known),
            web.post("/v1/uploads/direct", routes.begin_direct),
            web.get("/v1/uploads/{upload}", routes.show, allow_head=False),
            web.head("/v1/uploads/{upload}", routes.offset),
            web.patch("/v1/uploads/{upload}", routes.append),
            web.delete("/v1/uploads/{upload}", routes.abort),
            web.get("/v1/uploads/{upload}/direct", routes.link_direct, allow_head=False),
            web.post("/v1/uploads/{upload}/direct/complete", routes.complete_direct),
        ]
    )
    return app


class Routes:
    """HTTP in, HTTP out; every decision is the intake's."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake

    async def alive(self, request: web.Request) -> web.Response:
        return web.Response(text="alive\n")

    async def create_case(self, request: web.Request) -> web.Response:
        made = await self._intake.cases.create(_tenant(request), await _object(request), request.headers.get(NEW_CASE))
        return _json(case_body(made), 201, {"Location": f"/v1/cases/{made.id}"})

    async def change_case(self, request: web.Request) -> web.Response:
        asked = await _object(request)
        return _json(case_body(await self._intake.cases.change(_tenant(request), request.match_info["case"], asked)))

    async def capabilities(self, request: web.Request) -> web.Response:
        limit = str(self._intake.settings.limits.max_upload_bytes)
        more = {"Tus-Version": "1.0.0", "Tus-Extension": "creation,termination", "Tus-Max-Size": limit}
        return web.Response(status=204, headers={**TUS, **more})

    async def upload(self, request: web.Request) -> web.Response:
        if "Upload-Length" in request.headers:
            return await self._begin(request)
        if request.headers.get("Content-Encoding", "identity") != "identity":
            raise refuse(415, "compressed", "the body is compressed", "Send the file's own bytes.")
        query = request.query
        declared = _declared(request, dict(query), domain.byte_count(request.headers.get("Content-Length")))
        done = await self._intake.upload(_tenant(request), declared, _body(request))
        return _json(upload_body(done), 201, {"Location": f"/v1/uploads/{done.id}"})

    async def known(self, request: web.Request) -> web.Response:
        done = await self._intake.known(_tenant(request), await _declared_in_body(request))
        return _json(upload_body(done), 201, {"Location": f"/v1/uploads/{done.id}"})

    async def begin_direct(self, request: web.Request) -> web.Response:
        session = await self._intake.direct.begin(_tenant(request), await _declared_in_body(request))
        write = write_of(session)
        parts = {"part_bytes": write.part_bytes, "parts": write.parts} if write and session.state == "open" else None
        body = {**upload_body(session), "direct": parts}
        return _json(body, 201, {"Location": f"/v1/uploads/{session.id}"})

    async def link_direct(self, request: web.Request) -> web.Response:
        first = domain.byte_count(request.query.get("first", "1")) or 0
        links = await self._intake.direct.links(await self._session(request), first)
        return _json(links, headers={"Cache-Control": "no-store"})

    async def complete_direct(self, request: web.Request) -> web.Response:
        return _json(upload_body(await self._intake.direct.complete(await self._session(request))))

    async def show(self, request: web.Request) -> web.Response:
        session = await self._session(request)
        return _json({**upload_body(session), "received_bytes": await self._intake.offset(session)})

    async def offset(self, request: web.Request) -> web.Response:
        session = await self._session(request)
        length = session.body["declared_size_bytes"]
        headers = {"Upload-Offset": str(await self._intake.offset(session)), "Cache-Control": "no-store"}
        return web.Response(
            headers={**TUS, **headers, **({"Upload-Length": str(length)} if length is not None else {})}
        )

    async def append(self, request: web.Request) -> web.Response:
        if request.content_type != PART_TYPE:
            raise refuse(415, "bad_part_type", f"a part has Content-Type {PART_TYPE}", "Set the header.")
        offset = domain.byte_count(request.headers.get("Upload-Offset"))
        session, reached = await self._intake.append(await self._session(request), offset, _body(request))
        names = {"Aima-Item": session.body["item"], "Aima-Medium": session.body["medium"]}
        headers = {name: value for name, value in names.items() if value}
        return web.Response(status=204, headers={**TUS, "Upload-Offset": str(reached), **headers})

    async def abort(self, request: web.Request) -> web.Response:
        await self._intake.abort(await self._session(request))
        return web.Response(status=204, headers=TUS)

    async def _begin(self, request: web.Request) -> web.Response:
        given = domain.upload_metadata(request.headers.get("Upload-Metadata"))
        # "filename" is what tus clients call it.
        named = {"file_name" if name == "filename" else name: value for name, value in given.items()}
        length = domain.byte_count(request.headers["Upload-Length"])
        fields = {**request.query, **named}
        session = await self._intake.begin(_tenant(request), _declared(request, fields, length))
        return web.Response(status=201, headers={**TUS, "Location": f"/v1/uploads/{session.id}"})

    async def _session(self, request: web.Request) -> Document:
        return await self._intake.sessions.load(_tenant(request), request.match_info["upload"])


def case_body(case: Document) -> dict[str, Any]:
    """Show a case as it was chosen."""
    body = case.body
    return {
        "id": case.id,
        "name": body["name"],
        "state": case.state,
        "created_at": body["created_at"],
        "options": body["options"],
    }


def upload_body(session: Document) -> dict[str, Any]:
    """Show an upload and what it led to."""
    body = session.body
    fields = ("case", "item", "medium", "file_name", "sha256", "size_bytes")
    return {"id": session.id, "state": session.state, **{field: body[field] for field in fields}}


def _declared(request: web.Request, given: dict[str, str], size_bytes: int | None) -> Declared:
    case = given.get("case")
    if not case:
        raise refuse(422, "no_case", "no case is named", "Name the case that the file belongs to.")
    return Declared(
        case=case,
        file_name=domain.file_name(given.get("file_name", "")),
        size_bytes=size_bytes,
        sha256=domain.sha256(given.get("sha256")),
        idempotency_key=domain.idempotency_key(request.headers.get("Idempotency-Key")),
    )


async def _declared_in_body(request: web.Request) -> Declared:
    asked = await _object(request)
    size = asked.get("size_bytes")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise refuse(422, "bad_size", "size_bytes is not a number of bytes", "Send the size of the file.")
    return _declared(request, {name: str(value) for name, value in asked.items()}, size)


async def _body(request: web.Request) -> AsyncIterator[bytes]:
    async for chunk in request.content.iter_any():
        yield chunk


async def _object(request: web.Request) -> dict[str, Any]:
    try:
        value = loads(await request.read())
    except MalformedMessageError as error:
        raise refuse(400, "not_json", str(error), "Send a JSON object.") from error
    if not isinstance(value, dict):
        raise refuse(400, "not_an_object", "the body is not a JSON object", "Send a JSON object.")
    return value


def _tenant(request: web.Request) -> str:
    return request.headers[TENANT]


def _json(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=dumps(body), status=status, content_type="application/json", headers=headers)


def _gateway_only(intake: Intake) -> Any:
    expected = f"Bearer {intake.settings.secret}".encode()

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        shown = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        if request.path != "/livez" and not (hmac.compare_digest(shown, expected) and request.headers.get(TENANT)):
            raise refuse(401, "gateway_only", "this door is for the gateway", "Send the request to the gateway.")
        return await handler(request)

    return check


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        return _problem(Problem(error.status, "http", error.reason, "See /openapi.json."))
    except ConnectionResetError:
        raise
    except AimaError as error:
        return _problem(from_error(error))
    except Exception:
        log.exception("request_failed", path=request.path)
        return _problem(from_error(AimaError()))


def _problem(problem: Problem) -> web.Response:
    wait = {"Retry-After": str(problem.retry_after_seconds)} if problem.retry_after_seconds else {}
    body = dumps(problem.body())
    return web.Response(body=body, status=problem.status, content_type=CONTENT_TYPE, headers={**wait, **TUS})
