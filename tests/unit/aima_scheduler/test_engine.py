"""The engine that decides: nothing lost, nothing doubled, nothing beyond what there is."""

import random
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, precondition, rule

from aima_common.contracts.media import Priority
from aima_scheduler.deciders import placement
from aima_scheduler.deciders.engine import SEED_RULES, Engine, Settings, Unschedulable
from aima_scheduler.deciders.fleet import Fleet
from aima_scheduler.deciders.model import Gpu, Job, Machine, Placement, Shape, Slot
from aima_scheduler.deciders.preemption import HOUR_SECONDS, Preempt, Preemption
from aima_scheduler.deciders.rooms import fits
from aima_scheduler.deciders.scoring import Scoring

T4, A100 = Gpu("T4", 16_384), Gpu("A100", 81_920)
SMALL, WIDE, ON_GPU = Shape(1000, 1024), Shape(4000, 4096), Shape(1000, 1024, gpu_count=1, gpu_memory_mib=8_192)
HALF, GANG = Shape(500, 512, gpu_count=1, gpu_milli=500), Shape(2000, 1024, members=3)
NEVER = Shape(1000, 1024, gpu_count=1, gpu_types=("H100",))
SHAPES = (SMALL, WIDE, ON_GPU, HALF, GANG)
PREEMPTIONS = (None, Preemption(patience=0), Preemption(budget=40, patience=1, most_times=1))
MACHINES = (Machine("a", 4000, 8192), Machine("b", 4000, 8192), Machine("g", 4000, 16_384, (T4, A100)))


def job(
    name: str, shape: Shape = SMALL, priority: Priority = Priority.NORMAL, queued_at: float = 0, **more: float
) -> Job:
    return Job(name, "tenant", priority, shape, queued_at, **more)  # type: ignore[arg-type]


def placed(engine: Engine, now: float) -> dict[str, str]:
    return {one.job: one.slots[0].machine for one in engine.decide(now) if isinstance(one, Placement)}


def test_the_most_urgent_go_first_and_a_machine_takes_several_until_it_is_full() -> None:
    engine = Engine(machines=MACHINES[:1])
    for number in range(6):
        engine.submit(job(f"old-{number}", queued_at=number))
    engine.submit(job("urgent", priority=Priority.HIGH, queued_at=9))
    assert set(placed(engine, 10)) == {"urgent", "old-0", "old-1", "old-2"}
    assert placed(engine, 11) == {}
    engine.ended("old-1", 12)
    assert set(placed(engine, 12)) == {"old-3"}


def test_a_job_that_no_machine_can_ever_run_is_told_at_once_with_the_nearest_miss() -> None:
    engine = Engine(machines=MACHINES)
    engine.submit(job("never", NEVER))
    engine.submit(job("fits", ON_GPU))
    told = engine.decide(1)
    refused = [one for one in told if isinstance(one, Unschedulable)]
    told_of = [(one.job, one.shortfall.dimension, one.shortfall.nearest) for one in refused]
    assert told_of == [("never", "gpu_type", "g")]
    assert [one.job for one in told if isinstance(one, Placement)] == ["fits"]
    assert engine.decide(2) == []


def test_what_only_an_absent_machine_could_run_waits_for_its_return() -> None:
    engine = Engine(machines=MACHINES[:1])
    engine.machines_absent(MACHINES[2:])
    engine.submit(job("waits", ON_GPU))
    engine.submit(job("never", NEVER))
    assert [(type(one), one.job) for one in engine.decide(1)] == [(Unschedulable, "never")]
    assert [one.id for one in engine.copy().waiting] == ["waits"]
    engine.machines_absent(())
    assert [(type(one), one.job) for one in engine.decide(2)] == [(Unschedulable, "waits")], "control: it is gone"


def test_what_waited_for_an_absent_machine_starts_when_it_is_back() -> None:
    engine = Engine(machines=MACHINES[:1])
    engine.machines_absent(MACHINES[2:])
    engine.submit(job("waits", ON_GPU))
    assert engine.decide(1) == []
    engine.machine_added(MACHINES[2])
    assert placed(engine, 2) == {"waits": "g"}


def test_a_gang_starts_whole_or_not_at_all() -> None:
    engine = Engine(Settings(reservations=0), MACHINES[:1])
    engine.submit(job("gang", GANG))
    assert [type(one) for one in engine.decide(0)] == [Unschedulable]
    engine = Engine(Settings(reservations=0), MACHINES[:2])
    engine.submit(job("here", SMALL))
    engine.submit(job("there", WIDE))
    assert len(placed(engine, 0)) == 2
    engine.submit(job("gang", GANG))
    assert placed(engine, 1) == {}
    engine.ended("there", 2)
    (whole,) = engine.decide(2)
    assert isinstance(whole, Placement)
    assert len(whole.slots) == 3


def test_work_without_a_gpu_stays_off_gpu_machines_while_others_fit() -> None:
    engine = Engine(machines=MACHINES)
    for number in range(9):
        engine.submit(job(f"cpu-{number}"))
    where = list(placed(engine, 0).values())
    assert sorted(where[:8]) == ["a"] * 4 + ["b"] * 4
    assert where[8:] == ["g"]


def test_small_jobs_do_not_starve_a_wide_one_because_its_start_is_kept_free() -> None:
    without = Settings(reservations=0, critical_reservations=0, starvation_every=0)
    assert starts_within(without) is None, "the control: without a reservation it is overtaken for ever"
    assert starts_within(Settings(starvation_every=0)) is not None


def starts_within(settings: Settings, seconds: int = 400) -> float | None:
    """Let one small job end and another come every second; tell when the wide one starts."""
    engine = Engine(settings, MACHINES[:1])
    engine.submit(job("wide", WIDE, queued_at=-1, estimate=60))
    engine.adopt(job("first", estimate=4), engine_slots(engine), 0)
    ends: dict[str, float] = {"first": 4}
    for now in range(seconds):
        for name in [name for name, end in ends.items() if end <= now]:
            engine.ended(name, now)
            del ends[name]
        engine.submit(job(f"small-{now}", queued_at=now, estimate=4))
        for name in placed(engine, now):
            if name == "wide":
                return now
            ends[name] = now + 4
    return None


def engine_slots(engine: Engine) -> tuple[Slot, ...]:
    slots = placement.find(engine.fleet, SMALL)
    assert slots is not None
    return slots


def test_what_is_gone_before_the_reserved_start_may_use_the_machine_meanwhile() -> None:
    engine = Engine(machines=MACHINES[:1])
    engine.submit(job("long", Shape(3000, 1024), estimate=100))
    assert set(placed(engine, 0)) == {"long"}
    engine.submit(job("wide", WIDE, Priority.HIGH, queued_at=1, estimate=10))
    assert placed(engine, 1) == {}
    (kept,) = engine.reservations
    assert (kept.job.id, kept.machines, kept.at) == ("wide", ("a",), 100)
    engine.submit(job("slow", queued_at=2, estimate=200))
    assert placed(engine, 2) == {}
    engine.submit(job("quick", priority=Priority.BATCH, queued_at=3, estimate=50))
    assert set(placed(engine, 3)) == {"quick"}
    engine.ended("quick", 53)
    assert placed(engine, 53) == {}
    engine.ended("long", 90)
    assert set(placed(engine, 90)) == {"wide"}


def test_tenants_of_one_class_share_what_there_is() -> None:
    engine = Engine(machines=MACHINES[:2])
    for number in range(100):
        engine.submit(Job(f"greedy-{number}", "greedy", Priority.NORMAL, SMALL, number))
    for number in range(4):
        engine.submit(Job(f"modest-{number}", "modest", Priority.NORMAL, SMALL, 1000 + number))
    names = list(placed(engine, 1001))
    assert (len(names), sum(name.startswith("modest") for name in names)) == (8, 4)
    alone = Engine(Settings(fair=False), MACHINES[:2])
    for one in engine.waiting:
        alone.submit(one)
    assert all(name.startswith("greedy") for name in placed(alone, 1001))


def test_who_has_waited_too_long_comes_up_between_the_more_urgent() -> None:
    def order(settings: Settings) -> list[str]:
        engine = Engine(settings, MACHINES[:1])
        engine.submit(job("old", priority=Priority.BATCH))
        for number in range(40):
            engine.submit(job(f"new-{number}", priority=Priority.HIGH, queued_at=7000))
        names: list[str] = []
        while len(engine.waiting) or engine.running:
            names += placed(engine, 7001)
            for name in list(engine.running):
                engine.ended(name, 7001)
        return names

    assert order(Settings()).index("old") == 9
    assert order(Settings(starvation_every=0)).index("old") == 40


def test_a_machine_that_goes_gives_its_jobs_back_and_what_never_fits_then_is_told() -> None:
    engine = Engine(machines=MACHINES)
    engine.submit(job("on-gpu", ON_GPU))
    assert placed(engine, 0) == {"on-gpu": "g"}
    engine.submit(job("waits", Shape(4000, 16_384)))
    lost = engine.machine_removed("g", 5)
    assert [one.id for one in lost] == ["on-gpu"]
    assert [(type(one), one.job) for one in engine.decide(6)] == [(Unschedulable, "waits")]
    with pytest.raises(ValueError, match="here already"):
        engine.machine_added(MACHINES[0])


def test_the_documents_rules_place_by_first_fit_and_reserve_nothing() -> None:
    engine = Engine(SEED_RULES, MACHINES)
    engine.submit(job("one"))
    assert placed(engine, 0) == {"one": "a"}
    engine.submit(job("critical", Shape(4000, 16_384), Priority.CRITICAL))
    engine.decide(1)
    engine.submit(job("critical too", Shape(4000, 16_384), Priority.CRITICAL))
    engine.decide(2)
    assert engine.reservations == ()


@pytest.mark.parametrize("scoring", list(Scoring))
def test_a_day_of_jobs_comes_to_its_end(scoring: Scoring) -> None:
    rng = random.Random(3)
    engine = Engine(Settings(scoring=scoring), MACHINES)
    ends: list[tuple[float, str]] = []
    for number in range(300):
        now = float(number)
        for end in sorted(one for one in ends if one[0] <= now):
            engine.ended(end[1], now)
            ends.remove(end)
        seconds = rng.uniform(1, 20)
        engine.submit(job(f"j{number}", rng.choice(SHAPES), rng.choice(list(Priority)), now, estimate=seconds))
        ends += [(now + rng.uniform(1, 20), name) for name in placed(engine, now)]
    now = 300.0
    while ends:
        end = min(ends)
        ends.remove(end)
        now = max(now, end[0])
        engine.ended(end[1], now)
        ends += [(now + 5, name) for name in placed(engine, now)]
    assert (len(engine.waiting), engine.running, engine.reservations) == (0, {}, ())
    assert all(engine.fleet.free(one.id).cpu_milli == one.cpu_milli for one in MACHINES)


class Reference:
    """What must be so after any history: jobs wait, run, are refused or gone; what runs is what is taken."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.state: dict[str, str] = {}
        self.machines: dict[str, Machine] = {}

    def names(self, state: str) -> set[str]:
        return {name for name, known in self.state.items() if known == state}

    def free(self, running: Mapping[str, Placement]) -> Fleet:
        fleet = Fleet(self.machines.values())
        for name in self.names("running"):
            fleet.take(self.jobs[name].shape, running[name].slots)  # raises where too much is taken
        return fleet


class Heart(RuleBasedStateMachine):
    """Anything may happen to the engine, in any order; the reference says what must be so."""

    names = Bundle("names")

    @initialize(reservations=st.integers(0, 2), fair=st.booleans(), scoring=st.sampled_from(list(Scoring)),
                preemption=st.sampled_from(PREEMPTIONS))  # fmt: skip
    def begin(self, reservations: int, fair: bool, scoring: Scoring, preemption: Preemption | None) -> None:
        settings = Settings(reservations=reservations, fair=fair, scoring=scoring, preemption=preemption)
        self.engine, self.lost = Engine(settings), list[tuple[float, float]]()
        self.reference, self.where, self.now = Reference(), {}, 0.0  # type: tuple[Reference, dict[str, Placement], float]

    @rule(target=names, shape=st.sampled_from(SHAPES), priority=st.sampled_from(list(Priority)),
          left=st.one_of(st.none(), st.floats(-100, 9_000)), estimate=st.one_of(st.none(), st.floats(1, 900)),
          tenant=st.sampled_from("xyz"), again=st.sampled_from([True, True, False]))  # fmt: skip
    def submit(
        self, shape: Shape, priority: Priority, left: float | None, estimate: float | None, tenant: str, again: bool
    ) -> object:
        name = f"job-{len(self.reference.jobs)}"
        deadline = None if left is None else self.now + left
        one = Job(name, tenant, priority, shape, self.now, deadline, estimate, checkpointable=again)
        self.engine.submit(one)
        self.reference.jobs[name], self.reference.state[name] = one, "waiting"
        return multiple(name)

    @rule(target=names, shape=st.sampled_from([WIDE, ON_GPU, SMALL]), urgent=st.sampled_from([SMALL, WIDE, ON_GPU]))
    @precondition(lambda self: self.reference.machines)
    def a_critical_job_comes_when_all_is_full_of_batch_jobs(self, shape: Shape, urgent: Shape) -> object:
        crowd = [self.submit(shape, Priority.BATCH, None, 900.0, "x", again=True) for _ in range(8)]
        self.decide(None)
        self.now += 1.0
        last = self.submit(urgent, Priority.CRITICAL, None, None, "y", again=True)
        self.decide(None)
        self.now += 1.0
        self.preempt()
        return multiple(*(one.values[0] for one in (*crowd, last)))

    @rule(name=names)
    def withdraw(self, name: str) -> None:
        gone = self.engine.withdraw(name)
        if gone is not None:
            assert self.reference.state[name] == "waiting"
            self.reference.state[name] = "gone"

    @rule(name=names)
    def end(self, name: str) -> None:
        ended = self.engine.ended(name, self.now)
        assert (ended is not None) == (self.reference.state[name] == "running")
        if ended is not None:
            self.reference.state[name] = "gone"

    @rule(name=names, priority=st.sampled_from(list(Priority)))
    def change(self, name: str, priority: Priority) -> None:
        new = replace(self.reference.jobs[name], priority=priority)
        if name in self.engine.waiting:
            self.engine.change(new)
            self.reference.jobs[name] = new

    @rule(seconds=st.sampled_from([-500.0, 0.0, 1.0, 60.0, 700.0, 7000.0]))
    def time_goes_on_or_back(self, seconds: float) -> None:
        self.now += seconds

    @rule(number=st.integers(0, 2))
    def a_machine_comes_or_goes(self, number: int) -> None:
        machine = MACHINES[number]
        if machine.id in self.reference.machines:
            del self.reference.machines[machine.id]
            for lost in self.engine.machine_removed(machine.id, self.now):
                self.reference.state[lost.id] = "waiting"
                self.engine.submit(lost)
        else:
            self.engine.machine_added(machine)
            self.reference.machines[machine.id] = machine

    @rule(most=st.one_of(st.none(), st.integers(1, 3)))
    @precondition(lambda self: self.reference.machines)
    def decide(self, most: int | None) -> None:
        for one in self.engine.decide(self.now, most):
            assert self.reference.state[one.job] == "waiting", "placed or refused once"
            self.reference.state[one.job] = "running" if isinstance(one, Placement) else "refused"
            if isinstance(one, Placement):
                self.where[one.job] = one

    @rule()
    @precondition(lambda self: self.reference.machines)
    def preempt(self) -> None:
        running = {one.job.id: one for one in self.engine.running.values()}
        for one in self.engine.preempt(self.now):
            assert self.reference.state[one.job] == "waiting"
            self.where[one.job] = Placement(one.job, one.slots)
            self.check_victims(one)
            for name in one.victims:
                self.reference.state[name] = "waiting"
                self.reference.jobs[name] = replace(running[name].job, preempted=running[name].job.preempted + 1)
            self.reference.state[one.job] = "running"

    def check_victims(self, one: Preempt) -> None:
        rule, now = self.engine.settings.preemption, max(self.now, self.engine.waiting.advance(self.now))
        assert rule is not None
        assert self.reference.jobs[one.job].priority in rule.preempting
        free = self.reference.free(self.where)
        (slot,) = one.slots
        assert not fits(free.free(slot.machine), self.reference.jobs[one.job].shape), "it would fit as it is"
        for name in one.victims:
            victim = self.reference.jobs[name]
            assert self.reference.state[name] == "running"
            assert victim.checkpointable
            assert victim.priority in rule.preempted
            assert victim.preempted < rule.most_times
            free.release(victim.shape, self.where[name].slots)
        for name in one.victims:
            free.take(self.reference.jobs[name].shape, self.where[name].slots)
            assert not fits(free.free(slot.machine), self.reference.jobs[one.job].shape), f"{name} goes in vain"
            free.release(self.reference.jobs[name].shape, self.where[name].slots)
        free.take(self.reference.jobs[one.job].shape, one.slots)  # raises where there is no room
        self.lost.append((now, one.cost))
        assert sum(cost for at, cost in self.lost if at > now - HOUR_SECONDS) <= rule.budget + 1e-6

    @invariant()
    def nothing_is_lost_or_doubled_and_what_is_taken_is_what_runs(self) -> None:
        if not hasattr(self, "reference"):
            return
        assert set(self.engine.running) == self.reference.names("running")
        assert {one.id for one in self.engine.waiting} <= self.reference.names("waiting")
        pending = {one.job for one in self.engine._refused}
        assert {one.id for one in self.engine.waiting} | pending == self.reference.names("waiting")
        free = self.reference.free(self.where)
        held = {machine for kept in self.engine.reservations for machine in kept.machines}
        for machine in self.reference.machines:
            if machine not in held:
                assert self.engine.fleet.free(machine) == free.free(machine)


Heart.TestCase.settings = hypothesis_settings(max_examples=120, stateful_step_count=40, deadline=None)
TestHeart = Heart.TestCase
