"""Vectors in a process of their own, started when the first vector is put or asked for."""

import asyncio
import contextlib
import os
import shutil
import socket
import sys
from pathlib import Path

from aima_common.adapters.embedded.vector_client import Line, VectorClient
from aima_common.errors import StorageFullError, UnavailableError

END_SECONDS = 5.0
ROOM_BYTES = 64 << 20
"""Room that must be left on the disk: the engine writes through mapped memory, where a full disk is fatal."""


class _Child(Line):
    """A running vector process of our own."""

    def __init__(
        self, process: asyncio.subprocess.Process, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        super().__init__(reader, writer)
        self._process = process

    @classmethod
    async def start(cls, root: Path) -> "_Child":
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "aima_common.adapters.embedded.vector_process",
                str(theirs.fileno()),
                str(os.getpid()),
                str(root),
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
            )
        return cls(process, *await asyncio.open_connection(sock=ours))

    @property
    def pid(self) -> int:
        return self._process.pid

    def give_up(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def end(self) -> None:
        self._writer.close()
        try:
            await asyncio.wait_for(self._process.wait(), END_SECONDS)
        except TimeoutError:
            self.give_up()
            await self._process.wait()
        await super().end()


class EdgeVectors(VectorClient):
    """Vectors below a folder, held by one child process.

    The child starts with the first use, dies with this process, and is started again when it dies
    alone; what it was asked meanwhile is asked once more. One process at a time may open a folder.
    """

    def __init__(self, root: Path) -> None:
        super().__init__(self)
        self._root = root
        self._child: _Child | None = None
        self._starting = asyncio.Lock()
        self._closed = False

    @classmethod
    def open(cls, root: Path | str) -> "EdgeVectors":
        """Use a folder; costs nothing until something is put or asked."""
        return cls(Path(root))

    @property
    def pid(self) -> int | None:
        """Tell the id of the child, or None while there is none."""
        return self._child.pid if self._child is not None and self._child.alive else None

    async def close(self) -> None:
        """End the child; the vectors stay."""
        self._closed = True
        async with self._starting:
            if self._child is not None:
                await self._child.end()
                self._child = None

    async def line(self) -> Line:
        """Give the living child, starting one where there is none."""
        async with self._starting:
            if self._closed:
                raise UnavailableError("the vectors are closed", code="vectors_closed")
            if self._child is not None and not self._child.alive:
                await self._child.end()
                self._child = None
            if self._child is None:
                self._child = await _Child.start(self._root)
            return self._child

    async def require_room(self) -> None:
        """Raise `StorageFullError` when the disk is nearly full."""
        await asyncio.to_thread(self._require_room)

    def _require_room(self) -> None:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        free = shutil.disk_usage(self._root).free
        if free < ROOM_BYTES:
            raise StorageFullError(
                f"only {free >> 20} MiB are left for vectors; make room and try again", code="storage_full"
            )
