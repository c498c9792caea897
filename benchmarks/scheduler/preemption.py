"""What it gives critical jobs, and costs the others, that low and batch jobs give way: days on a made-up fleet.

`python -m benchmarks.scheduler.preemption` prints means over paired seeds; `--json` one object. A job that gives way
is done again from its beginning, so that its delay is all that lies between its arrival and its end but its run.
"""

import argparse
import dataclasses
import heapq
import json
import statistics
import sys
from collections.abc import Mapping, Sequence

from aima_common.contracts.media import Priority
from aima_scheduler.deciders.engine import Engine, Settings
from aima_scheduler.deciders.model import Machine, Placement
from aima_scheduler.deciders.preemption import Preemption
from benchmarks.scheduler.report import draw_bars, write_page
from benchmarks.scheduler.workloads import HELIOS, Work, draw, with_errors

LOADS = (0.7, 0.9, 1.2)
RULES: dict[str, Preemption | None] = {
    "off": None,
    "600 s": Preemption(),
    "3,600 s": Preemption(budget=3_600),
    "no budget": Preemption(budget=1e12),
}
LOWER = frozenset({Priority.LOW, Priority.BATCH})
COLUMNS = ("critical", "critical_longest", "high_and_normal", "low_and_batch", "all", "gave_way", "lost")


class Days:
    """A fleet on a clock that is made up, on which running jobs may be stopped."""

    def __init__(self, rule: Preemption | None, machines: Sequence[Machine], works: Sequence[Work]) -> None:
        self._engine = Engine(Settings(preemption=rule), machines)
        self._works = {work.job.id: work for work in works}
        patience = rule.patience if rule else 0.0
        urgent = [work.job.queued_at + patience for work in works if work.job.priority is Priority.CRITICAL]
        self._looks = sorted([*(work.job.queued_at for work in works), *urgent], reverse=True)
        self._coming = sorted(works, key=lambda work: work.job.queued_at, reverse=True)
        self._ends: list[tuple[float, str, float]] = []
        self._began: dict[str, float] = {}
        self.ended: dict[str, float] = {}
        self.gave_way = 0
        self.lost = 0.0

    def pass_by(self) -> None:
        """Let all jobs come to their end."""
        while len(self.ended) < len(self._works):
            now = min([*self._looks[-1:], *(end[0] for end in self._ends[:1])])
            while self._looks and self._looks[-1] <= now:
                self._looks.pop()
            while self._ends and self._ends[0][0] <= now:
                _, name, began = heapq.heappop(self._ends)
                if self._began.get(name) == began and name not in self.ended:
                    self._engine.ended(name, now)
                    self.ended[name] = now
            while self._coming and self._coming[-1].job.queued_at <= now:
                self._engine.submit(self._coming.pop().job)
            self._decide(now)

    def _decide(self, now: float) -> None:
        for one in self._engine.decide(now):
            if isinstance(one, Placement):
                self._begin(one.job, now)
        for preempt in self._engine.preempt(now):
            self.gave_way += len(preempt.victims)
            self.lost += sum(now - self._began.pop(name) for name in preempt.victims)
            self._begin(preempt.job, now)

    def _begin(self, name: str, now: float) -> None:
        self._began[name] = now
        heapq.heappush(self._ends, (now + self._works[name].seconds, name, now))

    def figures(self) -> Mapping[str, float]:
        """Sum up: mean delays, and work that was done in vain, in seconds."""
        delays = {
            name: end - self._works[name].job.queued_at - self._works[name].seconds for name, end in self.ended.items()
        }

        def of(*classes: Priority) -> list[float]:
            return [delay for name, delay in delays.items() if self._works[name].job.priority in classes]

        return {
            "critical": statistics.fmean(of(Priority.CRITICAL)),
            "critical_longest": max(of(Priority.CRITICAL)),
            "high_and_normal": statistics.fmean(of(Priority.HIGH, Priority.NORMAL)),
            "low_and_batch": statistics.fmean(of(*LOWER)),
            "all": statistics.fmean(delays.values()),
            "gave_way": float(self.gave_way),
            "lost": self.lost,
        }


def simulate(rule: Preemption | None, load: float, seed: int) -> Mapping[str, float]:
    """Let the days of one seed pass, with estimates that are right up to a factor of three."""
    works = with_errors(draw(HELIOS, load, seed), 3.0, seed)
    # As with analysis: every job may be begun again.
    works = [Work(dataclasses.replace(work.job, checkpointable=True), work.seconds) for work in works]
    days = Days(rule, HELIOS.fleet(), works)
    days.pass_by()
    return days.figures()


def measure(seeds: Sequence[int]) -> dict[str, dict[str, float]]:
    """Simulate every rule at every load; put the seeds together."""
    told = {}
    for load in LOADS:
        for name, rule in RULES.items():
            found = [simulate(rule, load, seed) for seed in seeds]
            told[f"{load} {name}"] = {column: statistics.fmean(one[column] for one in found) for column in COLUMNS}
    return told


def table(told: Mapping[str, Mapping[str, float]]) -> str:
    """Write the figures as a table."""
    lines = [f"{'':16}" + "".join(f"{name:>18}" for name in COLUMNS)]
    for name, row in told.items():
        lines.append(f"{name:16}" + "".join(f"{row[column]:>18.1f}" for column in COLUMNS))
    return "\n".join(lines)


def picture(told: Mapping[str, Mapping[str, float]]) -> str:
    """Draw how long critical jobs are delayed, by load and by what an hour may cost."""
    groups = {f"load {load}": {name: told[f"{load} {name}"]["critical"] for name in RULES} for load in LOADS}
    return draw_bars("preemption", "Mean delay of critical jobs, by what an hour may cost", groups, "s", None)


def main() -> None:
    """Measure, and say what came of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scheduler.preemption", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="paired repetitions (default 10)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    told = measure(range(1, options.seeds + 1))
    if options.json:
        sys.stdout.write(json.dumps({"name": "scheduler.preemption", "metrics": told}) + "\n")
        return
    print(table(told))
    intro = (
        f"Means over {options.seeds} paired seeds of the Helios-like mix (16 machines of 4 GPUs, 4,000 jobs, of which "
        "2 % are critical and 38 % low or batch), estimates wrong by up to 3x. A row is a load and what an hour may "
        "cost; mean delays in seconds, `gave_way` so many jobs, `lost` so many seconds of work that were done in vain."
    )
    command = f"python -m benchmarks.scheduler.preemption --seeds {options.seeds}"
    print(write_page("preemption", "Giving way", command, intro, ["```", table(told), "```"], picture(told)))


if __name__ == "__main__":
    main()
