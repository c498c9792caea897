"""What is thrown at AIMA while it is being killed: a film, photos, recordings, copies and rubbish."""

import io
import shutil
import wave
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from PIL import Image

from aima_demo import make_demo_case, make_long_film

Pixels = npt.NDArray[np.uint8]

OTHERS = 20
"""Media beside the film in the full form."""


def make_short(folder: Path, film_seconds: float = 130.0) -> list[Path]:
    """Make a small film of several segments and seven other files, without anything that is not at hand."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "film.mp4": _film(film_seconds),
        "photo.jpg": _jpeg(_photo(1)),
        "photo again.jpg": _jpeg(_photo(1)),
        "photo smaller.jpg": _jpeg(_photo(1).resize((480, 360)), quality=70),
        "other.png": _png(_photo(2)),
        "tone.wav": _tone(6.0),
        "page.jpg": b"<!DOCTYPE html><html><body>This is no picture.</body></html>",
        "cut off.jpg": _jpeg(_photo(3))[:900],
    }
    return [_written(folder / name, data) for name, data in files.items()]


def make_full(folder: Path, minutes: float) -> list[Path]:
    """Make a film of at least so many minutes, and twenty other media: the demo case and more photos."""
    folder.mkdir(parents=True, exist_ok=True)
    film = make_long_film(folder / "film.mp4", minutes)
    case = make_demo_case(folder.parent / "demo case")
    others = [Path(shutil.copy(path, folder / path.name)) for path in case.files if path != case.film]
    more = range(max(0, OTHERS - len(others)))
    return [film, *others, *(_written(folder / f"photo {n}.jpg", _jpeg(_photo(100 + n))) for n in more)]


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def _photo(seed: int) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 255, (7, 9, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((800, 600), Image.Resampling.BICUBIC)


def _jpeg(picture: Image.Image, quality: int = 90) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def _tone(seconds: float) -> bytes:
    time = np.arange(round(seconds * 16_000)) / 16_000
    samples = (8000 * np.sin(2 * np.pi * (200 + 60 * time) * time)).astype("<i2")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(samples.tobytes())
    return buffer.getvalue()


def _film(seconds: float, rate: int = 5) -> bytes:
    """Draw a film that cuts to another picture every seven seconds."""
    scenes = [np.asarray(_photo(20 + number).resize((320, 240))) for number in range(5)]
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=rate, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        for number in range(round(seconds * rate)):
            pixels: Pixels = scenes[number // (7 * rate) % len(scenes)].copy()
            left = number * 3 % 300
            pixels[100:120, left : left + 20] = 255
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()
