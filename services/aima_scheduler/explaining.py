"""Answers gateways that ask why a job waits, or for the queue: for whoever shows the secret of the installation."""

import asyncio
import contextlib
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from aima_common.contracts.codec import dumps
from aima_common.errors import TransientError

Explain = Callable[[str, str], Awaitable[Mapping[str, Any] | None]]
"""Given a tenant and a job: why it waits, or None where it does not. Raises `TransientError` where others know."""

ShowQueue = Callable[[str, int], Awaitable[Mapping[str, Any]]]
"""Given a tenant and how many jobs at most: the queue and the machines as it may see them. Raises as `Explain`."""


@dataclass(frozen=True)
class Door:
    """Where the scheduler answers."""

    secret: str
    host: str = "127.0.0.1"
    port: int = 8703


class Explaining:
    """The routes `GET /v1/jobs/{job}/explain?tenant=…` and `GET /v1/queue?tenant=…&limit=…`."""

    def __init__(self, explain: Explain, door: Door, queue: ShowQueue | None = None) -> None:
        self._explain = explain
        self._queue = queue
        self._door = door
        self._listening = asyncio.Event()
        self._url = ""

    async def serve(self) -> None:
        """Answer until cancelled."""
        async with self._open() as url:
            self._url = url
            self._listening.set()
            await asyncio.Event().wait()

    async def url(self) -> str:
        """Tell where it listens, as soon as it does."""
        await self._listening.wait()
        return self._url

    @contextlib.asynccontextmanager
    async def _open(self) -> AsyncIterator[str]:
        app = web.Application()
        app.add_routes([web.get("/v1/jobs/{job}/explain", self._explain_job), web.get("/v1/queue", self._show_queue)])
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._door.host, self._door.port).start()
            host, port = runner.addresses[0][:2]
            yield f"http://{host}:{port}"
        finally:
            await runner.cleanup()

    async def _explain_job(self, request: web.Request) -> web.Response:
        self._admit(request)
        return await _answer(self._explain(request.query.get("tenant", ""), request.match_info["job"]))

    async def _show_queue(self, request: web.Request) -> web.Response:
        self._admit(request)
        limit = request.query.get("limit", "")
        if self._queue is None or not (limit.isascii() and limit.isdigit()):
            raise web.HTTPNotFound(text="nothing of a queue is told here\n")
        return await _answer(self._queue(request.query.get("tenant", ""), int(limit)))

    def _admit(self, request: web.Request) -> None:
        shown = request.headers.get("Authorization", "")
        if not hmac.compare_digest(shown.encode(), f"Bearer {self._door.secret}".encode()):
            raise web.HTTPUnauthorized(text="this is for gateways of the same installation\n")


async def _answer(asked: Awaitable[Mapping[str, Any] | None]) -> web.Response:
    try:
        told = await asked
    except TransientError as error:
        raise web.HTTPServiceUnavailable(text=f"{error}\n") from error
    if told is None:
        raise web.HTTPNotFound(text="no such job waits here\n")
    return web.Response(body=dumps(told), content_type="application/json")
