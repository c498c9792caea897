"""Small pictures for a cluster's cases: none like another, and the first of each case of a size of its own."""

import hashlib
import io
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (64, 48)
"""Pixels of a picture, across and down."""

CANARY_PIXELS = (150, 400)
"""Least and most pixels, each way, of the first picture of a case: it has as many bytes as no other."""


@dataclass(frozen=True)
class Picture:
    """A file to be sent."""

    path: Path
    sha256: str


def pictures(folder: Path, case: str, count: int, rng: random.Random, first: int = 0) -> Sequence[Picture]:
    """Draw so many pictures of noise, and write them below `folder`; the case has `first` pictures already."""
    return [
        _written(folder / f"{case[:8]}-{number:03}.png", SIZE if number else _canary_size(rng), rng)
        for number in range(first, first + count)
    ]


def _canary_size(rng: random.Random) -> tuple[int, int]:
    return rng.randrange(*CANARY_PIXELS), rng.randrange(*CANARY_PIXELS)


def _written(path: Path, size: tuple[int, int], rng: random.Random) -> Picture:
    shape = (size[1], size[0], 3)
    pixels = np.random.default_rng(rng.getrandbits(63)).integers(0, 255, shape, dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    path.write_bytes(buffer.getvalue())
    return Picture(path, hashlib.sha256(buffer.getvalue()).hexdigest())
