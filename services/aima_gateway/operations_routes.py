"""For those who run AIMA: alive, ready, started, metrics, the interface's description; and the page's files."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from importlib import resources

from aiohttp import web
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import generate_latest

from aima_common import __version__
from aima_common.errors import TransientError
from aima_common.ports import Ports
from aima_common.problems import away
from aima_gateway import openapi
from aima_gateway.answers import Handlers, json_answer, missing

Check = Callable[[], Awaitable[str]]
"""Tells "ok", or what is in the way."""

ANSWER_SECONDS = 3.0
"""How long a store may take before it counts as away."""

ANY_KEY = "installation"
"""An object that is asked for to see whether the store answers; whether it is there does not matter."""

FILES = {"app.js": "text/javascript", "style.css": "text/css", "icon.svg": "image/svg+xml"}
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class OperationsRoutes:
    """No key is asked for here, and nothing of any tenant is shown."""

    def __init__(
        self, ports: Ports, checks: Mapping[str, Check], uploads: Check, registry: CollectorRegistry = REGISTRY
    ) -> None:
        stores = {"documents": _store(ports.documents.now), "objects": _store(lambda: ports.objects.info(ANY_KEY))}
        self._checks = {**stores, **checks}
        self._uploads = uploads
        self._registry = registry

    def handlers(self) -> Handlers:
        """Map operations to what answers them."""
        return {
            "livez": self.alive,
            "startupz": self.alive,
            "readyz": self.ready,
            "metrics": self.metrics,
            "openapi": self.describe,
            "page": self.page,
            "page_file": self.page_file,
        }

    async def alive(self, request: web.Request) -> web.StreamResponse:
        return web.Response(text="alive\n")

    async def ready(self, request: web.Request) -> web.StreamResponse:
        states = await asyncio.gather(*(check() for check in self._checks.values()))
        found = dict(zip(self._checks, states, strict=True))
        ready = all(state == "ok" for state in found.values())
        # A backlog is no reason to send nobody here: those who read are answered, those who upload are told when.
        told = {"ready": ready, "checks": found, "uploads": await self._uploads()}
        return json_answer(told, 200 if ready else 503)

    async def metrics(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": "text/plain; version=0.0.4"})

    async def describe(self, request: web.Request) -> web.StreamResponse:
        return json_answer(openapi.document(__version__))

    async def page(self, request: web.Request) -> web.StreamResponse:
        return _file("index.html", "text/html")

    async def page_file(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["file"]
        if name not in FILES:
            raise missing("file")
        return _file(name, FILES[name])


def _store(ask: Callable[[], Awaitable[object]]) -> Check:
    """Make a check of a store: whether it answers soon."""

    async def check() -> str:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await ask()
        except TimeoutError:
            return f"no answer within {ANSWER_SECONDS:.0f} s"
        except TransientError as error:
            return away(error)
        return "ok"

    return check


def _file(name: str, content_type: str) -> web.Response:
    data = resources.files("aima_gateway").joinpath("web").joinpath(name).read_bytes()
    headers = {"Content-Security-Policy": PAGE_POLICY, "Cache-Control": "no-cache"}
    return web.Response(body=data, content_type=content_type, charset="utf-8", headers=headers)
