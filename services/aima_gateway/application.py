"""The aiohttp application: every route of the table, behind the same three doors."""

import time
from collections.abc import Mapping

import structlog
from aiohttp import web

from aima_common.errors import AimaError, TransientError
from aima_common.problems import Problem, from_error
from aima_gateway.answers import ACTOR, REQUEST_ID, Handler, problem_answer
from aima_gateway.case_routes import new_request_id
from aima_gateway.guard import Guard
from aima_gateway.limits import Admission
from aima_gateway.table import ROUTES, Route
from aima_gateway.telemetry import REQUESTS, SECONDS
from aima_gateway.tenant_door import TenantDoor

MAX_BODY_BYTES = 64 * 1024
"""Of everything but uploads, which are streamed and counted by the upload service."""

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
API_POLICY = "default-src 'none'; frame-ancestors 'none'"

log = structlog.get_logger()


UPLOADING = frozenset({"upload", "upload_known", "upload_part", "begin_direct_upload", "complete_direct_upload"})
"""Operations that take work in: refused while nobody can tell what they add up to."""

BEGAN = web.RequestKey("began", bool)
"""Set once the head of an answer is on its way."""


def application(
    handlers: Mapping[str, Handler], guard: Guard, admission: Admission, tenants: TenantDoor
) -> web.Application:
    """Make the application; every operation of the table needs its handler."""
    app = web.Application(middlewares=[_answering], client_max_size=MAX_BODY_BYTES)
    for route in ROUTES:
        handler = _admitting(route, handlers[route.operation], guard, admission, tenants)
        app.router.add_route(route.method, route.path, handler, name=route.operation, expect_handler=_invite_later)
    app.on_response_prepare.append(_add_headers)
    return app


async def _invite_later(request: web.Request) -> None:
    """Invite no body yet (Expect: 100-continue): who is refused need not send it. `invite_body` does."""


def _admitting(route: Route, handler: Handler, guard: Guard, admission: Admission, tenants: TenantDoor) -> Handler:
    role = route.role
    if role is None:
        return handler

    async def admitted(request: web.Request) -> web.StreamResponse:
        who = request[ACTOR] = await guard.admit(request, role)
        with admission.admitted(who.key, time.monotonic()):
            await tenants.admit(who.tenant, uploading=route.operation in UPLOADING)
            return await handler(request)

    return admitted


@web.middleware
async def _answering(request: web.Request, handler: Handler) -> web.StreamResponse:
    request[REQUEST_ID] = new_request_id()
    operation = request.match_info.route.name or "none"
    began = time.monotonic()
    response = await _answer(request, handler)
    REQUESTS.labels(operation, str(response.status)).inc()
    if operation != "follow_case":
        SECONDS.labels(operation).observe(time.monotonic() - began)
    return response


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        problem = _http_problem(error)
    except ConnectionResetError:
        # The client went away: nobody is left to be answered.
        return web.Response(status=499)
    except AimaError as error:
        if isinstance(error, TransientError):
            log.warning("part_away", path=request.path, request=request[REQUEST_ID], reason=str(error))
        problem = from_error(error)
    except Exception:
        log.exception("request_failed", path=request.path, request=request[REQUEST_ID])
        problem = from_error(AimaError())
    if BEGAN in request and request.transport is not None:
        # Half an answer is out; a second one behind it would be taken for its end.
        request.transport.abort()
    return problem_answer(problem, request[REQUEST_ID])


def _http_problem(error: web.HTTPException) -> Problem:
    remedy = {
        404: "See /openapi.json for what there is.",
        405: "See /openapi.json for which methods there are.",
        413: f"Only uploads may be larger than {MAX_BODY_BYTES} bytes.",
    }
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    code = {404: "no_such_route", 405: "method_not_allowed", 413: "too_large"}.get(error.status, "http")
    return Problem(error.status, code, error.reason, remedy.get(error.status, "See /openapi.json."), headers=headers)


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    request[BEGAN] = True
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.setdefault("Content-Security-Policy", API_POLICY)
    if REQUEST_ID in request:
        response.headers["X-Request-Id"] = request[REQUEST_ID]
