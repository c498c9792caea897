"""Whether more can be taken in: by how long work has waited, so that a slow stage slows its clients down. Pure.

Work that is accepted is never lost, but it must not pile up without end either. Reads are always answered.

A class of urgency is held up by what goes before it: waiting work of its own class and of more urgent ones. So a large
batch closes the door to more of its kind, and whoever waits for an answer still comes in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from aima_common.contracts.media import Priority

URGENCY = tuple(Priority)
"""Classes, the most urgent first."""


@dataclass(frozen=True)
class BacklogLimits:
    """When the door for uploads closes, and when it opens again."""

    oldest_seconds: float = 0.0
    """How long work may wait before nothing more of its class is taken in; 0 is no limit."""
    fewest: int = 20
    """So many jobs must have waited for so long: a few that are stuck are no backlog."""
    reopened_share: float = 0.7
    """Part of a limit below which the door opens again, so that it does not flutter."""
    outbox_seconds: float = 60.0
    """How long a message may wait to be told, where there is a limit at all: by then the bus is away or behind."""


@dataclass(frozen=True)
class Waiting:
    """What waits now."""

    ages: Mapping[Priority, Sequence[float]] = field(default_factory=dict)
    """Of each class, for how long its oldest jobs could have begun, in seconds; of each class the `fewest` oldest."""
    outbox_seconds: float = 0.0
    """For how long the oldest message has waited to be told."""

    def held_up(self, fewest: int) -> dict[Priority, float]:
        """Tell for each class for how long `fewest` jobs have waited that go before new work; 0 where fewer wait."""
        before = accumulate((sorted(self.ages.get(one, ())) for one in URGENCY), lambda all_, more: [*all_, *more])
        oldest_first = (sorted(ages, reverse=True) for ages in before)
        return {
            one: ages[fewest - 1] if len(ages) >= fewest else 0.0
            for one, ages in zip(URGENCY, oldest_first, strict=True)
        }


@dataclass(frozen=True)
class Door:
    """Which classes are asked to come back, and why."""

    closed: frozenset[Priority] = frozenset()
    held_up: Mapping[Priority, float] = field(default_factory=dict)
    outbox_seconds: float = 0.0
    bus_is_behind: bool = False

    @property
    def is_open(self) -> bool:
        """Whether every class may come in."""
        return not self.closed and not self.bus_is_behind

    def reason(self, priority: Priority) -> str | None:
        """Tell why work of this class has to come back later; None when it may come in."""
        if self.bus_is_behind:
            return f"messages have waited for {self.outbox_seconds:.0f} s to be told"
        if priority in self.closed:
            return f"work has waited for {self.held_up[priority]:.0f} s already"
        return None

    def told(self) -> str:
        """Say in one line who is asked to come back; "open" when nobody is."""
        if self.is_open:
            return "open"
        first = Priority.CRITICAL if self.bus_is_behind else min(self.closed, key=URGENCY.index)
        return f"uploads of priority {first} and below are asked to come back: {self.reason(first)}"


def door_after(waiting: Waiting, limits: BacklogLimits, before: Door) -> Door:
    """Decide whom the door is open for now, given for whom it was."""
    if not limits.oldest_seconds:
        return Door()
    held_up = waiting.held_up(limits.fewest)
    closed = {one for one in URGENCY if _over(held_up[one], limits.oldest_seconds, limits, was=one in before.closed)}
    behind = _over(waiting.outbox_seconds, limits.outbox_seconds, limits, was=before.bus_is_behind)
    return Door(frozenset(closed), held_up, waiting.outbox_seconds, behind)


def come_back_seconds(waited: float, limit: float, jitter: float) -> int:
    """Say when to try again: the further behind, the later, from 2 s up to 60; `jitter` in 0..1 spreads the clients."""
    return round(min(60.0, max(2.0, (waited - limit) / 2)) * (1.0 + jitter / 2))


def _over(age: float, limit: float, limits: BacklogLimits, *, was: bool) -> bool:
    return age > limit * (limits.reopened_share if was else 1.0)
