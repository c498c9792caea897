"""Events, waits, errors, state files, and the summary."""

import io
import json
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from aima_client import errors, following, sending, state, summary, transport
from aima_client.analysis import Waiting, calls
from aima_client.inputs import Refusal
from aima_client.state import Instance
from aima_client.summary import Outcome

SUMMARY = {
    "media": 2, "stills": 1, "films": 1, "recordings": 0, "duration_seconds": 90.0, "faces": 1, "speech_lines": 12,
    "text_lines": 0, "shots": 6, "exact_duplicates": 1, "near_duplicates": 0, "labels": ["cat", "dog"],
    "languages": ["en"],
}  # fmt: skip


async def lines(text: str) -> AsyncIterator[bytes]:
    for line in text.splitlines(keepends=True):
        yield line.encode()


async def test_events_are_read_from_the_lines_of_a_stream() -> None:
    text = 'retry: 1000\n\n: still here\n\nid: 7\nevent: ProgressMade\ndata: {"done": 1}\n\nid: 8\ndata: {}\n\nid: 9\n'
    found = [event async for event in following.events(lines(text))]
    assert [(event.sequence, event.name, dict(event.data)) for event in found] == [
        (7, "ProgressMade", {"done": 1}),
        (8, "message", {}),
    ]


@pytest.mark.parametrize(
    ("counts", "dossier", "done"),
    [
        ({"items": 2, "running": 0, "erased": 0}, {"complete": True, "items": 2}, True),
        ({"items": 2, "running": 1, "erased": 0}, {"complete": True, "items": 2}, False),
        ({"items": 2, "running": 0, "erased": 0}, {"complete": True, "items": 1}, False),
        ({"items": 2, "running": 0, "erased": 1}, {"complete": True, "items": 1}, True),
        ({"items": 2, "running": 0, "erased": 0}, {"complete": False, "items": 2}, False),
        ({"items": 2, "running": 0, "erased": 0}, None, False),
        ({"items": 0, "running": 0, "erased": 0}, None, False),
    ],
)
def test_a_case_is_finished_when_its_dossier_tells_of_everything(
    counts: dict[str, int], dossier: dict[str, Any] | None, done: bool
) -> None:
    assert following.finished({"counts": counts, "dossier": dossier}) is done


def test_waits_grow_and_heed_what_the_answer_asks_for() -> None:
    waits = [transport.wait_seconds(attempt, None, lambda: 1.0) for attempt in range(1, 10)]
    assert waits == sorted(waits)
    assert waits[-1] == transport.LONGEST_WAIT_SECONDS
    assert transport.wait_seconds(1, "7", lambda: 0.0) == 7.0
    assert transport.wait_seconds(1, "86400", lambda: 0.0) == 86_400.0
    assert transport.wait_seconds(1, "soon", lambda: 1.0) == waits[0]


async def test_what_is_sent_again_is_counted_once(tmp_path: Path) -> None:
    file, moved = tmp_path / "file", list[int]()
    file.write_bytes(b"x" * (2 * sending.BLOCK_BYTES + 5))
    body = sending.Again(file, file.stat().st_size, moved.append)
    first = body()
    await anext(first)
    await anext(first)
    await first.aclose()  # type: ignore[attr-defined]
    assert sum(moved) == sending.BLOCK_BYTES
    assert b"".join([block async for block in body()]) == file.read_bytes()
    assert sum(moved) == file.stat().st_size


def test_waiting_is_said_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    said, times = io.StringIO(), iter([100.0, 101.0, 131.0])
    monkeypatch.setattr("aima_client.analysis.time", SimpleNamespace(monotonic=lambda: next(times)))
    tell = Waiting(Console(file=said, width=200))
    problem = errors.BusyError(503, {"code": "backlog", "detail": "AIMA is behind: [work] waits"})
    for _ in range(3):
        tell(15.2, problem)
    assert said.getvalue() == "… AIMA asks to wait 15 s: AIMA is behind: [work] waits\n" * 2


def test_a_problem_becomes_the_error_that_fits_it() -> None:
    problem = {"title": "Not Found", "detail": "there is no such case", "remedy": "look", "code": "not_found"}
    error = errors.from_response(404, problem)
    assert isinstance(error, errors.MissingError)
    assert (str(error), error.remedy, error.code) == ("Not Found: there is no such case", "look", "not_found")
    assert isinstance(errors.from_response(429, {}), errors.BusyError)
    assert type(errors.from_response(418, {})) is errors.ProblemError


def test_an_instance_is_found_by_its_owner_alone_and_while_it_lives(tmp_path: Path) -> None:
    place = tmp_path / "state"
    mine = Instance("http://127.0.0.1:1", "key", os.getpid(), str(tmp_path / "data"))
    path = state.publish(mine, place)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert state.locate(where=place) == mine
    assert state.locate(tmp_path / "data", place) == mine
    assert state.locate(tmp_path / "elsewhere", place) is None
    dead = Instance("http://127.0.0.1:2", "key", 2**22 + 1, "x")
    gone = state.publish(dead, place)
    (place / "instance-7.json").write_text("{broken")
    assert state.running(place) == [mine]
    assert not gone.exists()
    state.withdraw(os.getpid(), place)
    state.withdraw(os.getpid(), place)
    assert state.locate(where=place) is None


def test_calls_of_all_analyzers_are_counted() -> None:
    text = '# TYPE aima_analyzer_calls_total counter\naima_analyzer_calls_total{analyzer="a"} 3.0\n'
    assert calls(text + 'aima_analyzer_calls_total{analyzer="b"} 4.0\nother_total 9.0\n') == 7
    assert calls("") == 0


def outcome(items: list[dict[str, Any]], refused: list[Refusal], analyzer_calls: int = 0) -> Outcome:
    dossier = {"case": {"id": "c", "name": "[bold]Holiday"}, "summary": SUMMARY, "items": items}
    return Outcome(dossier, refused, analyzer_calls, 12.0, Path("out"))


def drawn(shown: Outcome) -> str:
    screen = io.StringIO()
    summary.draw(shown, Console(file=screen, width=100))
    return screen.getvalue()


def test_the_summary_says_what_there_is_and_nothing_of_what_there_is_not() -> None:
    text = drawn(outcome([], [], 5))
    for words in ("[bold]Holiday", "1 photo, 1 film", "1.5", "1  appearance of a face", "12  lines of speech (en)",
                  "1  exact duplicate", "cat, dog", "5 calls of analyzers", "12 s", "out/dossier.html"):  # fmt: skip
        assert words in text
    assert "lines of text" not in text
    assert "Not analysed" not in text


def test_the_summary_names_what_was_not_analysed_and_why() -> None:
    item = {"file_name": "a\n[red]b", "status": "rejected", "reason": "it is broken", "remedy": "mend it"}
    text = drawn(outcome([item], [Refusal("missing.jpg", "there is no such file", "Check the path.")]))
    for words in (
        "a\\u000a[red]b",
        "it is broken",
        "mend it",
        "missing.jpg",
        "Check the path.",
        "no analyzer was called",
    ):
        assert words in text


def test_the_summary_for_machines_is_json() -> None:
    item = {"file_name": "x", "status": "failed", "reason": "no", "remedy": None}
    body = json.loads(json.dumps(outcome([item], [Refusal("p", "r", "d")], 2).body()))
    assert (body["analyzer_calls"], body["failed"], body["refused"][0]["path"]) == (
        2,
        [{"file_name": "x", "reason": "no"}],
        "p",
    )
