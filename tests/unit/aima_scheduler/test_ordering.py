"""Who comes first: exactly as the founding document says, however the queue is kept."""

import math
import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aima_common.contracts.media import Priority
from aima_scheduler.deciders.model import Job, Mode, Shape
from aima_scheduler.deciders.ordering import LARGEST_SHORT_GAIN, LARGEST_SHORT_LOSS, Order, Ordering
from aima_scheduler.deciders.queue import Waiting, place_of
from tests.reference.seed_order import seed_score, seed_sorted

SHAPES = (Shape(1000, 512), Shape(4000, 8192), Shape(1000, 512, gpu_count=1))
SEED = Ordering(mode=Mode.SEED)
NOW = 1_000_000.0
EDGES = (0.0, 59.0, 60.0, 61.0, 599.0, 600.0, 601.0, 5_999.0, 6_000.0, 6_001.0)

times = st.one_of(st.sampled_from(EDGES), st.floats(-700, 20_000))
jobs_strategy = st.lists(
    st.tuples(st.sampled_from(list(Priority)), st.sampled_from(SHAPES), times, st.one_of(st.none(), times)), max_size=30
)


def a_job(
    number: int, priority: Priority, shape: Shape, waited: float, left: float | None, estimate: float | None = None
) -> Job:
    deadline = None if left is None else NOW + left
    return Job(f"job-{number:06}", "tenant", priority, shape, NOW - waited, deadline, estimate)


def drained(waiting: Waiting, now: float) -> Iterator[Job]:
    """Take the first job of all lanes again and again."""
    while len(waiting):
        lanes = [lane for shape in waiting.shapes() for lane in waiting.lanes(shape)]
        _, job = min(found for lane in lanes if (found := lane.best(waiting.ordering, now)))
        waiting.remove(job.id)
        yield job


@given(jobs_strategy, st.lists(st.floats(0, 8_000), max_size=3))
@settings(max_examples=150)
def test_the_queue_gives_jobs_in_exactly_the_documents_order_whenever_it_is_asked(
    drawn: list[tuple[Priority, Shape, float, float | None]], steps: list[float]
) -> None:
    jobs = [a_job(number, *facts) for number, facts in enumerate(drawn)]
    waiting, now = Waiting(SEED), NOW - 20_000
    waiting.advance(now)
    for job in jobs:
        waiting.add(job)
    for step in steps:
        now = waiting.advance(now + step)
    assert list(drained(waiting, now)) == seed_sorted(jobs, now)


def test_a_hundred_thousand_jobs_have_the_documents_order() -> None:
    rng = random.Random(5)
    jobs = []
    for number in range(100_000):
        left = rng.uniform(-8_000, 20_000) if rng.random() < 0.4 else None
        jobs.append(a_job(number, rng.choice(list(Priority)), rng.choice(SHAPES), rng.uniform(-100, 20_000), left))
    ours = sorted(jobs, key=lambda job: place_of(job, SEED, NOW))
    assert ours == seed_sorted(jobs, NOW)
    waiting = Waiting(SEED)
    waiting.advance(NOW)
    for job in jobs:
        waiting.add(job)
    first = drained(waiting, NOW)
    assert [next(first) for _ in range(300)] == ours[:300]


def test_a_missed_deadline_keeps_its_urgency_and_in_the_documents_mode_loses_it() -> None:
    late, fresh = a_job(1, Priority.BATCH, SHAPES[0], 10, -5), a_job(2, Priority.NORMAL, SHAPES[0], 0, None)
    assert Ordering().score(late, NOW) == 100
    assert SEED.score(late, NOW) == seed_score(late, NOW) == 1
    assert Ordering().score(late, NOW) > Ordering().score(fresh, NOW) > SEED.score(late, NOW)


def test_a_short_job_gains_and_a_critical_one_neither_gains_nor_loses() -> None:
    short = Ordering(order=Order.SEED_SHORT)
    free = Ordering(order=Order.SEED_SHORT, clamped=False)
    brief, long = (a_job(1, Priority.NORMAL, SHAPES[0], 0, None, estimate=seconds) for seconds in (20.0, 86_400.0))
    assert free.score(brief, NOW) / free.score(long, NOW) == pytest.approx((86_400 / 20) ** 0.4, rel=0.35)
    longest = a_job(1, Priority.NORMAL, SHAPES[0], 0, None, estimate=1e9)
    usual = Ordering().score(longest, NOW)
    assert short.score(longest, NOW) * LARGEST_SHORT_LOSS == pytest.approx(usual)
    shortest = a_job(1, Priority.NORMAL, SHAPES[0], 0, None, estimate=1.0)
    assert short.score(shortest, NOW) == pytest.approx(usual * LARGEST_SHORT_GAIN)
    assert free.score(shortest, NOW) > short.score(shortest, NOW)
    assert free.score(longest, NOW) < short.score(longest, NOW)
    for seconds in (20.0, 86_400.0):
        critical = a_job(1, Priority.CRITICAL, SHAPES[0], 0, None, estimate=seconds)
        assert free.score(critical, NOW) == short.score(critical, NOW) == 100


def test_a_job_from_the_future_has_not_waited_and_a_clock_that_goes_back_is_not_followed() -> None:
    future = a_job(1, Priority.HIGH, SHAPES[0], -1e6, None)
    assert Ordering().score(future, NOW) == 50
    waiting = Waiting(Ordering())
    assert waiting.advance(NOW) == waiting.advance(NOW - 3_600) == NOW
    assert not math.isnan(waiting.advance(NOW + 1))


def test_a_job_waits_once_and_leaves_once() -> None:
    waiting = Waiting(Ordering())
    job = a_job(1, Priority.HIGH, SHAPES[0], 0, 300)
    waiting.add(job)
    with pytest.raises(ValueError, match="waits already"):
        waiting.add(job)
    assert waiting.oldest() == job
    assert (waiting.remove(job.id), waiting.remove(job.id), len(waiting), waiting.oldest()) == (job, None, 0, None)
