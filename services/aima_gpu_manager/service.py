"""Owns the machines: announces this one, keeps it fresh, and notices those that fell silent."""

import asyncio
import contextlib
import datetime
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import structlog

from aima_common.contracts import messages as m
from aima_common.contracts.base import Message
from aima_common.contracts.envelope import Envelope
from aima_common.contracts.telling import tell
from aima_common.errors import TransientError
from aima_common.ports import Ports
from aima_common.ports.bus import Record
from aima_common.ports.documents import Change, Document, Expect, Insert, Range
from aima_gpu_manager.domain import Inventory, is_news
from aima_gpu_manager.inventory import read_inventory, utilisation

HEARTBEAT_SECONDS = 10.0

AWAY_SECONDS = 45.0
"""A machine that says nothing for this long is taken for away; its leases end by themselves."""

log = structlog.get_logger()


class GpuManager:
    """Keeps the inventory of machines in the store."""

    name = "gpu_manager"

    def __init__(self, ports: Ports, look: Callable[[], Inventory] = read_inventory) -> None:
        self._documents = ports.documents
        self._clock = ports.clock
        self._look = look

    def handlers(self) -> Mapping[type[Message], Callable[[Envelope[Any]], Awaitable[None]]]:
        """Map messages to what follows from them."""
        return {m.CapacityRequested: self.on_capacity_requested}

    def background(self) -> Sequence[Callable[[], Awaitable[None]]]:
        """Beat for as long as the process lives."""
        return [self.beat]

    async def on_capacity_requested(self, envelope: Envelope[m.CapacityRequested]) -> None:
        """Record the wish: on one machine there is nobody to rent from."""
        log.warning("capacity_missing", reason=envelope.body.reason, gpus=envelope.body.gpus)

    async def beat(self) -> None:
        """Look at this machine now and again, and say when something changed."""
        while True:
            with contextlib.suppress(TransientError):
                await self.announce(await asyncio.to_thread(self._look))
                await self._notice_the_silent()
            await self._clock.sleep(HEARTBEAT_SECONDS)

    async def announce(self, seen: Inventory) -> None:
        """Write what was seen; tell of it only when it is news."""
        now = self._clock.now()
        known = await self._documents.load("machines", seen.machine)
        body = {**seen.body(), "seen_at": now.isoformat(), "utilisation": utilisation()}
        if known is None:
            told = _changed(seen, now, available=True, cause=f"{seen.machine}-new")
            await self._documents.insert("machines", Insert(seen.machine, "", "available", body), outbox=[told])
            return
        news = is_news(known.body, seen) or known.state != "available"
        outbox = [_changed(seen, now, available=True, cause=f"{seen.machine}-{known.version}")] if news else []
        await self._documents.transition(
            "machines", seen.machine, change=Change(state="available", set=body), outbox=outbox
        )

    async def _notice_the_silent(self) -> None:
        now = self._clock.now()
        limit = (now - datetime.timedelta(seconds=AWAY_SECONDS)).isoformat()
        for machine in await self._documents.find("machines", {"state": "available", "seen_at": Range(below=limit)}):
            await self._take_for_away(machine, now)

    async def _take_for_away(self, machine: Document, now: datetime.datetime) -> None:
        body = machine.body
        gone = Inventory(machine.id, body["cpus"], body["memory_bytes"])
        told = _changed(gone, now, available=False, cause=f"{machine.id}-{machine.version}")
        expect = Expect(state="available", version=machine.version)
        await self._documents.transition("machines", machine.id, expect=expect, change=Change("away"), outbox=[told])
        log.warning("machine_away", machine=machine.id)


def _changed(seen: Inventory, now: datetime.datetime, *, available: bool, cause: str) -> Record:
    body = m.CapacityChanged(
        machine=seen.machine,
        cpus=seen.cpus,
        memory_bytes=seen.memory_bytes,
        gpus=len(seen.gpus),
        available=available,
    )
    return tell(body, tenant="", key=seen.machine, cause=cause, time=now)
