"""Objects: large immutable bytes under a key."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class ObjectInfo:
    """What is known of an object without reading it."""

    key: str
    size_bytes: int
    modified_at: float
    """Seconds since the epoch."""


@dataclass(frozen=True)
class Digest:
    """What an object turned out to be when it was read."""

    sha256: str
    size_bytes: int


class Sink(Protocol):
    """Whatever takes bytes in their order."""

    async def write(self, chunk: bytes) -> None:
        """Append a chunk; raise `StorageFullError` when there is no room."""


class Writer(Sink, Protocol):
    """Bytes on their way to becoming an object, in constant memory; they are gone with the process."""

    async def finish(self, key: str, sha256: str) -> None:
        """Make what was written the object `key`, durably; an equal object that exists already is kept instead.

        `sha256` is the caller's hash of what it wrote. Raises `ObjectExistsError`, and may be called again, as it
        may after any error that is transient.
        """

    async def abort(self) -> None:
        """Throw it away; harmless after `finish`."""


class ResumableWriter(Sink, Protocol):
    """Bytes on their way to becoming an object; survives the process."""

    async def size(self) -> int:
        """Tell how many bytes are durably in; makes them so."""

    async def flush(self) -> None:
        """Make what was written so far durable."""

    def read_back(self) -> AsyncIterator[bytes]:
        """Stream what was written so far (to rebuild a hash after a restart)."""

    async def finish(self, key: str) -> None:
        """Make it the object `key`, durably; an equal object that exists already is kept instead."""

    async def abort(self) -> None:
        """Throw it away."""


@dataclass(frozen=True)
class DirectWrite:
    """A write that a client makes straight into the store, part by part; plain enough to be kept in a document."""

    key: str
    id: str
    size_bytes: int
    part_bytes: int

    @property
    def parts(self) -> int:
        """How many parts there are; all but the last have `part_bytes`. They are numbered from 1."""
        return max(1, -(-self.size_bytes // self.part_bytes))

    def length(self, part: int) -> int:
        """Tell how many bytes a part has."""
        return min(self.part_bytes, self.size_bytes - (part - 1) * self.part_bytes)


class DirectWrites(Protocol):
    """Writing without anybody in between: the store itself checks links that are good for one part of one object."""

    async def begin(self, key: str, size_bytes: int) -> DirectWrite:
        """Begin a write of exactly so many bytes."""

    async def links(self, write: DirectWrite, parts: Sequence[int], seconds: int) -> Sequence[str]:
        """Make the URLs to which these parts are to be PUT within so many seconds."""

    async def complete(self, write: DirectWrite) -> None:
        """Make the parts the object, once; nobody has looked at what is in them.

        Doing it again does nothing. Raises `PermanentError` (`direct_incomplete`) while parts are missing or have
        another size, and (`direct_gone`) when the write is not known any more.
        """

    async def abort(self, write: DirectWrite) -> None:
        """Throw it away, so that its links are worth nothing; harmless after `complete`."""


class Objects(Protocol):
    """A key is written once.

    Writing it again with other bytes raises `ObjectExistsError`; with the same bytes it does
    nothing, so a repeated message is harmless. An object that can be seen is whole.
    """

    async def put(self, key: str, data: bytes) -> None:
        """Store a small object durably."""

    async def get(self, key: str) -> bytes:
        """Read a small object whole; raise `ObjectMissingError`."""

    def open(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Stream bytes `start` up to, not including, `end`; `ObjectMissingError` comes before the first chunk."""

    async def digest(self, key: str) -> Digest:
        """Read an object for nothing but its hash, with less effort than `open`; raise `ObjectMissingError`."""

    async def info(self, key: str) -> ObjectInfo | None:
        """Tell size and age, or None when nothing lies there."""

    def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Walk the objects below a prefix, in the order of their keys."""

    async def delete(self, key: str) -> bool:
        """Remove an object; False when there was none."""

    async def create(self, key: str | None = None) -> Writer:
        """Begin a write; whoever knows its key already names it, and must finish there: a plug may write in place."""

    async def writer(self, upload: str) -> ResumableWriter:
        """Begin, or go on with, a resumable write of this name."""

    def lend(self, key: str) -> AbstractAsyncContextManager[str]:
        """Lend the path of a file on this machine that holds the object, to be read while in context.

        Raises `ObjectMissingError`, and `StorageFullError` where a copy has to be made and finds no room.
        """

    @property
    def direct(self) -> DirectWrites | None:
        """How clients write straight into the store; None where it is not theirs to reach."""

    async def sweep(self, older_than_seconds: float) -> int:
        """Throw away writes that were begun and that nobody has added to for so long; tell how many."""
