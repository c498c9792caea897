"""Which rule makes people wait least: a simulation of days on made-up fleets, every policy on the same jobs.

`python -m benchmarks.scheduler.policies` prints means of seconds waited over paired seeds; `--json` one object.
"""

import argparse
import concurrent.futures
import dataclasses
import functools
import json
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import track

from aima_scheduler.deciders.engine import SHORT_FIRST, Settings
from aima_scheduler.deciders.model import Job, Machine
from aima_scheduler.deciders.ordering import Order, Ordering
from aima_scheduler.deciders.scoring import Scoring
from benchmarks.scheduler.report import draw_bars, write_page
from benchmarks.scheduler.simulation import Decided, Policy, simulate
from benchmarks.scheduler.workloads import HELIOS, SHORT, Mix, Work, draw, with_errors
from tests.reference.seed_scheduler import PASS_SECONDS, resources_of, scheduling_pass

Body = Mapping[str, float]
LOADS = (0.7, 0.9)
ERRORS = {"exact": 1.0, "3x": 3.0, "10x": 10.0}
BARE = Settings(scoring=Scoring.BEST_FIT, fair=False, reservations=0, critical_reservations=0, starvation_every=0)
EASY = dataclasses.replace(BARE, reservations=1, critical_reservations=16)
FREE = dataclasses.replace(SHORT_FIRST, ordering=Ordering(order=Order.SEED_SHORT, clamped=False))
RULES: dict[str, Settings | None] = {
    "fifo": dataclasses.replace(BARE, ordering=Ordering(order=Order.FIFO), head_blocks=True),
    "seed": None,
    "corrected": BARE,
    "easy": EASY,
    "default": Settings(),
    "seed_short": SHORT_FIRST,
    "seed_short unclamped": FREE,
    "shortest": dataclasses.replace(BARE, ordering=Ordering(order=Order.SHORTEST)),
}
INDIFFERENT = ("fifo", "seed", "corrected")
"""Rules that never look at an estimate."""


class Seed:
    """The founding document's rule."""

    period = PASS_SECONDS

    def __init__(self, machines: Sequence[Machine]) -> None:
        self._resources = {one.id: one for one in resources_of(machines)}
        self._pending: dict[str, Job] = {}
        self._on: dict[str, tuple[Job, str]] = {}

    def arrived(self, work: Work) -> None:
        """Let a job wait."""
        self._pending[work.job.id] = work.job

    def ended(self, name: str, now: float) -> None:
        """Free what a job had."""
        job, resource = self._on.pop(name)
        self._resources[resource].change(job, -1)

    def starts(self, now: float) -> Sequence[str]:
        """Name the jobs that start in this pass."""
        placed = scheduling_pass(self._pending.values(), list(self._resources.values()), now)
        for job, resource in placed:
            del self._pending[job.id]
            self._on[job.id] = job, resource.id
        return [job.id for job, _ in placed]


@dataclass(frozen=True)
class Cell:
    """One simulation: a rule, on a mix at a load, with estimates that are more or less wrong."""

    mix: Mix
    load: float
    errors: str
    rule: str
    seed: int

    def run(self) -> Body:
        """Let it happen."""
        works = with_errors(draw(self.mix, self.load, self.seed), ERRORS[self.errors], self.seed)
        settings = RULES[self.rule]
        machines = self.mix.fleet()
        policy: Policy = Seed(machines) if settings is None else Decided(settings, machines)
        return simulate(policy, works).body()


def cells(seeds: Sequence[int], mixes: Sequence[Mix]) -> list[Cell]:
    """List all simulations; rules that never look at an estimate are tried once."""
    found = []
    for mix in mixes:
        for load in LOADS:
            for errors in ERRORS:
                rules = [rule for rule in RULES if errors == "exact" or rule not in INDIFFERENT]
                found += [Cell(mix, load, errors, rule, seed) for rule in rules for seed in seeds]
    return found


def interval(values: Sequence[float]) -> float:
    """Tell half the width of the 95 % confidence interval of a mean, by Student's t."""
    if len(values) < 2:
        return 0.0
    z, freedom = statistics.NormalDist().inv_cdf(0.975), len(values) - 1
    # Abramowitz and Stegun, 26.7.5: 2.26 for ten values, as in the tables.
    t = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    return t * statistics.stdev(values) / math.sqrt(len(values))


def means(found: Mapping[Cell, Body], cell: Cell, seeds: Sequence[int]) -> dict[str, float]:
    """Put the seeds of a cell together."""
    bodies = [found[dataclasses.replace(cell, seed=seed)] for seed in seeds]
    return {name: statistics.fmean(body[name] for body in bodies) for name in bodies[0]}


def ratios(found: Mapping[Cell, Body], cell: Cell, measure: str, seeds: Sequence[int]) -> list[float]:
    """Divide by the document's rule, seed by seed."""
    told = []
    for seed in seeds:
        mine = found[dataclasses.replace(cell, seed=seed)]
        against = found[dataclasses.replace(cell, rule="seed", errors="exact", seed=seed)]
        told.append(mine[measure] / max(against[measure], 1e-9))
    return told


def summary(found: Mapping[Cell, Body], seeds: Sequence[int]) -> dict[str, dict[str, float]]:
    """Put the seeds together: means, and ratios to the document's rule with their intervals."""
    told: dict[str, dict[str, float]] = {}
    for cell in [cell for cell in found if cell.seed == seeds[0]]:
        row = means(found, cell, seeds)
        against = means(found, dataclasses.replace(cell, rule="seed", errors="exact"), seeds)
        for measure in ("wait", "gang_wait", "critical_wait"):
            values = ratios(found, cell, measure, seeds)
            row[f"{measure}_to_seed"] = row[measure] / max(against[measure], 1e-9)
            row[f"{measure}_to_seed_interval"] = interval(values)
        told[f"{cell.mix.name} {cell.load} {cell.errors} {cell.rule}"] = row
    return told


def measure(
    seeds: Sequence[int], mixes: Sequence[Mix], report: Callable[[Sequence[Cell]], Iterable[Cell]]
) -> dict[Cell, Body]:
    """Run all simulations, on all cores."""
    todo = cells(seeds, mixes)
    with concurrent.futures.ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        running = [pool.submit(cell.run) for cell in todo]
        return {cell: running[number].result() for number, cell in enumerate(report(todo))}


def main() -> None:
    """Measure, and say what came of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scheduler.policies", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="paired repetitions (default 10)")
    parser.add_argument("--mix", choices=["helios", "short"], help="only this one")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    seeds = list(range(1, options.seeds + 1))
    mixes = [mix for mix in (HELIOS, SHORT) if options.mix in (None, mix.name)]
    shown = functools.partial(track, description="simulating", disable=options.json)
    began = time.monotonic()
    told = summary(measure(seeds, mixes, shown), seeds)
    if options.json:
        sys.stdout.write(json.dumps({"name": "scheduler.policies", "metrics": told}) + "\n")
        return
    print(table(told))
    if options.mix is None:
        print(write(told, len(seeds), time.monotonic() - began))


def write(told: Mapping[str, Mapping[str, float]], seeds: int, seconds: float) -> Path:
    """Write the page with its picture."""
    groups = {
        f"{load} {errors}": {rule: told[f"helios {load} {errors} {rule}"]["wait_to_seed"] for rule in SHOWN}
        for load in LOADS
        for errors in ERRORS
    }
    picture = draw_bars("policies", "Mean wait beside the document's rule (Helios-like jobs)", groups, "ratio", 1.0)
    intro = (
        f"Means over {seeds} paired seeds; waits in seconds; `/seed` is the ratio to the founding document's rule on "
        "the same jobs, `±` half the 95 % confidence interval of that ratio's mean over the pairs. A mix is followed "
        f"by its load, by how wrong estimates may be, and by the rule. Took {seconds:.0f} s."
    )
    command = f"python -m benchmarks.scheduler.policies --seeds {seeds}"
    return write_page("policies", "Policies", command, intro, ["```", table(told), "```"], picture)


SHOWN = ("default", "seed_short", "seed_short unclamped")
COLUMNS = ("wait", "gang_wait", "critical_wait", "batch_wait", "longest_wait", "missed", "slowdown")
RATIOS = ("wait_to_seed", "gang_wait_to_seed", "critical_wait_to_seed")


def table(told: Mapping[str, Mapping[str, float]]) -> str:
    """Write the figures as a table: seconds, shares and ratios."""
    heads = [name.replace("_wait", "").replace("_to_seed", "/seed") for name in (*COLUMNS, *RATIOS)]
    lines = [f"{'':38}" + "".join(f"{head:>{14 if '/' in head else 10}}" for head in heads)]
    for name, row in told.items():
        figures = [f"{row[column]:10.0f}" if column.endswith("wait") else f"{row[column]:10.3g}" for column in COLUMNS]
        ratios = [f"{row[column]:8.2f} ± {row[f'{column}_interval']:.2f}".rjust(14) for column in RATIOS]
        lines.append(f"{name:38}" + "".join(figures + ratios))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
