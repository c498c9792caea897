"""A fleet on a clock that is made up: jobs arrive, are decided upon, run and end."""

import heapq
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from aima_common.contracts.media import Priority
from aima_scheduler.deciders.engine import Engine, Settings
from aima_scheduler.deciders.model import Machine, Placement
from benchmarks.scheduler.workloads import Work


class Policy(Protocol):
    """Decides what starts; told what arrives and ends."""

    period: float
    """Decides only at multiples of so many seconds; 0: at every event."""

    def arrived(self, work: Work) -> None:
        """Let a job wait."""

    def ended(self, name: str, now: float) -> None:
        """Free what a job had."""

    def starts(self, now: float) -> Sequence[str]:
        """Name the jobs that start now."""


class Decided:
    """The engine, by some rules."""

    period = 0.0

    def __init__(self, settings: Settings, machines: Sequence[Machine]) -> None:
        self._engine = Engine(settings, machines)

    def arrived(self, work: Work) -> None:
        """Let a job wait."""
        self._engine.submit(work.job)

    def ended(self, name: str, now: float) -> None:
        """Free what a job had."""
        self._engine.ended(name, now)

    def starts(self, now: float) -> Sequence[str]:
        """Name the jobs that start now."""
        return [one.job for one in self._engine.decide(now) if isinstance(one, Placement)]


@dataclass(frozen=True)
class Outcome:
    """What became of the jobs: seconds of waiting, and shares."""

    wait: float
    gang_wait: float
    critical_wait: float
    batch_wait: float
    longest_wait: float
    missed: float
    """Share of the jobs with a deadline that missed it."""
    slowdown: float
    """Mean bounded slowdown: (wait + run) / max(run, 10 s)."""
    makespan: float

    def body(self) -> Mapping[str, float]:
        """Write it as figures."""
        return {name: round(value, 4) for name, value in vars(self).items()}


def simulate(policy: Policy, works: Sequence[Work]) -> Outcome:
    """Let all jobs come to their end."""
    by_name = {work.job.id: work for work in works}
    coming = list(reversed(works))
    ends: list[tuple[float, str]] = []
    begun: dict[str, float] = {}
    now = 0.0
    while len(begun) < len(works):
        events = [work.job.queued_at for work in coming[-1:]] + [at for at, _ in ends[:1]]
        now = _next_time(policy.period, now, events, waiting=len(begun) + len(coming) < len(works))
        while ends and ends[0][0] <= now:
            policy.ended(heapq.heappop(ends)[1], now)
        while coming and coming[-1].job.queued_at <= now:
            policy.arrived(coming.pop())
        for name in policy.starts(now):
            begun[name] = now
            heapq.heappush(ends, (now + by_name[name].seconds, name))
    return _outcome(works, begun)


def _next_time(period: float, now: float, events: Sequence[float], *, waiting: bool) -> float:
    """Tell when there is something to decide next; whoever decides now and again looks at what waits every time."""
    if not period:
        return min(events)
    following = period * (now // period + 1)
    return following if waiting else max(following, period * -(-min(events) // period))


def _outcome(works: Sequence[Work], begun: Mapping[str, float]) -> Outcome:
    waits = {work.job.id: begun[work.job.id] - work.job.queued_at for work in works}

    def mean(chosen: Sequence[Work]) -> float:
        return statistics.fmean([waits[work.job.id] for work in chosen]) if chosen else 0.0

    dated = [work for work in works if work.job.deadline is not None]
    missed = [work for work in dated if begun[work.job.id] + work.seconds > (work.job.deadline or 0)]
    return Outcome(
        wait=mean(works),
        gang_wait=mean([work for work in works if work.job.shape.gpu_count > 1]),
        critical_wait=mean([work for work in works if work.job.priority is Priority.CRITICAL]),
        batch_wait=mean([work for work in works if work.job.priority is Priority.BATCH]),
        longest_wait=max(waits.values()),
        missed=len(missed) / max(len(dated), 1),
        slowdown=statistics.fmean([(waits[w.job.id] + w.seconds) / max(w.seconds, 10.0) for w in works]),
        makespan=max(begun[work.job.id] + work.seconds for work in works),
    )
