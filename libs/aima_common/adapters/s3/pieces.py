"""Bytes that arrive in any sizes, sent on in pieces of one size, a few at the same time, in constant memory."""

import asyncio
from collections.abc import Awaitable, Callable

from aima_common.errors import UnavailableError

Send = Callable[[int, bytes], Awaitable[None]]
"""Sends the piece of this number; they are numbered from 1."""


class Pieces:
    """Cuts off and sends a piece whenever one is full and more comes: the last one, full or not, stays behind.

    Once a piece could not be sent nothing is taken any more, as what follows would lie behind a gap.
    """

    def __init__(self, piece_bytes: int, at_once: int, send: Send) -> None:
        self._piece_bytes = piece_bytes
        self._at_once = at_once
        self._send = send
        self._waiting: list[bytes] = []
        self._sending: set[asyncio.Task[None]] = set()
        self._failed: BaseException | None = None
        self.rest_bytes = 0
        """The size of what was not cut off yet."""
        self.cut = 0
        """How many pieces were cut off."""

    def rest(self) -> bytes:
        """Give what was not cut off yet."""
        self._waiting = [b"".join(self._waiting)]
        return self._waiting[0]

    async def add(self, chunk: bytes) -> None:
        """Take a chunk; raise what sending an earlier piece raised."""
        self._raise()
        while chunk:
            if self.rest_bytes == self._piece_bytes:
                await self._cut_off()
            room = self._piece_bytes - self.rest_bytes
            taken, chunk = chunk[:room], chunk[room:]
            self._waiting.append(taken)
            self.rest_bytes += len(taken)

    async def settle(self) -> None:
        """Wait until everything that was cut off is in; raise what sending it raised."""
        while self._sending:
            await self._wait(asyncio.ALL_COMPLETED)
        self._raise()

    async def stop(self) -> None:
        """Wait until nothing is under way, whatever comes of it, and take nothing any more."""
        while self._sending:
            await self._wait(asyncio.ALL_COMPLETED)
        self._waiting, self.rest_bytes = [], 0
        self._failed = self._failed or UnavailableError("this write was given up", code="upload_broken")

    async def _cut_off(self) -> None:
        while len(self._sending) >= self._at_once:
            await self._wait(asyncio.FIRST_COMPLETED)
        self._raise()
        self.cut += 1
        piece, self._waiting, self.rest_bytes = self.rest(), [], 0
        self._sending.add(asyncio.create_task(self._sent(self.cut, piece)))

    async def _sent(self, number: int, piece: bytes) -> None:
        await self._send(number, piece)

    async def _wait(self, until: str) -> None:
        done, self._sending = await asyncio.wait(self._sending, return_when=until)
        for task in done:
            error = None if task.cancelled() else task.exception()
            self._failed = self._failed or error

    def _raise(self) -> None:
        if self._failed is not None:
            raise self._failed
