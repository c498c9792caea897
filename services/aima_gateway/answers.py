"""How the gateway reads requests and writes answers."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from aiohttp import HttpVersion11, web

from aima_common.contracts.codec import dumps, loads
from aima_common.errors import MalformedMessageError
from aima_common.problems import CONTENT_TYPE, Problem, ProblemError, refuse
from aima_gateway.keys import Actor

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Handlers = Mapping[str, Handler]
"""Operation id of the table of routes -> what answers it."""


class RouteGroup(Protocol):
    """Routes that belong together."""

    def handlers(self) -> Handlers:
        """Map operations to what answers them."""


ACTOR = web.RequestKey("actor", Actor)
REQUEST_ID = web.RequestKey("request_id", str)

READ_SECONDS = 30.0
"""How long a client may take to send a small body."""


def json_answer(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Answer with JSON."""
    return web.Response(body=dumps(body), status=status, content_type="application/json", headers=headers)


def problem_answer(problem: Problem, request_id: str | None = None) -> web.Response:
    """Answer with a problem."""
    headers = dict(problem.headers)
    if problem.retry_after_seconds is not None:
        headers["Retry-After"] = str(problem.retry_after_seconds)
    body = dumps(problem.body(request_id))
    return web.Response(body=body, status=problem.status, content_type=CONTENT_TYPE, headers=headers)


def actor(request: web.Request) -> Actor:
    """Tell who sent a request."""
    return request[ACTOR]


def missing(what: str) -> ProblemError:
    """Make the answer for what is not there, or is another tenant's: nobody can tell the difference."""
    return refuse(404, "not_found", f"there is no such {what}", "Check the id; ids are only visible to their tenant.")


async def json_object(request: web.Request, *, optional: bool = False) -> dict[str, Any]:
    """Read a small JSON object."""
    raw = await raw_body(request)
    if optional and not raw:
        return {}
    try:
        value = loads(raw)
    except MalformedMessageError as error:
        raise refuse(400, "not_json", str(error), "Send a JSON object.") from error
    if not isinstance(value, dict):
        raise refuse(400, "not_an_object", "the body is not a JSON object", "Send a JSON object.")
    return value


async def invite_body(request: web.Request) -> None:
    """Let a client that asked first (Expect: 100-continue) send its body: whatever could refuse it has not."""
    if request.headers.get("Expect", "").lower() == "100-continue" and request.version == HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # These bytes are not the answer's; aiohttp's own handler of Expect does the same.
        request.writer.output_size = 0


async def raw_body(request: web.Request) -> bytes:
    """Read a small body; raise `ProblemError` (408) when it does not come."""
    await invite_body(request)
    try:
        async with asyncio.timeout(READ_SECONDS):
            return await request.read()
    except TimeoutError as error:
        raise refuse(408, "idle", f"the body did not arrive in {READ_SECONDS:.0f} s", "Send it again.") from error


def whole_number(request: web.Request, name: str, default: int, least: int, most: int) -> int:
    """Read a whole number from the query."""
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 16 and least <= int(text) <= most):
        raise refuse(400, "bad_number", f"{name} is not a number from {least} to {most}", f"Correct {name}.")
    return int(text)


def choice(request: web.Request, name: str, choices: tuple[str, ...], default: str) -> str:
    """Read one of some words from the query."""
    value = request.query.get(name, default)
    if value not in choices:
        raise refuse(400, "bad_choice", f"{name} is not one of {', '.join(choices)}", f"Correct {name}.")
    return value


def event_line(sequence: int, name: str, data: Mapping[str, Any]) -> bytes:
    """Write one server-sent event."""
    return f"id: {sequence}\nevent: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()
