"""How far a case is, and how long it still takes."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aima_client import estimate
from aima_client.estimate import Remaining, Share


def medium(stage: str = "analysing", **fields: Any) -> dict[str, Any]:
    return {"stage": stage, "parts_done": 0, "parts_total": None, "type": None, **fields}


def test_a_medium_that_has_ended_is_done_however_it_ended() -> None:
    for stage in estimate.ENDS:
        assert estimate.share(medium(stage)).fraction == 1.0


def test_preparing_and_analysing_both_count() -> None:
    waiting = estimate.share(medium("accepted")).fraction
    half_prepared = estimate.share(
        medium("preparing", type="video", duration_seconds=60.0, prepared_seconds=30.0)
    ).fraction
    prepared = estimate.share(medium("analysing", parts_total=10)).fraction
    half_analysed = estimate.share(medium("analysing", parts_total=10, parts_done=5)).fraction
    assert 0.0 == waiting < half_prepared < prepared < half_analysed < 1.0


def test_a_long_film_weighs_more_than_a_photo() -> None:
    film = estimate.share(medium(type="video", duration_seconds=3600.0))
    photo = estimate.share(medium(type="image"))
    assert film.weight > 100 * photo.weight


@given(st.lists(st.builds(Share, st.floats(0, 1), st.floats(0.1, 100)), max_size=20))
def test_the_whole_is_between_nothing_and_all(shares: list[Share]) -> None:
    assert 0.0 <= estimate.overall(shares) <= 1.0 + 1e-9


def test_a_steady_pace_is_believed() -> None:
    remaining = Remaining(began=0.0)
    assert remaining.seconds(0.001, 1.0) is None
    for second in range(10, 100, 10):
        assert remaining.seconds(second / 100, float(second)) == pytest.approx(100 - second, abs=1)
    assert remaining.seconds(1.0, 100.0) == 0.0


def test_one_odd_moment_does_not_throw_the_time_about() -> None:
    remaining = Remaining(began=0.0)
    before = remaining.seconds(0.5, 50.0)
    after = remaining.seconds(0.5, 60.0)
    assert before is not None
    assert after is not None
    assert abs(after - before) < 15


def test_what_was_done_before_is_no_pace() -> None:
    assert Remaining(began=0.0, fraction_at_start=0.5).seconds(0.75, 10.0) == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(None, "working out the time left"), (0.4, "0 s"), (59.4, "59 s"), (61, "1 min 01 s"), (3725, "1 h 02 min")],
)
def test_durations_are_written_as_people_say_them(seconds: float | None, words: str) -> None:
    assert estimate.clock(seconds) == words
