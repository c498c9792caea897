"""Words of classes, shares, readings of lines, and when two pictures are alike."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest

from aima_analysis.analyzers import pictures
from aima_analysis.analyzers.analyzer import DerivativeError
from aima_analysis.analyzers.enrichment import letters
from aima_analysis.analyzers.labels import likeliest, shares, words
from aima_analysis.analyzers.rounding import unit
from aima_analysis.analyzers.sightings import Sighting
from aima_analysis.analyzers.text import enlargement, lines_of, plain, same_line
from aima_common.contracts.derivatives import Frame
from aima_common.contracts.media import Region


@dataclass
class Reading:
    boxes: npt.NDArray[np.float32] | None
    txts: Sequence[str] | None
    scores: Sequence[float] | None


def line(text: str, x: float = 0.1) -> Sighting:
    return Sighting(0.0, 0.9, Region(x=x, y=0.8, width=0.4, height=0.1), text)


def test_a_class_is_called_by_its_first_lemma() -> None:
    assert words("n01440764\ttench, Tinca tinca\nn02123159\ttiger cat\n") == ["tench", "tiger cat"]


def test_shares_sum_to_one_even_for_large_logits() -> None:
    assert shares(np.array([1000.0, 1000.0], np.float32)).tolist() == [0.5, 0.5]


def test_the_likeliest_come_first_and_the_unlikely_not_at_all() -> None:
    assert likeliest(np.array([0.1, 0.35, 0.3, 0.25], np.float32), 0.2, 2) == [1, 2]
    assert likeliest(np.array([0.1, 0.35], np.float32), 0.3, 5) == [1]


def test_vectors_have_length_one() -> None:
    assert unit(np.array([3.0, 4.0], np.float32)) == [0.6, 0.8]
    assert unit(np.zeros(2, np.float32)) == [0.0, 0.0]


def test_lines_become_upright_regions_of_the_picture() -> None:
    box = np.array([[[10, 12], [60, 10], [61, 20], [11, 22]]], np.float32)
    (found,) = lines_of(Reading(box, ["  Grand  Hotel "], [0.9]), 100, 50, 3.0, 0.75)
    assert found.word == "Grand Hotel"
    assert found.region == Region(x=0.1, y=0.2, width=0.51, height=0.24)


@pytest.mark.parametrize(("text", "score"), [("Grand Hotel", 0.7), ("-- . --", 0.99), ("a", 0.99)])
def test_unsure_and_empty_lines_are_left_out(text: str, score: float) -> None:
    box = np.zeros((1, 4, 2), np.float32)
    assert lines_of(Reading(box, [text], [score]), 100, 50, 0.0, 0.75) == []
    assert len(lines_of(Reading(box, ["Grand Hotel"], [0.99]), 100, 50, 0.0, 0.75)) == 1


def test_a_picture_without_text_has_no_lines() -> None:
    assert lines_of(Reading(None, None, None), 100, 50, 0.0, 0.75) == []


def test_the_same_words_at_the_same_place_are_one_line() -> None:
    assert same_line(line("Chapter one"), line("Chapter 0ne")) > 0
    assert same_line(line("Chapter one"), line("Chapter one", x=0.5)) == 0
    assert same_line(line("Chapter one"), line("The end")) == 0


def test_texts_are_composed_and_have_single_spaces() -> None:
    assert plain("  Cafe\u0301 \n noir ") == "Caf\u00e9 noir"
    assert letters("R2-D2 ist da!") == 7


def test_only_small_pictures_are_enlarged() -> None:
    assert enlargement(1280, 720) == 1.0
    assert enlargement(368, 200) == 2.0
    assert enlargement(100, 50) == 2.0
    assert enlargement(640, 360) == pytest.approx(1.15)


def test_noise_leaves_pictures_alike_and_a_small_title_does_not() -> None:
    still = np.full((90, 160), 100, np.uint8)
    noisy = still + np.random.default_rng(2).integers(0, 3, still.shape, np.uint8)
    titled = still.copy()
    titled[80:82, 60:90] = 180
    assert pictures.alike(still, noisy)
    assert not pictures.alike(still, titled)


def test_frames_are_sampled_on_a_grid_of_the_medium() -> None:
    frames = [Frame(time / 2, b"") for time in range(117, 127)]
    assert [frame.time_seconds for frame in pictures.sampled(frames, 1.0)] == [58.5, 59.0, 60.0, 61.0, 62.0, 63.0]


@pytest.mark.parametrize("jpeg", [b"", b"no picture"], ids=["empty", "text"])
def test_what_is_no_picture_is_refused(jpeg: bytes) -> None:
    with pytest.raises(DerivativeError):
        pictures.decode(jpeg)
