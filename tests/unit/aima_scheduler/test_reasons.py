"""What is said of why a job went where it went was so at that moment."""

import random
import re
from collections.abc import Mapping, Sequence

import pytest

from aima_common.contracts.media import Priority
from aima_scheduler.board import Board, Facts
from aima_scheduler.deciders import reasons
from aima_scheduler.deciders.engine import Engine, Settings
from aima_scheduler.deciders.fleet import Fleet
from aima_scheduler.deciders.model import Gpu, Job, Machine, Placement, Shape, Slot
from aima_scheduler.deciders.rooms import fits
from aima_scheduler.deciders.scoring import Scoring, rule_of

ONE, WIDE, ON_GPU = Shape(1000, 1024), Shape(4000, 4096), Shape(1000, 1024, gpu_count=1, gpu_memory_mib=8_192)
MACHINES = (Machine("a", 4000, 8192), Machine("b", 4000, 8192), Machine("g", 4000, 16_384, (Gpu("T4", 16_384),)))


def job(name: str, shape: Shape = ONE, at: float = 0.0) -> Job:
    return Job(name, "t", Priority.NORMAL, shape, at, estimate=60.0)


def decided(engine: Engine, *jobs: Job, now: float = 1.0) -> tuple[list[Placement], dict[str, str]]:
    """Submit jobs, and tell where they go and why."""
    for each in jobs:
        engine.submit(each)
    was_kept = bool(engine.reservations)
    placed = [one for one in engine.decide(now) if isinstance(one, Placement)]
    told = reasons.choices(engine, placed, reasons.mix_of(engine.fleet.machines), was_kept=was_kept)
    said = {}
    for one in placed:
        (slot,) = one.slots
        known = engine.running[one.job].job
        said[one.job] = told.reason(engine.settings, known, engine.fleet.machine(slot.machine), slot)
    return placed, said


def test_who_goes_where_there_is_a_choice_is_not_told_that_there_was_none() -> None:
    board = Board()
    body = {"cpus": 1.0, "memory_bytes": 8 << 30, "gpus": []}
    board.set_machines([Facts("m1", "", body), Facts("m2", "", body)], 0.0)
    needs = {"priority": "normal", "submitted_at": None, "needs": {"cpus": 1, "memory_bytes": 1 << 30}}
    board.set_waiting([Facts(f"j{number}", "t", needs) for number in range(6)])
    said = [str(board.reason(one)) for one in board.decide(1.0) if isinstance(one, Placement)]
    assert said[:3] == ["2 machines had room for it; of those, m1 came first"] * 3
    assert said[3:] == ["m2 was the only machine with room for it"] * 3, "the control"


def test_machines_with_gpus_are_left_to_those_who_need_them_and_it_is_said() -> None:
    _, said = decided(Engine(machines=MACHINES), job("cpu"), job("gpu", ON_GPU))
    assert said["cpu"] == (
        "3 machines had room for it; of those without GPUs, a came first; "
        "machines with GPUs are left to those who need them"
    )
    assert said["gpu"] == "g was the only machine with room for it; it has 1 of its GPUs, type T4"
    gpus = [Machine(f"g{number}", 4000, 16_384, (Gpu("T4", 16_384),)) for number in range(2)]
    _, said = decided(Engine(machines=[Machine("a", 500, 8192), *gpus]), job("cpu"))
    assert said["cpu"].endswith("no machine without GPUs had room for it")
    _, said = decided(Engine(machines=gpus), job("cpu"))
    assert "without" not in said["cpu"], "the control: there is none"


def test_who_uses_what_is_kept_free_meanwhile_is_told_so() -> None:
    engine = Engine(Settings(reservations=2), MACHINES[:2])
    runs = Shape(3000, 1024)
    decided(engine, job("runs", runs), job("runs too", runs))
    wide = [Job(f"wide {n}", "t", Priority.NORMAL, Shape(4000, 1024 + n), 3.0, estimate=60.0) for n in range(2)]
    assert decided(engine, *wide, now=3.0) == ([], {})
    assert {machine for one in engine.reservations for machine in one.machines} == {"a", "b"}
    _, said = decided(engine, Job("short", "t", Priority.NORMAL, ONE, 4.0, estimate=1.0), now=4.0)
    assert said == {"short": "a is kept free for another job, and has room for this one before that, or beside it"}


@pytest.mark.parametrize("scoring", list(Scoring))
def test_what_is_said_is_so_whatever_the_rule(scoring: Scoring) -> None:
    """The takings are played through once more, and what is said is compared with all machines at that moment."""
    rng, seen = random.Random(f"reasons {scoring}"), set[str]()
    for _ in range(60):
        engine = Engine(Settings(scoring=scoring), _fleet(rng))
        jobs = [job(f"j{number:03}", rng.choice(_SHAPES), number) for number in range(rng.randint(1, 30))]
        placed, said = decided(engine, *jobs, now=100.0)
        shapes = {one.id: one.shape for one in jobs}
        kept = {machine for one in engine.reservations for machine in one.machines}
        fleet = Fleet(engine.fleet.machines, engine.fleet.workload)
        for one in placed:
            _check(fleet, shapes[one.job], one.slots[0], said[one.job], kept, scoring)
            fleet.take(shapes[one.job], one.slots)
            seen.add(re.sub(r"\d+|\bm\d+", "", said[one.job].split("; it has")[0]))
    assert len(seen) >= 5, "many kinds of reasons were given"


_SHAPES = [ONE, WIDE, ON_GPU, Shape(2000, 6000), Shape(1000, 512, gpu_count=1, gpu_milli=500), Shape(500, 256)]


def _fleet(rng: random.Random) -> Sequence[Machine]:
    priced = rng.random() < 0.3
    return [
        Machine(
            f"m{number}",
            rng.choice((4000, 8000)),
            rng.choice((4096, 16_384)),
            (Gpu("T4", 16_384),) * rng.choice((0, 0, 1, 2)),
            cost_per_hour=rng.choice((0.0, 1.0)) if priced else 0.0,
        )
        for number in range(rng.randint(1, 6))
    ]


def _check(fleet: Fleet, shape: Shape, slot: Slot, said: str, kept: set[str], scoring: Scoring) -> None:
    machine = fleet.machine(slot.machine)
    roomy = [one for one in fleet.machines if fits(fleet.free(one.id), shape)]
    assert machine in roomy
    assert ("the only machine" in said) == (len(roomy) == 1)
    if (told := re.search(r"(\d+) machines had room", said)) is not None:
        assert int(told[1]) == len(roomy)
    bare = [one for one in roomy if not one.gpus and one.id not in kept]
    if "no machine without GPUs" in said:
        assert machine.gpus
        assert not bare
    if "is kept free" in said:
        assert machine.id in kept
    if "of those" not in said:
        return
    assert "not kept free" in said or not kept
    compared = bare if "of those without GPUs" in said else [one for one in roomy if one.id not in kept]
    assert compared
    score = _scores(fleet, shape, compared, scoring)
    if f"{machine.id} came first" in said:
        assert compared[0] == machine
    elif f"{machine.id} costs least" in said:
        assert machine.cost_per_hour == min(one.cost_per_hour for one in compared)
    elif "is left with the least" in said or "loses the least" in said:
        assert ("counted in" in said) == (len({one.cost_per_hour for one in fleet.machines}) > 1)
        # A job without GPUs compares machines without them where there is one; else all that have room.
        assert score[machine.id] == min(score.values())
    else:
        pytest.fail(said)


def _scores(fleet: Fleet, shape: Shape, machines: Sequence[Machine], scoring: Scoring) -> Mapping[str, float]:
    rule = rule_of(scoring, fleet.workload)
    return {one.id: rule(fleet.free(one.id), shape)[0] + 0.01 * one.cost_per_hour for one in machines}
