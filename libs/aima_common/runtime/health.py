"""What a process says of itself over HTTP: alive, ready, started, and its metrics. Nothing here shows a tenant's data.

`python -m aima_common.runtime.health` asks the process that runs beside it (a container's health check).
"""

import contextlib
import os
import sys
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from aiohttp import web
from prometheus_client import REGISTRY
from prometheus_client.exposition import generate_latest

from aima_common.contracts.codec import dumps

DEFAULT_PORT = 8790
OK = "ok"

Check = Callable[[], Awaitable[str]]
"""Tells "ok", or what is in the way."""


class Health:
    """The state of a process: what it waits for until it has started, and what is in its way afterwards."""

    def __init__(self) -> None:
        self.waits_for = "it is being put together"
        """What stands between the process and its work; empty once it works."""
        self._checks: dict[str, Check] = {}

    def add(self, name: str, check: Check) -> None:
        """Have a check asked whenever somebody wants to know whether this process is ready."""
        self._checks[name] = check

    @property
    def started(self) -> bool:
        """Whether the process has begun its work."""
        return not self.waits_for

    async def ready(self) -> tuple[bool, dict[str, str]]:
        """Tell whether the process can do its work now, and what each check says."""
        if not self.started:
            return False, {"start": f"waits: {self.waits_for}"}
        found = {name: await _asked(check) for name, check in self._checks.items()}
        return all(state == OK for state in found.values()), found

    @contextlib.asynccontextmanager
    async def served(self, host: str, port: int) -> AsyncIterator[str]:
        """Answer while in context; yield the address."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/livez", self._alive),
                web.get("/startupz", self._started),
                web.get("/readyz", self._ready),
                web.get("/metrics", self._metrics),
            ]
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
            address = runner.addresses[0]
            yield f"http://{address[0]}:{address[1]}"
        finally:
            await runner.cleanup()

    async def _alive(self, request: web.Request) -> web.Response:
        # No store is asked: a broker that is away is no reason to start this process anew.
        return web.Response(text="alive\n")

    async def _started(self, request: web.Request) -> web.Response:
        return _json({"started": self.started, "waits_for": self.waits_for}, 200 if self.started else 503)

    async def _ready(self, request: web.Request) -> web.Response:
        ready, checks = await self.ready()
        return _json({"ready": ready, "checks": checks}, 200 if ready else 503)

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(REGISTRY), headers={"Content-Type": "text/plain; version=0.0.4"})


async def _asked(check: Check) -> str:
    try:
        return await check()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is in the way
        return str(error) or type(error).__name__


def _json(body: dict[str, Any], status: int) -> web.Response:
    return web.Response(body=dumps(body), status=status, content_type="application/json")


def main() -> int:
    """Ask the process beside this one whether it is alive; the exit status is for a container's health check."""
    port = os.environ.get("AIMA_HEALTH_PORT", str(DEFAULT_PORT))
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/livez", timeout=3) as answer:
            return 0 if answer.status == 200 else 1
    except OSError as error:
        sys.stderr.write(f"no answer: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
