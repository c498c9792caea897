"""Turns the words of a search into a vector, for gateways that run in other processes."""

import asyncio
import contextlib
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from aiohttp import web

from aima_common.contracts.codec import dumps, loads
from aima_common.errors import AimaError, MalformedMessageError

MAX_BODY_BYTES = 64 * 1024


class Embedding:
    """One route, `POST /embed {"text": …}`, for whoever shows the secret of the installation."""

    def __init__(
        self, embed_text: Callable[[str], Awaitable[Sequence[float]]], secret: str, host: str, port: int
    ) -> None:
        self._embed_text = embed_text
        self._secret = secret
        self._host = host
        self._port = port
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
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.add_routes([web.post("/embed", self._answer)])
        runner = web.AppRunner(app, access_log=None, auto_decompress=False, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
            host, port = runner.addresses[0][:2]
            yield f"http://{host}:{port}"
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        shown = request.headers.get("Authorization", "")
        if not hmac.compare_digest(shown.encode(), f"Bearer {self._secret}".encode()):
            raise web.HTTPUnauthorized(text="this is for gateways of the same installation\n")
        try:
            asked = loads(await request.read())
        except MalformedMessageError as error:
            raise web.HTTPBadRequest(text=f"{error}\n") from error
        text = asked.get("text") if isinstance(asked, dict) else None
        if not isinstance(text, str):
            raise web.HTTPUnprocessableEntity(text='{"text": "…"} is wanted\n')
        try:
            vector = await self._embed_text(text)
        except AimaError as error:
            raise web.HTTPServiceUnavailable(text=f"{error}\n") from error
        return web.Response(body=dumps({"vector": list(vector)}), content_type="application/json")
