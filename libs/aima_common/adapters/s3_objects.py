"""Objects in a bucket of any S3 server.

What people stored lies under its own key, and is made by conditional writes only, so that a key is written once
whoever comes first. What is on its way lies below `uploads/`, or in multipart uploads that nobody can read.
"""

import asyncio
import contextlib
import itertools
import threading
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Self

from aima_common.adapters.embedded.durable_files import write_all
from aima_common.adapters.object_keys import check_key, check_name, key_refused
from aima_common.adapters.s3.direct import S3DirectWrites
from aima_common.adapters.s3.scratch import Scratch, private_file
from aima_common.adapters.s3.settings import S3Settings
from aima_common.adapters.s3.store import S3Store
from aima_common.adapters.s3.stored import Stored
from aima_common.adapters.s3.writers import STAGING, S3Creation, S3ResumableWriter
from aima_common.errors import ObjectMissingError, UnavailableError
from aima_common.ports.objects import Digest, ObjectInfo

LIST_BATCH = 500
COPY_BYTES = 1 << 20


class S3Objects:
    """The S3 plug of `Objects`. Any number of processes may share a bucket."""

    def __init__(self, store: S3Store, scratch: Scratch) -> None:
        self._store = store
        self._scratch = scratch
        self._direct = S3DirectWrites(store)

    @classmethod
    @contextlib.asynccontextmanager
    async def at(cls, settings: S3Settings) -> AsyncIterator[Self]:
        """Connect, and make the bucket when it is not there.

        Raises `UnavailableError` when the server does not answer, and `SettingsError`, with the setting's name, when
        it does not let us in.
        """
        store = S3Store(settings)
        try:
            await store.in_thread(store.connection.prepare)
            with Scratch(settings.scratch) as scratch:
                yield cls(store, scratch)
        finally:
            await store.close()

    async def put(self, key: str, data: bytes) -> None:
        """Store a small object durably."""
        await self._store.store(_own_key(key), data)

    async def get(self, key: str) -> bytes:
        """Read a small object whole; raise `ObjectMissingError`."""
        return b"".join([chunk async for chunk in self._store.read(check_key(key))])

    async def open(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Stream bytes `start` up to, not including, `end`; what lies behind the object's end is left out."""
        if start < 0 or (end is not None and end < start):
            raise ValueError(f"bytes {start} to {end} are no range")
        async for chunk in self._store.read(check_key(key), start, end):
            yield chunk

    async def digest(self, key: str) -> Digest:
        """Hash an object; raise `ObjectMissingError`."""
        return await self._store.digest(check_key(key))

    async def info(self, key: str) -> ObjectInfo | None:
        """Tell size and age, or None when nothing lies there."""
        found = await self._store.stat(check_key(key))
        return _info(found) if found is not None else None

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Walk the objects whose keys begin with `prefix`, in the order of their keys."""
        walk = self._store.connection.walk(prefix)
        while batch := await self._store.in_thread(lambda: tuple(itertools.islice(walk, LIST_BATCH))):
            for found in batch:
                if not found.key.startswith(STAGING):
                    yield _info(found)

    async def delete(self, key: str) -> bool:
        """Remove an object; False when there was none."""
        if await self._store.stat(_own_key(key)) is None:
            return False
        await self._store.in_thread(partial(self._store.connection.delete, [key]))
        return True

    async def create(self, key: str | None = None) -> S3Creation:
        """Begin a write in constant memory; nothing is asked of the store before it is needed."""
        return S3Creation(self._store, None if key is None else _own_key(key))

    async def writer(self, upload: str) -> S3ResumableWriter:
        """Begin, or go on with, a resumable write of this name."""
        return await S3ResumableWriter.load(self._store, check_name(upload))

    @contextlib.asynccontextmanager
    async def lend(self, key: str) -> AsyncIterator[str]:
        """Lend a copy of the object in the scratch folder, which nobody else may read and which goes afterwards."""
        path = self._scratch.path()
        enough = threading.Event()
        copying = asyncio.ensure_future(self._store.in_thread(partial(self._copy, check_key(key), path, enough)))
        try:
            await asyncio.shield(copying)
            yield str(path)
        finally:
            # Whoever is cancelled while it is copied leaves a thread behind, which has to see that first.
            enough.set()
            await asyncio.wait({copying})
            await self._store.in_thread(partial(path.unlink, missing_ok=True))

    @property
    def direct(self) -> S3DirectWrites:
        """How clients write straight into the bucket."""
        return self._direct

    async def sweep(self, older_than_seconds: float) -> int:
        """Throw away what was begun and not added to for so long; multipart uploads count from their beginning."""
        return await self._store.in_thread(partial(self._sweep, time.time() - older_than_seconds))

    def _copy(self, key: str, path: Path, enough: threading.Event) -> None:
        body = self._store.connection.read(key)
        if body is None:
            raise ObjectMissingError(key)
        copied = 0
        with contextlib.closing(body), private_file(path) as file:
            while not enough.is_set() and (chunk := body.read(COPY_BYTES)):
                write_all(file.fileno(), chunk)
                copied += len(chunk)
            if copied != body.size_bytes:
                raise UnavailableError(f"{copied} of the {body.size_bytes} bytes of {key!r} came", code="s3")

    def _sweep(self, before: float) -> int:
        connection, swept = self._store.connection, 0
        for key, upload, began in connection.uploads():
            if began < before:
                connection.abort(key, upload)
                swept += 1
        newest: dict[str, float] = {}
        staged = list(connection.walk(STAGING))
        for piece in staged:
            newest[_upload_of(piece)] = max(piece.modified_at, newest.get(_upload_of(piece), 0.0))
        forgotten = {upload for upload, modified in newest.items() if modified < before}
        connection.delete(piece.key for piece in staged if _upload_of(piece) in forgotten)
        return swept + len(forgotten)


def _own_key(key: str) -> str:
    if key.startswith(STAGING):
        raise key_refused(key, f"{STAGING} holds what is on its way")
    return check_key(key)


def _info(found: Stored) -> ObjectInfo:
    return ObjectInfo(found.key, found.size_bytes, found.modified_at)


def _upload_of(piece: Stored) -> str:
    """Name the upload that a staged object belongs to: `uploads/created/<it>`, `uploads/parts/<it>/…`."""
    return "/".join(piece.key.split("/")[:3])
