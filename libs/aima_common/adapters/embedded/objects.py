"""Objects as files of a directory."""

import asyncio
import contextlib
import hashlib
import itertools
import os
import stat
import time
import uuid
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

from aima_common.adapters.embedded.durable_files import CHUNK_BYTES, Shelf, storage_errors, sync_directory
from aima_common.adapters.embedded.part_file import PartFile
from aima_common.adapters.object_keys import check_name
from aima_common.errors import ObjectMissingError
from aima_common.ports.objects import Digest, ObjectInfo

THREADS = 8
"""How many blocking calls may be under way; enough to keep one disk busy."""
LIST_BATCH = 500

_ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
T = TypeVar("T")


class DirectoryCreation:
    """A write into a file of the directory that nobody else knows of."""

    def __init__(self, part: PartFile, objects: "DirectoryObjects", key: str | None) -> None:
        self._part = part
        self._objects = objects
        self._key = key

    async def write(self, chunk: bytes) -> None:
        """Append a chunk whole; raise `StorageFullError`, with none of it kept, when there is no room."""
        await self._objects.in_thread(partial(self._part.append, chunk))

    async def finish(self, key: str, sha256: str) -> None:
        """Make it the object `key`; raise `ObjectExistsError`, and stay, when other bytes lie there."""
        if self._key not in (None, key):
            raise ValueError(f"begun as {self._key!r}, and to be finished as {key!r}")
        await self._objects.in_thread(partial(self._part.finish, key))

    async def abort(self) -> None:
        """Throw it away; doing so twice, or after `finish`, is fine."""
        await self._objects.in_thread(self._part.abort)


class DirectoryWriter:
    """A resumable write into a file of the directory."""

    def __init__(self, part: PartFile, objects: "DirectoryObjects") -> None:
        self._part = part
        self._objects = objects

    async def size(self) -> int:
        """Tell how many bytes are durably in; makes them so."""
        return await self._objects.in_thread(self._part.size)

    async def write(self, chunk: bytes) -> None:
        """Append a chunk whole; raise `StorageFullError`, with none of it kept, when there is no room."""
        await self._objects.in_thread(partial(self._part.append, chunk))

    async def flush(self) -> None:
        """Make what was written durable; after a failure this writer is of no use any more."""
        await self._objects.in_thread(self._part.flush)

    async def read_back(self) -> AsyncIterator[bytes]:
        """Stream what was written so far."""
        at = 0
        while chunk := await self._objects.in_thread(partial(self._part.read, at, CHUNK_BYTES)):
            yield chunk
            at += len(chunk)

    async def finish(self, key: str) -> None:
        """Make it the object `key`; raise `ObjectExistsError`, and stay, when other bytes lie there."""
        await self._objects.in_thread(partial(self._part.finish, key))

    async def abort(self) -> None:
        """Throw it away; doing so twice is fine."""
        await self._objects.in_thread(self._part.abort)


class DirectoryObjects:
    """A directory whose files are objects, named by their keys.

    `kept/` holds the objects, `uploads/` what is on its way, `incoming/` nothing that outlives a
    process. A key cannot be the folder of another key. One process at a time may open a directory.
    """

    def __init__(self, root: Path, threads: int) -> None:
        self._uploads = root / "uploads"
        self._incoming = root / "incoming"
        self._shelf = Shelf(root / "kept", self._incoming)
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="objects")
        self._parts: weakref.WeakValueDictionary[str, PartFile] = weakref.WeakValueDictionary()

    @classmethod
    async def at(cls, root: Path | str, *, threads: int = THREADS) -> "DirectoryObjects":
        """Open the directory, made when absent, and clear what an earlier process left half-written."""
        objects = cls(Path(root), threads)
        await objects.in_thread(partial(_prepare, Path(root)))
        return objects

    async def close(self) -> None:
        """Wait for what is under way; the objects stay."""
        await asyncio.to_thread(self._threads.shutdown)

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Run blocking work on one of this directory's threads."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def put(self, key: str, data: bytes) -> None:
        """Store a small object durably."""
        await self.in_thread(partial(self._shelf.store, key, data))

    async def get(self, key: str) -> bytes:
        """Read a small object whole; raise `ObjectMissingError`."""
        return await self.in_thread(partial(self._read_whole, key))

    async def open(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Stream bytes `start` up to, not including, `end`; what lies behind the object's end is left out."""
        if start < 0 or (end is not None and end < start):
            raise ValueError(f"bytes {start} to {end} are no range")
        file = await self.in_thread(partial(self._open_file, key))
        try:
            at = start
            while True:
                length = CHUNK_BYTES if end is None else min(CHUNK_BYTES, end - at)
                chunk = await self.in_thread(partial(file.read, at, length))
                if not chunk:
                    return
                yield chunk
                at += len(chunk)
        finally:
            file.close()

    async def digest(self, key: str) -> Digest:
        """Hash an object; raise `ObjectMissingError`."""
        return await self.in_thread(partial(self._digest, key))

    async def info(self, key: str) -> ObjectInfo | None:
        """Tell size and age, or None when nothing lies there."""
        path = self._shelf.path(key)
        return await self.in_thread(partial(_info, key, path))

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Walk the objects whose keys begin with `prefix`, in the order of their keys."""
        folder, _, _ = prefix.rpartition("/")
        start = self._shelf.path(folder) if folder else self._shelf.root
        walk = _walk(start, folder + "/" if folder else "", prefix)
        while batch := await self.in_thread(lambda: tuple(itertools.islice(walk, LIST_BATCH))):
            for entry in batch:
                yield entry

    async def delete(self, key: str) -> bool:
        """Remove an object; False when there was none."""
        return await self.in_thread(partial(self._shelf.remove, key))

    async def create(self, key: str | None = None) -> DirectoryCreation:
        """Begin a write into a file that is cleared away when this process dies."""
        part = await self.in_thread(lambda: PartFile(self._incoming / uuid.uuid4().hex, self._shelf))
        return DirectoryCreation(part, self, key)

    async def writer(self, upload: str) -> DirectoryWriter:
        """Begin, or go on with, a resumable write of this name."""
        check_name(upload)
        part = self._parts.get(upload)
        if part is None or not part.usable:
            part = await self.in_thread(partial(self._open_part, upload))
            # Two who ask at once must share one part: the one that was first stays.
            living = self._parts.get(upload)
            part = living if living is not None and living.usable else part
            self._parts[upload] = part
        return DirectoryWriter(part, self)

    @contextlib.asynccontextmanager
    async def lend(self, key: str) -> AsyncIterator[str]:
        """Lend the object's own file; raise `ObjectMissingError`."""
        path = self._shelf.path(key)
        if not path.is_file():
            raise ObjectMissingError(key)
        yield str(path)

    @property
    def direct(self) -> None:
        """Nobody reaches into a directory from outside."""
        return

    async def sweep(self, older_than_seconds: float) -> int:
        """Throw away what was begun and not added to for so long."""
        return await self.in_thread(partial(self._sweep, time.time() - older_than_seconds))

    def _open_part(self, upload: str) -> PartFile:
        part = PartFile(self._uploads / upload, self._shelf)
        with storage_errors(f"beginning upload {upload!r}"):
            sync_directory(self._uploads)
        return part

    def _sweep(self, before: float) -> int:
        swept = 0
        for path in (*self._uploads.iterdir(), *self._incoming.iterdir()):
            with contextlib.suppress(FileNotFoundError):
                if path.name not in self._parts and path.stat().st_mtime < before:
                    path.unlink()
                    swept += 1
        return swept

    def _read_whole(self, key: str) -> bytes:
        path = self._shelf.path(key)
        with storage_errors(f"reading {key!r}"):
            try:
                return path.read_bytes()
            except _ABSENT:
                raise ObjectMissingError(key) from None

    def _digest(self, key: str) -> Digest:
        file = self._open_file(key)
        try:
            digest, at = hashlib.sha256(), 0
            while chunk := file.read(at, CHUNK_BYTES):
                digest.update(chunk)
                at += len(chunk)
            return Digest(digest.hexdigest(), at)
        finally:
            file.close()

    def _open_file(self, key: str) -> "_OpenFile":
        path = self._shelf.path(key)
        with storage_errors(f"reading {key!r}"):
            try:
                if path.is_dir():
                    raise ObjectMissingError(key)
                return _OpenFile(key, path)
            except _ABSENT:
                raise ObjectMissingError(key) from None


class _OpenFile:
    """A file open for reading that closes itself when a cancelled reader forgets it."""

    def __init__(self, key: str, path: Path) -> None:
        self._key = key
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.close = weakref.finalize(self, os.close, self._descriptor)

    def read(self, start: int, length: int) -> bytes:
        with storage_errors(f"reading {self._key!r}"):
            return os.pread(self._descriptor, length, start)


def _prepare(root: Path) -> None:
    with storage_errors(f"opening the object folder {root}"):
        for folder in (root, root / "kept", root / "uploads", root / "incoming"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_directory(folder.parent)
        for leftover in (root / "incoming").iterdir():
            leftover.unlink(missing_ok=True)


def _info(key: str, path: Path) -> ObjectInfo | None:
    with storage_errors(f"looking at {key!r}"):
        try:
            status = path.stat()
        except _ABSENT:
            return None
    return ObjectInfo(key, status.st_size, status.st_mtime) if stat.S_ISREG(status.st_mode) else None


def _walk(folder: Path, above: str, prefix: str) -> Iterator[ObjectInfo]:
    """Yield the objects below a folder in the order of their whole keys; objects may come and go meanwhile."""
    try:
        with os.scandir(folder) as entries:
            found = sorted((entry.name + "/" * entry.is_dir(), Path(entry.path)) for entry in entries)
    except _ABSENT:
        return
    for name, path in found:
        key = above + name
        if key.endswith("/"):
            if key.startswith(prefix) or prefix.startswith(key):
                yield from _walk(path, key, prefix)
        elif key.startswith(prefix) and (info := _info(key, path)) is not None:
            yield info
