"""How a process and its confined consumer talk: frames on a socket of their own, and a page that both can see.

A frame is the lengths of a header and a body (two u32, big-endian), the header (JSON) and the body. The page holds
the place in the log that the consumer is unfolding at the moment; what it was outlives the consumer.
"""

import asyncio
import mmap
import os
import struct
from collections.abc import Mapping
from typing import Any

from aima_common.contracts.codec import dumps, loads
from aima_common.errors import MalformedMessageError

LENGTHS = struct.Struct(">II")
LONGEST_HEADER = 1 << 20
LONGEST_BODY = 2 << 20

PLACE = struct.Struct(">qq")
NOWHERE = (-1, -1)


def frame(header: Mapping[str, Any], body: bytes = b"") -> bytes:
    """Lay a frame out."""
    told = dumps(header)
    return LENGTHS.pack(len(told), len(body)) + told + body


async def receive(reader: asyncio.StreamReader) -> tuple[dict[str, Any], bytes] | None:
    """Wait for a frame; None at the end of the stream. Raises `MalformedMessageError` for what is no frame."""
    try:
        header_length, body_length = LENGTHS.unpack(await reader.readexactly(LENGTHS.size))
        if header_length > LONGEST_HEADER or body_length > LONGEST_BODY:
            raise MalformedMessageError(f"a frame of {header_length} and {body_length} bytes")
        header = loads(await reader.readexactly(header_length))
        if not isinstance(header, dict):
            raise MalformedMessageError("a frame's header is no object")
        return header, await reader.readexactly(body_length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


class Page:
    """The place in the log that is being unfolded, written by one process and read by another."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        os.ftruncate(descriptor, mmap.PAGESIZE)
        self._page = mmap.mmap(descriptor, mmap.PAGESIZE)

    @classmethod
    def fresh(cls) -> "Page":
        """Make a page that lies in no folder."""
        page = cls(os.memfd_create("aima-unfolding"))
        page.write(*NOWHERE)
        return page

    def write(self, partition: int, offset: int) -> None:
        """Note a place."""
        self._page[: PLACE.size] = PLACE.pack(partition, offset)

    def read(self) -> tuple[int, int] | None:
        """Tell which partition and offset was noted last, if any."""
        place = PLACE.unpack(self._page[: PLACE.size])
        return None if place == NOWHERE else (place[0], place[1])

    def close(self) -> None:
        """Let go of it."""
        self._page.close()
        os.close(self.descriptor)
