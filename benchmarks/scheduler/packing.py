"""How full a fleet of GPUs becomes: pods of the openb trace arrive one by one and stay, each placed as a rule says.

`python -m benchmarks.scheduler.packing --data DIR` prints the GPUs allocated, in per cent, when 100 and 130 % of the
fleet had been asked for; `--json` one object. Means of ten seeds; the rules see the same pods and machines.
"""

import argparse
import concurrent.futures
import json
import os
import random
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import track

from aima_scheduler.deciders import placement
from aima_scheduler.deciders.fleet import Fleet
from aima_scheduler.deciders.scoring import Scoring
from aima_scheduler.deciders.workload import Workload
from benchmarks.scheduler import openb
from benchmarks.scheduler.report import draw_bars, write_page

FIRST_SEED = 42
"""The published table has seeds 42 to 51."""

Figures = Mapping[str, float]


@dataclass(frozen=True)
class Trial:
    """One trace, filled into the fleet by one rule."""

    folder: Path
    trace: str
    scoring: Scoring
    seed: int

    def run(self) -> Figures:
        """Place all pods; tell the GPUs allocated in per cent, and decisions per second of processor time."""
        machines, pods = openb.machines(self.folder), openb.shapes(self.folder, self.trace)
        capacity = sum(1000 * len(machine.gpus) for machine in machines)
        arriving = openb.arrivals(pods, capacity, self.seed)
        # A fixed order, but not the trace's, where like stands by like.
        random.Random(self.seed + 1000).shuffle(machines)
        # FGD presumes that it is known what is typical; the same is told to every rule.
        fleet = Fleet(machines, Workload(Counter(pods)))
        told: dict[str, float] = {}
        arrived = allocated = 0
        started = time.process_time()
        for pod in arriving:
            wanted = openb.gpu_milli(pod)
            if arrived + wanted > capacity:
                told.setdefault("100", 100 * allocated / capacity)
            arrived += wanted
            slots = placement.find(fleet, pod, self.scoring)
            if slots is not None:
                fleet.take(pod, slots)
                allocated += wanted
        told["decisions_per_second"] = len(arriving) / (time.process_time() - started)
        return {**told, "130": 100 * allocated / capacity}


def measure(folder: Path, names: Sequence[str], seeds: int, *, quiet: bool) -> dict[str, dict[str, Figures]]:
    """Run all trials on all cores; give means, deviations and rates by trace and rule."""
    drawn = range(FIRST_SEED, FIRST_SEED + seeds)
    trials = [Trial(folder, name, rule, seed) for name in names for rule in Scoring for seed in drawn]
    found: defaultdict[tuple[str, str], list[Figures]] = defaultdict(list)
    with concurrent.futures.ProcessPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        results = pool.map(Trial.run, trials)
        for trial in track(trials, "packing", disable=quiet):
            found[trial.trace, trial.scoring.value].append(next(results))
    told: dict[str, dict[str, Figures]] = {name: {} for name in names}
    for (name, rule), rows in found.items():
        told[name][rule] = summary(rows)
    for name in names:
        if name in openb.PUBLISHED_FGD:
            told[name]["published_fgd"] = dict(zip(("100", "130"), openb.PUBLISHED_FGD[name], strict=True))
    return told


def summary(rows: Sequence[Figures]) -> dict[str, float]:
    """Put the seeds together."""
    told = {share: statistics.fmean(row[share] for row in rows) for share in ("100", "130")}
    for share in ("100", "130"):
        told[f"{share}_deviation"] = statistics.stdev(row[share] for row in rows) if len(rows) > 1 else 0.0
    told["decisions_per_second"] = statistics.median(row["decisions_per_second"] for row in rows)
    return told


def verdict(mine: Figures, published: Figures) -> str:
    """Compare with the published mean: what lies within two standard deviations of our seeds is a tie."""
    words = []
    for share in ("100", "130"):
        distance = mine[share] - published[share]
        tie = abs(distance) <= 2 * mine[f"{share}_deviation"]
        words.append("tie" if tie else "ahead" if distance > 0 else "behind")
    return " / ".join(words)


def table(told: Mapping[str, Mapping[str, Figures]]) -> list[str]:
    """Write the figures as a table in Markdown."""
    rules = [*(rule.value for rule in Scoring), "published_fgd"]
    lines = [
        "| trace | " + " | ".join(rules) + " | aima beside the published FGD | decisions/s |",
        "|---" * (len(rules) + 3) + "|",
    ]
    for name, row in told.items():
        cells = [f"{row[rule]['100']:.2f} / {row[rule]['130']:.2f}" if rule in row else "–" for rule in rules]
        mine = row[Scoring.AIMA.value]
        beside = verdict(mine, row["published_fgd"]) if "published_fgd" in row else "–"
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {beside} | {mine['decisions_per_second']:,.0f} |")
    return lines


def write(told: Mapping[str, Mapping[str, Figures]], seeds: int) -> Path:
    """Write the page with its picture."""
    groups = {
        name: {rule: figures["100"] for rule, figures in row.items() if rule != Scoring.FIRST_FIT.value}
        for name, row in told.items()
    }
    picture = draw_bars("packing", "GPUs allocated when as many were asked for", groups, "per cent", 95, lowest=85)
    intro = (
        "GPUs of the openb fleet (1,213 machines, 6,212 GPUs) that are allocated, in per cent, when 100 and 130 % of "
        f"them had been asked for; means of {seeds} seeds. What is typical was told to every rule, as in FGD's "
        "artefact. A tie is what lies within two standard deviations of our seeds; decisions are counted for aima, "
        "per second of one core."
    )
    command = f"python -m benchmarks.scheduler.packing --data DIR --seeds {seeds}"
    return write_page("packing", "Packing GPUs", command, intro, table(told), picture)


def main() -> None:
    """Measure, and say what came of it."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scheduler.packing",
        description=__doc__,
        epilog="The data: data/csv of hkust-adsl/kubernetes-scheduler-simulator (Apache License 2.0).",
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with the trace's lists of nodes and of pods")
    parser.add_argument("--trace", action="append", help="only this one, such as default; may come several times")
    parser.add_argument("--seeds", type=int, default=10, help="paired repetitions, from seed 42 on (default 10)")
    parser.add_argument("--json", action="store_true", help="print one object instead of a table")
    options = parser.parse_args()
    try:
        found = openb.traces(options.data)
    except openb.NoTraceError as error:
        parser.error(str(error))
    unknown = sorted(set(options.trace or ()) - set(found))
    if unknown:
        parser.error(f"there is no trace {unknown[0]!r} in {options.data}, only {', '.join(found)}")
    if options.seeds < 1:
        parser.error("--seeds must be at least 1")
    names = [name for name in found if name in (options.trace or found)]
    told = measure(options.data, names, options.seeds, quiet=options.json)
    if options.json:
        sys.stdout.write(json.dumps({"name": "scheduler.packing", "metrics": told}) + "\n")
        return
    print("\n".join(table(told)))
    if options.trace is None:
        print(write(told, options.seeds))


if __name__ == "__main__":
    main()
