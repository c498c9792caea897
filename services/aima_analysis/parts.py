"""From bytes of derivatives to what analyzers are given. Runs in inference processes only."""

import io
import struct
import zipfile
from collections.abc import Sequence

import numpy as np

from aima_analysis.analyzers.analyzer import DerivativeError, Input, Part, Sound
from aima_analysis.analyzers.stretches import SAMPLE_RATE, Reals
from aima_common.contracts.derivatives import unpack_frames, unpack_thumbnails
from aima_common.contracts.media import MediumType, Segment


def part_of(given: Input, medium_type: MediumType, segment: Segment | None, blobs: Sequence[bytes]) -> Part:
    """Read the derivative that an analyzer wants; without blobs the medium has none of the kind.

    Sound begins at the context's start. Raises DerivativeError.
    """
    if not blobs:
        return Part(medium_type, segment)
    (blob,) = blobs
    if given == "picture" or medium_type is MediumType.IMAGE:
        return Part(medium_type, segment=None, picture=blob)
    try:
        match given:
            case "frames":
                return Part(medium_type, segment, frames=tuple(unpack_frames(blob)))
            case "thumbnails":
                return Part(medium_type, segment, thumbnails=unpack_thumbnails(blob))
            case "sound":
                start = segment.context_start if segment else 0.0
                return Part(medium_type, segment, sound=Sound(samples_of(blob), start))
    except (ValueError, KeyError, EOFError, OSError, struct.error, zipfile.BadZipFile) as error:
        raise DerivativeError(f"the {given} of this segment cannot be read: {error}") from error


def samples_of(flac: bytes) -> Reals:
    """Decode FLAC, 16 kHz, mono, 16 bits, to samples in -1..1; nothing but FLAC is tried.

    Raises ValueError when it is something else.
    """
    import av

    try:
        with av.open(io.BytesIO(flac), "r", format="flac", options={"format_whitelist": "flac"}) as container:
            stream = container.streams.audio[0]
            if stream.rate != SAMPLE_RATE or stream.channels != 1:
                raise ValueError(f"not FLAC at 16000 Hz, mono, but {stream.rate} Hz, {stream.channels} channels")
            blocks = [frame.to_ndarray().reshape(-1) for frame in container.decode(stream)]
    except (av.error.FFmpegError, IndexError) as error:
        raise ValueError(f"not FLAC at 16000 Hz, mono ({error})") from error
    if not blocks:
        return np.zeros(0, np.float32)
    whole = np.concatenate(blocks)
    if whole.dtype == np.int16:
        return np.asarray(whole, np.float32) / np.float32(2**15)
    if whole.dtype == np.int32:
        return np.asarray(whole, np.float32) / np.float32(2**31)
    raise ValueError(f"samples are {whole.dtype} instead of whole numbers")
