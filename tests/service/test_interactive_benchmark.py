"""The measurement of photos beside a crowd of batch jobs, a fiftieth of it."""

from pathlib import Path

from benchmarks.scheduler.interactive import Plan, measure, quantiles, table


async def test_every_photo_begins_once_and_before_the_crowd_that_came_earlier(tmp_path: Path) -> None:
    plan = Plan(jobs=2_000, photos=5, batch_seconds=0.05, photo_seconds=0.01)
    told = await measure(tmp_path, plan)  # raises where a job ran twice, and where a photo never begins
    begun_at_first = plan.jobs - told["batch_jobs_waiting"]
    assert plan.cpus <= begun_at_first < plan.jobs / 2, "the workers are busy, and a crowd waits"
    done = told["batch_jobs_done_meanwhile"]
    assert 0 < done < plan.jobs / 2, "they went on, and the crowd was there to the end"
    assert told["batch_jobs_waiting_at_the_end"] <= told["batch_jobs_waiting"] - done + plan.cpus
    assert told["batch_jobs_begun_before_a_photo_at_most"] < plan.jobs / 10
    assert "1," in table(told)[3]


def test_ranks_are_rounded_up() -> None:
    assert quantiles([float(n) for n in range(1, 21)]) == {"p50_seconds": 10, "p95_seconds": 19, "max_seconds": 20}
    assert quantiles([3.0, 1.0]) == {"p50_seconds": 1, "p95_seconds": 3, "max_seconds": 3}
