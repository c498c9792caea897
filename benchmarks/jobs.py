"""Durable jobs that do nothing, from submission through lease to done, beside dramatiq on Redis: 1.2 times or more.

Both sides are one process that submits and works at the same time, with the same number of submitters and of jobs
under way; what is accepted, claimed and done is on the disk before anybody is told. Runs are paired, and each is a
fresh process on a fresh store, so that all sides meet the same noise. `ratio` is against the Redis that writes its
file before every answer, as SQLite does here; `ratio_everysec` against one that may lose a second.

With `--cluster` the same jobs also go through Kafka and MongoDB, and it is told what they wait for.
"""

import argparse
import asyncio
import contextlib
import multiprocessing
import statistics
import sys
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from aima_servers import MeansMissingError, serving
from benchmarks import dramatiq_on_redis, harness, jobs_on_cluster
from benchmarks.no_op_jobs import Load, NoOps, working

T = TypeVar("T")

Side = Callable[[Load], Awaitable[float]]
"""Does the load once and gives the seconds."""


def on_sqlite(folder: str, load: Load) -> float:
    """Do the load on the embedded stores."""
    from aima_common import wiring

    async def main() -> float:
        async with wiring.embedded(Path(folder)) as ports:
            service = NoOps(ports, load)
            async with working(ports, service, hinted=False):
                return await service.measure(hinted=False)

    return asyncio.run(main())


async def in_child(work: Callable[..., T], *arguments: Any) -> T:
    """Do something in a fresh process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return await asyncio.get_running_loop().run_in_executor(pool, work, *arguments)


async def embedded(load: Load) -> float:
    """Run our side once."""
    with tempfile.TemporaryDirectory() as folder:
        return await in_child(on_sqlite, folder, load)


def dramatiq(appendfsync: str) -> Side:
    """Make the other side, for one of the ways in which Redis writes its file."""

    async def once(load: Load) -> float:
        with tempfile.TemporaryDirectory() as folder:
            async with dramatiq_on_redis.redis(Path(folder) / "redis", appendfsync) as served:
                return await in_child(dramatiq_on_redis.run, served.address, load)

    return once


SIDES: Mapping[str, Side] = {
    "dramatiq": dramatiq("always"),
    "dramatiq_everysec": dramatiq("everysec"),
    "embedded": embedded,
}


async def measure(repeats: int, load: Load, *, with_cluster: bool) -> dict[str, Any]:
    """Run all sides in turn."""
    async with contextlib.AsyncExitStack() as stack:
        sides, cluster = dict(SIDES), jobs_on_cluster.Cluster(in_child)
        if with_cluster:
            cluster.served = await stack.enter_async_context(serving("kafka", "mongod", report=harness.note))
            sides["cluster"] = cluster.once
            sides["cluster_without_hints"] = cluster.once_without_hints
        rates: dict[str, list[float]] = {name: [] for name in sides}
        for number in range(repeats):
            for name, once in sides.items():
                rates[name].append(load.jobs / await once(load))
            told = ", ".join(f"{name} {values[-1]:.0f}" for name, values in rates.items())
            harness.note(f"{number + 1}/{repeats}: jobs per second: {told}")
    return {
        **_ratios(rates, "embedded", {"ratio": "dramatiq", "ratio_everysec": "dramatiq_everysec"}),
        **(_ratios(rates, "cluster", {"cluster_ratio": "dramatiq"}) if with_cluster else {}),
        **{f"{name}_jobs_per_second": harness.spread(values) for name, values in rates.items()},
        **(cluster.explanation(load) if with_cluster else {}),
        "jobs": load.jobs,
        "submitters": load.submitters,
        "jobs_under_way": load.workers,
    }


def _ratios(rates: Mapping[str, list[float]], ours: str, others: Mapping[str, str]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name, other in others.items():
        ratios = [mine / theirs for mine, theirs in zip(rates[ours], rates[other], strict=True)]
        told |= {name: round(statistics.median(ratios), 4), f"{name}_spread": harness.spread(ratios)}
    return told


def _options() -> argparse.Namespace:
    made, usual = harness.parser(__doc__), Load()
    made.add_argument("--jobs", type=int, default=usual.jobs, help=f"jobs of one run (default {usual.jobs})")
    made.add_argument(
        "--submitters", type=int, default=usual.submitters, help="jobs that are being submitted at a time (default 8)"
    )
    made.add_argument(
        "--workers", type=int, default=usual.workers, help="jobs under way at a time (default 8, as in dramatiq)"
    )
    made.add_argument("--cluster", action="store_true", help="measure Kafka and MongoDB, too")
    return made.parse_args()


def main() -> int:
    """Measure and tell; the exit status is 2 where the means are missing."""
    options = _options()
    load = Load(options.jobs, options.submitters, options.workers)
    try:
        metrics = asyncio.run(measure(options.repeats, load, with_cluster=options.cluster))
    except MeansMissingError as error:
        harness.note(f"jobs: skipped, {error}")
        return 2
    harness.report("jobs", metrics, as_json=options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
