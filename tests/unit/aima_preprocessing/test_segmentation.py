import itertools

from hypothesis import given
from hypothesis import strategies as st

from aima_preprocessing.segmentation import (
    DEFAULT_SEGMENT_PLAN,
    MICROSECONDS,
    Stretch,
    around,
    as_segment,
    core_of,
    goes_on_at,
    segment_count,
)

PLAN = DEFAULT_SEGMENT_PLAN
durations = st.integers(min_value=1, max_value=12 * 3600 * MICROSECONDS)


def cores(duration: int) -> list[Stretch]:
    return [core_of(PLAN, index, duration) for index in range(segment_count(PLAN, duration))]


@given(durations)
def test_cores_tile_the_medium_without_gap_or_overlap(duration: int) -> None:
    tiles = cores(duration)
    assert tiles[0].start == 0
    assert tiles[-1].end == duration
    assert all(one.end == two.start for one, two in itertools.pairwise(tiles))


@given(durations)
def test_no_core_but_that_of_a_short_medium_is_shorter_than_the_shortest_remainder(duration: int) -> None:
    tiles = cores(duration)
    lengths = [tile.end - tile.start for tile in tiles]
    assert len(tiles) == 1 or min(lengths) >= PLAN.shortest_remainder
    assert max(lengths) < PLAN.core + PLAN.shortest_remainder


@given(durations, st.integers(min_value=0, max_value=720))
def test_a_core_can_be_fixed_before_the_end_is_known_once_the_medium_goes_on_far_enough(
    duration: int, index: int
) -> None:
    if duration >= goes_on_at(PLAN, index):
        assert core_of(PLAN, index, None) == core_of(PLAN, index, duration)
    elif index < segment_count(PLAN, duration):
        assert index == segment_count(PLAN, duration) - 1


def test_a_remainder_of_nine_seconds_joins_its_predecessor_and_one_of_ten_does_not() -> None:
    assert [tile.end // MICROSECONDS for tile in cores(129 * MICROSECONDS)] == [60, 129]
    assert [tile.end // MICROSECONDS for tile in cores(130 * MICROSECONDS)] == [60, 120, 130]


def test_context_reaches_into_the_neighbours_and_not_beyond_the_medium() -> None:
    duration = 130 * MICROSECONDS
    first, last = cores(duration)[0], cores(duration)[-1]
    assert around(first, 15 * MICROSECONDS, duration) == Stretch(0, 75 * MICROSECONDS)
    assert around(last, 15 * MICROSECONDS, duration) == Stretch(105 * MICROSECONDS, duration)


def test_a_segment_is_stated_in_seconds() -> None:
    duration = 130 * MICROSECONDS
    segment = as_segment(PLAN, 1, core_of(PLAN, 1, duration), duration)
    stated = (segment.index, segment.core_start, segment.core_end, segment.context_start, segment.context_end)
    assert stated == (1, 60.0, 120.0, 45.0, 130.0)
