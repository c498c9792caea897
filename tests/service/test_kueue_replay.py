"""The replay of Kueue's generator, a fiftieth of two queues of it, on the embedded stores."""

from pathlib import Path

from benchmarks.scheduler.kueue import KINDS, Plan, arrivals, on_sqlite


def test_every_workload_runs_once_and_no_machine_has_more_in_use_than_it_has(tmp_path: Path) -> None:
    plan = Plan(cohorts=1, queues_per_cohort=2, share=0.02)
    told = on_sqlite(str(tmp_path), plan, quiet=True)  # raises where one ran twice, and waits until all are committed
    last = max(one.at + one.kind.seconds for one in arrivals(plan))
    assert told["wall_seconds"] > last - 0.1, "nobody starts before it was submitted, and each takes its time"
    assert all(f"{kind.name}_seconds" in told for kind in KINDS)
    largest = max(kind.cpus for kind in KINDS)
    assert largest <= told["most_cores_in_use_of_a_machine"] <= plan.cpus_per_cohort
