"""Small files for a cluster's cases: none like another, the first of each case a picture of a size of its own.

Mostly pictures; a short film and a short recording in twenty, so that every lane of analysis has work.
"""

import hashlib
import io
import random
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from PIL import Image

SIZE = (64, 48)
"""Pixels of a picture, across and down."""

CANARY_PIXELS = (150, 400)
"""Least and most pixels, each way, of the first picture of a case: it has as many bytes as no other."""

EVERY = 20
"""Files from one film, or recording, to the next: pictures cost least, and what is tested is who does the work."""

FILM_FRAMES, FRAMES_PER_SECOND = 6, 3
RECORDING_SAMPLES, SAMPLES_PER_SECOND = 24_000, 16_000
NOISE = 2_000
"""Most that a sample of a recording may be, of 32,767."""


@dataclass(frozen=True)
class SmallFile:
    """A file to be sent."""

    path: Path
    sha256: str


def small_files(folder: Path, case: str, count: int, rng: random.Random, first: int = 0) -> Sequence[SmallFile]:
    """Make so many files of noise below `folder`; the case has `first` files already."""
    return [_written(folder, f"{case[:8]}-{number:03}", number, rng) for number in range(first, first + count)]


def _written(folder: Path, name: str, number: int, rng: random.Random) -> SmallFile:
    noise = np.random.default_rng(rng.getrandbits(63))
    if number % EVERY == EVERY // 2:
        path, content = folder / f"{name}.mp4", _film(noise)
    elif number % EVERY == EVERY - 1:
        path, content = folder / f"{name}.wav", _recording(noise)
    else:
        path, content = folder / f"{name}.png", _picture(SIZE if number else _canary_size(rng), noise)
    path.write_bytes(content)
    return SmallFile(path, hashlib.sha256(content).hexdigest())


def _canary_size(rng: random.Random) -> tuple[int, int]:
    return rng.randrange(*CANARY_PIXELS), rng.randrange(*CANARY_PIXELS)


def _picture(size: tuple[int, int], noise: np.random.Generator) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(_pixels(size, noise)).save(buffer, "PNG")
    return buffer.getvalue()


def _film(noise: np.random.Generator) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=FRAMES_PER_SECOND)
        stream.width, stream.height = SIZE
        for _ in range(FILM_FRAMES):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(_pixels(SIZE, noise), format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def _recording(noise: np.random.Generator) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(SAMPLES_PER_SECOND)
        sound.writeframes(noise.integers(-NOISE, NOISE, RECORDING_SAMPLES, dtype="<i2").tobytes())
    return buffer.getvalue()


def _pixels(size: tuple[int, int], noise: np.random.Generator) -> npt.NDArray[np.uint8]:
    return noise.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
