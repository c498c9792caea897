"""Bytes on their way in: hashed and written while the next ones arrive, in constant memory."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Protocol

from aima_common.ids import Sha256
from aima_common.ports.objects import ResumableWriter, Sink
from aima_common.problems import refuse
from aima_upload import domain
from aima_upload.domain import Content, Limits

BLOCK_BYTES = 2 << 20
"""How much is hashed and written at once: handing it to a thread then costs little beside hashing it."""


class Hash(Protocol):
    """A running digest."""

    def update(self, data: bytes, /) -> None:
        """Add bytes."""

    def hexdigest(self) -> str:
        """Tell the digest so far."""


class Reception:
    """What has arrived of one upload: the bytes in their writer, and their running hash.

    Without a writer the bytes are only hashed: to see whether a repeated request is the same one.
    """

    def __init__(self, writer: Sink | None, limits: Limits, idle_seconds: float) -> None:
        self._writer = writer
        self._limits = limits
        self._idle_seconds = idle_seconds
        self._hash: Hash = hashlib.sha256()
        self.received = 0

    async def resume(self, writer: ResumableWriter) -> None:
        """Hash what the writer holds from an earlier request."""
        async for chunk in writer.read_back():
            await asyncio.to_thread(self._hash.update, chunk)
            self.received += len(chunk)

    def continues(self, writer: ResumableWriter, size_bytes: int) -> bool:
        """Tell whether this is what lies in `writer`, and go on with it."""
        if self.received != size_bytes:
            return False
        self._writer = writer
        return True

    async def take(self, chunks: AsyncIterator[bytes]) -> None:
        """Take everything that comes; one block is stored while the next one arrives."""
        storing: asyncio.Task[None] | None = None
        try:
            async for block in _blocks(chunks, self._idle_seconds):
                self.received += len(block)
                domain.check_size(self.received, self._limits)
                if storing is not None:
                    await storing
                storing = asyncio.create_task(self._store(block))
        finally:
            # Also when the client goes away: a block must not be half stored when the session is released.
            if storing is not None:
                await storing

    def content(self) -> Content:
        """Tell what has arrived."""
        return Content(Sha256(self._hash.hexdigest()), self.received)

    async def _store(self, block: bytes) -> None:
        if self._writer is None:
            await asyncio.to_thread(self._hash.update, block)
            return
        hashing = asyncio.create_task(asyncio.to_thread(self._hash.update, block))
        try:
            await self._writer.write(block)
        finally:
            await hashing


async def _blocks(chunks: AsyncIterator[bytes], idle_seconds: float) -> AsyncIterator[bytes]:
    waiting: list[bytes] = []
    size = 0
    while True:
        try:
            async with asyncio.timeout(idle_seconds):
                chunk = await anext(chunks, None)
        except TimeoutError as error:
            raise refuse(
                408, "idle", f"nothing arrived for {idle_seconds:.0f} seconds", "Send it again, or resume the upload."
            ) from error
        if chunk is None:
            break
        waiting.append(chunk)
        size += len(chunk)
        if size >= BLOCK_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)
