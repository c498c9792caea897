"""What a tenant is shown of the queue, the machines and the starts that are kept free."""

import datetime
import json
from typing import Any

import pytest

from aima_scheduler import picture
from aima_scheduler.board import Board, Facts
from aima_scheduler.picture import Seen

GIB = 1 << 30
START = "2026-11-25T08:00:00+00:00"
NOW = datetime.datetime.fromisoformat(START).timestamp()
"""The same moment, s."""


def machine(name: str, cpus: float = 1.0, **more: Any) -> Facts:
    return Facts(name, "", {"cpus": cpus, "memory_bytes": 8 * GIB, "gpus": [], **more})


def job(name: str, tenant: str = "red", priority: str = "normal", **more: Any) -> Facts:
    body = {"priority": priority, "deadline": None, "submitted_at": START, "analyzer": "faces", "machine": None}
    return Facts(name, tenant, {**body, "needs": {"cpus": 1, "memory_bytes": GIB}, **more})


def taken(seen: Seen, reserved: Any = (), pace: float | None = None) -> picture.Picture:
    board = Board()
    if pace is not None:
        board.paces.learn("faces", pace)
    return picture.draw(board, seen, reserved, NOW)


def full(*waiting: Facts) -> Seen:
    """Set a machine up that has all it takes, and a queue."""
    working = [job("w1", "blue", machine="m", claimed_at=START)]
    ahead = [job(name, "red", machine="m", placed_at=NOW) for name in ("a1", "a2")]
    return Seen([machine("m")], working, ahead, waiting)


def test_jobs_are_in_their_order_with_the_place_among_all_tenants_and_only_ones_own_are_named() -> None:
    waiting = [job("r-batch", priority="batch"), job("b-high", "blue", "high"), job("r-high", "red", "high")]
    whole = taken(full(*waiting))
    red, blue = whole.shown_to("red", 10), whole.shown_to("blue", 10)
    assert [(one["job"], one["position"]) for one in red["waiting"]] == [("r-high", 2), ("r-batch", 3)]
    assert [(one["job"], one["position"]) for one in blue["waiting"]] == [("b-high", 1)]
    assert "r-high" in json.dumps(red)
    assert "r-" not in json.dumps(blue)
    assert "red" not in json.dumps(blue)
    assert [one["job"] for one in whole.shown_to("red", 1)["waiting"]] == ["r-high"]


def test_of_the_work_of_others_one_sees_what_is_used() -> None:
    whole = taken(full())
    [red], [blue] = whole.shown_to("red", 10)["machines"], whole.shown_to("blue", 10)["machines"]
    assert red["used"] == blue["used"] == {"cpus": 1, "memory_bytes": GIB, "gpus": 0}
    assert red["total"] == {"cpus": 1.0, "memory_bytes": 8 * GIB, "gpus": 0}
    assert (red["your_jobs"], red["your_next_jobs"]) == (0, 2)
    assert (blue["your_jobs"], blue["your_next_jobs"]) == (1, 0)


def test_starts_follow_from_what_jobs_take_on_average() -> None:
    whole = taken(full(job("x"), job("y"), job("z"), job("last")), pace=60.0)
    # Three are on the machine, each begun just now; three are through when they end.
    assert [whole.starts[name] for name in ("last", "x", "y")] == pytest.approx([60.0, 60.0, 60.0])
    assert whole.starts["z"] == pytest.approx(120.0)


def test_where_nothing_is_known_of_durations_no_start_is_told_but_what_fits_starts_now() -> None:
    assert taken(full(job("x"))).starts == {}
    assert taken(Seen([machine("m")], [], [], [job("x")])).starts == {"x": 0.0}


def test_a_start_that_is_kept_free_names_the_job_to_its_tenant_alone() -> None:
    seen = full(job("wide", "blue"))
    board = Board()
    board.set_machines(seen.machines, NOW)
    board.set_running([*seen.working, *seen.ahead], NOW)
    board.set_waiting(seen.waiting)
    board.decide(NOW)
    kept = board.engine.reservations
    assert kept, "the control: a start is kept free"
    whole = taken(seen, kept)
    [blue], [red] = whole.shown_to("blue", 9)["reservations"], whole.shown_to("red", 9)["reservations"]
    assert (blue["job"], red["job"]) == ("wide", None)
    assert blue["machines"] == red["machines"] == ["m"]
    assert blue["starts_in_seconds"] == red["starts_in_seconds"] > 0
    assert not taken(full(), kept).shown_to("blue", 9)["reservations"], "a job that waits no more keeps nothing"
