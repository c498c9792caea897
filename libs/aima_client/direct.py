"""Large files sent straight to the object store, where AIMA offers it and this machine can reach it."""

import asyncio
import errno
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from aima_client import sending
from aima_client.errors import ProblemError
from aima_client.sending import FileDigest, Moved
from aima_client.transport import Transport, wait_seconds

Json = dict[str, Any]

LARGE_BYTES = 64 << 20
"""From here on the requests that a direct upload needs beside its bytes cost little."""

PARTS_AT_ONCE = 3
ATTEMPTS = 5

NOT_OFFERED = frozenset({"no_direct_uploads", "no_such_route", "method_not_allowed"})
"""What an AIMA answers whose store is out of reach, or that is older than this."""


class StoreUnreachableError(Exception):
    """The store does not answer this machine; AIMA itself may."""


class DirectSender:
    """Sends files part by part; remembers when it is of no use."""

    def __init__(self, http: Transport) -> None:
        self._http = http
        self._useless = False

    def takes(self, content: FileDigest) -> bool:
        """Tell whether a file is worth trying."""
        return content.size_bytes >= LARGE_BYTES and not self._useless

    async def send(self, path: Path, named: Mapping[str, Any], key: Mapping[str, str], moved: Moved) -> Json | None:
        """Make a file an item; None when it has to be sent through AIMA. Raises as `Client.upload` does."""
        try:
            begun = await self._http.send("POST", "/v1/uploads/direct", named, headers=key)
        except ProblemError as problem:
            if problem.code not in NOT_OFFERED:
                raise
            self._useless = True
            return None
        if begun["direct"] is None:
            return begun
        try:
            await _Parts(self._http, path, begun, int(named["size_bytes"]), moved).send()
        except StoreUnreachableError:
            self._useless = True
            return None
        return await self._http.send("POST", f"/v1/uploads/{begun['id']}/direct/complete", {})


class _Parts:
    """The parts of one file."""

    def __init__(self, http: Transport, path: Path, begun: Json, size_bytes: int, moved: Moved) -> None:
        self._http = http
        self._path = path
        self._place = f"/v1/uploads/{begun['id']}/direct"
        self._size = size_bytes
        self._part_bytes = int(begun["direct"]["part_bytes"])
        self._left = iter(range(1, int(begun["direct"]["parts"]) + 1))
        self._moved = moved
        self._links: dict[int, str] = {}
        self._linking = asyncio.Lock()
        self._reached = False

    async def send(self) -> None:
        """Send all of them, a few at a time; raise `StoreUnreachableError` when one cannot be sent."""
        # Nothing of ours is shown to the store: the links say all it has to know.
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=60)
        async with aiohttp.ClientSession(timeout=timeout) as store:
            workers = [asyncio.create_task(self._work(store)) for _ in range(PARTS_AT_ONCE)]
            try:
                await asyncio.gather(*workers)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self, store: aiohttp.ClientSession) -> None:
        for part in self._left:
            for attempt in range(1, ATTEMPTS + 1):
                if await self._put(store, part, await self._link(part)):
                    break
                if attempt == ATTEMPTS:
                    raise StoreUnreachableError
                # It may have expired: a store that refuses often closes before it says so.
                self._links.pop(part, None)
                await asyncio.sleep(wait_seconds(attempt, None))

    async def _put(self, store: aiohttp.ClientSession, part: int, link: str) -> bool:
        start = (part - 1) * self._part_bytes
        length = min(self._part_bytes, self._size - start)
        sent = 0

        async def body() -> AsyncIterator[bytes]:
            nonlocal sent
            async for block in sending.blocks(self._path, length, start=start):
                yield block
                sent += len(block)
                self._moved(len(block))
            if sent < length:
                raise ConnectionAbortedError

        done = False
        headers = {"Content-Length": str(length)}
        try:
            async with store.put(URL(link, encoded=True), data=body(), headers=headers) as answer:
                await answer.read()
                self._reached, done = True, answer.status == 200
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            # Where nobody ever answered, trying again only makes people wait for the other way.
            if not self._reached:
                raise StoreUnreachableError from error
        except (aiohttp.ClientError, TimeoutError):
            self._reached = True
        if not done:
            self._moved(-sent)
            if self._path.stat().st_size < self._size:
                raise OSError(errno.EIO, "it became shorter while it was sent", str(self._path))
        return done

    async def _link(self, part: int) -> str:
        async with self._linking:
            if part not in self._links:
                given = await self._http.get(self._place, first=part)
                self._links |= dict(enumerate(given["urls"], given["first"]))
            return self._links[part]
