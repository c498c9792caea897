"""However many more urgent jobs keep coming, nobody waits for ever: neither a small job, nor one that needs a lot."""

import heapq
import itertools
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from aima_common.contracts.media import Priority
from aima_scheduler.deciders.engine import Engine, Settings
from aima_scheduler.deciders.model import Job, Machine, Placement, Shape

AFTER = 600.0
RULES = Settings(starvation_after=AFTER, drain_after=2 * AFTER)
LONGEST = 60.0
"""No job runs for longer, s."""
CORES = 4


def starts(rules: Settings, old: list[Job], machines: int, seed: int, until: float) -> dict[str, float]:
    """Let more urgent jobs keep all machines full; tell when each of the old ones began."""
    chance, numbers = random.Random(seed), itertools.count()
    engine = Engine(rules, [Machine(f"m{number}", 1000 * CORES, 65_536) for number in range(machines)])
    for job in old:
        engine.submit(job)
    began: dict[str, float] = {}
    ends: list[tuple[float, str]] = []
    now = 0.0
    while now < until and len(began) < len(old):
        while len(engine.waiting) < len(old) - len(began) + 2 * CORES * machines:
            seconds = chance.uniform(1, LONGEST)
            estimate = min(LONGEST, seconds * chance.choice([0.3, 1.0, 3.0]))
            name, shape = f"urgent-{next(numbers)}", Shape(1000, 1024)
            engine.submit(Job(name, "tenant", Priority.HIGH, shape, queued_at=now, estimate=estimate))
        for one in engine.decide(now):
            assert isinstance(one, Placement)
            if one.job in {job.id for job in old}:
                began[one.job] = now
            heapq.heappush(ends, (now + chance.uniform(1, LONGEST), one.job))
        now, ended = heapq.heappop(ends)
        engine.ended(ended, now)
    return began


def old_job(number: int, cores: int, tenant: str = "tenant") -> Job:
    return Job(f"old-{number}", tenant, Priority.BATCH, Shape(1000 * cores, 1024), queued_at=0.01 * number)


@given(
    needs=st.lists(st.integers(1, CORES), min_size=1, max_size=6),
    machines=st.integers(1, 3),
    seed=st.integers(0, 1 << 30),
)
@hypothesis_settings(max_examples=40, deadline=None)
def test_whoever_has_waited_too_long_starts_soon(needs: list[int], machines: int, seed: int) -> None:
    old = [old_job(number, cores) for number, cores in enumerate(needs)]
    # One after the other at worst: each waits for a whole machine, whose jobs may run for longer than expected.
    bound = 2 * AFTER + 8 * LONGEST * len(needs)
    assert set(starts(RULES, old, machines, seed, bound)) == {job.id for job in old}


@pytest.mark.parametrize("rules", [RULES, replace(RULES, starvation_every=0)], ids=["guarded", "control"])
def test_one_that_is_blocked_does_not_hold_up_those_behind_it(rules: Settings) -> None:
    wide, small = old_job(0, CORES), old_job(1, 1)
    began = starts(rules, [wide, small], 1, seed=7, until=2 * AFTER + 20 * LONGEST)
    assert set(began) == ({"old-0", "old-1"} if rules is RULES else set())
