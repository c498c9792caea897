"""Stretches of speech: reading them, and who says what at the border of two segments."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aima_analysis.analyzers.stretches import (
    HOP,
    STEP_SECONDS,
    PieceSettings,
    Reals,
    Stretch,
    VoiceSettings,
    cut_at_borders,
    cut_long,
    grid_of,
    loudness,
    owned,
    stretches,
)
from aima_common.contracts.media import Segment

SETTINGS = VoiceSettings(margin_seconds=0.0)
PLACES = 3000
"""96 seconds."""
BORDER_SECONDS = 48.0
CONTEXT_SECONDS = 15.0
OVERHANG_SECONDS = 5.0


def places(seconds: float) -> int:
    return round(seconds / STEP_SECONDS)


def probabilities(*parts: tuple[float, float]) -> Reals:
    """Seconds and probability, one after another."""
    return np.concatenate([np.full(places(seconds), value, np.float32) for seconds, value in parts])


def spans(found: list[Stretch]) -> list[tuple[float, float]]:
    return [(round(one.start_seconds, 1), round(one.end_seconds, 1)) for one in found]


def test_speech_is_what_is_likely_long_enough() -> None:
    heard = probabilities((1.6, 0.1), (3.2, 0.9), (1.6, 0.1), (0.16, 0.9), (1.6, 0.1))
    assert spans(stretches(heard, 0, SETTINGS)) == [(1.6, 4.8)]


def test_a_short_pause_is_part_of_the_speech() -> None:
    heard = probabilities((1.6, 0.9), (0.32, 0.1), (1.6, 0.9), (0.64, 0.1), (1.6, 0.9))
    assert spans(stretches(heard, 0, SETTINGS)) == [(0.0, 3.5), (4.2, 5.8)]


def test_speech_goes_on_while_it_stays_rather_likely() -> None:
    heard = probabilities((1.6, 0.4), (1.6, 0.9), (1.6, 0.4), (1.6, 0.1))
    assert spans(stretches(heard, 0, SETTINGS)) == [(1.6, 4.8)]


def test_the_margin_stays_within_what_was_heard() -> None:
    heard = probabilities((0.96, 0.9))
    (found,) = stretches(heard, 100, VoiceSettings(margin_seconds=0.32))
    assert (found.begin, found.end) == (100, 130)
    assert found.confidence == pytest.approx(0.9)


def test_samples_are_cut_on_the_grid_of_the_medium() -> None:
    samples = np.arange(HOP * 4, dtype=np.float32)
    rows, first = grid_of(samples[100:], 100 / 16_000)
    assert first == 1
    assert rows.tolist() == samples[HOP:].reshape(3, HOP).tolist()


def test_no_samples_are_no_rows() -> None:
    rows, _ = grid_of(np.zeros(0, np.float32), 0.0)
    assert rows.shape == (0, HOP)
    assert loudness(rows).shape == (0,)


def test_a_long_stretch_is_cut_where_it_is_quiet() -> None:
    loud = np.ones(1000, np.float32)
    loud[[places(9.6), places(22.4)]] = 0.0
    pieces = cut_long([Stretch(0, places(30.4), 0.9)], loud, 0, PieceSettings(8, 15), None)
    assert spans(pieces) == [(0.0, 9.6), (9.6, 22.4), (22.4, 30.4)]


def test_a_stretch_that_is_not_long_is_not_cut() -> None:
    whole = [Stretch(0, places(14.4), 0.9)]
    assert cut_long(whole, np.zeros(1000, np.float32), 0, PieceSettings(8, 15), None) == whole


def halves() -> tuple[Segment, Segment]:
    whole, context = PLACES * STEP_SECONDS, CONTEXT_SECONDS
    return (
        Segment(index=0, core_start=0.0, core_end=48.0, context_start=0.0, context_end=48.0 + context),
        Segment(index=1, core_start=48.0, core_end=whole, context_start=48.0 - context, context_end=whole),
    )


def heard_by(segment: Segment, spoken: Reals, loud: Reals) -> list[Stretch]:
    """Everything that a segment says of what it hears."""
    first, last = places(segment.context_start), places(segment.context_end)
    found = stretches(spoken[first:last], first, SETTINGS)
    cut = cut_at_borders(found, loud[first:last], first, segment, OVERHANG_SECONDS)
    mine = owned(cut, segment)
    pieces = cut_long(mine, loud[first:last], first, PieceSettings(8, 15), segment.core_end)
    assert owned(pieces, segment) == pieces
    return pieces


def covered(pieces: list[Stretch]) -> list[int]:
    return sorted(place for piece in pieces for place in range(piece.begin, piece.end))


@given(
    pauses=st.lists(st.tuples(st.integers(0, PLACES - 1), st.integers(1, 120)), max_size=40),
    seed=st.integers(0, 1000),
)
def test_two_neighbours_say_every_bit_of_speech_exactly_once(pauses: list[tuple[int, int]], seed: int) -> None:
    spoken = np.full(PLACES, 0.9, np.float32)
    for begin, length in pauses:
        spoken[begin : begin + length] = 0.0
    loud = np.random.default_rng(seed).random(PLACES, np.float32)
    expected = {place for one in stretches(spoken, 0, SETTINGS) for place in range(one.begin, one.end)}
    said = covered([piece for segment in halves() for piece in heard_by(segment, spoken, loud)])
    assert len(said) == len(set(said))
    assert set(said) <= expected
    shortest = places(SETTINGS.shortest_speech_seconds)
    assert len(expected - set(said)) < 2 * shortest


def test_a_sentence_over_the_border_stays_whole_in_the_segment_where_it_starts() -> None:
    spoken = probabilities((46.08, 0.0), (4.8, 0.9), (45.12, 0.0))
    loud = np.ones(len(spoken), np.float32)
    first, second = halves()
    assert spans(heard_by(first, spoken, loud)) == [(46.1, 50.9)]
    assert heard_by(second, spoken, loud) == []


def test_a_speech_that_goes_on_is_cut_at_a_quiet_place_after_the_border() -> None:
    spoken = probabilities((40.0, 0.0), (32.0, 0.9), (24.0, 0.0))
    loud = np.ones(len(spoken), np.float32)
    loud[places(49.6)] = 0.0
    first, second = halves()
    assert heard_by(first, spoken, loud)[-1].end == places(49.6)
    assert heard_by(second, spoken, loud)[0].begin == places(49.6)


def test_without_context_speech_is_cut_at_the_border() -> None:
    segment = Segment(index=0, core_start=0.0, core_end=48.0, context_start=0.0, context_end=48.0)
    cut = cut_at_borders([Stretch(0, 1600, 0.9)], np.ones(1600, np.float32), 0, segment, OVERHANG_SECONDS)
    assert [(one.begin, one.end) for one in cut] == [(0, 1500), (1500, 1600)]
