"""A TCP proxy that does harm: it stands between a client and a server, and what it does can be changed while it runs.

    async with Proxy.listening(port) as proxy:          # in front of 127.0.0.1:port
        await proxy.inflict(BLACK_HOLE)                 # from now on, for old and new connections
        await proxy.inflict(PASS)

A client must only ever know the proxy's address: Kafka tells its clients where to connect to, so that its
advertised listener has to be the proxy.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

CHUNK_BYTES = 64 * 1024
NOTED_BYTES = 256
"""How much is kept of the beginning of a request whose answer was lost."""


class Mode(StrEnum):
    """What happens to connections and to bytes."""

    PASS = "pass"
    REFUSE = "refuse"
    """Nobody listens, and who was connected is reset."""
    BLACK_HOLE = "black hole"
    """Connections are accepted, and not a byte passes until the fault ends."""
    RESET = "reset"
    """Every connection is reset at once."""
    CUT = "cut"
    """Some bytes of what a client sends pass; then its connection is reset, in the middle of whatever it was."""
    DROP_REPLIES = "drop replies"
    """What a client asks for is passed on and done; its connection is reset in the place of the answer."""


@dataclass(frozen=True)
class Fault:
    """What the proxy does."""

    mode: Mode = Mode.PASS
    delay_seconds: float = 0.0
    """How long every stretch of bytes is held up, each way."""
    bytes_per_second: int = 0
    """How much passes, each way and per connection; 0 for everything."""
    passing_bytes: int = 0
    """How much of a connection's requests a cut lets through."""


PASS = Fault()
REFUSE = Fault(Mode.REFUSE)
BLACK_HOLE = Fault(Mode.BLACK_HOLE)
RESET = Fault(Mode.RESET)
DROP_REPLIES = Fault(Mode.DROP_REPLIES)


class Proxy:
    """Stands before one port of this machine."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._fault = PASS
        self._passing = asyncio.Event()
        self._passing.set()
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.accepted = 0
        self.resets = 0
        self.replies_dropped = 0
        self.held_up = 0
        """Connections and stretches of bytes that waited. All these prove that a fault was inflicted."""
        self.unanswered: list[bytes] = []
        """The beginnings of the requests whose answers were dropped."""

    @classmethod
    @contextlib.asynccontextmanager
    async def listening(cls, target: int, port: int = 0) -> AsyncIterator[Self]:
        """Listen on a free port of 127.0.0.1, or on this one."""
        proxy = cls(target)
        await proxy._listen(port)
        try:
            yield proxy
        finally:
            await proxy._end()

    async def inflict(self, fault: Fault) -> None:
        """Change what happens, from now on."""
        self._fault = fault
        if fault.mode is Mode.BLACK_HOLE:
            self._passing.clear()
        else:
            self._passing.set()
        if fault.mode is Mode.REFUSE and self._server is not None:
            self._server.close()
            self._server = None
        elif fault.mode is not Mode.REFUSE and self._server is None:
            await self._listen(self.port)
        if fault.mode in {Mode.REFUSE, Mode.RESET}:
            for connection in list(self._connections):
                self._reset(connection)

    async def _listen(self, port: int) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.reset()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        connection = _Connection(writer)
        self._connections.add(connection)
        try:
            async with asyncio.TaskGroup() as halves:
                self.held_up += not self._passing.is_set()
                await self._passing.wait()
                if self._fault.mode is Mode.RESET:
                    self._reset(connection)
                    return
                replies, requests = await asyncio.open_connection("127.0.0.1", self._target)
                connection.writers.append(requests)
                halves.create_task(self._pump(reader, requests, connection, replies=False))
                halves.create_task(self._pump(replies, writer, connection, replies=True))
        except* OSError:
            # The server is away, or one side left: the other is told in the same way.
            connection.reset()
        finally:
            self._connections.discard(connection)
            for one in connection.writers:
                one.close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: "_Connection", *, replies: bool
    ) -> None:
        while data := await reader.read(self._appetite()):
            waits = not self._passing.is_set() or self._fault.delay_seconds or self._fault.bytes_per_second
            self.held_up += bool(waits)
            await self._passing.wait()
            fault = self._fault
            if not replies:
                connection.request = connection.request or data[:NOTED_BYTES]
            if fault.mode is Mode.DROP_REPLIES and replies:
                self.replies_dropped += 1
                self.unanswered.append(connection.request)
                self._reset(connection)
                return
            if fault.mode is Mode.CUT and not replies:
                passing = max(0, fault.passing_bytes - connection.requested)
                cut = len(data) > passing
                data = data[:passing]
            else:
                cut = False
            await asyncio.sleep(fault.delay_seconds)
            writer.write(data)
            await writer.drain()
            if replies:
                connection.request = b""
            else:
                connection.requested += len(data)
            if cut:
                # The server is to get what passed, which a reset might take back out of its hands.
                writer.close()
                self._reset(connection)
                return
            if fault.bytes_per_second:
                await asyncio.sleep(len(data) / fault.bytes_per_second)
        if writer.can_write_eof():
            writer.write_eof()

    def _appetite(self) -> int:
        slow = self._fault.bytes_per_second
        return max(1, min(CHUNK_BYTES, slow // 10)) if slow else CHUNK_BYTES

    def _reset(self, connection: "_Connection") -> None:
        self.resets += 1
        connection.reset()


class _Connection:
    """The two ends of a connection that are the proxy's."""

    def __init__(self, client: asyncio.StreamWriter) -> None:
        self.writers = [client]
        self.requested = 0
        self.request = b""
        """The beginning of what was asked since the last answer."""

    def reset(self) -> None:
        """Close both ends hard: they see a reset, not an end."""
        for writer in self.writers:
            if not writer.transport.is_closing():
                end: socket.socket = writer.get_extra_info("socket")
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
