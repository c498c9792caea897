"""How fast a budget may be spent: the generic cell rate algorithm (GCRA), and parts of a budget. Pure.

A budget is one number: when the next request would be due if all came at an even pace. Spending moves it on; how far
ahead of now it may be is the burst. Several processes spend one budget by taking parts of it (`Part`), so that not
every request has to ask for the number.
"""

import math
from dataclasses import dataclass

PART_SECONDS = 5.0
"""How long a part of a budget may be spent; what is left of it then is lost."""

LARGEST_PART_SECONDS = 1.0
"""The largest part is what the whole budget yields in this time."""

LEAST_PART_SECONDS = 0.25
"""The smallest part, for a process that wants more, is what the budget yields in this time."""

ROUNDING = 1e-6
"""Of one request: times are binary fractions, and a request that is due must not be late by the last bit."""


@dataclass(frozen=True)
class Pace:
    """So many requests a second, and so many at once."""

    per_second: float
    burst: int


@dataclass(frozen=True)
class Spent:
    """What was taken of a budget."""

    count: int
    due: float
    """The budget's number afterwards."""
    wait_seconds: float
    """When nothing could be taken: how long until something can."""


def spend(pace: Pace, due: float, now: float, wanted: int = 1, least: int = 1) -> Spent:
    """Take up to `wanted` requests at `now` of a budget whose number is `due`, or none if `least` cannot be had."""
    interval = 1.0 / pace.per_second
    begin, end = max(due, now), now + interval * pace.burst
    count = min(wanted, int((end - begin) / interval + ROUNDING))
    if count < least:
        return Spent(0, due, max(ROUNDING, begin + least * interval - end))
    return Spent(count, begin + count * interval, 0.0)


def least_part(pace: Pace, wanted: int) -> int:
    """Tell how small a part may be: where a budget is used up as it grows, crumbs would cost a question each."""
    return max(1, min(wanted, pace.burst, math.ceil(pace.per_second * LEAST_PART_SECONDS)))


class Part:
    """What one process may spend of a shared budget, for a while.

    Its size follows what is asked for: doubled when used up before half its time, halved when more than half was lost.
    So an idle process holds little that others lack, and a busy one asks about once a second.
    """

    def __init__(self) -> None:
        self._left = 0
        self._size = 1
        self._taken_at = float("-inf")

    def take(self, now: float) -> bool:
        """Spend one request; False when nothing is left, or its time is over."""
        if self._left < 1 or now - self._taken_at >= PART_SECONDS:
            return False
        self._left -= 1
        return True

    def next_size(self, pace: Pace, now: float) -> int:
        """Tell how large a part to ask for now."""
        age = now - self._taken_at
        if not self._left and age < PART_SECONDS / 2:
            self._size *= 2
        elif age >= 2 * PART_SECONDS or self._left > self._size / 2:
            self._size //= 2
        largest = max(1, min(pace.burst, int(pace.per_second * LARGEST_PART_SECONDS)))
        self._size = max(1, min(self._size, largest))
        return self._size

    def receive(self, count: int, asked_at: float) -> None:
        """Have `count` requests to spend, from when they were asked for; what was left is lost."""
        self._left, self._taken_at = count, asked_at
