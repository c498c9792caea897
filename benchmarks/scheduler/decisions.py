"""How fast it is decided: a cold pass over all that waits, and then one event after the other.

`python -m benchmarks.scheduler.decisions` prints a table of fleets of 100 to 10,000 machines with 10,000 to 1,000,000
waiting jobs: placements per second of the first pass, milliseconds for each later event (a job ends, what waits for
its room starts), memory, and the founding document's rule beside it. `--json` prints one object.
"""

import argparse
import concurrent.futures
import functools
import gc
import json
import multiprocessing
import random
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import track

from aima_common.contracts.media import Priority
from aima_scheduler.deciders.engine import Engine
from aima_scheduler.deciders.model import Gpu, Job, Machine, Placement, Shape
from benchmarks.scheduler.report import draw_bars, write_page
from tests.reference.seed_scheduler import resources_of, scheduling_pass

JOBS = (10_000, 100_000, 1_000_000)
MACHINES = (100, 1_000, 10_000)
EVENTS = 2_000
CHURN_SHARE, MOST_CHURN = 0.05, 50
"""So many of the machines come and go in the test of churn: a share, and at most this many."""

GOAL_MS = 5.0
"""An event may take so long in 99 cases of 100, with a million jobs for 10,000 machines."""

SEED_SECONDS = 5.0
"""How long the document's rule may take for its sample of a cell."""

GPU = Gpu("A", 24_576)
SHAPES = (
    Shape(2_000, 4_096),
    Shape(4_000, 8_192),
    Shape(8_000, 16_384),
    Shape(4_000, 16_384, 1, gpu_memory_mib=8_192),
    Shape(4_000, 8_192, 1, 500, gpu_memory_mib=4_096),
    Shape(16_000, 65_536, 4),
)
NOW = 1_000.0

Figures = Mapping[str, float]


@dataclass(frozen=True)
class Cell:
    """So many jobs wait for so many machines."""

    jobs: int
    machines: int
    seed: int = 1

    def fleet(self) -> list[Machine]:
        """Make the machines; every third has four GPUs."""
        return [
            Machine(f"machine-{number}", 32_000, 131_072, (GPU,) * 4 if number % 3 == 0 else ())
            for number in range(self.machines)
        ]

    def waiting(self) -> list[Job]:
        """Make the jobs: six shapes, five classes, five tenants, a tenth with a deadline."""
        chance = random.Random(self.seed)
        classes = list(Priority)
        return [
            Job(
                f"job-{number}",
                f"tenant-{number % 5}",
                chance.choice(classes),
                chance.choice(SHAPES),
                queued_at=number / 1_000,
                deadline=NOW + 20_000 * chance.random() if number % 10 == 0 else None,
                estimate=60.0,
            )
            for number in range(self.jobs)
        ]

    def run(self) -> Figures:
        """Decide, in a process of its own."""
        machines, jobs = self.fleet(), self.waiting()
        before = _resident_mib()
        engine = Engine(machines=machines)
        started = time.perf_counter()
        for job in jobs:
            engine.submit(job)
        submitting = time.perf_counter() - started
        # What waits stays for long, so that Python's garbage collector need not look at all of it again and again.
        gc.collect()
        gc.freeze()
        started = time.perf_counter()
        placed = [one for one in engine.decide(NOW) if isinstance(one, Placement)]
        cold = time.perf_counter() - started
        names = [one.job for one in placed]
        events = self._events(engine, names[: min(EVENTS, len(names) // 2)])
        churn = self._churn(engine, machines)
        return {
            "submit_microseconds": 1e6 * submitting / self.jobs,
            "placed": len(placed),
            "placements_per_second": len(placed) / cold,
            **_quantiles("event", events),
            **_quantiles("churn", churn),
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "of_which_the_engine_mib": _resident_mib() - before,
        }

    def _events(self, engine: Engine, ending: Sequence[str]) -> list[float]:
        """End jobs one by one on the full fleet; decide after each."""

        def end(name: str, now: float) -> None:
            engine.ended(name, now)
            engine.decide(now)

        return [_seconds(functools.partial(end, name, NOW + at / 100)) for at, name in enumerate(ending)]

    def _churn(self, engine: Engine, machines: Sequence[Machine]) -> list[float]:
        """Let machines go, and come back empty; decide after each."""
        later = NOW + EVENTS / 100
        leaving = machines[: max(1, min(MOST_CHURN, round(CHURN_SHARE * len(machines))))]

        def replace(machine: Machine) -> None:
            for job in engine.machine_removed(machine.id, later):
                engine.submit(job)
            engine.decide(later)
            engine.machine_added(machine)
            engine.decide(later)

        return [_seconds(functools.partial(replace, machine)) / 2 for machine in leaving]

    def seed_rule(self) -> Figures:
        """Let the document's rule do one pass over as many jobs as it can take in the time that it has."""
        jobs, sample = self.waiting(), min(self.jobs, 1_000)
        while True:
            resources = resources_of(self.fleet())
            for one in resources:  # saturated: what it has to find out is that nothing fits
                one.cpu_milli = 1_000
            seconds = _seconds(functools.partial(scheduling_pass, jobs[:sample], resources, NOW))
            if sample == self.jobs or seconds * 4 > SEED_SECONDS:
                # The pass grows with the jobs, as nothing fits; what it did not look at is added in proportion.
                return {"seed_saturated_pass_seconds": seconds * self.jobs / sample}
            sample = min(self.jobs, 4 * sample)


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _quantiles(name: str, seconds: Sequence[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        f"{name}_p50_ms": 1_000 * ordered[len(ordered) // 2],
        f"{name}_p99_ms": 1_000 * ordered[int(len(ordered) * 0.99)],
    }


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / (1 << 20)


def measure(cells: Sequence[Cell], *, quiet: bool) -> dict[str, dict[str, float]]:
    """Measure one cell after the other, each in a process of its own, as memory is looked at."""
    told: dict[str, dict[str, float]] = {}
    for cell in track(cells, "deciding", disable=quiet):
        figures: dict[str, float] = {}
        for work in (cell.run, cell.seed_rule):
            fresh = multiprocessing.get_context("spawn")
            with concurrent.futures.ProcessPoolExecutor(1, mp_context=fresh) as alone:
                figures |= alone.submit(work).result()
        told[f"{cell.jobs}x{cell.machines}"] = figures
    return told


COLUMNS = {
    "placed": "placed",
    "placements_per_second": "placements/s, cold",
    "event_p50_ms": "event p50, ms",
    "event_p99_ms": "event p99, ms",
    "churn_p50_ms": "churn p50, ms",
    "churn_p99_ms": "churn p99, ms",
    "peak_mib": "peak, MiB",
    "seed_saturated_pass_seconds": "the document's pass, saturated, s",
}


def table(told: Mapping[str, Figures]) -> list[str]:
    """Write the figures as a table in Markdown."""
    lines = ["| jobs x machines | " + " | ".join(COLUMNS.values()) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for name, row in told.items():
        cells = [f"{row[column]:,.0f}" if row[column] >= 100 else f"{row[column]:.3g}" for column in COLUMNS]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def write(told: Mapping[str, Figures]) -> Path:
    """Write the page."""
    intro = (
        "The cold pass is the first over all jobs on an empty fleet, which it fills. An event is the end of a job on "
        "the full fleet and the decision after it; churn is a machine that goes or comes, with its decision (5 % of "
        f"the machines, {MOST_CHURN} at most). Peak is "
        "the memory of the whole process, the made-up jobs included. The document's rule looks at a sample of the "
        "jobs on a fleet without room, and the rest is added in proportion."
    )
    groups = {
        name.replace("x", " x "): {title: row[column] for column, title in COLUMNS.items() if title.endswith("ms")}
        for name, row in told.items()
    }
    picture = draw_bars("decisions", "Time of a decision", groups, "ms", GOAL_MS, logarithmic=True)
    return write_page("decisions", "Decisions", "python -m benchmarks.scheduler.decisions", intro, table(told), picture)


def main() -> None:
    """Measure, and say what came of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scheduler.decisions", description=__doc__)
    parser.add_argument("--jobs", type=int, action="append", help="only so many; may come several times")
    parser.add_argument("--machines", type=int, action="append", help="only so many; may come several times")
    parser.add_argument("--json", action="store_true", help="print one object instead of a table")
    options = parser.parse_args()
    if min([*(options.jobs or JOBS), *(options.machines or MACHINES)]) < 1:
        parser.error("--jobs and --machines must be at least 1")
    cells = [Cell(jobs, machines) for machines in options.machines or MACHINES for jobs in options.jobs or JOBS]
    told = measure(cells, quiet=options.json)
    if options.json:
        sys.stdout.write(json.dumps({"name": "scheduler.decisions", "metrics": told}) + "\n")
        return
    print("\n".join(table(told)))
    if not (options.jobs or options.machines):
        print(write(told))


if __name__ == "__main__":
    main()
