"""What the documents of jobs and machines may say, and how nonsense in them is named."""

import math
from dataclasses import replace
from typing import Any

import pytest

from aima_common.contracts.media import Priority
from aima_scheduler import reading
from aima_scheduler.board import Board, Facts
from aima_scheduler.deciders.engine import Engine, Unschedulable
from aima_scheduler.deciders.model import Job, Machine, Placement, Shape
from aima_scheduler.reading import NonsenseError

GIB = 1 << 30
START = "2026-11-25T08:00:00+00:00"
JOB: dict[str, Any] = {"priority": "normal", "deadline": None, "submitted_at": START, "analyzer": "faces"}
NEEDS: dict[str, Any] = {"cpus": 1, "memory_bytes": GIB, "gpus": 0}
MACHINE: dict[str, Any] = {"cpus": 4.0, "memory_bytes": 8 * GIB, "gpus": [], "location": "local"}


@pytest.mark.parametrize(
    ("needs", "field"),
    [
        ({"cpus": -1}, "needs.cpus"),
        ({"cpus": math.nan}, "needs.cpus"),
        ({"cpus": math.inf}, "needs.cpus"),
        ({"cpus": 1e9}, "needs.cpus"),
        ({"cpus": "2"}, "needs.cpus"),
        ({"cpus": True}, "needs.cpus"),
        ({"cpus": None}, "needs.cpus"),
        ({"memory_bytes": -GIB}, "needs.memory_bytes"),
        ({"memory_bytes": 10**400}, "needs.memory_bytes"),
        ({"gpus": -1}, "needs.gpus"),
        ({"gpus": 0.5}, "needs.gpus"),
        ({"gpus": [1]}, "needs.gpus"),
        ({"gpu_memory_bytes": math.nan}, "needs.gpu_memory_bytes"),
        ({"gpu_types": "A100"}, "needs.gpu_types"),
        ({"gpu_types": [7]}, "needs.gpu_types"),
        ({"members": 3}, "needs.members"),
    ],
)
def test_needs_that_cannot_be_meant_are_named_by_field(needs: dict[str, Any], field: str) -> None:
    with pytest.raises(NonsenseError) as told:
        reading.shape({"needs": {**NEEDS, **needs}}, None, ())
    assert told.value.field == field
    assert str(told.value).startswith(f"{field} is ")
    assert len(str(told.value)) < 250
    assert reading.shape({"needs": NEEDS}, None, ()).memory_mib == 1024, "the control"


def test_needs_that_are_no_mapping_are_named() -> None:
    wrong: list[Any] = [None, [], "much"]
    for needs in wrong:
        with pytest.raises(NonsenseError, match="needs is"):
            reading.shape({"needs": needs}, None, ())
    assert reading.shape({"needs": {}}, None, ()).cpu_milli == 1000, "one core, where nothing is said"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"priority": "urgent"}, "priority"),
        ({"priority": None}, "priority"),
        ({"priority": ["high"]}, "priority"),
        ({"deadline": "soon"}, "deadline"),
        ({"deadline": "2026-11-25T08:00:00"}, "deadline"),
        ({"deadline": 1764057600}, "deadline"),
        ({"submitted_at": "yesterday"}, "submitted_at"),
    ],
)
def test_a_class_and_times_that_cannot_be_read_are_named_by_field(body: dict[str, Any], field: str) -> None:
    with pytest.raises(NonsenseError) as told:
        Board().job_of(Facts("j", "tenant", {**JOB, "needs": NEEDS, **body}))
    assert told.value.field == field
    far = Facts("j", "tenant", {**JOB, "needs": NEEDS, "deadline": "9999-12-31T23:59:59-14:00"})
    assert (Board().job_of(far).deadline or 0) > 2e11, "the control: a deadline as far as there are years"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"cpus": 1e9}, "cpus"),
        ({"cpus": -4}, "cpus"),
        ({"cpus": math.nan}, "cpus"),
        ({"cpus": None}, "cpus"),
        ({"memory_bytes": -1}, "memory_bytes"),
        ({"memory_bytes": math.inf}, "memory_bytes"),
        ({"memory_bytes": "8 GiB"}, "memory_bytes"),
        ({"gpus": 8}, "gpus"),
        ({"gpus": [{}] * 1025}, "gpus"),
        ({"gpus": [{}, "A100"]}, "gpus.1"),
        ({"gpus": [{"memory_bytes": -1}]}, "gpus.0.memory_bytes"),
        ({"cost_per_hour": math.nan}, "cost_per_hour"),
        ({"cost_per_hour": -3}, "cost_per_hour"),
    ],
)
def test_a_machine_that_says_nonsense_is_named_by_field(body: dict[str, Any], field: str) -> None:
    with pytest.raises(NonsenseError) as told:
        reading.machine("m", {**MACHINE, **body}, ahead=2)
    assert told.value.field == field
    assert reading.machine("m", MACHINE, ahead=2).cpu_milli == 6000, "the control"


def test_what_a_machine_says_to_have_free_counts_for_nothing() -> None:
    boasting = {**MACHINE, "free_cpus": 1e6, "free_gpus": 64, "utilisation": {"cpu": -3}}
    assert reading.machine("m", boasting, ahead=0) == reading.machine("m", MACHINE, ahead=0)


def test_a_gang_larger_than_the_fleet_is_told_so_and_its_neighbours_start() -> None:
    engine = Engine(machines=[Machine("m", 4_000, 8_192)])
    wide = Shape(1_000, 1_024, members=5)
    for name, shape in (("wide", wide), ("gang", replace(wide, members=3)), ("alone", replace(wide, members=1))):
        engine.submit(Job(name, "tenant", Priority.NORMAL, shape, 0.0))
    told = {one.job: one for one in engine.decide(1.0)}
    assert {name for name, one in told.items() if isinstance(one, Placement)} == {"gang", "alone"}
    refused = told["wide"]
    assert isinstance(refused, Unschedulable)
    assert (refused.shortfall.dimension, refused.shortfall.wanted) == ("members", "5 members together")


def test_to_a_place_that_nobody_knows_only_what_is_public_goes() -> None:
    board = Board()
    assert not board.set_machines([Facts("m", "", {**MACHINE, "location": "atlantis"})], 0.0)
    jobs = [
        Facts(name, "tenant", {**JOB, "needs": NEEDS, "confidentiality": name})
        for name in ("public", "internal", "confidential", "top secret")
    ]
    assert not board.set_waiting(jobs)
    told = board.decide(0.0)
    assert [one.job for one in told if isinstance(one, Placement)] == ["public"]
    assert len([one for one in told if isinstance(one, Unschedulable)]) == 3


def test_a_machine_that_only_changed_leaves_nobody_without_hope() -> None:
    board = Board()
    large, small = Facts("large", "", {**MACHINE, "memory_bytes": 64 * GIB}), Facts("small", "", MACHINE)
    wide = Facts("wide", "tenant", {**JOB, "needs": {**NEEDS, "memory_bytes": 32 * GIB}})
    running = [
        Facts(f"r{number}", "tenant", {**JOB, "needs": NEEDS, "machine": "large", "claimed_at": START})
        for number in range(6)
    ]

    def look(*machines: Facts) -> list[Any]:
        board.set_machines(machines, 0.0)
        board.set_running(running, 0.0)
        board.set_waiting([wide])
        return list(board.decide(0.0))

    assert look(large, small) == [], "it waits for a core of the large machine"
    assert look(Facts("large", "", {**MACHINE, "memory_bytes": 63 * GIB}), small) == []
    assert board.engine.waiting.get("wide") is not None
    (refused,) = look(small)
    assert isinstance(refused, Unschedulable), "the control: without the large machine it never runs"
