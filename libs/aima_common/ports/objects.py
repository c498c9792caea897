"""Objects: large immutable bytes under a key."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class ObjectInfo:
    """What is known of an object without reading it."""

    key: str
    size_bytes: int
    modified_at: float
    """Seconds since the epoch."""


class ResumableWriter(Protocol):
    """Bytes on their way to becoming an object; survives the process."""

    async def size(self) -> int:
        """Tell how many bytes are durably in."""

    async def write(self, chunk: bytes) -> None:
        """Append a chunk; raise `StorageFullError` when there is no room."""

    async def flush(self) -> None:
        """Make what was written so far durable."""

    def read_back(self) -> AsyncIterator[bytes]:
        """Stream what was written so far (to rebuild a hash after a restart)."""

    async def finish(self, key: str) -> None:
        """Make it the object `key`, durably; an equal object that exists already is kept instead."""

    async def abort(self) -> None:
        """Throw it away."""


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

    async def info(self, key: str) -> ObjectInfo | None:
        """Tell size and age, or None when nothing lies there."""

    def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Walk the objects below a prefix."""

    async def delete(self, key: str) -> bool:
        """Remove an object; False when there was none."""

    async def writer(self, upload: str) -> ResumableWriter:
        """Begin, or go on with, a resumable write of this name."""

    def local_path(self, key: str) -> str | None:
        """Tell the path of the object on this machine when the plug has one, else None."""
