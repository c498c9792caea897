"""The replay of Kueue's generator, a hundredth of it, on the embedded stores."""

from pathlib import Path

from benchmarks.scheduler.kueue import Plan, arrivals, on_sqlite


def test_every_workload_runs_once_and_no_machine_has_more_in_use_than_it_has(tmp_path: Path) -> None:
    plan = Plan(cohorts=1, queues_per_cohort=2, share=0.02)
    told = on_sqlite(str(tmp_path), plan, quiet=True)  # raises where one ran twice
    work = sum(one.kind.cpus * one.kind.seconds for one in arrivals(plan))
    assert told["usage"] * told["wall_seconds"] * plan.cpus_per_cohort / 100 > 0.9 * work
    # Half of one machine's cores would be enough for the ground covered if jobs ran alone; together they need more.
    assert 20 < told["most_cores_in_use_of_a_machine"] <= plan.cpus_per_cohort
