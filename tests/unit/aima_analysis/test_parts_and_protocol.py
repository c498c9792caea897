"""Derivatives as analyzers get them, and the frames between a service and its inference processes."""

import asyncio
import io
import socket
import struct
import wave

import av
import numpy as np
import pytest

from aima_analysis.analyzers.analyzer import DerivativeError
from aima_analysis.inference_child import fault_of, manner_of_death
from aima_analysis.inference_protocol import Message, ProtocolError, receive, receive_async, send
from aima_analysis.parts import part_of, samples_of
from aima_common.contracts.derivatives import Frame, Thumbnails, pack_frames, pack_thumbnails
from aima_common.contracts.media import MediumType, Segment
from aima_common.errors import PermanentError, TransientError

SEGMENT = Segment(index=1, core_start=60.0, core_end=120.0, context_start=45.0, context_end=135.0)


def flac(samples: np.ndarray[tuple[int], np.dtype[np.int16]], rate: int = 16_000, layout: str = "mono") -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout=layout)
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def wav() -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(16_000)
        writer.writeframes(b"\0\1" * 100)
    return buffer.getvalue()


def test_sound_keeps_every_sample_and_begins_at_the_context() -> None:
    samples = np.array([0, 2**14, -(2**15), 2**15 - 1] * 1000, np.int16)
    part = part_of("sound", MediumType.AUDIO, SEGMENT, [flac(samples)])
    assert part.sound is not None
    assert part.sound.start_seconds == 45.0
    assert part.sound.samples.dtype == np.float32
    assert part.sound.samples.tolist() == (samples / 2**15).tolist()


def test_only_flac_of_the_agreed_kind_is_read() -> None:
    quiet = np.zeros(8000, np.int16)
    assert len(samples_of(flac(quiet))) == 8000
    with pytest.raises(ValueError, match="not FLAC"):
        samples_of(wav())
    with pytest.raises(ValueError, match="44100 Hz"):
        samples_of(flac(quiet, rate=44_100))
    with pytest.raises(ValueError, match="2 channels"):
        samples_of(flac(quiet, layout="stereo"))


def test_frames_and_thumbnails_are_read() -> None:
    part = part_of("frames", MediumType.VIDEO, SEGMENT, [pack_frames([Frame(60.0, b"one"), Frame(60.5, b"two")])])
    assert [(frame.time_seconds, frame.jpeg) for frame in part.pictures()] == [(60.0, b"one"), (60.5, b"two")]
    small = Thumbnails(np.zeros((3, 27, 48, 3), np.uint8), np.array([45.0, 45.04, 45.08]))
    part = part_of("thumbnails", MediumType.VIDEO, SEGMENT, [pack_thumbnails(small)])
    assert part.thumbnails is not None
    assert part.thumbnails.times.tolist() == [45.0, 45.04, 45.08]


def test_a_still_is_one_frame_at_time_zero_and_owned_whole() -> None:
    part = part_of("frames", MediumType.IMAGE, None, [b"jpeg"])
    assert [(frame.time_seconds, frame.jpeg) for frame in part.pictures()] == [(0.0, b"jpeg")]
    assert part.owns(0.0)


def test_a_part_owns_what_starts_in_its_core() -> None:
    part = part_of("frames", MediumType.VIDEO, SEGMENT, [])
    assert [part.owns(time) for time in (59.999999, 60.0, 119.999999, 120.0)] == [False, True, True, False]


@pytest.mark.parametrize("given", ["frames", "thumbnails", "sound"])
@pytest.mark.parametrize("blob", [b"", b"nonsense", b"AIMAFRM1\xff\xff\xff\xff", b"PK\x03\x04 no archive"])
def test_a_damaged_derivative_is_a_permanent_error(given: str, blob: bytes) -> None:
    with pytest.raises(DerivativeError, match=given):
        part_of(given, MediumType.VIDEO, SEGMENT, [blob])  # type: ignore[arg-type]


def test_a_message_arrives_as_it_was_sent() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        send(ours, Message({"id": 7, "word": "\u00e9"}, [b"", b"bytes"]))
        message = receive(theirs)
        assert message is not None
        assert message.header == {"id": 7, "word": "\u00e9", "blobs": [0, 5]}
        assert message.blobs == [b"", b"bytes"]
        ours.close()
        assert receive(theirs) is None


@pytest.mark.parametrize(
    "data",
    [
        struct.pack("<I", 2**31),
        struct.pack("<I", 2) + b"[]",
        struct.pack("<I", 2) + b"{}",
        struct.pack("<I", 13) + b'{"blobs":[-1]',
        struct.pack("<I", 14) + b'{"blobs":[-1]}',
        struct.pack("<I", 13) + b'{"blobs":[5]}' + b"abc",
        b"\1\0",
    ],
    ids=["too long", "a list", "no lengths", "half a header", "a negative length", "half a blob", "half a length"],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(data)
        ours.close()
        with pytest.raises(ProtocolError):
            receive(theirs)


async def test_both_ends_read_the_same_messages() -> None:
    reader = asyncio.StreamReader()
    for buffer in Message({"id": 1}, [b"bytes"]).encode():
        reader.feed_data(buffer)
    message = await receive_async(reader)
    assert (message.header["id"], message.blobs) == (1, [b"bytes"])


def test_the_manner_of_death_is_told() -> None:
    assert manner_of_death(-9) == "was killed by SIGKILL"
    assert manner_of_death(-63) == "was killed by signal 63"
    assert manner_of_death(1) == "ended with status 1"


def test_a_structured_error_becomes_the_exception_that_says_what_follows() -> None:
    error = {"code": "c", "reason": "r", "transient": True, "remedy": "do it"}
    assert isinstance(fault_of("it", error), TransientError)
    permanent = fault_of("it", {**error, "transient": False})
    assert isinstance(permanent, PermanentError)
    assert (str(permanent), permanent.remedy) == ("it: r", "do it")
