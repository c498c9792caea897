"""Speech at a segment border: every word once, punctuation kept."""

from aima_common.contracts.media import Finding
from aima_fusion.observations import Observation
from aima_fusion.speech import join_speech, words_of


def heard(
    segment: int, start: float, end: float, text: str, *, confidence: float = 0.9, owned: bool = True
) -> Observation:
    finding = Finding(
        kind="speech", start_seconds=start, end_seconds=end, text=text, confidence=confidence, analyzer="speech"
    )
    return Observation(f"{segment}-{start}-{text}", finding, segment, owned)


def lines(*observations: Observation) -> list[tuple[str | None, float, float]]:
    return [(line.text, line.start_seconds, line.end_seconds) for line in join_speech(observations)]


def test_a_sentence_that_both_segments_heard_is_said_once() -> None:
    joined = lines(heard(0, 58.0, 62.0, "It was the best of times."), heard(1, 58.1, 62.0, "It was the best of times."))

    assert joined == [("It was the best of times.", 58.0, 62.0)]


def test_a_sentence_cut_by_the_border_is_stitched_with_its_punctuation() -> None:
    joined = lines(
        heard(0, 57.0, 62.0, "It was the best of times, it was"),
        heard(1, 60.0, 65.0, "times, it was the worst of times."),
    )

    assert joined == [("It was the best of times, it was the worst of times.", 57.0, 65.0)]


def test_the_fuller_of_two_hearings_stays() -> None:
    short, full = heard(0, 58.0, 60.5, "the age of"), heard(1, 57.9, 62.0, "It was the age of wisdom.")
    assert lines(short, full) == [("It was the age of wisdom.", 57.9, 62.0)]

    short, full = heard(0, 57.8, 60.5, "the age of"), heard(1, 57.9, 62.0, "It was the age of wisdom.")
    assert lines(short, full) == [("It was the age of wisdom.", 57.8, 62.0)]


def test_of_two_nearly_equal_hearings_the_one_in_its_own_segment_stays() -> None:
    joined = lines(
        heard(0, 60.1, 64.0, "We had nothing behind us", owned=False, confidence=0.99),
        heard(1, 60.1, 64.0, "We had nothing before us", confidence=0.5),
    )

    assert [text for text, _, _ in joined] == ["We had nothing before us"]


def test_different_words_at_the_same_time_both_stay() -> None:
    joined = lines(heard(0, 58.0, 62.0, "Good morning, everyone."), heard(1, 58.0, 62.0, "Stop that train!"))

    assert len(joined) == 2


def test_one_segment_never_repeats_itself() -> None:
    """What one model run heard twice, somebody said twice."""
    assert len(lines(heard(0, 1.0, 3.0, "No."), heard(0, 2.0, 4.0, "No."))) == 2
    assert len(lines(heard(0, 1.0, 3.0, "No."), heard(1, 2.0, 4.0, "No."))) == 1


def test_the_same_words_at_another_time_are_another_line() -> None:
    assert len(lines(heard(0, 1.0, 3.0, "Yes."), heard(1, 70.0, 72.0, "Yes."))) == 2


def test_words_are_compared_without_case_and_punctuation() -> None:
    assert words_of("It's — “Times”, 1859!") == ["its", "—", "times", "1859"]
