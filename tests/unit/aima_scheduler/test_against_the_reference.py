"""Whatever happens, the engine decides what a scheduler of fifty lines decides that looks at everything.

By first fit and by the document's order, with fair shares; what is kept free, and who gives way, is tested elsewhere.
"""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from aima_common.contracts.media import Priority
from aima_scheduler.deciders.engine import SEED_RULES, Engine
from aima_scheduler.deciders.model import Gpu, Job, Machine, Placement, Shape
from tests.reference.greedy_scheduler import GreedyScheduler

T4, A100 = Gpu("T4", 16_384), Gpu("A100", 81_920)
ALWAYS = (Machine("a", 4000, 8192), Machine("b", 4000, 8192), Machine("g", 8000, 32_768, (T4, A100, T4)))
"""What is here all the time: every shape fits there while nothing runs."""
SOMETIMES = (Machine("c", 6000, 4096), Machine("h", 4000, 16_384, (A100, T4)))
SHAPES = (
    Shape(1000, 1024), Shape(500, 4096), Shape(4000, 4096),
    Shape(1000, 1024, gpu_count=1, gpu_memory_mib=8_192),
    Shape(1000, 1024, gpu_count=1, gpu_milli=300, gpu_memory_mib=2_048),
    Shape(1000, 1024, gpu_count=2), Shape(500, 512, gpu_count=1, gpu_types=("A100",)),
    Shape(1500, 1024, members=3), Shape(500, 512, gpu_count=1, gpu_milli=400, members=2),
)  # fmt: skip
WEIGHTS = {"x": 2.0}
RULES = replace(SEED_RULES, fair=True, weights=WEIGHTS, half_life=0.0)


class Both(RuleBasedStateMachine):
    """The same happens to both."""

    def __init__(self) -> None:
        super().__init__()
        self.engine, self.reference = Engine(RULES, ALWAYS), GreedyScheduler(WEIGHTS)
        self.reference.machines.update({one.id: one for one in ALWAYS})
        self.names, self.now, self.latest = list[str](), 10_000.0, 10_000.0

    @rule(shape=st.sampled_from(SHAPES), priority=st.sampled_from(list(Priority)), tenant=st.sampled_from("xyz"),
          waited=st.sampled_from([0.0, 0.0, 300.0, 900.0, 7_000.0]), left=st.one_of(st.none(), st.floats(-100, 9_000)),
          many=st.integers(1, 4))  # fmt: skip
    def submit(
        self, shape: Shape, priority: Priority, tenant: str, waited: float, left: float | None, many: int
    ) -> None:
        for _ in range(many):
            name = f"job-{len(self.names)}"
            self.names.append(name)
            deadline = None if left is None else self.now + left
            job = Job(name, tenant, priority, shape, self.now - waited, deadline)
            self.engine.submit(job)
            self.reference.waiting[name] = job

    @rule(data=st.data())
    @precondition(lambda self: self.reference.waiting)
    def withdraw(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.reference.waiting)))
        assert self.engine.withdraw(name) == self.reference.waiting.pop(name)

    @rule(data=st.data(), priority=st.sampled_from(list(Priority)))
    @precondition(lambda self: self.reference.waiting)
    def change(self, data: st.DataObject, priority: Priority) -> None:
        name = data.draw(st.sampled_from(sorted(self.reference.waiting)))
        job = replace(self.reference.waiting[name], priority=priority)
        self.engine.change(job)
        self.reference.waiting[name] = job

    @rule(data=st.data())
    @precondition(lambda self: self.reference.running)
    def end(self, data: st.DataObject) -> None:
        names = data.draw(st.lists(st.sampled_from(sorted(self.reference.running)), min_size=1, unique=True))
        for name in names:
            assert self.engine.ended(name, self.now) == self.reference.running.pop(name)[0]
            assert self.engine.ended(name, self.now) is None, "told twice"

    @rule(machine=st.sampled_from(SOMETIMES))
    def a_machine_comes_or_goes(self, machine: Machine) -> None:
        if machine.id not in self.reference.machines:
            self.engine.machine_added(machine)
            self.reference.machines[machine.id] = machine
            return
        del self.reference.machines[machine.id]
        running = self.reference.running
        lost = [name for name, (_, slots) in running.items() if any(slot.machine == machine.id for slot in slots)]
        for name in lost:
            self.reference.waiting[name] = running.pop(name)[0]
        given_back = self.engine.machine_removed(machine.id, self.now)
        assert sorted(job.id for job in given_back) == sorted(lost)
        for job in given_back:
            self.engine.submit(job)

    @rule(seconds=st.sampled_from([-500.0, 1.0, 60.0, 700.0, 7_000.0]))
    def time_goes_on_or_back(self, seconds: float) -> None:
        self.now += seconds

    @rule(most=st.one_of(st.none(), st.integers(1, 3)))
    def decide(self, most: int | None) -> None:
        self.latest = max(self.latest, self.now)
        decided: Sequence[object] = self.engine.decide(self.now, most)
        expected: list[Placement] = self.reference.decide(self.latest, most)
        assert decided == expected

    @invariant()
    def both_know_the_same(self) -> None:
        assert {one.id: one for one in self.engine.waiting} == self.reference.waiting
        running = {name: (one.job, one.slots) for name, one in self.engine.running.items()}
        assert running == self.reference.running


Both.TestCase.settings = hypothesis_settings(max_examples=100, stateful_step_count=40, deadline=None)
TestBoth = Both.TestCase


class Unlike(Both):
    """The reference weighs no tenant."""

    def __init__(self) -> None:
        super().__init__()
        self.reference.weights = {}


def test_the_control_a_reference_with_another_rule_is_found_out() -> None:
    once = hypothesis_settings(
        max_examples=300, stateful_step_count=40, deadline=None, database=None, phases=[Phase.generate]
    )
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Unlike, settings=once)  # type: ignore[no-untyped-call]
