"""Files on their way to AIMA: read once to know their hash, and sent only when AIMA lacks them."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

BLOCK_BYTES = 1 << 20

Moved = Callable[[int], None]
"""Called with the number of bytes that were read or sent since the last call; below zero for what is sent again."""


def nothing(count: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class FileDigest:
    """What is known of a file once it was read."""

    sha256: str
    size_bytes: int


async def digest(path: Path, moved: Moved = nothing) -> FileDigest:
    """Hash a file without holding more than a block of it; raise `OSError` when it cannot be read."""
    running, size = hashlib.sha256(), 0
    with _opened(path) as file:
        while block := await asyncio.to_thread(_read_and_hash, file, running.update):
            size += block
            moved(block)
    return FileDigest(running.hexdigest(), size)


async def blocks(path: Path, size_bytes: int, moved: Moved = nothing, *, start: int = 0) -> AsyncIterator[bytes]:
    """Stream exactly `size_bytes` of a file from `start` on; stop early when it has become shorter."""
    left = size_bytes
    with _opened(path) as file:
        file.seek(start)
        while left > 0 and (block := await asyncio.to_thread(file.read, min(BLOCK_BYTES, left))):
            left -= len(block)
            yield block
            moved(len(block))


def _opened(path: Path) -> BinaryIO:
    # Not in a thread: a file that was opened for a task which was cancelled meanwhile would be closed by nobody.
    return path.open("rb")


class Again:
    """Makes the body of a request anew for every attempt; what an earlier one sent is taken back from the count."""

    def __init__(self, path: Path, size_bytes: int, moved: Moved) -> None:
        self._path = path
        self._size_bytes = size_bytes
        self._moved = moved
        self._sent = 0

    def __call__(self) -> AsyncIterator[bytes]:
        """Make the body for the next attempt."""
        if self._sent:
            self._moved(-self._sent)
            self._sent = 0
        return blocks(self._path, self._size_bytes, self._count)

    def _count(self, number: int) -> None:
        self._sent += number
        self._moved(number)


def file_name(path: Path) -> str:
    """Give a file's own name as text; bytes that are not UTF-8 are replaced, since JSON cannot carry them."""
    return os.fsencode(path.name).decode("utf-8", "replace")


def idempotency_key(case: str, path: Path, content: FileDigest) -> str:
    """Name the sending of this content of this path to this case: doing it again is the same upload."""
    where = os.fsencode(path.absolute())
    return hashlib.sha256(b"\0".join([case.encode(), where, content.sha256.encode()])).hexdigest()


def _read_and_hash(file: BinaryIO, update: Callable[[bytes], None]) -> int:
    block = file.read(BLOCK_BYTES)
    update(block)
    return len(block)
