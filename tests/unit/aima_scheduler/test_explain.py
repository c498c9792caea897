"""Why a job waits: the named blocker is the blocker, and the estimated start is where it says."""

import heapq
import random

from aima_common.contracts.media import Priority
from aima_scheduler.deciders import explain
from aima_scheduler.deciders.engine import Engine, Settings
from aima_scheduler.deciders.model import Gpu, Job, Machine, Placement, Shape

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


def test_the_interval_of_the_start_covers_the_truth_about_four_times_in_five() -> None:
    rng = random.Random(4)
    within = asked = 0
    for _ in range(25):
        engine = Engine(machines=MACHINES)
        truth: dict[str, float] = {}
        told: dict[str, tuple[float, explain.Start]] = {}
        ends: list[tuple[float, str]] = []
        jobs = {f"j{n}": job(f"j{n}", rng.choice((ONE, WIDE)), n / 100, 60, longest=105) for n in range(30)}
        for one in jobs.values():
            engine.submit(one)
        now = 1.0
        while len(truth) < len(jobs):
            for name in starts(engine, now):
                truth[name] = now
                heapq.heappush(ends, (now + explain.drawn_seconds(jobs[name], rng), name))
            if not told:
                for name in rng.sample([one.id for one in engine.waiting], 3):
                    explained = explain.waiting_job(engine, name, now, rng)
                    assert explained is not None
                    assert explained.start is not None
                    told[name] = (now, explained.start)
            if ends:
                now, name = heapq.heappop(ends)
                engine.ended(name, now)
        for name, (at, start) in told.items():
            asked += 1
            within += at + start.low - 1e-6 <= truth[name] <= at + start.high + 1e-6
            assert start.low <= start.middle <= start.high
    assert 0.7 <= within / asked <= 0.9


def test_where_nothing_is_known_of_durations_no_start_is_made_up() -> None:
    engine = Engine(machines=MACHINES[:1])
    engine.submit(job("runs", WIDE))
    engine.decide(0)
    engine.submit(job("waits", WIDE, 1))
    engine.decide(1)
    told = explain.waiting_job(engine, "waits", 2, random.Random(1))
    assert told is not None
    assert told.start is None
