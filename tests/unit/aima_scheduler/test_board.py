"""What the deciders know is what the store says, and what follows from it is placed on real machines."""

import datetime
from dataclasses import replace
from typing import Any

import pytest

from aima_scheduler.board import MOST_LEARNED, QUEUE_AHEAD, Board, Facts, Paces, allowed_locations
from aima_scheduler.deciders.engine import Unschedulable
from aima_scheduler.deciders.model import Placement
from aima_scheduler.reading import MIB

GIB = 1 << 30
START = "2026-11-25T08:00:00+00:00"


def machine(name: str, cpus: float = 4.0, **more: Any) -> Facts:
    return Facts(name, "", {"cpus": cpus, "memory_bytes": 8 * GIB, "gpus": [], **more})


def job(name: str, priority: str = "normal", needs: dict[str, Any] | None = None, **more: Any) -> Facts:
    body = {"priority": priority, "deadline": None, "submitted_at": START, "analyzer": "faces", "machine": None}
    return Facts(name, "tenant", {**body, "needs": {"cpus": 1, "memory_bytes": GIB, **(needs or {})}, **more})


def placed(board: Board, *jobs: Facts, now: float = 0.0) -> dict[str, str]:
    board.set_waiting(jobs)
    return {one.job: one.slots[0].machine for one in board.decide(now) if isinstance(one, Placement)}


def board_of(*machines: Facts) -> Board:
    board = Board()
    board.set_machines(machines, 0.0)
    return board


def test_some_jobs_may_wait_at_the_machine_for_a_core() -> None:
    board = board_of(machine("m", cpus=2))
    names = [f"j{number}" for number in range(6)]
    assert list(placed(board, *map(job, names))) == names[: 2 + QUEUE_AHEAD]


def test_a_laptop_never_refuses_a_film() -> None:
    board = board_of(machine("laptop", cpus=2))
    assert placed(board, job("film", needs={"cpus": 16})) == {"film": "laptop"}


def test_memory_and_gpus_are_not_soft_and_what_is_missing_is_told() -> None:
    board = board_of(machine("m"))
    board.set_waiting([job("huge", needs={"memory_bytes": 9 * GIB}), job("gpu", needs={"gpus": 1}), job("fits")])
    told = board.decide(0.0)
    refused = {one.job: one.shortfall.dimension for one in told if isinstance(one, Unschedulable)}
    assert refused == {"huge": "memory", "gpu": "gpu"}
    assert [one.job for one in told if isinstance(one, Placement)] == ["fits"]


def test_what_another_scheduler_placed_where_a_start_is_kept_free_takes_its_room() -> None:
    board = board_of(machine("m", cpus=2))
    first = job("first", needs={"cpus": 2})
    assert placed(board, first, now=0.0) == {"first": "m"}
    assert placed(board, job("wide", needs={"cpus": 2}), job("wider", needs={"cpus": 2}), now=1.0) == {"wide": "m"}
    board.set_running([replace(first, body={**first.body, "machine": "m"})], 2.0)
    assert placed(board, job("blocked", needs={"memory_bytes": 8 * GIB}), now=2.0) == {}
    assert [kept.job.id for kept in board.engine.reservations] == ["blocked"], "what is free is kept free"
    theirs = job("theirs", needs={"cpus": 2}, machine="m")
    board.set_running([replace(first, body={**first.body, "machine": "m"}), theirs], 3.0)
    assert board.engine.running["theirs"].job.shape.cpu_milli == 2000
    assert board.engine.fleet.free("m").cpu_milli == 0


def test_of_those_who_are_on_a_machine_the_one_who_cannot_wait_is_beyond_its_cores() -> None:
    board = board_of(machine("m", cpus=1))
    names = {"a": "high", "b": "normal", "c": "batch", "d": "low"}
    board.set_running([job(name, priority, machine="m") for name, priority in names.items()], 1.0)
    beyond = [name for name, one in board.engine.running.items() if not one.job.shape.cpu_milli]
    assert beyond == ["a"]


def test_where_more_is_on_a_machine_than_it_has_nothing_is_left_for_others() -> None:
    board = board_of(machine("m", cpus=2, gpus=[{"memory_bytes": GIB}]))
    wide = job("c", needs={"cpus": 2, "gpus": 1}, machine="m")
    here = [job("a", needs={"cpus": 2}, machine="m"), job("b", machine="m"), wide]
    board.set_running(here, 1.0)
    free = board.engine.fleet.free("m")
    assert (free.cpu_milli, [gpu.milli for gpu in board.engine.fleet.gpus("m")]) == (0, [0])
    assert placed(board, job("late")) == {}
    board.set_running(here[:2], 2.0)
    assert placed(board, job("late")) == {"late": "m"}, "control"


def test_one_who_cannot_wait_exceeds_the_cores_and_no_second_one() -> None:
    board = board_of(machine("m", cpus=1))
    assert len(placed(board, *(job(f"j{number}") for number in range(4)))) == 1 + QUEUE_AHEAD
    urgent = [job("one", "high"), job("two", "high"), job("film", "normal")]
    assert placed(board, *urgent) == {"one": "m"}
    board.set_running([job("one", "high", machine="m", placed_at=0.0)], 1.0)
    assert set(placed(board, *urgent[1:])) == {"two", "film"}, "those that ended made room"


@pytest.mark.parametrize("gib", [2, 1], ids=["no room", "control"])
def test_who_exceeds_the_cores_does_not_exceed_the_memory(gib: int) -> None:
    board = board_of(machine("m", cpus=2))
    films = [job(f"film {n}", needs={"memory_bytes": 2 * GIB - (n == 0) * GIB}, machine="m") for n in range(4)]
    board.set_running(films, 1.0)
    assert board.engine.fleet.free("m").cpu_milli == 0
    photo = job("photo", "high", needs={"memory_bytes": gib * GIB})
    assert placed(board, photo, now=2.0) == ({} if gib == 2 else {"photo": "m"})
    if gib == 2:
        board.set_running(films[1:], 3.0)
        assert placed(board, photo, now=3.0) == {"photo": "m"}, "as soon as it is there"


def test_the_memory_of_who_exceeds_the_cores_is_nobody_elses() -> None:
    board = board_of(machine("m", cpus=2))
    films = [job(f"film {n}", machine="m") for n in range(2 + QUEUE_AHEAD)]
    board.set_running(films, 1.0)
    assert placed(board, job("photo", "high", needs={"memory_bytes": 3 * GIB})) == {"photo": "m"}
    photo = job("photo", "high", needs={"memory_bytes": 3 * GIB}, machine="m")
    board.set_running([photo], 2.0)
    room = board.engine.fleet.free("m")
    assert (room.cpu_milli, room.memory_mib * MIB) == (4000, 5 * GIB), "the cores alone are exceeded"
    wide = job("wide", needs={"memory_bytes": 6 * GIB})
    assert placed(board, wide) == {}
    board.set_running([], 3.0)
    assert placed(board, wide) == {"wide": "m"}, "control"


@pytest.mark.parametrize(
    ("first", "gib", "goes"),
    [("critical", 2, False), ("critical", 1, True), ("normal", 2, True)],
    ids=["in the way of who comes first", "beside it", "of who comes later"],
)
def test_who_exceeds_the_cores_leaves_the_memory_to_who_comes_first(first: str, gib: int, goes: bool) -> None:
    board = board_of(machine("m", cpus=2))
    board.paces.learn("faces", 100.0)
    board.paces.learn("long", 1000.0)
    films = [
        job("film", needs={"cpus": 2, "memory_bytes": 6 * GIB}, machine="m", placed_at=1.0),
        job("endless", needs={"cpus": 2, "memory_bytes": 0}, machine="m", placed_at=1.0, analyzer="long"),
    ]
    board.set_running(films, 1.0)
    large = job("large", first, needs={"memory_bytes": 7 * GIB})
    assert placed(board, large, now=2.0) == {}
    assert [(kept.job.id, kept.at) for kept in board.engine.reservations] == [("large", 101.0)]
    photo = job("photo", "high", needs={"cpus": 2, "memory_bytes": gib * GIB}, analyzer="long")
    assert placed(board, large, photo, now=3.0) == ({"photo": "m"} if goes else {})


def test_what_took_less_than_it_needs_takes_the_rest_as_soon_as_it_is_there() -> None:
    board = board_of(machine("m", cpus=2, gpus=[{"memory_bytes": GIB}]))
    first = job("a", needs={"cpus": 4, "memory_bytes": 6 * GIB, "gpus": 1}, machine="m")
    late = job("b", needs={"cpus": 2, "memory_bytes": 4 * GIB, "gpus": 1}, machine="m")
    board.set_running([first, late], 1.0)
    assert board.engine.running["b"].job.shape.memory_mib * MIB == 2 * GIB
    board.set_running([late], 2.0)
    room = board.engine.fleet.free("m")
    assert (room.cpu_milli, room.memory_mib * MIB, room.gpus[0].milli) == (2000, 4 * GIB, 0)
    assert placed(board, job("gpu", needs={"gpus": 1}), job("c"), job("d")) == {"c": "m", "d": "m"}


def test_what_could_not_be_carried_out_is_taken_back() -> None:
    board = board_of(machine("m", cpus=1))
    jobs = [job(f"j{number}") for number in range(4)]
    (first, *_) = placed(board, *jobs)
    board.undo(first, 0.0)
    assert placed(board, jobs[3]) == {"j3": "m"}


def test_what_the_store_says_runs_takes_room_and_what_it_says_no_more_gives_it_back() -> None:
    board = board_of(machine("m", cpus=1))
    running = [job(f"r{number}", machine="m", placed_at=5.0) for number in range(1 + QUEUE_AHEAD)]
    board.set_running(running, 10.0)
    assert placed(board, job("waits")) == {}
    board.set_running(running[1:], 11.0)
    assert placed(board, job("waits")) == {"waits": "m"}


def test_a_machine_that_shrank_keeps_what_runs_there() -> None:
    board = board_of(machine("m", cpus=4))
    running = [job(f"r{number}", machine="m", placed_at=5.0) for number in range(6)]
    board.set_running(running, 10.0)
    board.set_machines([machine("m", cpus=1)], 11.0)
    board.set_running(running, 11.0)
    assert set(board.engine.running) == {one.id for one in running}
    assert placed(board, job("waits")) == {}


def test_what_is_not_public_stays_on_ones_own_machines() -> None:
    board = board_of(machine("cloud-1", location="cloud"))
    board.set_waiting([job("open", confidentiality="public"), job("secret", confidentiality="confidential"), job("?")])
    told = board.decide(0.0)
    assert [one.job for one in told if isinstance(one, Placement)] == ["open"]
    refused = {one.job: one.shortfall.dimension for one in told if isinstance(one, Unschedulable)}
    assert refused == {"secret": "location", "?": "location"}


@pytest.mark.parametrize("said", ["internal", "confidential", "", "secret"])
def test_what_is_absent_or_unknown_counts_as_confidential(said: str) -> None:
    assert allowed_locations(said) == ("local",)
    assert allowed_locations("public") == ()


def test_a_change_of_urgency_changes_places() -> None:
    board = board_of(machine("m", cpus=1))
    running = [job(f"r{number}", machine="m", placed_at=5.0) for number in range(1 + QUEUE_AHEAD)]
    board.set_running(running, 10.0)
    assert placed(board, job("a"), job("b")) == {}
    board.set_running(running[1:], 11.0)
    assert placed(board, job("a"), job("b", deadline="1970-01-01T00:05:00+00:00"), now=12.0) == {"b": "m"}


def at(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat()


def ended(name: str, state: str, began: float | None = 10.0, end: float | None = 30.0, **more: Any) -> Facts:
    times: dict[str, Any] = {
        "claimed_at": None if began is None else at(began),
        "finished_at": None if end is None else at(end),
    }
    return replace(job(name, machine="m", **times, **more), state=state)


def test_durations_are_learned_from_what_is_done_by_the_times_of_the_store() -> None:
    board = board_of(machine("m", cpus=4))
    board.set_running([job("a", machine="m", claimed_at=at(10))], 11.0)
    assert board.gone([]) == ["a"]
    board.learn([ended("a", "done")])
    board.set_running([], 500.0)
    assert (board.job_of(job("b")).estimate, board.job_of(job("b", analyzer="text")).estimate) == (20.0, None)


@pytest.mark.parametrize(
    "what",
    [
        ended("a", "cancelled", end=None),
        ended("a", "leased", end=None),
        ended("a", "ready", began=None, end=None),
        ended("a", "dead", began=10.0, end=None),
        ended("a", "dead", away_since=at(5)),
        ended("a", "done", began=None),
    ],
    ids=["cancelled", "its machine is silent", "given back, gave way or failed", "lost its holder", "no server", "?"],
)
def test_what_ended_before_its_time_teaches_no_duration(what: Facts) -> None:
    board = board_of(machine("m"))
    board.set_running([job("a", machine="m", claimed_at=at(10))], 11.0)
    board.learn([what])
    board.set_running([], 30.0)
    assert board.job_of(job("b")).estimate is None
    board.learn([ended("b", "done")])
    assert board.job_of(job("b")).estimate == 20.0, "control"


def test_where_nothing_was_ever_done_what_failed_for_good_says_for_how_long_it_has_its_room() -> None:
    board = board_of(machine("m"))
    board.learn([ended("a", "dead", end=3610.0), ended("b", "dead", end=3610.0)])
    assert board.job_of(job("c")).estimate == 3600.0
    assert board.paces.copy().expected("faces") == (3600.0, 3600.0)
    board.learn([ended("c", "done", end=15.0)])
    assert board.job_of(job("d")).estimate == 5.0, "what is done knows better"


def test_of_many_that_ended_at_once_some_from_everywhere_are_read() -> None:
    board = board_of(machine("m", cpus=4 * MOST_LEARNED))
    board.set_running([job(f"j{number:04}", machine="m") for number in range(3 * MOST_LEARNED)], 1.0)
    names = board.gone([])
    assert (len(names), names[0], names[-1]) == (MOST_LEARNED, "j0000", f"j{3 * MOST_LEARNED - 3:04}")
    assert board.gone([job(f"j{number:04}", machine="m") for number in range(1, 3 * MOST_LEARNED)]) == ["j0000"]


def test_who_waits_is_expected_to_take_what_became_known_meanwhile() -> None:
    board = board_of(machine("m", cpus=1))
    board.set_running([job(f"r{number}", machine="m") for number in range(1 + QUEUE_AHEAD)], 1.0)
    assert placed(board, job("waits")) == {}
    board.learn([ended("a", "done")])
    assert placed(board, job("waits")) == {}
    waits = board.engine.waiting.get("waits")
    assert waits is not None
    assert waits.estimate == 20.0


def test_a_job_that_another_scheduler_placed_elsewhere_takes_room_there_and_not_where_it_was() -> None:
    board = board_of(machine("m1", cpus=1), machine("m2", cpus=1))
    here = [job(f"r{number}", machine="m1") for number in range(1 + QUEUE_AHEAD)]
    board.set_running(here, 1.0)
    moved = [*here[1:], replace(here[0], body={**here[0].body, "machine": "m2"})]
    board.set_running(moved, 2.0)
    assert [one.job.id for one in board.engine.runs_on("m2")] == [here[0].id]
    names = [f"w{number}" for number in range(9)]
    assert sorted(placed(board, *map(job, names)).values()) == ["m1", *["m2"] * QUEUE_AHEAD]


def test_of_many_durations_the_mean_and_what_nine_of_ten_do_not_exceed_are_told() -> None:
    paces = Paces()
    for seconds in range(1, 101):
        paces.learn("faces", seconds)
    assert paces.expected("faces") == (75.5, 95)
    assert paces.expected("text") is None


def test_memory_is_rounded_up() -> None:
    board = board_of(machine("m"))
    assert board.job_of(job("a", needs={"memory_bytes": GIB + 1})).shape.memory_mib == GIB // MIB + 1
