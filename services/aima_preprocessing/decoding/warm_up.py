"""Decode one of everything before the box is closed: libraries load parts of themselves on first use.

Inside the box nothing can be loaded any more, and a decoder that cannot load its parts would refuse
good media. It is also the first positive control: what is decoded here is known to be good.
"""

import io
import os
import tempfile
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt
from PIL import Image

from aima_preprocessing import sniff
from aima_preprocessing.decoding.medium import DecodePlan, decode_medium
from aima_preprocessing.decoding.source import NamelessFile, open_writer
from aima_preprocessing.events import Event, pack
from aima_preprocessing.limits import Limits
from aima_preprocessing.segmentation import DEFAULT_SEGMENT_PLAN

_PICTURES = 6
_RATE = 12
_SAMPLE_RATE = 44_100


def warm_up() -> None:
    """Decode a tiny film and tiny stills; raise `RuntimeError` when that fails."""
    plan = DecodePlan(Limits(), DEFAULT_SEGMENT_PLAN)
    for data in (_film(), *(_still(name) for name in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"))):
        kind = sniff.sniff(data[: sniff.HEAD_BYTES], len(data))
        if kind is None:
            raise RuntimeError("a file made for warming up is not recognised")
        events = _decoded(data, kind, plan)
        if len(events) < 2:
            raise RuntimeError(f"a {kind.name} file made for warming up yields nothing")


def _decoded(data: bytes, kind: sniff.Kind, plan: DecodePlan) -> list[Event]:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        events = list(decode_medium(NamelessFile(file.fileno()), kind, plan, lambda _seconds, _pixels: None))
    for event in events:
        pack(event)
    return events


def _film() -> bytes:
    buffer = io.BytesIO()
    with open_writer(buffer, "mp4") as container:
        picture = container.add_stream("mpeg4", rate=_RATE)
        picture.width, picture.height, picture.pix_fmt = 96, 64, "yuv420p"
        picture.codec_context.thread_count = 1
        sound = container.add_stream("aac", rate=_SAMPLE_RATE, layout="stereo")
        for number in range(_PICTURES):
            pixels = np.roll(_pattern(64, 96), number * 8, axis=1)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, _RATE)
            container.mux(picture.encode(frame))
        silence = av.AudioFrame.from_ndarray(
            np.zeros((2, _SAMPLE_RATE // 2), np.float32), format="fltp", layout="stereo"
        )
        silence.sample_rate, silence.pts = _SAMPLE_RATE, 0
        container.mux(sound.encode(silence))
        container.mux(picture.encode(None))
        container.mux(sound.encode(None))
    return buffer.getvalue()


def _pattern(height: int, width: int) -> npt.NDArray[np.uint8]:
    """Draw something that is not flat: flat pictures are not hashed, and so would not warm the hash up."""
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 3 % 256, columns * 5 % 256, (rows * columns) % 256], axis=-1).astype(np.uint8)


def _still(name: str) -> bytes:
    buffer = io.BytesIO()
    noted = Image.Exif()
    noted[0x0112] = 6
    Image.fromarray(_pattern(60, 80)).save(buffer, name, **({"exif": noted} if name == "JPEG" else {}))
    return buffer.getvalue()


def count_threads() -> int:
    """Count the threads of this process."""
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208 - a kernel directory
