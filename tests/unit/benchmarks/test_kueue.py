"""Kueue's generator and the scheduler without overhead, against what was published of them; and a small replay."""

import pytest

from benchmarks.scheduler.kueue import KINDS, Plan, arrivals, figures, table, without_overhead


def test_the_workloads_are_as_many_and_come_as_published() -> None:
    found = arrivals(Plan())
    assert len(found) == 15_000
    assert found == sorted(found, key=lambda one: one.at)
    last = {kind.name: max(one.at for one in found if one.kind is kind) for kind in KINDS}
    assert last == pytest.approx({"small": 34.9, "medium": 49.5, "large": 58.8})


def test_a_scheduler_without_overhead_needs_what_the_work_needs() -> None:
    told = without_overhead(Plan())
    assert 66.0 <= told["wall_seconds"] <= 66.5
    assert told["usage"] > 99
    assert told["large_seconds"] < told["medium_seconds"] < told["small_seconds"]
    assert told["medium_seconds"] == pytest.approx(11.4, rel=0.05)
    assert told["small_seconds"] == pytest.approx(44.7, rel=0.05)


def test_a_run_is_summed_up() -> None:
    waits = {"small": [1.0, 3.0], "medium": [2.0], "large": []}
    told = figures(waits, 2.0, Plan(cohorts=1, queues_per_cohort=1, cpus_per_queue=2))
    assert told == {"wall_seconds": 2.0, "small_seconds": 2.0, "medium_seconds": 2.0, "usage": 72.5}


def test_the_table_names_what_stands_beside_it() -> None:
    run = {"wall_seconds": 70.0, "usage": 94.0, **{f"{kind.name}_seconds": 1.0 for kind in KINDS}}
    lines = table({"embedded": {**run, "cores_of_this_process": 0.8}, "without_overhead": run, "kueue_published": run})
    assert lines[0] == "| | embedded | without overhead | kueue published |"
    assert lines[-1] == "embedded: cores of this computer that were busy: this process 0.8."
