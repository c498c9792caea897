"""Pictures for the analyzers: decoding our own JPEGs, sampling them, telling whether two look alike."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from aima_analysis.analyzers.analyzer import DerivativeError
from aima_common.contracts.derivatives import Frame

Picture = npt.NDArray[np.uint8]
"""Height x width x 3, blue-green-red as OpenCV has it."""

SMALL = (160, 90)
"""Width and height of the grey picture that two frames are compared in: a line of 24 px type in 720p is 3 px
there, so that a title that appears is a difference."""
SAME_MEAN = 1.5
SAME_LARGEST = 20
"""Grey levels (of 255) up to which two frames count as the same: above what encoding a still scene twice
makes (below 1 and 12 in H.264 at a usual rate), far below what type makes."""


def decode(jpeg: bytes) -> Picture:
    """Decode a JPEG that preprocessing made; raise DerivativeError when it is none."""
    import cv2

    cv2.setNumThreads(1)
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR) if jpeg else None
    if picture is None:
        raise DerivativeError("a frame is not a JPEG picture")
    return np.asarray(picture, np.uint8)


def sampled(frames: Sequence[Frame], every_seconds: float) -> list[Frame]:
    """Keep the first frame of each cell of an absolute grid, so that segments sample alike."""
    kept: list[Frame] = []
    cell: int | None = None
    for frame in frames:
        here = int(np.floor(frame.time_seconds / every_seconds + 1e-6))
        if here != cell:
            kept.append(frame)
            cell = here
    return kept


def thumbnail(picture: Picture) -> Picture:
    """Shrink a picture to the size in which frames are compared."""
    import cv2

    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    return np.asarray(cv2.resize(grey, SMALL, interpolation=cv2.INTER_AREA), np.uint8)


def alike(first: Picture, second: Picture) -> bool:
    """Tell whether two small grey pictures show the same but for noise."""
    difference = np.abs(first.astype(np.int16) - second.astype(np.int16))
    return bool(difference.mean() <= SAME_MEAN and difference.max() <= SAME_LARGEST)
