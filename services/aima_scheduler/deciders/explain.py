"""Why a job waits, what would change it, and when it will start. Says what the engine knows.

A start is estimated by letting the engine go on from here several times, with durations drawn anew each time, and
with jobs that come meanwhile and go first, as they came lately; the interval holds the middle 80 % of what came out.
"""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from aima_scheduler.deciders import placement
from aima_scheduler.deciders.engine import Engine
from aima_scheduler.deciders.fleet import Fleet
from aima_scheduler.deciders.model import Job, Mode, Placement, Shape
from aima_scheduler.deciders.queue import place_of
from aima_scheduler.deciders.reservation import Running
from aima_scheduler.deciders.rooms import fits

if TYPE_CHECKING:
    import random

DRAWS = 19
"""How often the future is played through."""

LOW, HIGH = 0.09, 0.93
"""Between these quantiles lies the interval: 80 % (issue: coverage of 70 to 90 %)."""

LATELY_SECONDS = 900.0
"""As many jobs that go first come in the future, on average, as came in so many seconds before."""

MOST_STEPS = 5_000
"""A future that is longer than so many starts is not played to its end: nobody plans by it."""

NINETY = 1.2816
"""The quantile 0.9 of the standard normal distribution."""


@dataclass(frozen=True)
class Start:
    """When a job will start: seconds from now."""

    low: float
    middle: float
    high: float


@dataclass(frozen=True)
class Explanation:
    """Why a job waits."""

    job: str
    position: int
    waiting: int
    """Jobs that wait, this one among them."""
    dimension: str | None
    """What is missing now: cpu, memory, gpu, gpu_type, gpu_memory, location or members; None: nothing but its turn."""
    reasons: tuple[str, ...]
    would_help: tuple[str, ...]
    blockers: tuple[str, ...]
    """Jobs whose end would make room for it, on the machine where least is missing."""
    start: Start | None
    deadline_outlook: str | None
    """Whether its deadline will be met, in words; None for a job without one."""


def waiting_job(engine: Engine, job_id: str, now: float, rng: "random.Random | None" = None) -> Explanation | None:
    """Explain a job that waits; None where it does not. Without `rng` its start is not estimated."""
    job = engine.waiting.get(job_id)
    if job is None:
        return None
    mine = place_of(job, engine.settings.ordering, now)
    position = 1 + sum(place_of(other, engine.settings.ordering, now) < mine for other in engine.waiting)
    fleet = engine.fleet_for(job.id)
    fitting = placement.find(fleet, job.shape, engine.settings.scoring) is not None
    short = None if fitting else placement.blocked_by(fleet, job.shape)
    reasons, help_ = [], []
    blockers: tuple[str, ...] = ()
    if short is not None:
        roomy, count = machines_with_room(fleet, job.shape), len(fleet)
        nearest = f"; {short.nearest}, which comes nearest, has {short.available}" if short.nearest else ""
        reasons.append(f"it needs {short.wanted}, which {roomy} of {count} machines have free now{nearest}")
        blockers = blocking(engine, fleet, job.shape, short.nearest)
        if blockers:
            help_.append(f"it fits on {short.nearest} when {_jobs(len(blockers))} there {_ends(len(blockers))}")
        help_.append("one more machine of that kind would start it" if position == 1 else "one more machine would help")
    if position > 1:
        reasons.append(f"{_jobs(position - 1)} more urgent or older {_comes(position - 1)} first")
        help_.append("a higher priority or an earlier deadline would bring it forward")
    reasons += _kept(engine, job, now)
    if job.preempted:
        often = "once" if job.preempted == 1 else f"{job.preempted} times"
        reasons.append(f"it gave way to more urgent work {often}, and is done again from its beginning")
    start = estimate(engine, job, now, rng) if rng else None
    dimension = short.dimension if short else None
    outlook = deadline_outlook(job, start, now, engine.settings.ordering.mode)
    return Explanation(
        job_id, position, len(engine.waiting), dimension, tuple(reasons), tuple(help_), blockers, start, outlook
    )


def deadline_outlook(job: Job, start: Start | None, now: float, mode: Mode = Mode.CORRECTED) -> str | None:
    """Say whether a job will meet its deadline, as far as durations are known; None for a job without one.

    One that nothing can meet any more is not refused: it counts for all that a deadline can (spec 4.1), and is told.
    """
    if job.deadline is None:
        return None
    left, takes = job.deadline - now, job.estimate
    if left <= 0:
        counts = "counts for nothing any more" if mode is Mode.SEED else "counts for as much as a deadline can"
        return f"its deadline passed {-left:.0f} s ago; it {counts}"
    begins = f"its deadline is in {left:.0f} s"
    if takes is None:
        return f"{begins}; how long such a job takes is not known yet"
    late = (start.middle if start else 0.0) + takes - left
    if takes > left:
        least = "about" if start else "at least"
        return f"{begins}, and the job takes about {takes:.0f} s: it will be missed by {least} {late:.0f} s"
    if start is None:
        return f"{begins}; it is met if the job begins within {-late:.0f} s"
    if late > 0:
        return f"{begins}; as things are it will be missed by about {late:.0f} s"
    if start.high + takes > left:
        return f"{begins}; as things are it will just be met, and may be missed"
    return f"{begins}; as things are it will be met"


def machines_with_room(fleet: Fleet, shape: Shape) -> int:
    """Count the machines where one member fits now."""
    return sum(fits(fleet.free(one.id), shape) for one in fleet.machines)


def blocking(engine: Engine, fleet: Fleet, shape: Shape, machine_id: str | None) -> tuple[str, ...]:
    """Name the jobs on a machine whose end makes room for one member, those that began first."""
    if machine_id is None or machine_id not in fleet:
        return ()
    what_if = fleet.copy()
    named: list[str] = []
    for one in sorted(engine.runs_on(machine_id), key=lambda one: one.started_at):
        if fits(what_if.free(machine_id), shape):
            break
        what_if.release(one.job.shape, one.slots)
        named.append(one.job.id)
    return tuple(named) if named and fits(what_if.free(machine_id), shape) else ()


def estimate(engine: Engine, job: Job, now: float, rng: "random.Random") -> Start | None:
    """Play the future through several times; None where nothing is known of durations, or it lies too far off."""
    if any(one.job.estimate is None for one in engine.running.values()):
        return None
    ahead = _come_first(engine, job, now)
    starts = [at - now for _ in range(DRAWS) if (at := _one_future(engine, job, ahead, now, rng)) is not None]
    if len(starts) < DRAWS:
        return None
    starts.sort()
    return Start(_quantile(starts, LOW), _quantile(starts, 0.5), _quantile(starts, HIGH))


def drawn_seconds(job: Job, rng: "random.Random", ran: float = 0.0) -> float:
    """Draw how long a job takes, given that it has run for `ran` s already."""
    expected = max(job.estimate or 1.0, 1e-3)
    longest = max(job.longest or 3 * expected, 1.01 * expected)
    # The log-normal distribution with this mean and this 90th percentile, as far as there is one.
    spread = min(1.2, max(0.05, NINETY - math.sqrt(max(0.0, NINETY**2 - 2 * math.log(longest / expected)))))
    middle = math.log(expected) - spread**2 / 2
    for _ in range(20):
        seconds = rng.lognormvariate(middle, spread)
        if seconds > ran:
            return seconds
    return ran * rng.uniform(1.0, 1.5) + 1e-3


def _come_first(engine: Engine, job: Job, now: float) -> list[Job]:
    """List the jobs that came lately and would go before this one if they came now."""
    ordering = engine.settings.ordering
    lately = [one for one in (*engine.started, *engine.waiting) if now - LATELY_SECONDS < one.queued_at <= now]
    mine = place_of(job, ordering, now)
    return [one for one in lately if one.id != job.id and place_of(replace(one, queued_at=now), ordering, now) < mine]


def _one_future(engine: Engine, job: Job, ahead: Sequence[Job], now: float, rng: "random.Random") -> float | None:
    copy = engine.copy()
    ends = [(_end(one, now, rng), one.job.id) for one in engine.running.values()]
    heapq.heapify(ends)
    by_id = {other.id: other for other in engine.waiting}
    come = now + rng.expovariate(len(ahead) / LATELY_SECONDS) if ahead else math.inf
    at, steps = now, 0
    while steps < MOST_STEPS:
        for placed in copy.decide(at):
            steps += 1
            if placed.job == job.id:
                return at if isinstance(placed, Placement) else None
            if isinstance(placed, Placement):
                heapq.heappush(ends, (at + drawn_seconds(by_id[placed.job], rng), placed.job))
        if not ends:
            return None
        if come < ends[0][0]:
            steps, at, come = steps + 1, come, come + rng.expovariate(len(ahead) / LATELY_SECONDS)
            new = replace(rng.choice(ahead), id=f"to come {steps}", queued_at=at)
            by_id[new.id] = new
            copy.submit(new)
        else:
            at, ended = heapq.heappop(ends)
            copy.ended(ended, at)
    return None


def _end(one: Running, now: float, rng: "random.Random") -> float:
    return one.started_at + drawn_seconds(one.job, rng, now - one.started_at)


def _quantile(values: Sequence[float], share: float) -> float:
    # Between so many draws and the truth, each of the places is as likely as the others.
    place = min(max(share * (len(values) + 1) - 1, 0.0), len(values) - 1.0)
    low = math.floor(place)
    high = min(low + 1, len(values) - 1)
    return values[low] + (place - low) * (values[high] - values[low])


def _kept(engine: Engine, job: Job, now: float) -> list[str]:
    told = []
    for kept in engine.reservations:
        machines = ", ".join(sorted(set(kept.machines)))
        if kept.job.id == job.id:
            told.append(f"{machines} is kept free for it, from in {max(0.0, kept.at - now):.0f} s on")
        else:
            told.append(f"{machines} is kept free for a job that comes first, until in {max(0.0, kept.at - now):.0f} s")
    return told


def _jobs(count: int) -> str:
    return "one job" if count == 1 else f"{count} jobs"


def _ends(count: int) -> str:
    return "ends" if count == 1 else "end"


def _comes(count: int) -> str:
    return "comes" if count == 1 else "come"
