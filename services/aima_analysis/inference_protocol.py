"""How a service and its inference processes talk: length, header, blobs, over one socket that is theirs alone.

A frame is the header's length (u32, little endian), the header (JSON), and the blobs one after another; the
header's `blobs` holds their lengths. Standard output and error are not part of it, so that a library that
prints disturbs nothing.
"""

import asyncio
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

LENGTH = struct.Struct("<I")
LONGEST_HEADER = 256 * 2**20
"""A result of a minute stays below a few megabytes; more is a fault."""


class ProtocolError(Exception):
    """The other side sent something that is not a frame."""


@dataclass(frozen=True)
class Message:
    """A header and its blobs."""

    header: Mapping[str, Any]
    blobs: Sequence[bytes] = ()

    def encode(self) -> list[bytes]:
        """Lay the message out as buffers to send in this order."""
        header = orjson.dumps({**self.header, "blobs": [len(blob) for blob in self.blobs]})
        return [LENGTH.pack(len(header)), header, *self.blobs]


def receive(connection: socket.socket) -> Message | None:
    """Wait for a message; None when the other side has closed. Raises ProtocolError."""
    start = _exactly(connection, LENGTH.size)
    if start is None:
        return None
    header = parse_header(_exactly(connection, header_length(start)) or b"")
    blobs = [_exactly(connection, length) for length in header["blobs"]]
    if any(blob is None for blob in blobs):
        raise ProtocolError("the connection ended inside a message")
    return Message(header, [blob for blob in blobs if blob is not None])


def send(connection: socket.socket, message: Message) -> None:
    """Send a message whole."""
    for buffer in message.encode():
        connection.sendall(buffer)


async def receive_async(reader: asyncio.StreamReader) -> Message:
    """Wait for a message; raise IncompleteReadError at the end of the stream, ProtocolError for what is no frame."""
    header = parse_header(await reader.readexactly(header_length(await reader.readexactly(LENGTH.size))))
    return Message(header, [await reader.readexactly(length) for length in header["blobs"]])


def header_length(start: bytes) -> int:
    """Read the length of a header; raise ProtocolError when it cannot be meant."""
    (length,) = LENGTH.unpack(start)
    if length > LONGEST_HEADER:
        raise ProtocolError(f"a header of {length} bytes")
    return int(length)


def parse_header(data: bytes) -> dict[str, Any]:
    """Read a header; raise ProtocolError when it is none."""
    try:
        header = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ProtocolError(f"a header that is not JSON: {error}") from error
    lengths = header.get("blobs") if isinstance(header, dict) else None
    if not isinstance(lengths, list) or not all(isinstance(length, int) and length >= 0 for length in lengths):
        raise ProtocolError("a header without the lengths of its blobs")
    return dict(header)


def _exactly(connection: socket.socket, count: int) -> bytes | None:
    """Read so many bytes; None when the stream ends before the first, ProtocolError when inside."""
    buffer = bytearray(count)
    view = memoryview(buffer)
    filled = 0
    while filled < count:
        received = connection.recv_into(view[filled:])
        if not received:
            if filled:
                raise ProtocolError("the connection ended inside a message")
            return None
        filled += received
    return bytes(buffer)
