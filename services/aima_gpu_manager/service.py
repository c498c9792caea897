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

SIZE = ("cpus", "memory_bytes")

log = structlog.get_logger()


class GpuManager:
    """Keeps the inventory of machines in the store."""

    name = "gpu_manager"

    def __init__(self, ports: Ports, look: Callable[[], Inventory] = read_inventory) -> None:
        self._documents = ports.documents
        self._clock = ports.clock
        self._look = look
        self._unclear: dict[str, tuple[int, float]] = {}
        """Machines that say to have been seen later than now: at which version, and since when, by our own clock."""

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
        # By the store's clock, as whoever reads it: a machine's own may be wrong.
        now = await self._documents.now()
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
        now = await self._documents.now()
        away = datetime.timedelta(seconds=AWAY_SECONDS)
        silent = {"state": "available", "seen_at": Range(below=(now - away).isoformat())}
        for machine in await self._documents.find("machines", silent):
            await self._take_for_away(machine, now)
        unclear = {"state": "available", "seen_at": Range(at_least=(now + away).isoformat())}
        for machine in self._without_a_sign(await self._documents.find("machines", unclear)):
            await self._take_for_away(machine, now)

    def _without_a_sign(self, unclear: Sequence[Document]) -> list[Document]:
        """Find those that have not changed for as long as a silent machine takes to be away, whatever they say.

        The store's clock was set back, or somebody wrote what is no time: it would stay fresh for as long as that.
        """
        at = self._clock.monotonic()
        before, self._unclear = self._unclear, {}
        for machine in unclear:
            version, since = before.get(machine.id, (machine.version, at))
            self._unclear[machine.id] = machine.version, since if version == machine.version else at
        return [machine for machine in unclear if at - self._unclear[machine.id][1] > AWAY_SECONDS]

    async def _take_for_away(self, machine: Document, now: datetime.datetime) -> None:
        body = machine.body
        # Whoever wrote nonsense into it is told of as a machine of no size.
        size = [said if isinstance(said, int | float) and 0 <= said < 2**60 else 0 for said in map(body.get, SIZE)]
        gone = Inventory(machine.id, float(size[0]), int(size[1]))
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
