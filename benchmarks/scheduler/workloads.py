"""Jobs to try policies with: drawn from published marginals, the same for every policy of a seed.

Helios (Hu et al., SC'21) publishes a median run time of 206 s, a mean of 6,652 s and 62 % of jobs on one GPU; the
log-normal with sigma 2.1, capped at a day, has about these. The other facts are chosen for this benchmark.
"""

import dataclasses
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from aima_common.contracts.media import Priority
from aima_scheduler.deciders.model import Gpu, Job, Machine, Shape

DAY = 86_400.0
CLASSES = ((Priority.CRITICAL, 0.02), (Priority.HIGH, 0.10), (Priority.NORMAL, 0.50), (Priority.LOW, 0.18),
           (Priority.BATCH, 0.20))  # fmt: skip
GPU = Gpu("gpu", 24_576)


@dataclass(frozen=True)
class Mix:
    """A fleet, and what is asked of it."""

    name: str
    machines: int
    gpus: int
    """GPUs of a machine."""
    jobs: int
    median: float
    sigma: float
    gangs: float
    """Share of jobs that need all GPUs of a machine."""
    deadlines: float
    """Share of jobs with a deadline, 10 minutes to 2 hours after they could have ended."""

    def fleet(self) -> list[Machine]:
        """Make the machines."""
        return [
            Machine(f"m{number:03}", 8000 * self.gpus, 65_536 * self.gpus, (GPU,) * self.gpus)
            for number in range(self.machines)
        ]


HELIOS = Mix("helios", 16, 4, 4_000, 206.0, 2.1, 0.04, 0.3)
SHORT = Mix("short", 64, 1, 5_000, 30.0, 1.2, 0.0, 0.3)


@dataclass(frozen=True)
class Work:
    """A job as it arrives, and how long it will really run."""

    job: Job
    seconds: float


def draw(mix: Mix, load: float, seed: int) -> list[Work]:
    """Draw a day or more of jobs that ask for `load` of the fleet's GPU time; more arrive by day than by night."""
    rng = random.Random(f"{mix.name} {load} {seed}")
    durations = [min(DAY, max(1.0, rng.lognormvariate(math.log(mix.median), mix.sigma))) for _ in range(mix.jobs)]
    widths = [mix.gpus if rng.random() < mix.gangs else 1 for _ in range(mix.jobs)]
    asked = sum(seconds * width for seconds, width in zip(durations, widths, strict=True))
    horizon = asked / (load * mix.machines * mix.gpus)
    arrivals = sorted(_arrival(rng, horizon) for _ in range(mix.jobs))
    return [
        _work(rng, number, arrived, seconds, width, mix)
        for number, (arrived, seconds, width) in enumerate(zip(arrivals, durations, widths, strict=True))
    ]


def with_errors(works: Sequence[Work], largest: float, seed: int) -> list[Work]:
    """Let the estimates be wrong, by up to this factor: mostly too long, one in five too short."""
    rng = random.Random(f"errors {largest} {seed}")
    told = []
    for work in works:
        wrong = math.exp(rng.uniform(0.0, math.log(largest))) if largest > 1 else 1.0
        estimate = work.seconds / wrong if rng.random() < 0.2 else work.seconds * wrong
        told.append(Work(dataclasses.replace(work.job, estimate=estimate), work.seconds))
    return told


def _arrival(rng: random.Random, horizon: float) -> float:
    while True:  # thinned to a sine over the day
        at = rng.uniform(0, horizon)
        if rng.random() < 0.5 * (1 + 0.8 * math.sin(2 * math.pi * at / DAY)):
            return at


def _work(rng: random.Random, number: int, arrived: float, seconds: float, width: int, mix: Mix) -> Work:
    priority = rng.choices([kind for kind, _ in CLASSES], [share for _, share in CLASSES])[0]
    deadline = arrived + seconds + rng.uniform(600, 7_200) if rng.random() < mix.deadlines else None
    shape = Shape(4_000 * width, 16_384 * width, gpu_count=width, gpu_memory_mib=8_192)
    return Work(Job(f"j{number:06}", "t", priority, shape, arrived, deadline), seconds)
