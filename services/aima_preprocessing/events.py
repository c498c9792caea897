"""What the decoder says, and how it is said over a pipe.

A message is a u32 length (little endian), a JSON header of that length, and the blobs that the header
names with their sizes, one after the other. The receiver trusts none of it: the sender has read
hostile bytes.
"""

import struct
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from aima_common.contracts.base import Contract
from aima_common.contracts.media import MediumType, Probe, Segment
from aima_preprocessing.limits import Limits, check_derivatives
from aima_preprocessing.refusals import MediumRefusedError

_LENGTH = struct.Struct("<I")
_MOST_HEADER_BYTES = 64 * 1024

BlobName = Literal["frames", "thumbnails", "sound", "poster", "thumbnail"]


@dataclass(frozen=True)
class Probed:
    """The container was read and the first picture or sound decoded."""

    probe: Probe


@dataclass(frozen=True)
class SegmentDecoded:
    """The derivatives of one segment, in the layouts of `aima_common.contracts.derivatives`.

    `frames` and `thumbnails` are there when the medium has pictures, `sound` (FLAC) when it has sound.
    """

    segment: Segment
    frames: bytes | None
    thumbnails: bytes | None
    sound: bytes | None
    problems: tuple[str, ...] = ()
    """What of this segment could not be decoded, in words for people."""


@dataclass(frozen=True)
class Finished:
    """The whole medium was decoded."""

    probe: Probe
    """As in `Probed`, with the duration that was found by decoding."""
    segments: int
    """How many segments the medium has; 0 for a still."""
    poster: bytes | None
    """JPEG <= 1280 px: the still itself, a telling picture of a film, or the cover of a recording."""
    thumbnail: bytes | None
    """JPEG <= 320 px of the poster."""
    perceptual_hash: str | None
    """64 bits of the poster as 16 hexadecimal digits; None when it has no contrast."""
    problems: tuple[str, ...] = ()
    """What of the whole could not be had, in words for people."""

    @property
    def picture(self) -> bytes | None:
        """Give the upright JPEG of a still; None for films and recordings."""
        return self.poster if self.probe.type is MediumType.IMAGE else None


Event = Probed | SegmentDecoded | Finished


class Header(Contract):
    """The JSON header of a message."""

    kind: Literal["probed", "segment", "finished", "refused"]
    probe: Probe | None = None
    segment: Segment | None = None
    segments: int = 0
    perceptual_hash: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")] | None = None
    problems: list[Annotated[str, Field(max_length=500)]] = Field(default=[], max_length=50)
    code: Annotated[str, Field(max_length=100)] = ""
    reason: Annotated[str, Field(max_length=2000)] = ""
    remedy: Annotated[str, Field(max_length=2000)] = ""
    blobs: dict[BlobName, Annotated[int, Field(ge=0)]] = {}


Blobs = Mapping[BlobName, bytes]


def pack(event: Event) -> list[bytes]:
    """Lay an event out as buffers to be written one after the other."""
    match event:
        case Probed(probe):
            return _pack(Header(kind="probed", probe=probe), {})
        case SegmentDecoded(segment, frames, thumbnails, sound, problems):
            header = Header(kind="segment", segment=segment, problems=list(problems))
            return _pack(header, _present(frames=frames, thumbnails=thumbnails, sound=sound))
        case Finished():
            header = Header(
                kind="finished",
                probe=event.probe,
                segments=event.segments,
                perceptual_hash=event.perceptual_hash,
                problems=list(event.problems),
            )
            return _pack(header, _present(poster=event.poster, thumbnail=event.thumbnail))


def pack_refusal(error: MediumRefusedError) -> list[bytes]:
    """Lay a refusal out as buffers to be written."""
    return _pack(Header(kind="refused", code=error.code, reason=error.reason[:2000], remedy=error.remedy[:2000]), {})


def _present(**blobs: bytes | None) -> dict[BlobName, bytes]:
    return {name: blob for name, blob in blobs.items() if blob is not None}  # type: ignore[misc]


def _pack(header: Header, blobs: Blobs) -> list[bytes]:
    sized = header.model_copy(update={"blobs": {name: len(blob) for name, blob in blobs.items()}})
    text = sized.model_dump_json().encode()
    return [_LENGTH.pack(len(text)), text, *blobs.values()]


class EventReader:
    """Reads events from an untrusted decoder.

    `read` gives exactly so many bytes. Raises the decoder's own refusal, `LimitExceededError` when it
    yields more than it may, and `MediumRefusedError` when it talks nonsense: then it was taken over.
    """

    def __init__(self, read: Callable[[int], Awaitable[bytes]], limits: Limits) -> None:
        self._read = read
        self._limits = limits
        self._received_bytes = 0

    async def next(self) -> Event:
        """Read one event."""
        (length,) = _LENGTH.unpack(await self._read(_LENGTH.size))
        if length > _MOST_HEADER_BYTES:
            raise _nonsense()
        try:
            header = Header.model_validate_json(await self._read(length))
        except ValidationError as error:
            raise _nonsense() from error
        total = sum(header.blobs.values())
        self._received_bytes += total
        check_derivatives(self._limits, self._received_bytes)
        if total > self._limits.message_bytes:
            raise _nonsense()
        return _event(header, {name: await self._read(size) for name, size in header.blobs.items()})


def _event(header: Header, blobs: Blobs) -> Event:
    problems = tuple(header.problems)
    if header.kind == "refused":
        raise MediumRefusedError(header.code, header.reason, header.remedy)
    if header.kind == "probed" and header.probe is not None:
        return Probed(header.probe)
    if header.kind == "segment" and header.segment is not None:
        return SegmentDecoded(
            header.segment, blobs.get("frames"), blobs.get("thumbnails"), blobs.get("sound"), problems
        )
    if header.kind == "finished" and header.probe is not None:
        poster, thumbnail = blobs.get("poster"), blobs.get("thumbnail")
        return Finished(header.probe, header.segments, poster, thumbnail, header.perceptual_hash, problems)
    raise _nonsense()


def _nonsense() -> MediumRefusedError:
    return MediumRefusedError(
        "decoder_misbehaved",
        "the decoding process gave an answer that no decoder gives; the file may be an attack",
        "Do not open the file elsewhere. Ask who made it, and convert it on a machine that does not matter.",
    )
