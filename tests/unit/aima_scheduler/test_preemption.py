"""Who is made to give way: only lower classes, nobody in vain, and never more than an hour may cost."""

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aima_common.contracts.media import Priority
from aima_scheduler.deciders.engine import Engine, Settings
from aima_scheduler.deciders.fleet import Fleet
from aima_scheduler.deciders.model import Gpu, Job, Machine, Placement, Shape, Slot
from aima_scheduler.deciders.preemption import HOUR_SECONDS, Crowd, Preempt, Preemption, Victim, Way, since_start
from aima_scheduler.deciders.reservation import Running
from aima_scheduler.deciders.rooms import FreeGpu, Room, fits

T4 = Gpu("T4", 16_384)
MACHINES = (Machine("a", 8000, 8192), Machine("b", 4000, 16_384), Machine("g", 8000, 16_384, (T4, T4)))
ONE, TWO, FOUR, ON_GPU = Shape(1000, 512), Shape(2000, 4096), Shape(4000, 2048), Shape(1000, 1024, 1)
HALF_GPU = Shape(500, 512, 1, gpu_milli=500, gpu_memory_mib=4096)
SHAPES = (ONE, TWO, FOUR, ON_GPU, HALF_GPU)
EAGER = Preemption(patience=0)


def job(name: str, shape: Shape = ONE, priority: Priority = Priority.BATCH, queued_at: float = 0, **more: float) -> Job:
    return Job(name, "tenant", priority, shape, queued_at, checkpointable=True, **more)  # type: ignore[arg-type]


def urgent(name: str = "urgent", shape: Shape = FOUR, queued_at: float = 0, **more: float) -> Job:
    return job(name, shape, Priority.CRITICAL, queued_at, **more)


def engine_of(*jobs: Job, rule: Preemption | None = EAGER, machines: Sequence[Machine] = MACHINES[:1]) -> Engine:
    engine = Engine(Settings(preemption=rule), machines)
    for one in jobs:
        engine.submit(one)
    engine.decide(0)
    return engine


def decided(engine: Engine, *jobs: Job, now: float) -> list[Preempt]:
    for one in jobs:
        engine.submit(one)
    engine.decide(now)
    return engine.preempt(now)


# ------------------------------------------------------------------------------------- beside trying everything


def plain_room(machine: Machine, running: Sequence[Running]) -> Room:
    """Tell what is free by another way: all that runs is taken from a fleet of one machine."""
    fleet = Fleet([machine])
    for one in running:
        fleet.take(one.job.shape, one.slots)
    free = fleet.free(machine.id)
    return Room(free.kind, free.cpu_milli, free.memory_mib, tuple(FreeGpu(*gpu) for gpu in fleet.gpus(machine.id)))


def every_way(
    shape: Shape, on: dict[str, list[Victim]], runs_on: dict[str, list[Running]], most: float
) -> Iterator[tuple[float, int, str]]:
    """List every set of jobs whose going makes room, by its price, its size and its machine."""
    for machine in MACHINES:
        here = on.get(machine.id, [])
        if fits(plain_room(machine, runs_on[machine.id]), shape):
            continue
        for size in range(1, len(here) + 1):
            for some in itertools.combinations(here, size):
                rest = [one for one in runs_on[machine.id] if one not in [each.running for each in some]]
                cost = sum(each.cost for each in some)
                if cost <= most and fits(plain_room(machine, rest), shape):
                    yield cost, size, machine.id


def drawn_fleet(rng: random.Random) -> tuple[Fleet, dict[str, list[Running]]]:
    fleet = Fleet(MACHINES)
    runs_on: dict[str, list[Running]] = {machine.id: [] for machine in MACHINES}
    for number in range(rng.randint(1, 18)):
        shape = rng.choice(SHAPES)
        for machine in rng.sample(MACHINES, len(MACHINES)):
            gpus = rng.sample(range(len(machine.gpus)), min(shape.gpu_count, len(machine.gpus)))
            slot = Slot(machine.id, tuple(gpus))
            try:
                fleet.take(shape, (slot,))
            except ValueError:
                continue
            runs_on[machine.id].append(Running(job(f"job-{number}", shape), (slot,), 0))
            break
    return fleet, runs_on


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 30.0, 10_000.0]), st.booleans())
def test_nothing_cheaper_or_smaller_is_found_by_trying_everything(seed: int, most: float, all_equal: bool) -> None:
    rng = random.Random(seed)
    fleet, runs_on = drawn_fleet(rng)
    running = [one for some in runs_on.values() for one in some[:8]]
    price = {one.job.id: 7.0 if all_equal else float(rng.choice([0, 0, 1, 5, 20, 300])) for one in running}
    on = {name: [Victim(one, price[one.job.id]) for one in some[:8]] for name, some in runs_on.items()}
    crowd = Crowd(EAGER, running, lambda one, _: price[one.job.id], 1e9, 0)
    shape = rng.choice([*SHAPES, Shape(6000, 6000), Shape(8000, 8192), Shape(1000, 1000, 2), Shape(4000, 1000, 1)])
    found = crowd.cheapest_way(fleet, shape, runs_on.__getitem__, most)
    best = min(every_way(shape, on, runs_on, most), default=None)
    assert (best is None) == (found is None)
    if found is not None and best is not None:
        assert best[0] == pytest.approx(found.cost)
        assert best[1:] == (len(found.victims), found.slot.machine)
        check_way(shape, found, runs_on[found.slot.machine])


def check_way(shape: Shape, way: Way, running: Sequence[Running]) -> None:
    """Check that there is room without all of them, at the named slot, and not with any one of them left."""
    machine = next(machine for machine in MACHINES if machine.id == way.slot.machine)
    gone = [each.running for each in way.victims]
    fleet = Fleet([machine])
    for one in running:
        if one not in gone:
            fleet.take(one.job.shape, one.slots)
    fleet.take(shape, (way.slot,))  # raises where there is no room
    for spared in gone:
        rest = [one for one in running if one not in gone or one is spared]
        assert not fits(plain_room(machine, rest), shape)


def test_a_machine_with_more_sets_than_can_be_looked_at_gives_a_set_that_is_needed() -> None:
    machine = Machine("wide", 400_000, 400_000)
    shapes = [Shape(1000 + number, 5000 - number) for number in range(60)]
    running = [Running(job(f"j{number}", shape), (Slot("wide"),), -number % 7) for number, shape in enumerate(shapes)]
    shape, fleet = Shape(370_000, 300_000), Fleet([machine])
    for one in running:
        fleet.take(one.job.shape, one.slots)
    way = Crowd(EAGER, running, since_start, 1e9, 10).cheapest_way(fleet, shape, lambda _: running, 1e6)
    assert way is not None
    for spared in (None, *[each.running for each in way.victims]):
        gone = [each.running for each in way.victims if each.running is not spared]
        rest = [one for one in running if one not in gone]
        assert fits(plain_room(machine, rest), shape) == (spared is None)


# ------------------------------------------------------------------------------------- what the engine does with it


def test_a_critical_job_starts_in_the_room_of_the_youngest_batch_job_that_is_enough() -> None:
    engine = engine_of(job("old", FOUR))
    decided(engine, job("young", FOUR, queued_at=60), now=60)
    (one,) = decided(engine, urgent(queued_at=90), now=100)
    assert one == Preempt("urgent", (Slot("a"),), ("young",), 40)
    assert set(engine.running) == {"old", "urgent"}
    waits = engine.waiting.get("young")
    assert waits is not None
    assert (waits.preempted, waits.queued_at) == (1, 60)


def test_without_the_rule_nothing_changes() -> None:
    engine = engine_of(job("old", FOUR), job("young", FOUR), rule=None)
    assert decided(engine, urgent(), now=100) == []
    assert set(engine.running) == {"old", "young"}
    (kept,) = engine.reservations
    assert kept.job.id == "urgent"


@pytest.mark.parametrize("priority", list(Priority))
def test_only_lower_classes_give_way_and_only_to_critical_jobs(priority: Priority) -> None:
    engine = engine_of(job("runs", Shape(8000, 1024), priority))
    expected = priority in {Priority.LOW, Priority.BATCH}
    assert bool(decided(engine, urgent(queued_at=1), now=10)) == expected
    engine = engine_of(job("runs", Shape(8000, 1024)))
    assert bool(decided(engine, job("comes", FOUR, priority, 1), now=10)) == (priority is Priority.CRITICAL)


def test_equals_cannot_be_made_to_chase_each_other() -> None:
    Preemption(preempting=frozenset({Priority.NORMAL}))
    for preempting, preempted in [(Priority.LOW, Priority.LOW), (Priority.LOW, Priority.HIGH)]:
        with pytest.raises(ValueError, match="lower classes"):
            Preemption(preempting=frozenset({preempting}), preempted=frozenset({preempted}))
    with pytest.raises(ValueError, match="less than nothing"):
        Preemption(budget=-1)


def test_what_cannot_be_begun_again_runs_on() -> None:
    engine = engine_of(replace(job("runs", Shape(8000, 1024)), checkpointable=False))
    assert decided(engine, urgent(), now=10) == []
    engine = engine_of(job("runs", Shape(8000, 1024)))
    assert len(decided(engine, urgent(), now=10)) == 1


def test_nobody_gives_way_before_patience_ends_or_to_one_that_starts_sooner_by_itself() -> None:
    engine = engine_of(job("runs", Shape(8000, 1024)), rule=Preemption(patience=5))
    assert decided(engine, urgent(queued_at=10), now=14) == []
    assert len(engine.preempt(15)) == 1
    for estimate, gives_way in ((100.0, False), (120.0, False), (121.0, True)):
        engine = engine_of(job("runs", Shape(8000, 1024), estimate=estimate))
        # 60 s would be lost; it ends by itself 40, 60 or 61 s from now.
        assert bool(decided(engine, urgent(queued_at=1), now=60)) == gives_way


def test_a_machine_that_is_kept_for_a_job_before_it_is_left_alone() -> None:
    waits = Job("first", "tenant", Priority.HIGH, Shape(8000, 1024), queued_at=-3000)
    engine = engine_of(job("runs", Shape(8000, 1024)))
    engine.submit(waits)
    engine.decide(1)
    assert [kept.job.id for kept in engine.reservations] == ["first"]
    assert decided(engine, urgent(), now=10) == []
    engine.withdraw("first")
    assert len(decided(engine, now=10)) == 1, "the control: nobody is before it"


def test_what_is_freed_is_the_urgent_ones_and_nobody_behind_takes_it() -> None:
    engine = engine_of(job("runs", Shape(8000, 1024)))
    behind = [job(f"behind-{number}", ONE, Priority.HIGH, 1) for number in range(9)]
    (one,) = decided(engine, urgent(), *behind, now=10)
    assert one.job == "urgent"
    placed = {each.job for each in engine.decide(11) if isinstance(each, Placement)}
    assert placed == {f"behind-{number}" for number in range(4)}, "these have what is left beside it"


def test_whoever_gave_way_often_enough_runs_to_its_end() -> None:
    engine = engine_of(job("runs", Shape(8000, 1024)), rule=replace(EAGER, most_times=2))
    for number, expected in enumerate([1, 1, 0]):
        now = 100.0 * (number + 1)
        assert len(decided(engine, urgent(f"urgent-{number}", queued_at=now), now=now)) == expected
        engine.ended(f"urgent-{number}", now + 1)
        assert "runs" in {one.job for one in engine.decide(now + 1)} | set(engine.running)


def test_who_has_not_begun_goes_first_and_costs_nothing() -> None:
    engine = engine_of(job("begun", FOUR), job("placed", FOUR), rule=replace(EAGER, budget=0))
    engine.submit(urgent())
    engine.decide(50)
    assert engine.preempt(50) == [], "the control: both are taken to have begun"
    (one,) = engine.preempt(50, lambda one, now: 0.0 if one.job.id == "placed" else now)
    assert (one.victims, one.cost) == (("placed",), 0.0)


def test_who_may_not_give_way_for_reasons_of_its_own_does_not() -> None:
    engine = engine_of(job("runs", Shape(8000, 1024)))
    engine.submit(urgent())
    engine.decide(50)
    assert engine.preempt(50, lambda _one, _now: None) == []
    assert len(engine.preempt(50)) == 1


def test_gangs_wait_and_are_left_alone() -> None:
    gang = Shape(4000, 1024, members=2)
    engine = engine_of(job("runs", gang), machines=[MACHINES[0]])
    assert decided(engine, urgent(), now=10) == []
    engine = engine_of(job("runs", Shape(8000, 1024)), machines=[MACHINES[0]])
    assert decided(engine, urgent(shape=gang), now=10) == []


# ------------------------------------------------------------------------------------- over days

events = st.lists(
    st.tuples(
        st.sampled_from([0.0, 1.0, 30.0, 200.0, 1500.0]),
        st.sampled_from(list(Priority)),
        st.sampled_from(SHAPES),
        st.sampled_from([None, 20.0, 400.0, 5000.0]),
        st.integers(0, 3),
    ),
    min_size=5,
    max_size=60,
)
Steps = Sequence[tuple[float, Priority, Shape, float | None, int]]
History = list[tuple[float, object]]


def played(drawn: Steps, rule: Preemption | None) -> History:
    """Let jobs come and end; list what was decided, and when."""
    engine, now, told = Engine(Settings(preemption=rule), MACHINES), 0.0, []  # type: tuple[Engine, float, History]
    for number, (passed, priority, shape, estimate, ends) in enumerate(drawn):
        now += passed
        for name in sorted(engine.running)[:ends]:
            engine.ended(name, now)
        engine.submit(replace(job(f"job-{number:03}", shape, priority, now), estimate=estimate))
        told += [(now, one) for one in engine.decide(now)]
        told += [(now, one) for one in engine.preempt(now)]
    return told


def preempts(history: History) -> list[tuple[float, Preempt]]:
    return [(at, one) for at, one in history if isinstance(one, Preempt)]


def dearest_hour(found: list[tuple[float, Preempt]]) -> float:
    """Give the loss of the hour in which most was lost; every such hour can be had to end with a loss."""
    hours = [sum(one.cost for then, one in found if at - HOUR_SECONDS < then <= at) for at, _ in found]
    return max(hours, default=0.0)


@settings(max_examples=60, deadline=None)
@given(events, st.sampled_from([0.0, 50.0, 600.0]))
def test_no_hour_costs_more_than_its_budget(drawn: Steps, budget: float) -> None:
    found = preempts(played(drawn, Preemption(budget=budget, patience=0)))
    assert dearest_hour(found) <= budget + 1e-6


def test_the_control_without_a_budget_such_days_cost_more_and_with_one_some_still_give_way() -> None:
    rng, dear, cheap = random.Random(5), 0, 0
    for _ in range(10):
        drawn = [
            (
                rng.choice([30.0, 200.0]),
                rng.choice([Priority.BATCH, Priority.CRITICAL]),
                FOUR,
                5000.0,
                rng.randint(0, 1),
            )
            for _ in range(30)
        ]
        dear += dearest_hour(preempts(played(drawn, Preemption(budget=1e9, patience=0)))) > 50
        cheap += 0 < dearest_hour(preempts(played(drawn, Preemption(budget=50, patience=0)))) <= 50
    assert dear > 7
    assert cheap > 2


@settings(max_examples=60, deadline=None)
@given(events)
def test_off_or_with_nobody_critical_it_is_decided_as_ever(
    drawn: Steps,
) -> None:
    assert preempts(played(drawn, None)) == []
    calm = [
        (passed, Priority.HIGH if priority is Priority.CRITICAL else priority, *rest)
        for passed, priority, *rest in drawn
    ]
    assert played(calm, EAGER) == played(calm, None)  # type: ignore[arg-type]


def test_a_budget_that_is_spent_comes_back_after_an_hour() -> None:
    engine = engine_of(job("runs", Shape(8000, 1024)), rule=Preemption(budget=100, patience=0, most_times=9))
    at = []
    for now in range(90, 12_000, 90):
        for one in decided(engine, urgent(f"urgent-{now}", queued_at=now), now=now):
            at.append(now)
            engine.ended(one.job, now + 1)
            engine.decide(now + 1)
        engine.withdraw(f"urgent-{now}")
        if "runs" in engine.running and now not in at:
            # It comes to its end and begins anew, so that little would be lost again.
            engine.ended("runs", now + 2)
            engine.submit(job("runs", Shape(8000, 1024)))
            engine.decide(now + 2)
    assert at[0] == 90
    assert len(at) > 2
    assert all(later - earlier >= HOUR_SECONDS for earlier, later in itertools.pairwise(at))
