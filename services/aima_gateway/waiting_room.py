"""Answers whoever comes before the stores do: what is away, and when to come back."""

import contextlib
import random
from collections.abc import AsyncIterator, Mapping

from aiohttp import web

from aima_common.problems import STORES, Problem
from aima_common.runtime.health import Health
from aima_gateway.answers import problem_answer
from aima_gateway.settings import Settings

SETTINGS = {"AIMA_MONGODB": "mongodb", "AIMA_KAFKA": "kafka", "AIMA_S3": "s3", "AIMA_VECTORS": "vectors"}
"""A setting that is named in what the process waits for tells which store that is."""

RETRY_SECONDS = (3, 8)


@contextlib.asynccontextmanager
async def waiting_room(
    environment: Mapping[str, str], health: Health, rng: random.Random | None = None
) -> AsyncIterator[None]:
    """Answer on the gateway's address while in context; the gateway itself listens there afterwards."""
    own, chance = Settings.from_environment(environment), rng or random.Random()

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path == "/livez":
            return web.Response(text="alive\n")
        return problem_answer(_problem(health.waits_for, chance.randint(*RETRY_SECONDS)))

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, auto_decompress=False, shutdown_timeout=1)
    await runner.setup()
    try:
        # A port that is yet to be chosen is known to nobody.
        if own.port:
            await web.TCPSite(runner, own.host, own.port).start()
        yield
    finally:
        await runner.cleanup()


def _problem(waits_for: str, seconds: int) -> Problem:
    away = next((STORES[code] for setting, code in SETTINGS.items() if setting in waits_for), None)
    detail = f"the gateway waits for {away}, which is away" if away else "the gateway is starting"
    code = "store_away" if away else "starting"
    return Problem(503, code, detail, f"Try again in {seconds} seconds.", retry_after_seconds=seconds)
