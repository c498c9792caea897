"""How well a shape packs into a room, and on which of its GPUs; lower is better.

Scores depend on the room, the shape and what is typical, and on nothing else, so that they can be kept.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from enum import StrEnum

from aima_scheduler.deciders.model import Shape
from aima_scheduler.deciders.rooms import FreeGpu, Room, tightest_gpus, usable_gpus
from aima_scheduler.deciders.workload import Usefulness, Workload


class Scoring(StrEnum):
    """How one of several machines is chosen on which a shape fits."""

    FIRST_FIT = "first_fit"
    """The machine that came first."""
    BEST_FIT = "best_fit"
    """The one on which least is left."""
    FGD = "fgd"
    """The one whose GPUs become least useless to the typical workload (FGD, USENIX ATC'23)."""
    AIMA = "aima"
    """The same, with memory: a GPU beside which too little memory is free is of no use either."""


Scored = tuple[float, tuple[int, ...]]
"""A score, and the numbers of the GPUs in the room."""

Rule = Callable[[Room, Shape], Scored]
"""Scores a room in which a shape fits."""

LARGEST_CPU_MILLI = 128_000
LARGEST_GPU_MILLI = 8_000
"""What best fit measures the rest by: the largest machine, as in FGD's artefact (best_fit_score.go)."""


def rule_of(scoring: Scoring, workload: Workload) -> Rule:
    """Make the rule for what is typical now."""
    if scoring is Scoring.FIRST_FIT:
        return first_fit
    if scoring is Scoring.BEST_FIT:
        return best_fit
    if scoring is Scoring.FGD:
        return Fgd(Usefulness(_without_memory(workload.typical), with_memory=False))
    return Fgd(Usefulness(workload.typical, with_memory=True))


def _without_memory(typical: Sequence[tuple[Shape, float]]) -> list[tuple[Shape, float]]:
    shares: dict[Shape, float] = {}
    for shape, share in typical:
        bare = replace(shape, memory_mib=0)
        shares[bare] = shares.get(bare, 0.0) + share
    return list(shares.items())


def first_fit(room: Room, shape: Shape) -> Scored:
    """Find every room as good as the next."""
    return 0.0, tightest_gpus(room, shape)


def best_fit(room: Room, shape: Shape) -> Scored:
    """Count what is left of CPU and GPUs, each by half."""
    gpu_milli = sum(gpu.milli for gpu in room.gpus) - shape.gpu_count * shape.gpu_milli
    cpu = (room.cpu_milli - shape.cpu_milli) / LARGEST_CPU_MILLI
    return 0.5 * cpu + 0.5 * gpu_milli / LARGEST_GPU_MILLI, tightest_gpus(room, shape)


class Fgd:
    """Fragmentation gradient descent, as its artefact does it (fgd_score.go): rounded down, which makes many ties."""

    def __init__(self, usefulness: Usefulness) -> None:
        self._usefulness = usefulness

    def __call__(self, room: Room, shape: Shape) -> Scored:
        """Score by how much the use grows less than what is taken; a share goes where that is best."""
        of = self._usefulness.of
        before = of(room.kind.location, room.cpu_milli, room.memory_mib, room.gpus)
        taken = shape.gpu_count * shape.gpu_milli
        scored = []
        for numbers in choices(room, shape):
            after = of(*left_over(room, shape, numbers))
            scored.append((-float(int(100 / (1 + math.exp((before - after - taken) / 1000)))), numbers))
        return min(scored, key=lambda each: each[0])


def choices(room: Room, shape: Shape) -> Iterator[tuple[int, ...]]:
    """Give the choices of GPUs that differ: for one GPU each that is unlike the others, else the tightest."""
    if shape.gpu_count != 1:
        yield tightest_gpus(room, shape)
        return
    seen: set[FreeGpu] = set()
    for number in usable_gpus(room, shape):
        if room.gpus[number] not in seen:
            seen.add(room.gpus[number])
            yield (number,)


def left_over(room: Room, shape: Shape, numbers: tuple[int, ...]) -> tuple[str, int, int, tuple[FreeGpu, ...]]:
    """Tell what is left of a room: location, CPU, memory, sorted GPUs."""
    gpus = list(room.gpus)
    for number in numbers:
        free = gpus[number]
        gpus[number] = FreeGpu(free.type, free.milli - shape.gpu_milli, free.memory_mib - shape.gpu_memory_mib)
    if numbers:
        gpus.sort()
    return room.kind.location, room.cpu_milli - shape.cpu_milli, room.memory_mib - shape.memory_mib, tuple(gpus)
