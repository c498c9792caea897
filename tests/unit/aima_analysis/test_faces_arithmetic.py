"""Sizes, boxes and overlaps: the arithmetic around CenterFace."""

import numpy as np
import pytest

from aima_analysis.analyzers.faces import Box, boxes, input_size, same_face, without_repeats
from aima_analysis.analyzers.sightings import Sighting
from aima_common.contracts.media import Region


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [(1280, 720, (640, 352)), (512, 512, (512, 512)), (320, 200, (320, 192)), (5, 1, (32, 32)), (100, 4000, (32, 640))],
)
def test_the_net_sees_multiples_of_32_and_nothing_enlarged_beyond_them(
    width: int, height: int, size: tuple[int, int]
) -> None:
    assert input_size(width, height, 640) == size


def test_a_box_is_read_from_the_maps() -> None:
    heat = np.zeros((8, 8), np.float32)
    scale, offset = np.zeros((2, 8, 8), np.float32), np.zeros((2, 8, 8), np.float32)
    heat[3, 5] = 0.9
    scale[:, 3, 5] = np.log([3.0, 2.0])
    offset[:, 3, 5] = [0.25, -0.5]
    (box,) = boxes(heat, scale, offset, 0.5)
    assert (box.left, box.top, box.right, box.bottom) == pytest.approx((16.0, 9.0, 24.0, 21.0))
    assert box.score == pytest.approx(0.9)
    assert boxes(heat, scale, offset, 0.95) == []


def test_of_boxes_on_one_face_the_surest_stays() -> None:
    one, shifted, far = (Box(left, 0, left + 10, 10, score) for left, score in [(0, 0.7), (2, 0.9), (40, 0.6)])
    assert without_repeats([one, shifted, far], 0.3) == [shifted, far]
    assert len(without_repeats([one, shifted, far], 0.7)) == 3


def test_a_face_that_jumps_is_another_face() -> None:
    def seen(x: float) -> Sighting:
        return Sighting(0.0, 0.9, Region(x=x, y=0.1, width=0.2, height=0.2))

    assert same_face(seen(0.1), seen(0.15)) == pytest.approx(0.6, abs=0.01)
    assert same_face(seen(0.1), seen(0.25)) == 0.0
