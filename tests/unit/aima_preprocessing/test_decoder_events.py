"""What a decoder says is read with suspicion: it has read hostile bytes."""

import asyncio
import struct

import pytest

from aima_common.contracts.media import MediumType, Probe, Segment
from aima_preprocessing.events import (
    Event,
    EventReader,
    Finished,
    Probed,
    SegmentDecoded,
    pack,
    pack_refusal,
)
from aima_preprocessing.limits import Limits
from aima_preprocessing.refusals import LimitExceededError, MediumRefusedError

PROBE = Probe(type=MediumType.VIDEO, mime_type="video/mp4", container="mp4", duration_seconds=1.5, has_video=True)
SEGMENT = Segment(index=0, core_start=0.0, core_end=1.5, context_start=0.0, context_end=1.5)
EVENTS: list[Event] = [
    Probed(PROBE),
    SegmentDecoded(SEGMENT, b"frames", b"thumbnails", b"sound", ("Part was lost.",)),
    SegmentDecoded(SEGMENT, None, None, b"", ()),
    Finished(PROBE, 1, b"poster", b"thumbnail", "0123456789abcdef", ("a problem",)),
    Finished(PROBE, 1, None, None, None),
]


def reader_of(said: bytes, limits: Limits | None = None) -> EventReader:
    stream = asyncio.StreamReader()
    stream.feed_data(said)
    stream.feed_eof()
    return EventReader(stream.readexactly, limits or Limits())


def message(header: bytes, *blobs: bytes) -> bytes:
    return struct.pack("<I", len(header)) + header + b"".join(blobs)


async def test_events_arrive_as_they_were_sent() -> None:
    reader = reader_of(b"".join(buffer for event in EVENTS for buffer in pack(event)))
    assert [await reader.next() for _ in EVENTS] == EVENTS


async def test_a_refusal_is_raised_with_its_code_reason_and_remedy() -> None:
    with pytest.raises(MediumRefusedError) as caught:
        await reader_of(b"".join(pack_refusal(MediumRefusedError("svg", "a drawing", "Export it.")))).next()
    assert (caught.value.code, caught.value.reason, caught.value.remedy) == ("svg", "a drawing", "Export it.")


@pytest.mark.parametrize(
    "said",
    [
        message(b"not json"),
        message(b"[]"),
        message(b'{"kind": "boast"}'),
        message(b'{"kind": "segment"}'),
        message(b'{"kind": "probed"}'),
        message(b'{"kind": "finished"}'),
        message(b'{"kind": "segment", "blobs": {"shellcode": 1}}', b"x"),
        message(b'{"kind": "segment", "blobs": {"frames": -1}}'),
        message(b'{"kind": "refused", "reason": "' + b"x" * 3000 + b'"}'),
        message(b'{"kind": "finished", "perceptual_hash": "zz"}'),
        struct.pack("<I", 2**32 - 1),
    ],
)
async def test_nonsense_is_taken_for_an_attack(said: bytes) -> None:
    with pytest.raises(MediumRefusedError) as caught:
        await reader_of(said).next()
    assert caught.value.code == "decoder_misbehaved"


async def test_a_blob_beyond_the_limit_is_not_even_read() -> None:
    huge = message(b'{"kind": "segment", "blobs": {"frames": 1000000000000}}')
    with pytest.raises(LimitExceededError):
        await reader_of(huge).next()
    large = message(b'{"kind": "segment", "blobs": {"frames": 2000}}')
    with pytest.raises(MediumRefusedError) as caught:
        await reader_of(large, Limits(message_bytes=1000)).next()
    assert caught.value.code == "decoder_misbehaved"


async def test_all_derivatives_of_a_medium_are_counted_together() -> None:
    segment = b"".join(pack(SegmentDecoded(SEGMENT, bytes(600), None, None)))
    reader = reader_of(segment * 3, Limits(derivative_bytes=1500))
    await reader.next()
    await reader.next()
    with pytest.raises(LimitExceededError) as caught:
        await reader.next()
    assert caught.value.limit == "derivative_bytes"


async def test_a_sentence_that_breaks_off_is_told_from_the_end() -> None:
    with pytest.raises(asyncio.IncompleteReadError):
        await reader_of(pack(Probed(PROBE))[0]).next()
