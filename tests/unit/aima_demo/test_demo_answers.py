"""How far an answer is from what should be found."""

import json
import math

import jiwer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aima_demo.answers import (
    Answers,
    FilmAnswers,
    Region,
    Title,
    character_error_rate,
    edits,
    match_cuts,
    overlap,
    word_error_rate,
    words,
)

SENTENCE = "It was the best of times, it was the worst of times"


@pytest.mark.parametrize(
    ("found", "rate"),
    [
        (SENTENCE, 0.0),
        ("IT WAS THE BEST OF TIMES - it was the worst of times!", 0.0),
        ("It was the best of time, it was the worst of times", 1 / 12),
        ("It was the best of times, it was the of times", 1 / 12),
        ("It was the very best of times, it was the worst of times", 1 / 12),
        ("", 1.0),
    ],
)
def test_a_wrong_missing_or_added_word_counts_once(found: str, rate: float) -> None:
    assert word_error_rate(SENTENCE, found) == pytest.approx(rate)


def test_nothing_said_is_met_by_nothing_found_alone() -> None:
    assert word_error_rate("", " ... ") == 0.0
    assert math.isinf(word_error_rate("", "a word"))


spoken = st.lists(st.sampled_from(["a", "b", "c", "dd", "it's"]), min_size=1, max_size=12)


@given(reference=spoken, found=spoken)
def test_word_errors_are_counted_as_jiwer_counts_them(reference: list[str], found: list[str]) -> None:
    expected = jiwer.wer(" ".join(reference), " ".join(found))
    assert word_error_rate(" ".join(reference), " ".join(found)) == pytest.approx(expected)


@given(reference=spoken, found=spoken)
def test_character_errors_are_counted_as_jiwer_counts_them(reference: list[str], found: list[str]) -> None:
    expected = jiwer.cer(" ".join(reference), " ".join(found))
    assert character_error_rate(" ".join(reference), " ".join(found)) == pytest.approx(expected)


@given(one=st.text(max_size=8), other=st.text(max_size=8), third=st.text(max_size=8))
def test_edits_are_a_distance(one: str, other: str, third: str) -> None:
    assert edits(one, one) == 0
    assert edits(one, other) == edits(other, one)
    assert edits(one, third) <= edits(one, other) + edits(other, third)


def test_words_are_compared_without_case_accents_of_typography_or_punctuation() -> None:
    assert words("»Don’t« – ＳＴＯＰ, 'please'!") == ["don't", "stop", "please"]


SQUARE = Region(0.2, 0.2, 0.4, 0.4)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (SQUARE, 1.0),
        (Region(0.4, 0.2, 0.4, 0.4), 1 / 3),
        (Region(0.3, 0.3, 0.2, 0.2), 1 / 4),
        (Region(0.6, 0.2, 0.4, 0.4), 0.0),
        (Region(0.0, 0.7, 1.0, 0.1), 0.0),
    ],
)
def test_overlap_is_intersection_over_union(other: Region, expected: float) -> None:
    assert overlap(SQUARE, other) == pytest.approx(expected)
    assert overlap(other, SQUARE) == pytest.approx(expected)


def test_a_cut_is_matched_within_the_tolerance_and_once() -> None:
    match = match_cuts([1.0, 2.0, 3.0], [3.04, 1.96, 2.02, 7.0], 0.04)
    assert match.matched == ((2.0, 2.02), (3.0, 3.04))
    assert match.missed == (1.0,)
    assert match.invented == (1.96, 7.0)


def test_without_cuts_nothing_is_missed() -> None:
    assert match_cuts([], [1.0], 0.04).invented == (1.0,)
    assert match_cuts([1.0], [], 0.04).missed == (1.0,)


def test_answers_survive_being_written_down() -> None:
    answers = Answers(
        recipe="r",
        sizes={"photos/a b.png": 7},
        film=FilmAnswers("f.mp4", 46.08, 25, (1.0, 2.5), (3.0, 4.0), (Title("Ünï", 0.0, 1.0),), "said"),
        recordings={"a.opus": "Fail better."},
        page=("page.png", "text"),
        faces={"a.png": (SQUARE,), "b.png": ()},
        exact_duplicates=(("a.png", "b.png"),),
        near_duplicates=(("a.png", "c.jpg"),),
        rejected={"x": "why"},
    )
    assert Answers.from_json(json.loads(json.dumps(answers.to_json()))) == answers
