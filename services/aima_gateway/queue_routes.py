"""The queue as a whole: what waits in which order, what the machines do, and which starts are kept free."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web

from aima_common.errors import TransientError
from aima_common.ports.clock import Clock
from aima_common.ports.documents import Document
from aima_gateway import views
from aima_gateway.answers import Handlers, actor, json_answer, whole_number
from aima_gateway.reading import Reading
from aima_gateway.schemas import QUEUE_STATES

ShowQueue = Callable[[str, int], Awaitable[Mapping[str, Any] | None]]
"""Asks the scheduler for the queue as a tenant may see it, with so many jobs; None where it says nothing."""

LOOKED_AT = 1000
"""So many waiting jobs, the oldest, are put in order where the scheduler cannot be asked."""


class QueueRoutes:
    """Shows a tenant its place in the world."""

    def __init__(self, reading: Reading, clock: Clock, show_queue: ShowQueue | None = None) -> None:
        self._reading = reading
        self._clock = clock
        self._show_queue = show_queue

    def handlers(self) -> Handlers:
        """Map operations to what answers them."""
        return {"show_queue": self.show}

    async def show(self, request: web.Request) -> web.StreamResponse:
        tenant, limit = actor(request).tenant, whole_number(request, "limit", 20, 1, 100)
        told = await self._asked(tenant, limit)
        places = {str(place["job"]): place for place in told["waiting"]} if told else {}
        jobs = await self._named(tenant, list(places)) if told else await self._oldest(tenant, limit)
        now = self._clock.now()
        counted = await asyncio.gather(
            *(self._reading.count("jobs", tenant, {"state": state}) for state in QUEUE_STATES)
        )
        return json_answer(
            {
                "counts": dict(zip(QUEUE_STATES, counted, strict=True)),
                "waiting": [views.queued_job_view(job, places.get(job.id, {}), now) for job in jobs],
                "machines": told["machines"] if told else [],
                "reservations": told["reservations"] if told else [],
                "scheduler": told is not None,
            }
        )

    async def _asked(self, tenant: str, limit: int) -> Mapping[str, Any] | None:
        """Ask the scheduler; where none can be asked, what the store says has to do."""
        with contextlib.suppress(TransientError):
            return await self._show_queue(tenant, limit) if self._show_queue else None
        return None

    async def _named(self, tenant: str, names: list[str]) -> list[Document]:
        found = await self._reading.some("jobs", tenant, {"id": names}) if names else []
        return sorted(found, key=lambda job: names.index(job.id))

    async def _oldest(self, tenant: str, limit: int) -> list[Document]:
        where = {"kind": "analyse", "state": "ready", "machine": None}
        found = await self._reading.some("jobs", tenant, where, ["submitted_at"], LOOKED_AT)
        return views.by_urgency(found, self._clock.now())[:limit]
