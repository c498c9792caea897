"""How numbers in findings are rounded: enough to be useful, too coarse to carry a machine's noise."""

import numpy as np
import numpy.typing as npt

from aima_common.contracts.media import Region


def seconds(value: float) -> float:
    """Round a time to one microsecond; never below zero."""
    return max(0.0, round(float(value), 6))


def fraction(value: float) -> float:
    """Round a confidence or a share to one ten-thousandth, within 0..1."""
    return min(1.0, max(0.0, round(float(value), 4)))


def unit(vector: npt.NDArray[np.float32]) -> list[float]:
    """Scale a vector to length one, rounded to a millionth."""
    length = float(np.linalg.norm(vector.astype(np.float64)))
    return [round(float(value) / max(length, 1e-12), 6) for value in vector]


def region(left: float, top: float, right: float, bottom: float) -> Region:
    """Make a region of its corners in fractions of the picture, clipped to the picture."""
    x, y, x2, y2 = fraction(left), fraction(top), fraction(right), fraction(bottom)
    return Region(x=x, y=y, width=fraction(x2 - x), height=fraction(y2 - y))


def overlap(first: Region, second: Region) -> float:
    """Give the intersection over union of two regions, 0..1."""
    width = min(first.x + first.width, second.x + second.width) - max(first.x, second.x)
    height = min(first.y + first.height, second.y + second.height) - max(first.y, second.y)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (first.width * first.height + second.width * second.height - shared)
