"""Windows, suspicion and transitions: the arithmetic around TransNetV2."""

import numpy as np
import numpy.typing as npt
import pytest

from aima_analysis.analyzers.shots import (
    SUSPICION,
    WINDOW,
    hard_cut,
    suspicious,
    transitions,
    windows,
)

Pixels = npt.NDArray[np.uint8]
RED, BLUE = (200, 20, 20), (20, 20, 200)


def plain(count: int, colour: tuple[int, int, int]) -> Pixels:
    return np.broadcast_to(np.array(colour, np.uint8), (count, 27, 48, 3)).copy()


def dissolve(count: int) -> Pixels:
    shares = np.linspace(0, 1, count)[:, None, None, None]
    return np.asarray(plain(count, RED) * (1 - shares) + plain(count, BLUE) * shares, np.uint8)


def panned(count: int) -> Pixels:
    """A picture with detail that wanders to the left, a pixel each frame."""
    wide = np.random.default_rng(5).integers(0, 256, (27, 48, 3), np.uint8)
    return np.stack([np.roll(wide, -step, axis=1) for step in range(count)])


def times(count: int, first: float = 0.0) -> npt.NDArray[np.float64]:
    return first + np.arange(count) / 25


@pytest.mark.parametrize("count", [1, 2, 49, 50, 51, 137])
@pytest.mark.parametrize("first", [0.0, 0.2, 58.0])
def test_windows_answer_for_every_frame_exactly_once(count: int, first: float) -> None:
    answered = [place for window in windows(times(count, first)) for place in range(count)[window.frames]]
    assert answered == list(range(count))


def test_frames_that_all_claim_the_same_time_are_still_answered_for() -> None:
    assert [window.frames for window in windows(np.full(60, 3.0))] == [slice(0, 50), slice(50, 60)]


def test_a_window_answers_for_its_middle() -> None:
    for window in windows(times(137, 0.2)):
        assert len(window.looked_at) == WINDOW
        assert window.looked_at[window.believed].tolist() == list(range(137))[window.frames]


def test_neighbouring_segments_see_the_same_windows() -> None:
    whole, later = times(400), times(400)[130:]
    first_frames = {tuple(whole[window.looked_at]) for window in windows(whole)}
    inner = [window for window in windows(later) if window.looked_at[0] > 0 and window.looked_at[-1] < len(later) - 1]
    assert len(inner) == 3
    assert all(tuple(later[window.looked_at]) in first_frames for window in inner)


def test_a_cut_is_suspicious() -> None:
    assert suspicious(np.concatenate([plain(50, RED), plain(50, BLUE)]), SUSPICION)


def test_a_slow_dissolve_is_suspicious() -> None:
    assert suspicious(np.concatenate([plain(37, RED), dissolve(25), plain(38, BLUE)]), SUSPICION)


def test_stillness_and_noise_are_not_suspicious() -> None:
    noise = np.random.default_rng(5).integers(0, 4, (100, 27, 48, 3), np.uint8)
    assert not suspicious(plain(100, RED) + noise, SUSPICION)


def test_a_pan_alone_is_not_suspicious() -> None:
    pan = panned(100)
    assert np.abs(np.diff(pan.astype(int), axis=0)).mean() > SUSPICION.noise
    assert not suspicious(pan, SUSPICION)


def test_a_cut_is_placed_on_the_first_frame_of_the_new_shot() -> None:
    pixels = np.concatenate([plain(10, RED), plain(10, BLUE)])
    for begin, end in [(9, 10), (8, 10), (9, 11), (10, 11)]:
        assert hard_cut(pixels, begin, end) == 10


def test_a_dissolve_is_no_hard_cut_and_has_its_whole_length() -> None:
    pixels = np.concatenate([plain(10, RED), dissolve(10), plain(10, BLUE)])
    middles, extents = np.zeros(30, np.float32), np.zeros(30, np.float32)
    middles[14:16], extents[10:20] = 0.8, 0.9
    (found,) = transitions(middles, extents, pixels, times(30), 0.5)
    assert not found.hard
    assert (found.start_seconds, found.end_seconds) == (times(30)[10], times(30)[20])
    assert found.confidence == pytest.approx(0.8)


def test_two_peaks_of_one_dissolve_are_one_transition() -> None:
    pixels = np.concatenate([plain(10, RED), dissolve(10), plain(10, BLUE)])
    middles, extents = np.zeros(30, np.float32), np.zeros(30, np.float32)
    middles[13], middles[16], extents[10:20] = 0.8, 0.7, 0.9
    assert len(transitions(middles, extents, pixels, times(30), 0.5)) == 1


def test_nothing_above_the_threshold_is_no_transition() -> None:
    quiet = np.full(20, 0.5, np.float32)
    assert transitions(quiet, quiet, plain(20, RED), times(20), 0.5) == []
