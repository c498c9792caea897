"""Upright pictures out of decoded frames: scaled, turned, and encoded anew."""

import io
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
from av.video.reformatter import Interpolation, VideoReformatter
from PIL import Image

from aima_preprocessing.perceptual_hash import SIDE, format_hash, perceptual_hash

LONGEST_SIDE = 1280
POSTER_THUMBNAIL_SIDE = 320
FRAME_QUALITY = 85
STILL_QUALITY = 90
_LEAST_CONTRAST = 1.0
"""Of 255 grey levels, as a standard deviation."""

THUMBNAIL_SIZE = (48, 27)

Pixels = npt.NDArray[np.uint8]


def fit(size: tuple[float, float], longest: int) -> tuple[int, int]:
    """Scale a size down to a longest side, never up and never to nothing."""
    width, height = size
    scale = min(1.0, longest / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


class FrameShaper:
    """Turns frames of one film upright and small.

    `pixel_aspect` is the width of a stored pixel over its height (anamorphic film).
    """

    def __init__(self, pixel_aspect: Fraction) -> None:
        self._aspect = float(pixel_aspect) if Fraction(1, 8) <= pixel_aspect <= 8 else 1.0
        # One each: a reformatter keeps its tables for one pair of sizes.
        self._small, self._large = VideoReformatter(), VideoReformatter()

    def is_turned(self, frame: Any) -> bool:
        """Tell whether width and height change places when the frame is put upright."""
        return _quarter_turns(frame) % 2 == 1

    def thumbnail(self, frame: Any) -> Pixels:
        """Give 27 x 48 x 3 RGB."""
        width, height = THUMBNAIL_SIZE
        turns = _quarter_turns(frame)
        if turns % 2:
            width, height = height, width
        # Planar RGB, because packed RGB of an odd height takes FFmpeg's path with careless colours.
        small = self._small.reformat(frame, width, height, "gbrp", interpolation=Interpolation.AREA)
        # A copy: the array may keep the whole frame alive, and thumbnails are kept for a minute.
        return _turned(_bytes_of(small), turns).copy()

    def picture(self, frame: Any) -> Pixels:
        """Give the upright picture, at most 1280 pixels long, as rows x columns x RGB."""
        width, height = fit((frame.width * self._aspect, frame.height), LONGEST_SIDE)
        if (width, height) != (frame.width, frame.height):
            width, height = _even(width), _even(height)
        scaled = self._large.reformat(frame, width, height, "rgb24", interpolation=Interpolation.AREA)
        return _turned(_bytes_of(scaled), _quarter_turns(frame))


def _even(length: int) -> int:
    return max(2, length - length % 2)


def _quarter_turns(frame: Any) -> int:
    """Tell how many quarter turns, counter-clockwise, put the frame upright."""
    return round(int(frame.rotation) / 90) % 4


def _bytes_of(frame: Any) -> Pixels:
    pixels: Pixels = frame.to_ndarray()
    return pixels


def _turned(pixels: Pixels, turns: int) -> Pixels:
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels


def encode_jpeg(picture: Image.Image, quality: int) -> bytes:
    """Encode pixels as JPEG; nothing but pixels goes in."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


@dataclass(frozen=True)
class Preview:
    """What stands for a medium in lists."""

    poster: bytes
    thumbnail: bytes
    perceptual_hash: str | None
    """None for a picture without contrast: all flat pictures would look alike."""


def preview(poster: bytes) -> Preview:
    """Derive thumbnail and hash from a poster that this process encoded itself."""
    with Image.open(io.BytesIO(poster), formats=["JPEG"]) as picture:
        upright = picture.convert("RGB")
    small = upright.resize(fit(upright.size, POSTER_THUMBNAIL_SIDE), Image.Resampling.BOX)
    grey = np.asarray(upright.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX))
    is_flat = float(grey.std()) < _LEAST_CONTRAST
    return Preview(poster, encode_jpeg(small, 80), None if is_flat else format_hash(perceptual_hash(grey)))


class PosterChooser:
    """Chooses the picture that stands for a film: the one with most contrast among its first seconds."""

    CONSIDERED_MICROSECONDS = 10_000_000

    def __init__(self) -> None:
        self.best: bytes | None = None
        self._contrast = -1.0

    def wants(self, time: int) -> bool:
        """Tell whether a picture of this time, in microseconds, can still matter."""
        return self.best is None or time < self.CONSIDERED_MICROSECONDS

    def offer(self, jpeg: bytes, thumbnail: Pixels) -> None:
        contrast = round(float(thumbnail.mean(axis=2).std()), 6)
        if contrast > self._contrast:
            self.best, self._contrast = jpeg, contrast
