"""The outermost boxes of MP4 and MOV files: enough to tell a broken-off copy from a broken file."""

from collections.abc import Callable
from dataclasses import dataclass

Reader = Callable[[int, int], bytes]
"""Gives `length` bytes at `offset`, fewer at the end of the file."""

_MOST_BOXES = 100_000


@dataclass(frozen=True)
class BoxWalk:
    """What the outermost boxes of an MP4 say about its wholeness."""

    has_index: bool
    """The `moov` box is there."""
    fragmented: bool
    missing_bytes: int
    """How far the last box reaches beyond the end of the file."""


def walk_boxes(read: Reader, size_bytes: int) -> BoxWalk:
    """Walk the outermost boxes of an MP4 or MOV without parsing them."""
    offset, has_index, fragmented = 0, False, False
    for _ in range(_MOST_BOXES):
        header = read(16, offset)
        if len(header) < 8:
            break
        length = int.from_bytes(header[:4], "big")
        if length == 1 and len(header) == 16:
            length = int.from_bytes(header[8:16], "big")
        elif length == 0:
            length = size_bytes - offset
        if length < 8:
            break
        has_index = has_index or header[4:8] == b"moov"
        fragmented = fragmented or header[4:8] == b"moof"
        offset += length
    return BoxWalk(has_index, fragmented, max(0, offset - size_bytes))
