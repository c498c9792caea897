"""How things are written for people."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aima_dossier import wording


@pytest.mark.parametrize(
    ("seconds", "decimals", "text"),
    [
        (0, 0, "0:00"),
        (7.96, 0, "0:07"),
        (727, 0, "12:07"),
        (3727, 0, "1:02:07"),
        (7.96, 1, "0:07.9"),
        (59.999999999, 2, "1:00.00"),
    ],
)
def test_moments(seconds: float, decimals: int, text: str) -> None:
    assert wording.clock(seconds, decimals) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.42, "0.4 s"),
        (3.0, "3 s"),
        (48, "48 s"),
        (120, "2 min"),
        (185.4, "3 min 5 s"),
        (7200, "2 h"),
        (7440, "2 h 4 min"),
    ],
)
def test_lengths(seconds: float, text: str) -> None:
    assert wording.length(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1.0 kB"),
        (56_833, "57 kB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (3_728_833, "3.7 MB"),
        (2_500_000_000_000, "2.5 TB"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    assert wording.size(size) == text


@pytest.mark.parametrize(("fraction", "text"), [(0.914, "91 %"), (1.0, "100 %"), (0.9999, "> 99 %"), (0.0, "0 %")])
def test_only_what_is_certain_is_a_hundred_percent(fraction: float, text: str) -> None:
    assert wording.percent(fraction) == text


def test_numbers_of_things() -> None:
    assert wording.counted(1, "face") == "1 face"
    assert wording.counted(12_345, "face") == "12\u202f345 faces"
    assert wording.spelled(4, "still") == "four stills"
    assert wording.spelled(31, "still") == "31 stills"
    assert wording.listed(["a", "b", "c"]) == "a, b and c"
    assert wording.listed([]) == ""


def test_stretches() -> None:
    assert wording.stretch(1.0, 2.5) == "0:01.0–0:02.5"
    assert wording.stretch(1.0, 1.0) == "0:01.0"


def test_hidden_characters_are_shown_by_name() -> None:
    shown = wording.visible("in\u202egpj.exe\n")

    assert "\u202e" not in shown
    assert '<span class="hidden-character" title="U+202E RIGHT-TO-LEFT OVERRIDE">U+202E</span>' in shown
    assert 'title="U+000A LINE FEED"' in shown
    assert wording.plain("a\u202eb") == "a⟨U+202E⟩b"


def test_foreign_words_are_left_alone() -> None:
    for word in ("שלום", "می\u200cخواهم", "👩\u200d🚀", "ﬁ", "a b"):
        assert wording.visible(word) == f"<bdi>{word}</bdi>"


@given(st.text())
def test_no_text_becomes_markup(text: str) -> None:
    shown = wording.visible(text)
    bare = shown.removeprefix("<bdi>").removesuffix("</bdi>").replace('<span class="hidden-character" title="', "")

    assert "<" not in bare.replace("</span>", "")
    assert not any(wording.is_hidden(letter) for letter in shown)
