"""What `aima explain` prints of a job."""

import io

import pytest
from rich.console import Console

from aima_client.commands import cases

FOUND = {
    "job": "job",
    "state": "ready",
    "position": 2,
    "blocked_by": ["one job more urgent or older comes first"],
    "dimension": None,
    "would_help": ["a higher priority would bring it forward"],
    "estimated_start_seconds": 40.0,
    "start_interval_seconds": [30.0, 55.0],
    "placed_because": None,
}


def printed(monkeypatch: pytest.MonkeyPatch, **more: object) -> list[str]:
    text = io.StringIO()
    monkeypatch.setattr(cases, "out", Console(file=text, width=200))
    cases._draw_explanation({**FOUND, **more})
    return text.getvalue().splitlines()


def test_a_place_a_start_and_the_outlook_of_a_deadline_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = printed(monkeypatch, deadline_outlook="its deadline is in 60 s; as things are it will be [met]")
    assert lines == [
        "state     ready",
        "position  2",
        "starts in about 40 s",
        "          four times in five between 30 and 55 s from now",
        "deadline  its deadline is in 60 s; as things are it will be [met]",
        "because   one job more urgent or older comes first",
        "helps     a higher priority would bring it forward",
    ]


def test_without_a_deadline_none_is_shown_and_an_earlier_gateway_says_nothing_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for lines in (printed(monkeypatch, deadline_outlook=None), printed(monkeypatch)):
        assert not any(line.startswith("deadline") for line in lines)
