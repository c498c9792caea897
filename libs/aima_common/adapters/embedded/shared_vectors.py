"""Vectors of one process that serves many: a cluster on one machine without a Qdrant server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

from aima_common.adapters.embedded.vector_client import Line, VectorClient
from aima_common.errors import UnavailableError


class SharedVectors(VectorClient):
    """The vectors behind a socket of this machine (`python -m aima_common.adapters.embedded.vector_server`).

    A connection that breaks is made again, and what was asked meanwhile is asked once more.
    `socket` is the path at which that process serves.
    """

    def __init__(self, socket: Path) -> None:
        super().__init__(self)
        self._socket = socket
        self._line: Line | None = None
        self._connecting = asyncio.Lock()
        self._closed = False

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, socket: Path) -> AsyncIterator[Self]:
        """Connect; raise `UnavailableError` when nobody serves the socket."""
        vectors = cls(socket)
        await vectors.line()
        try:
            yield vectors
        finally:
            await vectors.close()

    async def close(self) -> None:
        """Let go of the connection; further use is refused."""
        self._closed = True
        async with self._connecting:
            await self._let_go()

    async def line(self) -> Line:
        """Give a living connection."""
        async with self._connecting:
            if self._closed:
                raise UnavailableError("the vectors are closed", code="vectors_closed")
            if self._line is None or not self._line.alive:
                await self._let_go()
                self._line = Line(*await self._connect())
            return self._line

    async def _let_go(self) -> None:
        if self._line is not None:
            await self._line.end()
            self._line = None

    async def require_room(self) -> None:
        """Leave it to the other side, which alone sees its disk."""

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            return await asyncio.open_unix_connection(self._socket)
        except OSError as error:
            raise UnavailableError(f"nobody serves vectors at {self._socket}: {error}", code="vectors") from error
