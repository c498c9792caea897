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


def one(fraction: float, weight: float = 1.0) -> dict[str, Share]:
    return {"film": Share(fraction, weight)}


def told(remaining: Remaining, seen: dict[float, dict[str, Share]]) -> float:
    """Tell the last of the estimates."""
    answers = [remaining.seconds(shares, second) for second, shares in seen.items()]
    assert answers[-1] is not None
    return answers[-1]


def test_what_is_not_finished_is_never_shown_as_done() -> None:
    for stage in ("analysing", "fusing"):
        all_parts_in = estimate.share(medium(stage, parts_total=6, parts_done=6))
        assert all_parts_in.fraction < 1.0
    assert estimate.share(medium("analysed", parts_total=6, parts_done=6)).fraction == 1.0


def test_a_steady_pace_is_believed() -> None:
    remaining = Remaining()
    assert remaining.seconds(one(0.0), 0.0) is None
    assert remaining.seconds(one(0.001), 1.0) is None
    for second in range(10, 100, 10):
        assert remaining.seconds(one(second / 100), float(second)) == pytest.approx(100 - second, abs=1)
    assert remaining.seconds(one(1.0), 100.0) == 0.0


def test_one_odd_moment_does_not_throw_the_time_about() -> None:
    remaining = Remaining()
    before = told(remaining, {0.0: one(0.0), 50.0: one(0.5)})
    after = told(remaining, {60.0: one(0.5)})
    assert abs(after - before) < 15


def test_what_was_done_before_is_no_pace() -> None:
    assert told(Remaining(), {0.0: one(0.5), 10.0: one(0.75)}) == pytest.approx(10.0)


def test_the_last_film_is_judged_by_its_own_parts_not_by_the_photos_that_went_before() -> None:
    photos = {f"photo {number}": Share(1.0, 2.0) for number in range(13)}
    begun = dict.fromkeys(photos, Share(0.0, 2.0))
    film = {0.0: Share(0.1, 10.0), 40.0: Share(0.88, 10.0)}
    alone = told(Remaining(), {0.0: one(0.1, 10.0), 40.0: one(0.88, 10.0)})
    among = told(Remaining(), {0.0: {**begun, "film": film[0.0]}, 40.0: {**photos, "film": film[40.0]}})
    assert among == pytest.approx(alone) == pytest.approx(40 * 0.12 / 0.78)


def test_while_a_last_part_goes_on_the_time_left_does_not_run_out() -> None:
    remaining = Remaining()
    told(remaining, {0.0: one(0.0), 10.0: one(0.9)})
    waiting = [told(remaining, {float(second): one(0.9)}) for second in range(11, 41)]
    assert min(waiting) > 0.0
    assert waiting[-1] > 15.0
    # The same seconds with work that goes on: the time does run out.
    remaining = Remaining()
    told(remaining, {0.0: one(0.0), 10.0: one(0.9)})
    going_on = [told(remaining, {10.0 + step: one(0.9 + step / 400)}) for step in range(1, 31)]
    assert going_on[-1] < waiting[-1]


@given(st.lists(st.tuples(st.floats(0, 0.99), st.floats(0.1, 5)), min_size=3, max_size=40))
def test_while_a_medium_is_open_there_is_always_time_left(steps: list[tuple[float, float]]) -> None:
    remaining, now = Remaining(), 0.0
    for fraction, pause in steps:
        now += pause
        seconds = remaining.seconds({"film": Share(fraction, 3.0), "photo": Share(1.0, 1.0)}, now)
        assert seconds is None or seconds > 0.0


def test_there_is_no_time_left_only_when_everything_has_ended() -> None:
    assert Remaining().seconds(one(1.0), 5.0) == 0.0


@pytest.mark.parametrize(("seconds", "words"), [(0.4, "0 s"), (59.4, "59 s"), (61, "1 min 01 s"), (3725, "1 h 02 min")])
def test_durations_are_written_as_people_say_them(seconds: float, words: str) -> None:
    assert estimate.clock(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "working out the time left"),
        (0.2, "a few seconds left"),
        (4.9, "a few seconds left"),
        (61, "1 min 01 s left"),
    ],
)
def test_the_time_left_is_said_no_more_exactly_than_it_is_known(seconds: float | None, words: str) -> None:
    assert estimate.left(seconds) == words
