"""The way between a process and a server: late, lossy, cut, and cut exactly after the write was done."""

import asyncio
import contextvars
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from aima_common.errors import UnavailableError
from tests.simulation.virtual_time import Process

Answer = TypeVar("Answer")

CALL_SECONDS = 4.0
"""How long a client waits for an answer before it gives up without knowing what happened."""

SLOW_READS = 0.2
"""Share of the reads that take time; the others are over before anybody else gets a word in, which saves turns."""


class Link(Protocol):
    """How a plug reaches its server."""

    async def ask(self, question: Callable[[], Answer]) -> Answer:
        """Have the server do what changes nothing."""

    async def change(self, step: Callable[[], Answer]) -> Answer:
        """Have the server do one atomic step; raise `UnavailableError` when it is away or the outcome is unknown."""


class Direct:
    """Nothing lies between: for the contract, and for whoever looks at the end."""

    async def ask(self, question: Callable[[], Answer]) -> Answer:
        return question()

    async def change(self, step: Callable[[], Answer]) -> Answer:
        await asyncio.sleep(0)
        return step()


@dataclass
class Server:
    """Whether a server can be reached."""

    name: str
    away: bool = False
    silent: bool = False
    """While it is away: it accepts and says nothing, rather than refusing."""
    outages: int = 0
    lost_requests: float = 0.0
    """Share of the calls that never arrive."""
    lost_replies: float = 0.0
    """Share of the calls that are done without their caller ever hearing of it."""

    def go(self, *, silent: bool) -> None:
        """Be away; who waits for an answer gets none."""
        self.away, self.silent = True, silent
        self.outages += 1

    def come_back(self) -> None:
        """Be there again."""
        self.away = False


@dataclass(frozen=True)
class CrashPoint:
    """Die at a call of one's own: just after it was sent, or just after it was done and before the answer came."""

    call: int
    done: bool


class Wire:
    """A `Link` of one process to one server."""

    def __init__(self, process: Process, server: Server, rng: random.Random, crash: Callable[[Process], None]) -> None:
        self._process = process
        self._server = server
        self._rng = rng
        self._crash = crash
        self._loop = asyncio.get_running_loop()
        self._outside = contextvars.Context()
        self.crash_point: CrashPoint | None = None
        self._calls = 0

    async def ask(self, question: Callable[[], Answer]) -> Answer:
        self._refuse_the_dead()
        if self._server.away or self._rng.random() < SLOW_READS:
            return await self._send(question)
        return question()

    async def change(self, step: Callable[[], Answer]) -> Answer:
        self._refuse_the_dead()
        return await self._send(step)

    def _refuse_the_dead(self) -> None:
        if not self._process.alive:
            raise asyncio.CancelledError

    async def _send(self, step: Callable[[], Answer]) -> Answer:
        loop, rng, server = self._loop, self._rng, self._server
        future: asyncio.Future[Answer] = loop.create_future()
        self._calls += 1
        crashing = self.crash_point if self.crash_point and self.crash_point.call == self._calls else None
        fate = rng.random()
        if server.away:
            delay = CALL_SECONDS if server.silent else rng.uniform(0.01, 0.1)
            loop.call_later(delay, _fail, future, f"{server.name} is away", context=self._outside)
        elif fate < server.lost_requests:
            loop.call_later(CALL_SECONDS, _fail, future, f"{server.name} did not answer", context=self._outside)
        else:
            lost = fate < server.lost_requests + server.lost_replies
            delay = rng.uniform(0.001, 0.02)
            loop.call_later(delay, self._arrive, step, future, lost, crashing, context=self._outside)
        if crashing and not crashing.done:
            loop.call_soon(self._crash, self._process, context=self._outside)
        return await future

    def _arrive(
        self, step: Callable[[], Answer], future: "asyncio.Future[Answer]", lost: bool, crashing: CrashPoint | None
    ) -> None:
        """Do what was asked, at the server, whatever has become of the client meanwhile."""
        loop, server = self._loop, self._server
        if server.away:
            _fail(future, f"{server.name} went away")
            return
        try:
            answer = step()
        except Exception as error:  # noqa: BLE001 - an error is an answer, too
            if not future.done():
                future.set_exception(error)
            return
        if crashing:
            loop.call_soon(self._crash, self._process, context=self._outside)
        if lost:
            loop.call_later(CALL_SECONDS, _fail, future, f"{server.name} did not answer", context=self._outside)
        else:
            delay = self._rng.uniform(0.001, 0.02)
            loop.call_later(delay, self._answer, future, answer, server.outages, context=self._outside)

    def _answer(self, future: "asyncio.Future[Answer]", answer: Answer, outages: int) -> None:
        if self._server.outages != outages:
            _fail(future, f"{self._server.name} went away before it answered")
        elif not future.done():
            future.set_result(answer)


def _fail(future: "asyncio.Future[Answer]", reason: str) -> None:
    if not future.done():
        future.set_exception(UnavailableError(f"{reason}; whether it was done is not known"))
