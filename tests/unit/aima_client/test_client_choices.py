"""What people choose for a case on the command line."""

import datetime

import pytest
import typer

from aima_client.choices import NOTHING, Choices, choose, read_deadline

NOW = datetime.datetime(2026, 11, 25, 8, 0, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("text", "due"),
    [
        ("90m", "2026-11-25T09:30:00+00:00"),
        ("2h", "2026-11-25T10:00:00+00:00"),
        ("1d2h3m", "2026-11-26T10:03:00+00:00"),
        ("2026-12-24T18:00:00+01:00", "2026-12-24T17:00:00+00:00"),
        (" 2026-12-24T18:00Z ", "2026-12-24T18:00:00+00:00"),
    ],
)
def test_a_deadline_is_a_duration_or_a_time(text: str, due: str) -> None:
    assert read_deadline(text, NOW) == due


@pytest.mark.parametrize("text", ["", "soon", "2", "-2h", "0m", "2026-11-25T07:00Z", "99999999d", "9999-99-99"])
def test_what_is_no_deadline_is_said_with_its_words(text: str) -> None:
    with pytest.raises(ValueError, match=r"neither a duration|in the past") as refused:
        read_deadline(text, NOW)
    assert repr(text) in str(refused.value)


@pytest.mark.parametrize("option", ["priority", "deadline", "confidentiality", "profile"])
def test_a_choice_that_is_none_names_its_option(option: str) -> None:
    assert choose() == NOTHING
    with pytest.raises(typer.BadParameter) as refused:
        choose(**{option: "whatever"})
    assert refused.value.param_hint == f"--{option}"


def test_only_what_differs_is_changed_and_a_profile_never() -> None:
    options = {"priority": "high", "deadline": "2026-11-25T10:00:00+00:00", "confidentiality": "confidential"}
    same = Choices("high", "2026-11-25T11:00:00+01:00", None, "fast")
    assert same.changes(options) == {}
    assert Choices("low", None, "internal").changes(options) == {"priority": "low", "confidentiality": "internal"}
    assert Choices(deadline="2026-11-25T12:00:00+00:00").changes({**options, "deadline": None}) != {}
