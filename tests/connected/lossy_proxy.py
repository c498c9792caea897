"""A TCP proxy in front of a server that loses what it is told to lose."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

CHUNK_BYTES = 1 << 16
METHODS = (b"GET ", b"HEAD ", b"PUT ", b"POST ", b"DELETE ")

Judge = Callable[[bytes], bool]
"""Tells by the first line of an HTTP request whether its answer gets lost."""


class LossyProxy:
    """Passes bytes on; the answer to a request that `loses` names never arrives, though the request was served."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.loses: Judge = lambda _request: False
        self.told: bytes | None = None
        """What is answered instead of a lost answer; None breaks the connection."""
        self.cuts_after: int | None = None
        """How many bytes of an answer arrive before the connection breaks."""
        self.lost: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        upstream, to_server = await asyncio.open_connection("127.0.0.1", self._port)
        losing = asyncio.Event()
        pumps = [
            asyncio.create_task(self._forward(reader, to_server, losing)),
            asyncio.create_task(self._back(upstream, writer, losing)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for end in (writer, to_server):
                end.close()
                with contextlib.suppress(OSError):
                    await end.wait_closed()

    async def _forward(self, client: asyncio.StreamReader, server: asyncio.StreamWriter, losing: asyncio.Event) -> None:
        while chunk := await client.read(CHUNK_BYTES):
            line = chunk.partition(b"\r\n")[0]
            if line.startswith(METHODS) and self.loses(line):
                self.lost.append(line)
                losing.set()
            server.write(chunk)
            await server.drain()

    async def _back(self, server: asyncio.StreamReader, client: asyncio.StreamWriter, losing: asyncio.Event) -> None:
        arrived = 0
        while chunk := await server.read(CHUNK_BYTES):
            if losing.is_set():
                client.write(self.told or b"")
                await client.drain()
                return
            arrived += len(chunk)
            if self.cuts_after is not None and arrived > self.cuts_after:
                return
            client.write(chunk)
            await client.drain()


@contextlib.asynccontextmanager
async def lossy(port: int) -> AsyncIterator[tuple[LossyProxy, int]]:
    """Run a proxy in front of a port of 127.0.0.1; give it and its own port."""
    proxy = LossyProxy(port)
    connections: set[asyncio.Task[None]] = set()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(proxy.serve(reader, writer))
        connections.add(task)
        with contextlib.suppress(asyncio.CancelledError, OSError):
            await task

    server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    try:
        yield proxy, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
