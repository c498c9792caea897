"""Why a job waits: the named blocker is the blocker, and the estimated start is where it says."""

import heapq
import itertools
import random
from collections.abc import Callable, Iterator, Mapping

import pytest

from aima_common.contracts.media import Priority
from aima_scheduler.deciders import explain
from aima_scheduler.deciders.engine import Engine, Settings
from aima_scheduler.deciders.model import Gpu, Job, Machine, Mode, Placement, Shape

ONE, WIDE, ON_GPU = Shape(1000, 1024), Shape(4000, 4096), Shape(1000, 1024, gpu_count=1, gpu_memory_mib=8_192)
MACHINES = (Machine("a", 4000, 8192), Machine("b", 4000, 8192), Machine("g", 4000, 16_384, (Gpu("T4", 16_384),)))


def job(name: str, shape: Shape = ONE, at: float = 0.0, seconds: float | None = None, **more: float) -> Job:
    return Job(name, "t", Priority.NORMAL, shape, at, estimate=seconds, longest=more.get("longest"))


def starts(engine: Engine, now: float) -> list[str]:
    """Name the jobs that start now, in their order: what is drawn for them must not hang on the order of a set."""
    return [one.job for one in engine.decide(now) if isinstance(one, Placement)]


def test_a_job_is_told_its_place_what_it_lacks_and_what_would_help() -> None:
    engine = Engine(machines=MACHINES)
    for number in range(2):
        engine.submit(job(f"gpu-{number}", ON_GPU, number))
    assert starts(engine, 5) == ["gpu-0"]
    told = explain.waiting_job(engine, "gpu-1", 6)
    assert told is not None
    assert (told.position, told.waiting, told.dimension, told.blockers) == (1, 1, "gpu", ("gpu-0",))
    assert "0 of 3 machines" in told.reasons[0]
    assert "it fits on g when one job there ends" in told.would_help
    assert explain.waiting_job(engine, "gpu-0", 6) is None


def test_when_the_named_blockers_end_the_first_job_starts() -> None:
    rng, tried = random.Random(8), 0
    for seed in range(60):
        engine = Engine(Settings(starvation_every=0), MACHINES)
        for number in range(40):
            engine.submit(job(f"j{number}", rng.choice((ONE, WIDE, ON_GPU)), number, 60))
        engine.decide(50 + seed)
        first = engine.head(50 + seed)
        assert first is not None
        told = explain.waiting_job(engine, first.id, 50 + seed)
        assert told is not None
        if not told.blockers:
            continue
        tried += 1
        for blocker in told.blockers[:-1]:
            engine.ended(blocker, 60 + seed)
        assert first.id not in starts(engine, 60 + seed), "the control: not one of them is named in vain"
        engine.ended(told.blockers[-1], 61 + seed)
        assert first.id in starts(engine, 61 + seed)
    assert tried > 30


MEAN_SECONDS = 60.0
KINDS: Mapping[str, Callable[[random.Random], float]] = {
    "exponential": lambda rng: rng.expovariate(1 / MEAN_SECONDS),
    "uniform": lambda rng: rng.uniform(20, 100),
    "two kinds": lambda rng: 20.0 if rng.random() < 0.7 else 150.0,
    "weibull": lambda rng: rng.weibullvariate(MEAN_SECONDS, 1.5),
}
"""How long jobs take in truth: nothing that the estimate supposes. It knows fifty that are done, as a board does."""

SETTLED = 1500.0
"""So long goes by, s, before anything is asked: until then nobody knows what usually comes."""


def asked_and_met(kind: str, urgent: float, seed: int, worlds: int) -> tuple[int, int]:
    """Let jobs come and go, a share of them more urgent; ask for three starts; tell how many, and how many were met."""
    rng, asked, met = random.Random(f"{kind} {urgent} {seed}"), 0, 0
    for _ in range(worlds):
        done = sorted(KINDS[kind](rng) for _ in range(50))
        engine, names = Engine(machines=MACHINES), itertools.count()
        truth: dict[str, float] = {}
        told: dict[str, tuple[float, explain.Start]] = {}
        ends: list[tuple[float, str]] = []

        def come(at: float, engine: Engine = engine, names: Iterator[int] = names, done: list[float] = done) -> None:
            priority = Priority.HIGH if rng.random() < urgent else Priority.NORMAL
            shape, mean, longest = rng.choice((ONE, WIDE)), sum(done) / len(done), done[44]
            engine.submit(Job(f"j{next(names)}", "t", priority, shape, at, estimate=mean, longest=longest))

        for number in range(20):
            come(number / 100)
        now, comes = 1.0, 1.0
        while not told or not told.keys() <= truth.keys():
            for name in starts(engine, now):
                truth[name] = now
                heapq.heappush(ends, (now + KINDS[kind](rng), name))
            if not told and now > SETTLED and len(engine.waiting) >= 3:
                for name in rng.sample([one.id for one in engine.waiting], 3):
                    explained = explain.waiting_job(engine, name, now, rng)
                    assert explained is not None
                    assert explained.start is not None
                    told[name] = now, explained.start
            if not ends or comes < ends[0][0]:
                now, comes = comes, comes + rng.expovariate(1 / 13.5)  # about as many as are done
                come(now)
            else:
                now, name = heapq.heappop(ends)
                engine.ended(name, now)
        asked += len(told)
        met += sum(at + start.low - 1e-6 <= truth[name] <= at + start.high + 1e-6 for name, (at, start) in told.items())
    return asked, met


def test_the_interval_of_the_start_covers_the_truth_about_four_times_in_five() -> None:
    found = [asked_and_met(kind, urgent, seed=1, worlds=8) for kind in KINDS for urgent in (0.0, 0.2)]
    assert 0.7 <= sum(met for _, met in found) / sum(asked for asked, _ in found) <= 0.9


def test_who_comes_first_later_puts_a_start_off() -> None:
    def told(urgent: int) -> explain.Start:
        engine = Engine(machines=MACHINES[:1])
        engine.submit(job("runs", WIDE, seconds=60))
        for number in range(urgent):
            engine.submit(Job(f"urgent-{number}", "t", Priority.HIGH, WIDE, number, estimate=60))
            engine.decide(number)
            engine.ended(next(iter(engine.running)), number + 0.5)
        engine.submit(job("now", WIDE, at=100, seconds=60))
        engine.submit(job("waits", WIDE, at=101, seconds=60))
        engine.decide(101)
        explained = explain.waiting_job(engine, "waits", 101, random.Random(1))
        assert explained is not None
        assert explained.start is not None
        return explained.start

    assert told(urgent=12).middle > told(urgent=0).middle


def test_where_nothing_is_known_of_durations_no_start_is_made_up() -> None:
    engine = Engine(machines=MACHINES[:1])
    engine.submit(job("runs", WIDE))
    engine.decide(0)
    engine.submit(job("waits", WIDE, 1))
    engine.decide(1)
    told = explain.waiting_job(engine, "waits", 2, random.Random(1))
    assert told is not None
    assert told.start is None


@pytest.mark.parametrize(
    ("left", "seconds", "told"),
    [
        (-30, 60, "its deadline passed 30 s ago"),
        (40, 60, "the job takes about 60 s: it will be missed by about"),
        (80, 60, "as things are it will be missed by about"),
        (115, 60, "as things are it will just be met, and may be missed"),
        (1000, 60, "as things are it will be met"),
        (1000, None, "how long such a job takes is not known yet"),
    ],
)
def test_a_deadline_that_cannot_be_met_is_told_and_one_that_will_be_too(
    left: float, seconds: float | None, told: str
) -> None:
    engine = Engine(machines=MACHINES[:1])
    engine.submit(Job("runs", "t", Priority.NORMAL, WIDE, 90, estimate=60, longest=70))
    engine.decide(90)
    engine.submit(Job("waits", "t", Priority.NORMAL, WIDE, 95, deadline=100 + left, estimate=seconds))
    engine.decide(100)
    explained = explain.waiting_job(engine, "waits", 100, random.Random(1))
    assert explained is not None
    assert told in str(explained.deadline_outlook)


def test_where_no_start_is_known_a_deadline_is_told_by_what_is_left() -> None:
    one = Job("waits", "t", Priority.NORMAL, WIDE, 95, deadline=200, estimate=60)
    assert str(explain.deadline_outlook(one, None, 100)).endswith("it is met if the job begins within 40 s")
    assert str(explain.deadline_outlook(one, None, 150)).endswith("it will be missed by at least 10 s")
    past = explain.deadline_outlook(one, None, 201), explain.deadline_outlook(one, None, 201, Mode.SEED)
    assert ["for nothing" in str(told) for told in past] == [False, True]


def test_nothing_is_said_of_a_deadline_that_is_none() -> None:
    engine = Engine(machines=MACHINES[:1])
    engine.submit(job("runs", WIDE, seconds=60))
    engine.submit(job("waits", WIDE, at=1, seconds=60))
    engine.decide(1)
    explained = explain.waiting_job(engine, "waits", 2, random.Random(1))
    assert explained is not None
    assert explained.deadline_outlook is None


def test_what_is_said_of_deadlines_comes_true_four_times_in_five() -> None:
    rng, right, said, too_late = random.Random(3), 0, 0, 0
    for _ in range(12):
        engine = Engine(Settings(starvation_every=0), MACHINES[:2])
        for number in range(18):
            deadline = rng.uniform(60, 260) if number % 3 == 0 else None
            engine.submit(
                Job(f"j{number}", "t", Priority.NORMAL, rng.choice((ONE, WIDE)), number, deadline, 60, longest=75)
            )
        ends = [(20 + rng.uniform(45, 75), name) for name in starts(engine, 20)]
        heapq.heapify(ends)
        told = {}
        for one in [one for one in engine.waiting if one.deadline]:
            explained = explain.waiting_job(engine, one.id, 21, rng)
            assert explained is not None
            told[one] = str(explained.deadline_outlook)
        ended: dict[str, float] = {}
        while ends:
            now, name = heapq.heappop(ends)
            ended[name] = now
            engine.ended(name, now)
            for started in starts(engine, now):
                heapq.heappush(ends, (now + rng.uniform(45, 75), started))
        for one, outlook in told.items():
            late = ended[one.id] > (one.deadline or 0)
            said, too_late = said + 1, too_late + late
            right += late if "missed by" in outlook else not late
    assert said >= 30
    assert 0 < too_late < said, "some deadlines are met, and some are not"
    assert right / said >= 0.8
