"""Who comes first: weight x ageing x deadline (spec 4.1), and why a queue need not be sorted anew for it.

The score of a job depends on its class, on how long it has waited and on how near its deadline is. Within a class,
jobs whose deadline counts for as much as it ever will, and those without one, keep the order in which they came: only
their heads compete. The others change places with every minute until a minute before their deadline.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

from aima_common.contracts.media import Priority
from aima_common.urgency import DEADLINE_MINUTES, LARGEST_WAIT_FACTOR, WAIT_STEP_SECONDS, WEIGHTS
from aima_scheduler.deciders.model import Job, Mode

HOT_SECONDS = DEADLINE_MINUTES * 60
"""From here on a deadline counts: 100 / minutes left is more than 1."""

MISSED_SECONDS = 60.0
"""From here on it counts as much as it ever will: at least one minute is left in the formula."""

SHORT_EXPONENT = 0.4
"""How much a short job gains in the order `seed_short` (notes: scheduling, B5)."""

SHORT_UNIT_SECONDS = 206.0
"""The median duration of Helios' jobs: a job that long gains and loses nothing."""

LARGEST_SHORT_GAIN = 5.0
"""What a job gains at most for being short, clamped, so that it does not outrank classes far above its own."""

LARGEST_SHORT_LOSS = 10.0
"""What a job loses at most for being long, clamped: what waiting gives back to it in the end (spec 4.1)."""


class Order(StrEnum):
    """By which rule jobs are ordered."""

    SEED = "seed"
    """As the founding document has it."""
    SEED_SHORT = "seed_short"
    """The same, divided by the expected duration ^ 0.4; critical jobs are exempt."""
    FIFO = "fifo"
    """Who came first; for comparison."""
    SHORTEST = "shortest"
    """Whose expected duration is shortest; for comparison."""


@dataclass(frozen=True, slots=True)
class Ordering:
    """A rule, with its choices."""

    order: Order = Order.SEED
    mode: Mode = Mode.CORRECTED
    clamped: bool = True
    """Whether the gain of short jobs is bounded, so that they do not outrank a class."""

    def score(self, job: Job, now: float) -> float:
        """Tell how urgent a job is; the higher goes first, ties go by `age_key`."""
        return self.grown(self.standing(job), job, now)

    def grown(self, standing: float, job: Job, now: float) -> float:
        """Tell the same where the part that never changes is known."""
        if self.order is Order.FIFO or self.order is Order.SHORTEST:
            return standing
        urgency = standing * wait_factor(now - job.queued_at)
        if job.deadline is None:
            return urgency
        return urgency * deadline_factor(job.deadline, now, missed_falls=self.mode is Mode.SEED)

    def standing(self, job: Job) -> float:
        """Tell the part of the score that never changes: the class, and what the order gives for the length."""
        if self.order is Order.FIFO:
            return 0.0
        if self.order is Order.SHORTEST:
            return -(job.estimate if job.estimate is not None else math.inf)
        weight = float(WEIGHTS[job.priority])
        if self.order is not Order.SEED_SHORT or job.estimate is None or job.priority is Priority.CRITICAL:
            return weight
        # Rounded to a power of two, so that jobs of about the same length queue up by age.
        seconds = 2.0 ** round(math.log2(max(job.estimate, 1.0)))
        factor: float = (SHORT_UNIT_SECONDS / seconds) ** SHORT_EXPONENT
        if self.clamped:
            factor = min(LARGEST_SHORT_GAIN, max(1 / LARGEST_SHORT_LOSS, factor))
        return weight * factor


USUAL = Ordering()
"""The document's order with its faults corrected."""


def wait_factor(waited: float) -> float:
    """Grow linearly with the wait: 1 up to 600 s, 10 from 6000 s on; a job from the future has not waited yet."""
    return 1.0 if waited <= WAIT_STEP_SECONDS else min(LARGEST_WAIT_FACTOR, waited / WAIT_STEP_SECONDS)


def deadline_factor(deadline: float | None, now: float, *, missed_falls: bool = False) -> float:
    """Grow as the deadline nears: 100 / minutes left, between 1 and 100.

    A missed deadline keeps 100; with `missed_falls` it falls back to 1, as the founding document has it.
    """
    if deadline is None:
        return 1.0
    minutes = (deadline - now) / 60
    if minutes <= 0 and missed_falls:
        return 1.0
    return max(1.0, DEADLINE_MINUTES / max(1.0, minutes))


def age_key(job: Job) -> tuple[float, str]:
    """Tell equals apart: who came first, then the id."""
    return job.queued_at, job.id
