"""What the parts of the S3 plug share: threads, streams, and the one way in which a key is written once."""

import asyncio
import contextlib
import hashlib
import random
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from aima_common.adapters.s3.connection import S3Connection
from aima_common.adapters.s3.settings import S3Settings
from aima_common.adapters.s3.stored import Stored
from aima_common.errors import ObjectExistsError, ObjectMissingError, StorageFullError, UnavailableError
from aima_common.ports.objects import Digest

CHUNK_BYTES = 1 << 20
ATTEMPTS = 5
"""How often a key is tried that others put and remove at the same moment."""

T = TypeVar("T")
Made = Callable[[], Awaitable[bool]]
"""Tries to make an object; False when something lies under its key."""
Same = Callable[[], Awaitable[bool | None]]
"""Tells whether what lies under a key is what was to be put there; None when nothing does."""


class S3Store:
    """One bucket, and the threads that wait for it."""

    def __init__(self, settings: S3Settings) -> None:
        self.settings = settings
        self.connection = S3Connection(settings)
        self._threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="s3")

    async def close(self) -> None:
        """Wait for the requests that are under way."""
        await asyncio.to_thread(self._threads.shutdown)

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Run blocking work on one of the threads."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def in_thread_while_wanted(self, work: Callable[[threading.Event], T]) -> T:
        """Run long work that stops by itself as soon as the event is set, which it is when its caller is cancelled."""
        enough = threading.Event()
        try:
            return await self.in_thread(partial(work, enough))
        finally:
            enough.set()

    async def stat(self, key: str) -> Stored | None:
        """Look at an object."""
        return await self.in_thread(partial(self.connection.stat, key))

    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Stream a range, less what lies behind the end; `ObjectMissingError` comes before the first chunk."""
        if start == end:
            if await self.stat(key) is None:
                raise ObjectMissingError(key)
            return
        body = await self.in_thread(partial(self.connection.read, key, start, end))
        if body is None:
            return
        try:
            while chunk := await self.in_thread(partial(body.read, CHUNK_BYTES)):
                yield chunk
        finally:
            # A thread may still be reading when the reader was cancelled: closing waits for it, but not here.
            self._threads.submit(body.close)

    async def store(self, key: str, data: bytes) -> None:
        """Put an object that fits into memory, once; raise `ObjectExistsError` when other bytes lie there."""

        async def made() -> bool:
            return await self.in_thread(partial(self.connection.put, key, data, once=True)) is not None

        await self.once(key, made, lambda: self._holds(key, data))

    async def once(self, key: str, make: Made, same: Same) -> None:
        """Make an object unless an equal one is there; raise `ObjectExistsError` for another one.

        An outcome that is not known is looked at, never assumed: the answer may have been lost after the write.
        """
        for attempt in range(ATTEMPTS):
            unknown: UnavailableError | None = None
            try:
                if await make():
                    return
            except StorageFullError:
                raise
            except UnavailableError as error:
                unknown = error
            found = await same()
            if found:
                return
            if found is False:
                raise ObjectExistsError(key)
            if unknown is not None:
                raise unknown
            # It was there, and is not any more.
            await asyncio.sleep(random.uniform(0, 0.02 * 2**attempt))
        raise UnavailableError(f"others put and remove {key!r} all the time", code="s3")

    async def digest(self, key: str) -> Digest:
        """Hash an object in one go; raise `ObjectMissingError`."""
        return await self.in_thread_while_wanted(partial(self._digest, key))

    async def hash_of(self, key: str) -> str | None:
        """Hash an object; None when it is not there."""
        try:
            return (await self.digest(key)).sha256
        except ObjectMissingError:
            return None

    def _digest(self, key: str, enough: threading.Event) -> Digest:
        body = self.connection.read(key)
        if body is None:
            raise ObjectMissingError(key)
        digest, size = hashlib.sha256(), 0
        with contextlib.closing(body):
            while not enough.is_set() and (chunk := body.read(CHUNK_BYTES)):
                digest.update(chunk)
                size += len(chunk)
        return Digest(digest.hexdigest(), size)

    async def _holds(self, key: str, data: bytes) -> bool | None:
        found = await self.stat(key)
        if found is None:
            return None
        if found.size_bytes != len(data):
            return False
        at = 0
        try:
            async for chunk in self.read(key):
                if chunk != data[at : at + len(chunk)]:
                    return False
                at += len(chunk)
        except ObjectMissingError:
            return None
        return at == len(data)
