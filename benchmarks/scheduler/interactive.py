"""How long somebody waits whose photo comes while 100,000 batch jobs wait and all workers are busy with them.

`python -m benchmarks.scheduler.interactive` runs dispatcher, ledger, runner and bus in one process on the embedded
stores, with one machine. Photos' jobs (priority high) come one at a time: first with nothing else to do, then beside
batch jobs that wait, durable, in the same store. Measured is from before a photo's job is submitted to when a worker
begins it.
"""

import argparse
import asyncio
import datetime
import json
import math
import random
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aima_common import ids, wiring
from aima_common.contracts.media import Confidentiality, MediumType, Priority
from aima_common.jobs import JobKind, Ledger, new_job
from aima_common.ports import Ports
from aima_common.ports.documents import Insert
from benchmarks import harness
from benchmarks.scheduler import kueue
from benchmarks.scheduler.report import draw_bars, write_page

GOAL_SECONDS = 2.0
"""Within so long the work on a photo is to begin."""

JOBS = 100_000

ADDED_AT_A_TIME = 500
"""So many jobs are submitted at a time: the store makes them durable together."""

PAUSE_SECONDS = (0.2, 0.7)
"""How long nobody asks for anything between two photos, from and to."""

LIMIT_SECONDS = 60.0
"""A photo that has to wait for longer has been forgotten."""


@dataclass(frozen=True)
class Plan:
    """How much of it."""

    jobs: int = JOBS
    """Batch jobs that wait."""
    photos: int = 40
    """Photos' jobs, as many without and with batch jobs."""
    cpus: int = 4
    """Cores of the machine, and jobs that run at a time, but for one more of somebody who waits."""
    batch_seconds: float = 0.5
    photo_seconds: float = 0.3
    """How long jobs take; they only wait."""


class House:
    """One machine and its scheduler on embedded stores."""

    def __init__(self, ports: Ports, plan: Plan) -> None:
        self._plan = plan
        self._ledger = Ledger(ports, "submitter")
        cores = kueue.Plan(cohorts=1, queues_per_cohort=1, cpus_per_queue=plan.cpus)
        self._documents = ports.documents
        self._name = kueue.machine_names(cores)[0]
        self.machines = kueue.Machines(ports, cores)
        self.scheduling = kueue.Scheduling(ports)

    async def stand_up(self) -> None:
        """Announce the machine."""
        body = {"cpus": float(self._plan.cpus), "memory_bytes": 1 << 40, "gpus": [], "seen_at": "now"}
        await self._documents.insert("machines", Insert(self._name, "", "available", body))

    async def fill(self) -> None:
        """Submit all batch jobs, after as many photos, and wait until the workers are busy with them."""
        for first in range(0, self._plan.jobs, ADDED_AT_A_TIME):
            numbers = range(first, min(first + ADDED_AT_A_TIME, self._plan.jobs))
            await asyncio.gather(*(self._ledger.add(self._batch(number)) for number in numbers))
        self.scheduling.wake()
        busy = min(self._plan.cpus, self._plan.jobs)
        await _until(lambda: len(self.machines.began) >= busy + self._plan.photos)

    async def waiting(self) -> int:
        """Count the batch jobs that have not begun."""
        wanted = {"kind": JobKind.ANALYSE.value, "state": "ready", "priority": Priority.BATCH.value}
        return await self._documents.count("jobs", wanted)

    async def photo(self, name: str) -> tuple[float, float, int]:
        """Submit a photo's job; tell after how many seconds it began, and what happened meanwhile.

        That is how many seconds this process computed, and how many batch jobs began.
        """
        job = _job(name, "somebody", Priority.HIGH, self._plan.photo_seconds)
        before, computed, submitted = len(self.machines.began), time.process_time(), time.monotonic()
        await self._ledger.add(job)
        self.scheduling.wake()
        await _until(lambda: job.id in self.machines.began)
        computed, begun = time.process_time() - computed, list(self.machines.began).index(job.id)
        return self.machines.began[job.id] - submitted, computed, begun - before

    def _batch(self, number: int) -> Insert:
        return _job(f"batch-{number}", "archive", Priority.BATCH, self._plan.batch_seconds)


async def _until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_SECONDS):
        while True:
            if happened():
                return
            await asyncio.sleep(0.002)


def _job(name: str, tenant: str, priority: Priority, seconds: float) -> Insert:
    medium = ids.derive("medium", name)
    run = ids.derive("run", medium)
    return new_job(
        ids.job_id(run, JobKind.ANALYSE, priority.value, name),
        tenant,
        JobKind.ANALYSE,
        submitted_at=datetime.datetime.now(datetime.UTC),
        priority=priority,
        medium=medium,
        run=run,
        lane=MediumType.IMAGE.value,
        analyzer=priority.value,
        seconds=seconds,
        needs={"cpus": 1, "memory_bytes": 0},
        confidentiality=Confidentiality.INTERNAL.value,
    )


async def _photos(
    house: House, plan: Plan, prefix: str, rng: random.Random
) -> tuple[list[float], list[float], list[int]]:
    """Let photos come one at a time; tell of each what `photo` tells."""
    told = []
    for number in range(plan.photos):
        await asyncio.sleep(rng.uniform(*PAUSE_SECONDS))
        told.append(await house.photo(f"{prefix}-{number}"))
    waits, computed, begun = zip(*told, strict=True)
    return list(waits), list(computed), list(begun)


async def measure(folder: Path, plan: Plan) -> dict[str, Any]:
    """Do it once; raise RuntimeError where a job ran twice, and `TimeoutError` where a photo was forgotten."""
    rng = random.Random(plan.photos)
    async with wiring.embedded(folder) as ports:
        house = House(ports, plan)
        await house.stand_up()
        async with kueue.running(ports, house.machines, house.scheduling):
            quiet, *_ = await _photos(house, plan, "quiet", rng)
            started = time.monotonic()
            await house.fill()
            filled, waiting = time.monotonic() - started, await house.waiting()
            ended = house.machines.ended
            crowded, computed, begun = await _photos(house, plan, "crowded", rng)
            return {
                "batch_jobs_waiting": waiting,
                "fill_seconds": round(filled, 1),
                "nothing_waits": quantiles(quiet),
                "crowded": quantiles(crowded),
                "computed": quantiles(computed),
                "batch_jobs_begun_before_a_photo_at_most": max(begun),
                "batch_jobs_done_meanwhile": house.machines.ended - ended - plan.photos,
                "batch_jobs_waiting_at_the_end": await house.waiting(),
                "within_goal": max(crowded) <= GOAL_SECONDS,
            }


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """Give what half and 95 of 100 do not exceed, and the largest, s; ranks are rounded up."""
    ordered = sorted(values)
    ranks = {"p50_seconds": 0.5, "p95_seconds": 0.95, "max_seconds": 1.0}
    return {name: round(ordered[math.ceil(share * len(ordered)) - 1], 3) for name, share in ranks.items()}


def table(told: Mapping[str, Any]) -> list[str]:
    """Show it in Markdown."""
    lines = ["| seconds until work on a photo begins | p50 | p95 | max |", "|---|---|---|---|"]
    crowd = f"{told['batch_jobs_waiting']:,} batch jobs wait"
    for name, key in (("nothing waits", "nothing_waits"), (crowd, "crowded")):
        lines.append(f"| {name} | " + " | ".join(f"{value:.3f}" for value in told[key].values()) + " |")
    lines.append("| of it computing | " + " | ".join(f"{value:.3f}" for value in told["computed"].values()) + " |")
    done, most = told["batch_jobs_done_meanwhile"], told["batch_jobs_begun_before_a_photo_at_most"]
    lines += ["", f"Meanwhile {done} batch jobs were done; before a photo began at most {most} that came earlier."]
    return lines


def write(told: Mapping[str, Any], plan: Plan) -> Path:
    """Write the page."""
    intro = (
        f"{plan.photos} photos' jobs (priority high) come one at a time to a machine of {plan.cpus} cores that is busy "
        f"with batch jobs of {plan.batch_seconds:g} s, all of them durable in the embedded store; from before the "
        f"submission to the beginning of the work. The goal: {GOAL_SECONDS:g} s."
    )
    command = "python -m benchmarks.scheduler.interactive"
    rows = {"p50": "p50_seconds", "p95": "p95_seconds", "max": "max_seconds"}
    crowd = f"{told['batch_jobs_waiting']:,} batch jobs wait"
    groups = {
        row: {"nothing waits": told["nothing_waits"][key], crowd: told["crowded"][key]} for row, key in rows.items()
    }
    title = "Until work on a photo begins; the line is the goal"
    picture = draw_bars("interactive", title, groups, "s", GOAL_SECONDS, logarithmic=True)
    return write_page("interactive", "A photo beside 100,000 batch jobs", command, intro, table(told), picture)


def main() -> int:
    """Measure, and say what came of it."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.scheduler.interactive",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help='print one object {"name", "metrics"} and nothing else')
    parser.add_argument("--jobs", type=int, default=JOBS, help=f"batch jobs that wait (default {JOBS:,})")
    parser.add_argument("--photos", type=int, default=Plan.photos, help=f"photos (default {Plan.photos})")
    options = parser.parse_args()
    if options.jobs < 1 or options.photos < 1:
        parser.error("--jobs and --photos must be at least 1")
    plan = Plan(jobs=options.jobs, photos=options.photos)
    with tempfile.TemporaryDirectory() as folder:
        told = asyncio.run(measure(Path(folder), plan))
    if options.json:
        sys.stdout.write(json.dumps({"name": "scheduler.interactive", "metrics": told}) + "\n")
        return 0
    print("\n".join(table(told)))
    if plan == Plan():
        harness.note(f"written: {write(told, plan)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
