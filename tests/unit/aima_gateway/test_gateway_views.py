"""What people are shown, and links that need no key."""

import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aima_common.collections import RUN_STATES, RUN_TERMINAL
from aima_common.ports.documents import Document
from aima_gateway import ranking, tickets, views
from aima_gateway.ranking import Found

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


def document(identity: str, state: str, **body: Any) -> Document:
    return Document(identity, "default", state, 0, 1, body)


def item(ordinal: int, medium: str, state: str = "accepted") -> Document:
    return document(f"i{ordinal}", state, case="c", ordinal=ordinal, medium=medium, file_name="x", size_bytes=1)


def run(medium: str, state: str, accepted_at: str = "2026") -> Document:
    body = {"medium": medium, "accepted_at": accepted_at, "parts_done": 1, "parts_total": 2, "reason": None}
    return document(f"{medium}-{accepted_at}", state, **body)


@given(st.lists(st.tuples(st.sampled_from(["accepted", "cancelled", "erased"]), st.sampled_from([None, *RUN_STATES]))))
def test_what_was_accepted_has_ended_or_is_running(states: list[tuple[str, str | None]]) -> None:
    items = [item(number, f"m{number}", state) for number, (state, _) in enumerate(states)]
    runs = {f"m{number}": run(f"m{number}", state) for number, (_, state) in enumerate(states) if state}
    counted = views.counts(items, runs)
    assert counted["items"] == len(states)
    assert counted["items"] == sum(counted[name] for name in (*RUN_TERMINAL, "running"))


def test_the_run_that_was_accepted_last_speaks_for_its_medium() -> None:
    old, new = run("m", "analysed", "2025"), run("m", "analysing", "2026")
    assert views.newest_runs([new, old]) == views.newest_runs([old, new]) == {"m": new}


def test_the_first_item_names_a_medium_and_the_others_are_listed() -> None:
    [shown] = views.stages([item(2, "m"), item(1, "m")], {"m": run("m", "fusing")}, {})
    assert (shown["items"], shown["stage"], shown["type"]) == (["i1", "i2"], "fusing", None)


def test_an_older_and_a_more_urgent_job_come_first() -> None:
    def job(identity: str, priority: str, minute: int) -> Document:
        at = f"2026-01-02T03:{minute:02d}:00+00:00"
        body: dict[str, Any] = {
            "priority": priority,
            "deadline": None,
            "submitted_at": at,
            "not_before": at,
            "errors": [],
        }
        return document(identity, "ready", **body)

    rivals = [job("a", "normal", 2), job("b", "normal", 1), job("c", "high", 3), job("d", "low", 0)]
    places = {rival.id: views.explain(rival, rivals, 2, 10.0, NOW)["position"] for rival in rivals}
    assert places == {"c": 1, "b": 2, "a": 3, "d": 4}
    assert views.explain(rivals[0], rivals, 2, 10.0, NOW)["estimated_start_seconds"] == pytest.approx(10.0)
    assert views.explain(rivals[0], rivals, 2, None, NOW)["estimated_start_seconds"] is None


def test_where_nobody_knows_a_jobs_place_none_is_told() -> None:
    job = document("a", "ready", priority="normal", submitted_at=NOW.isoformat(), errors=[])
    told = views.explain(job, None, 2, 10.0, NOW, "nobody knows")
    assert (told["position"], told["estimated_start_seconds"], told["blocked_by"]) == (None, None, ["nobody knows"])
    assert views.explain(job, [], 2, 10.0, NOW, "nobody knows")["position"] == 1


def test_a_ticket_opens_one_thing_for_a_while() -> None:
    later = NOW + datetime.timedelta(seconds=tickets.SECONDS)
    ticket = tickets.make("secret", "press.co", "dossier/c", later)
    assert tickets.check("secret", ticket, "dossier/c", NOW) == "press.co"
    assert tickets.check("secret", ticket, "dossier/c", later + datetime.timedelta(seconds=1)) is None
    assert tickets.check("secret", ticket, "dossier/d", NOW) is None
    assert tickets.check("other", ticket, "dossier/c", NOW) is None


@given(st.text())
def test_any_text_can_be_shown_as_a_ticket(text: str) -> None:
    assert tickets.check("secret", text, "dossier/c", NOW) is None


def found(text: str, by: str, start: float = 0.0) -> Found:
    return Found("m", "speech", text, start, start + 1, 1.0, text, (by,))


def test_what_two_searches_find_comes_before_what_one_finds() -> None:
    words = [found("only words", "words"), found("both", "words", 5)]
    meaning = [found("only meaning", "meaning", 9), found("both", "meaning", 5)]
    joined = ranking.join([words, meaning], 10)
    assert [hit.text for hit in joined] == ["both", "only words", "only meaning"]
    assert joined[0].found_by == ("words", "meaning")
    assert ranking.join([words], 1) == words[:1]
