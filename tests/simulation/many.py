"""Many seeds, on as many processes as there are cores."""

import gc
import itertools
import logging
import multiprocessing
import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import Self

import structlog

from tests.simulation.memory_store import Protections
from tests.simulation.world import Outcome, play

AT_ONCE = 25
"""Seeds that a process is given at a time."""


class Players:
    """Processes that play seeds; making them takes longer than playing a hundred."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(len(os.sched_getaffinity(0)), mp_context=context, initializer=_prepare)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def play(self, seeds: Iterable[int], protections: Protections = Protections()) -> list[Outcome]:  # noqa: B008 - frozen
        """Play seeds; the outcomes come in the order of the seeds."""
        return list(self._pool.map(play, seeds, itertools.repeat(protections), chunksize=AT_ONCE))


def _prepare() -> None:
    """Say nothing of what goes wrong, as it is made to; and look for garbage less often, as a seed leaves little."""
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    gc.freeze()
    gc.set_threshold(50_000)
