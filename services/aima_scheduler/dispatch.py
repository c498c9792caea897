"""Puts ready analysis jobs on machines, the most urgent first, whenever something changed."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence

import structlog

from aima_common.contracts import messages as m
from aima_common.contracts.media import MediumType
from aima_common.contracts.telling import tell
from aima_common.errors import TransientError
from aima_common.jobs import JobKind, Leadership, Ledger
from aima_common.jobs.ledger import is_interactive
from aima_common.ports import Ports
from aima_common.ports.documents import Change, Document, Expect
from aima_scheduler.placement import Machine, Needs, Room, ever_fits, place

IDLE_SECONDS = 0.5
"""The backstop for a wake-up that never came, or that woke another scheduler than the one that places."""

UNCLAIMED_SECONDS = 20.0
"""A placement that no worker claims for this long is taken back: the machine may be gone."""

log = structlog.get_logger()


class Dispatcher:
    """The thin shell round `placement`: reads machines and jobs, writes where each job goes."""

    def __init__(
        self, ports: Ports, ledger: Ledger, on_unschedulable: Callable[[Document, str], Awaitable[None]]
    ) -> None:
        self._documents = ports.documents
        self._clock = ports.clock
        self._ledger = ledger
        self._on_unschedulable = on_unschedulable
        self._leadership = Leadership(ports.documents, "placing", ledger.holder, ports.clock.monotonic)
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Look for something to place now."""
        self._wake.set()

    async def run(self) -> None:
        """Place jobs until cancelled."""
        try:
            while True:
                self._wake.clear()
                try:
                    await self.place_all()
                except TransientError as error:
                    log.warning("placing_waits", reason=str(error))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(IDLE_SECONDS):
                        await self._wake.wait()
        finally:
            with contextlib.suppress(TransientError):
                await asyncio.shield(self._leadership.give_up())

    async def place_all(self) -> int:
        """Place what fits, the most urgent first; return how many were placed.

        Of several schedulers one places at a time: two that count the same free room would both fill it.
        """
        await self._leave_the_silent()
        waiting = await self._ledger.ready(JobKind.ANALYSE, {"machine": None})
        if not waiting or not await self._leadership.held():
            return 0
        machines = await self._machines()
        rooms = await self._rooms(machines)
        placed = 0
        for job in waiting:
            needs = needs_of(job)
            if machines and (reason := ever_fits(needs, machines)):
                await self._refuse(job, reason)
                continue
            room = place(needs, rooms, interactive=is_interactive(job))
            if room and await self._assign(job, room.machine.id):
                room.take(needs)
                placed += 1
        return placed

    async def _machines(self) -> list[Machine]:
        found = await self._documents.find("machines", {"state": "available"}, order=["id"])
        return [
            Machine(d.id, float(d.body["cpus"]), int(d.body["memory_bytes"]), len(d.body.get("gpus", [])))
            for d in found
        ]

    async def _rooms(self, machines: Sequence[Machine]) -> list[Room]:
        rooms = {machine.id: Room(machine) for machine in machines}
        wanted = {"kind": JobKind.ANALYSE.value, "machine": list(rooms), "state": ["ready", "leased"]}
        now = self._clock.now().timestamp()
        for job in await self._documents.find("jobs", wanted, limit=10_000):
            if job.state == "ready" and now - float(job.body.get("placed_at") or 0) > UNCLAIMED_SECONDS:
                await self._take_back(job)
                continue
            rooms[job.body["machine"]].take(needs_of(job))
        return list(rooms.values())

    async def _leave_the_silent(self) -> None:
        """Take back what waits for machines that are gone; what they had begun ends with its lease."""
        if away := [machine.id for machine in await self._documents.find("machines", {"state": "away"})]:
            wanted = {"kind": JobKind.ANALYSE.value, "machine": away, "state": "ready"}
            for job in await self._documents.find("jobs", wanted, limit=10_000):
                await self._take_back(job)

    async def _assign(self, job: Document, machine: str) -> bool:
        medium = job.body["medium"]
        hint = m.AnalysisRequested(medium=medium, job=job.id, lane=MediumType(job.body["lane"]), machine=machine)
        now = self._clock.now()
        done = await self._documents.transition(
            "jobs",
            job.id,
            expect=Expect(state="ready", version=job.version),
            change=Change(set={"machine": machine, "placed_at": now.timestamp()}),
            outbox=[tell(hint, tenant=job.tenant, key=medium, cause=f"{job.id}-{job.version}", time=now)],
        )
        return done.applied

    async def _take_back(self, job: Document) -> None:
        expect = Expect(state="ready", version=job.version)
        await self._documents.transition("jobs", job.id, expect=expect, change=Change(set={"machine": None}))

    async def _refuse(self, job: Document, reason: str) -> None:
        change = Change(state="unschedulable", set={"reason": reason})
        done = await self._documents.transition(
            "jobs", job.id, expect=Expect(state="ready", version=job.version), change=change
        )
        if done.applied:
            await self._on_unschedulable(job, reason)


def needs_of(job: Document) -> Needs:
    """Read what a job needs."""
    needs = job.body["needs"]
    return Needs(float(needs.get("cpus", 1)), int(needs.get("memory_bytes", 0)), int(needs.get("gpus", 0)))
