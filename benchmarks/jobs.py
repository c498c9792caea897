"""Durable jobs that do nothing, from submission through lease to done, beside dramatiq on Redis: 1.2 times or more.

Both sides are one process that submits and works at the same time, with the same number of submitters and of jobs
under way; what is accepted, claimed and done is on the disk before anybody is told. Runs are paired and each is a
fresh process on a fresh store, so that both sides meet the same noise. `ratio` is against the Redis that
writes its file before every answer, as SQLite does here; `ratio_everysec` against one that may lose a second.
"""

import argparse
import asyncio
import contextlib
import datetime
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from aima_servers import MeansMissingError
from benchmarks import dramatiq_on_redis, harness

T = TypeVar("T")

KEPT_BY_DISK = ("always", "everysec")
"""The two ways in which Redis writes its file."""


def ours(folder: str, jobs: int, submitters: int, slots: int) -> float:
    """Put so many jobs through ledger and runner on the embedded store; give the seconds until the last is done."""
    from aima_common import wiring
    from aima_common.jobs import Ledger

    async def main() -> float:
        async with wiring.embedded(Path(folder)) as ports:
            return await through(Ledger(ports, "the holder"), ports.documents, jobs, submitters, slots)

    return asyncio.run(main())


async def through(ledger: Any, documents: Any, jobs: int, submitters: int, slots: int) -> float:
    """Submit and work at the same time; raise RuntimeError unless every job was done exactly once."""
    from aima_common.jobs import Done, Held, JobKind, JobRunner, new_job

    executed: list[str] = []
    all_executed = asyncio.Event()

    async def work(held: Held) -> Done:
        executed.append(held.id)
        if len(executed) == jobs:
            all_executed.set()
        return Done({"result": held.id})

    runner = JobRunner(ledger, JobKind.FUSE, work, slots=slots)

    async def submit(first: int) -> None:
        for number in range(first, jobs, submitters):
            now = datetime.datetime.now(datetime.UTC)
            job = new_job(
                f"job-{number}",
                "default",
                JobKind.FUSE,
                submitted_at=now,
                medium=f"medium-{number}",
                run=f"run-{number}",
            )
            await ledger.add(job)
            runner.wake()

    running = asyncio.create_task(runner.run())
    started = time.perf_counter()
    await asyncio.gather(*(submit(first) for first in range(submitters)))
    async with asyncio.timeout(dramatiq_on_redis.LIMIT_SECONDS):
        await all_executed.wait()
        await _all_committed(documents, jobs)
    seconds = time.perf_counter() - started
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    if len(executed) != jobs or len(set(executed)) != jobs:
        raise RuntimeError(f"{len(executed)} attempts at {jobs} jobs")
    return seconds


async def _all_committed(documents: Any, jobs: int) -> None:
    while True:
        if await documents.count("jobs", {"state": "done"}) == jobs:
            return
        await asyncio.sleep(0.001)


async def in_child(work: Callable[..., T], *arguments: Any) -> T:
    """Do something in a fresh process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return await asyncio.get_running_loop().run_in_executor(pool, work, *arguments)


async def one_ours(jobs: int, submitters: int, workers: int) -> float:
    """Run our side once."""
    with tempfile.TemporaryDirectory() as folder:
        return await in_child(ours, folder, jobs, submitters, workers)


async def one_dramatiq(appendfsync: str, jobs: int, submitters: int, workers: int) -> float:
    """Run the other side once."""
    with tempfile.TemporaryDirectory() as folder:
        async with dramatiq_on_redis.redis(Path(folder) / "redis", appendfsync) as served:
            return await in_child(dramatiq_on_redis.run, served.address, jobs, submitters, workers)


async def measure(repeats: int, jobs: int, submitters: int, workers: int) -> dict[str, Any]:
    """Run all sides in turn."""
    rates: dict[str, list[float]] = {"ours": [], **{name: [] for name in KEPT_BY_DISK}}
    for number in range(repeats):
        for appendfsync in KEPT_BY_DISK:
            rates[appendfsync].append(jobs / await one_dramatiq(appendfsync, jobs, submitters, workers))
        rates["ours"].append(jobs / await one_ours(jobs, submitters, workers))
        told = ", ".join(f"{name} {values[-1]:.0f}" for name, values in rates.items())
        harness.note(f"{number + 1}/{repeats}: jobs per second: {told}")
    ratios = {name: [o / d for o, d in zip(rates["ours"], rates[name], strict=True)] for name in KEPT_BY_DISK}
    return {
        "ratio": round(statistics.median(ratios["always"]), 4),
        "ratios": harness.spread(ratios["always"]),
        "ratio_everysec": round(statistics.median(ratios["everysec"]), 4),
        "ratios_everysec": harness.spread(ratios["everysec"]),
        "jobs_per_second": harness.spread(rates["ours"]),
        "dramatiq_jobs_per_second": harness.spread(rates["always"]),
        "dramatiq_everysec_jobs_per_second": harness.spread(rates["everysec"]),
        "jobs": jobs,
        "submitters": submitters,
        "jobs_under_way": workers,
    }


def _options() -> argparse.Namespace:
    made = harness.parser(__doc__)
    made.add_argument("--jobs", type=int, default=2000, help="jobs of one run (default 2000)")
    made.add_argument("--submitters", type=int, default=8, help="jobs that are being submitted at a time (default 8)")
    made.add_argument("--workers", type=int, default=8, help="jobs under way at a time (default 8, as in dramatiq)")
    return made.parse_args()


def main() -> int:
    """Measure and tell; the exit status is 2 where the means are missing."""
    options = _options()
    try:
        metrics = asyncio.run(measure(options.repeats, options.jobs, options.submitters, options.workers))
    except MeansMissingError as error:
        harness.note(f"jobs: skipped, {error}")
        return 2
    harness.report("jobs", metrics, as_json=options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
