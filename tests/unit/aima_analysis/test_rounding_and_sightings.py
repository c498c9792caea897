"""Regions, and joining what was seen in single frames."""

import pytest

from aima_analysis.analyzers import rounding
from aima_analysis.analyzers.sightings import Sighting, tracks
from aima_common.contracts.media import Region


def at(time: float, word: str = "", confidence: float = 0.5) -> Sighting:
    return Sighting(time, confidence, None, word)


def same_word(first: Sighting, second: Sighting) -> float:
    return float(first.word == second.word)


def test_a_region_is_clipped_to_the_picture() -> None:
    assert rounding.region(-0.2, 0.5, 0.25, 1.7) == Region(x=0.0, y=0.5, width=0.25, height=0.5)


@pytest.mark.parametrize(
    ("other", "share"),
    [
        (Region(x=0.0, y=0.0, width=0.5, height=0.5), 1.0),
        (Region(x=0.25, y=0.0, width=0.5, height=0.5), 1 / 3),
        (Region(x=0.5, y=0.0, width=0.5, height=0.5), 0.0),
    ],
    ids=["the same", "half", "beside"],
)
def test_overlap_is_intersection_over_union(other: Region, share: float) -> None:
    assert rounding.overlap(Region(x=0.0, y=0.0, width=0.5, height=0.5), other) == pytest.approx(share)


def test_times_and_confidences_carry_no_noise() -> None:
    assert rounding.seconds(1.00000049) == 1.0
    assert rounding.seconds(-1e-9) == 0.0
    assert rounding.fraction(0.123449) == 0.1234
    assert rounding.fraction(1.0000001) == 1.0


def test_sightings_of_one_thing_become_one_track_with_its_surest_moment() -> None:
    (track,) = tracks([at(0.0), at(0.5, confidence=0.9), at(1.0, confidence=0.9)], same_word, 0.5)
    assert (track.start_seconds, track.end_seconds, track.best.time_seconds) == (0.0, 1.0, 0.5)


def test_a_gap_ends_a_track_and_a_shorter_one_does_not() -> None:
    times = [0.0, 1.0, 2.0, 5.0]
    found = tracks([at(time) for time in times], same_word, 2.0)
    assert [(one.start_seconds, one.end_seconds) for one in found] == [(0.0, 2.0), (5.0, 5.0)]
    assert len(tracks([at(time) for time in times], same_word, 3.0)) == 1


def test_two_things_in_one_frame_stay_two() -> None:
    found = tracks([at(0.0, "a"), at(0.0, "b"), at(1.0, "b"), at(1.0, "a")], same_word, 1.0)
    assert [[seen.word for seen in track.sightings] for track in found] == [["a", "a"], ["b", "b"]]


def test_the_likest_pair_is_joined_first() -> None:
    likeness = {("near", "x"): 0.9, ("far", "x"): 0.4}
    found = tracks(
        [at(0.0, "far"), at(0.0, "near"), at(1.0, "x")],
        lambda one, other: likeness.get((one.word, other.word), 0.0),
        1.0,
    )
    assert sorted([seen.word for seen in track.sightings] for track in found) == [["far"], ["near", "x"]]


def test_the_order_of_sightings_does_not_matter() -> None:
    seen = [at(0.0, "a"), at(0.5, "a"), at(0.5, "b"), at(2.0, "b")]
    forwards, backwards = (tracks(order, same_word, 1.0) for order in (seen, seen[::-1]))
    assert [track.sightings for track in forwards] == [track.sightings for track in backwards]
