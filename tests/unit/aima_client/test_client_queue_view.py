"""The live picture of queue, machines and what is kept free: what it says, and when it ends."""

import io
from collections.abc import Mapping
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from aima_client import queue_view
from aima_client.__main__ import app
from aima_client.errors import BusyError, NotRunningError

GIB = 1 << 30


def machine(name: str, cpus: float = 1, **more: Any) -> dict[str, Any]:
    total = {"cpus": 4, "memory_bytes": 16 * GIB, "gpus": 2}
    used = {"cpus": cpus, "memory_bytes": 4 * GIB, "gpus": 1}
    whole = {"id": name, "location": "local", "total": total, "used": used, "your_jobs": 1, "your_next_jobs": 2}
    return {**whole, **more}


def job(name: str, place: int | None = 1, start: float | None = 90.0, priority: str = "normal") -> dict[str, Any]:
    facts = {"job": name, "analyzer": "faces", "medium": "m", "priority": priority, "deadline": None}
    return {**facts, "waited_seconds": 125.0, "position": place, "estimated_start_seconds": start}


def queue(**more: Any) -> dict[str, Any]:
    counts = {"ready": 3, "leased": 2, "parked": 0, "unschedulable": 0, "unavailable": 0, "dead": 1}
    return {"counts": counts, "waiting": [], "machines": [], "reservations": [], "scheduler": True, **more}


def drawn(shown: Mapping[str, Any], trouble: str = "", width: int = 100) -> str:
    console = Console(record=True, width=width, file=io.StringIO())
    console.print(queue_view.picture(shown, trouble))
    return console.export_text()


def test_one_sees_the_head_of_the_queue_what_is_used_of_machines_and_what_is_kept_free() -> None:
    kept = [
        {"job": "mine", "machines": ["m1", "m2"], "starts_in_seconds": 61.0},
        {"job": None, "machines": ["m3"], "starts_in_seconds": 5.0},
    ]
    text = drawn(
        queue(
            waiting=[job("first", 4, priority="critical"), job("second", 7, None)],
            machines=[machine("m1")],
            reservations=kept,
        )
    )
    for words in (
        "3 ready · 2 worked on · 1 dead",
        "1/4",
        "4.0/16.0 GiB",
        "1/2",
        "1 (+2 next)",
        "m1, m2  for your job mine, which is to start within 1 min 01 s",
        "m3  for a job of somebody else, which is to start within 5 s",
    ):
        assert words in text
    [first] = [line for line in text.splitlines() if "first" in line]
    assert first.split()[1:-1] == ["4", "critical", "faces", "2", "min", "05", "s", "~", "1", "min", "30", "s", "first"]
    [second] = [line for line in text.splitlines() if "second" in line]
    assert second.split()[1:4] == ["7", "normal", "faces"]
    assert " ? " in second


def test_bars_are_as_long_as_what_is_used_and_never_longer() -> None:
    lengths = [drawn(queue(machines=[machine("m", cpus)])).count("━") for cpus in (0, 4, 9)]
    empty, full, beyond = (drawn(queue(machines=[machine("m", cpus)])) for cpus in (0, 4, 9))
    assert lengths[1] == lengths[2]
    assert "0/4" in empty
    assert "4/4" in full
    assert "9/4" in beyond
    assert max(len(line) for line in beyond.splitlines()) <= 100


def test_of_many_machines_the_fullest_are_shown_and_of_many_jobs_the_first() -> None:
    many = [machine(f"machine-{number:02}", number % 4) for number in range(40)]
    text = drawn(queue(machines=many, waiting=[job(f"job-{number:02}", number) for number in range(1, 60)]))
    assert text.count("machine-") == queue_view.MACHINE_ROWS
    assert text.count("3/4") == queue_view.MACHINE_ROWS
    assert "and 30 more" in text
    assert text.count("job-") == queue_view.QUEUE_ROWS


def test_what_is_not_known_is_said() -> None:
    assert "no job of yours waits" in drawn(queue())
    assert "there is no machine" in drawn(queue())
    silent = drawn(queue(scheduler=False, waiting=[job("a", None, None)]))
    assert "the scheduler does not answer" in silent
    assert "there is no machine" not in silent
    assert "it went away; this is the last picture" in drawn(queue(), "it went away")


def test_a_narrow_terminal_still_shows_which_machine_it_is_and_how_much_is_used() -> None:
    text = drawn(queue(machines=[machine("cluster-node-17.example")]), width=80)
    for words in ("cluster-nod", "1/4", "4.0/16.0 GiB", "1/2", "1 (+2 next)"):
        assert words in text


def test_names_cannot_confuse_the_terminal() -> None:
    text = drawn(queue(machines=[machine("m\x1b[2J[red]x")], waiting=[job("[bold]j")]))
    assert "\x1b" not in text
    assert "m\\u001b[2J[red]x" in text
    assert "[bold]j" in text


class Answers:
    """Answers one after the other; an error is raised, and the last one ends the watch."""

    def __init__(self, *answers: Any) -> None:
        self.left = list(answers)

    async def __call__(self) -> Mapping[str, Any]:
        answer = self.left.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return dict(answer)


async def test_where_there_is_no_terminal_one_picture_is_drawn() -> None:
    console = Console(record=True, width=100, file=io.StringIO())
    ask = Answers(queue(waiting=[job("only")]), queue())
    await queue_view.follow(ask, console)
    assert "only" in console.export_text()
    assert len(ask.left) == 1


async def test_a_terminal_is_drawn_on_until_one_stops_it_and_who_goes_away_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(queue_view, "REDRAW_SECONDS", 0.0)
    screen = io.StringIO()
    console = Console(width=100, height=60, file=screen, force_terminal=True)
    away = (NotRunningError("no AIMA answers"), BusyError(503, {"title": "Busy"}))
    ask = Answers(queue(waiting=[job("one")]), *away, queue(waiting=[job("two")]), queue(), KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        await queue_view.follow(ask, console)
    shown = screen.getvalue()
    assert shown.index("one") < shown.index("no AIMA answers") < shown.index("Busy") < shown.index("two")
    assert shown.count("\x1b[?25h") == shown.count("\x1b[?25l") == 1, "the cursor comes back"


async def test_what_fails_at_the_first_time_is_raised() -> None:
    with pytest.raises(NotRunningError):
        await queue_view.follow(Answers(NotRunningError("away")), Console(file=io.StringIO()))


def test_the_command_says_that_nobody_answers_and_what_does_not_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIMA_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AIMA_KEY", "k")
    ended = CliRunner().invoke(app, ["jobs", "--watch"])
    assert ended.exit_code == 1
    assert "no AIMA answers at http://127.0.0.1:9" in ended.output
    assert CliRunner().invoke(app, ["jobs", "--watch", "--state", "dead"]).exit_code == 2
