"""How preprocessing lays out the derivatives of a segment inside one object each.

All three are self-describing and pip-only to read; nothing in them comes from the original's bytes
but re-encoded pixels and samples.
"""

import io
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FRAMES_MAGIC = b"AIMAFRM1"
"""Frames: magic, u32 count, then per frame f64 time in seconds, u32 length, JPEG bytes (little endian)."""


@dataclass(frozen=True)
class Frame:
    """A picture at a time; `jpeg` is an upright JPEG <= 1280 px."""

    time_seconds: float
    jpeg: bytes


@dataclass(frozen=True)
class Thumbnails:
    """48 x 27 RGB of consecutive frames."""

    pixels: npt.NDArray[np.uint8]
    """Shape (n, 27, 48, 3)."""
    times: npt.NDArray[np.float64]
    """Shape (n,), seconds from the start of the medium."""


def pack_frames(frames: Sequence[Frame]) -> bytes:
    """Lay frames out in one object."""
    parts = [FRAMES_MAGIC, struct.pack("<I", len(frames))]
    for frame in frames:
        parts += [struct.pack("<dI", frame.time_seconds, len(frame.jpeg)), frame.jpeg]
    return b"".join(parts)


def unpack_frames(data: bytes) -> Iterator[Frame]:
    """Read the frames of an object one by one; raise ValueError when it is not one of ours."""
    if data[:8] != FRAMES_MAGIC:
        raise ValueError("not a frames object")
    (count,) = struct.unpack_from("<I", data, 8)
    offset = 12
    for _ in range(count):
        time_seconds, length = struct.unpack_from("<dI", data, offset)
        offset += 12
        yield Frame(time_seconds, data[offset : offset + length])
        offset += length


def pack_thumbnails(thumbnails: Thumbnails) -> bytes:
    """Lay thumbnails out as an npz archive, compressed, without pickles."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, pixels=thumbnails.pixels, times=thumbnails.times)
    return buffer.getvalue()


def unpack_thumbnails(data: bytes) -> Thumbnails:
    """Read thumbnails; pickles are refused."""
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        return Thumbnails(archive["pixels"], archive["times"])
