"""Shares of tenants inside a class: what dominant resource fairness promises, on fleets and demands that are drawn."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aima_common.contracts.media import Priority
from aima_scheduler.deciders import placement
from aima_scheduler.deciders.engine import Engine, Settings
from aima_scheduler.deciders.fairness import Amounts, Usage
from aima_scheduler.deciders.model import Gpu, Job, Machine, Placement, Shape

BARE = Settings(reservations=0, critical_reservations=0, starvation_every=0, half_life=0.0)
SHAPES = st.sampled_from([Shape(1000, 4096), Shape(2000, 1024), Shape(500, 512, gpu_count=1), Shape(1000, 16_384)])
FLEET = [Machine(f"m{number}", 16_000, 65_536, (Gpu("gpu", 24_576),) * 4) for number in range(3)]
WHOLE = Amounts(48_000, 196_608, 12_000)


def filled(engine: Engine, demands: dict[str, Shape], jobs: int = 300) -> Counter[str]:
    """Let every tenant ask for more than there is, all at the same time; count what runs."""
    for tenant, shape in demands.items():
        for number in range(jobs):
            engine.submit(Job(f"{tenant}-{number:03}", tenant, Priority.NORMAL, shape, 0.0))
    placed = [one for one in engine.decide(1.0) if isinstance(one, Placement)]
    return Counter(one.job.partition("-")[0] for one in placed)


@given(st.lists(SHAPES, min_size=2, max_size=4))
@settings(max_examples=40, deadline=None)
def test_nobody_would_rather_have_an_equal_part_of_the_fleet_to_itself(shapes: list[Shape]) -> None:
    demands = {f"tenant{number}": shape for number, shape in enumerate(shapes)}
    counts = filled(Engine(BARE, FLEET), demands)
    for tenant, shape in demands.items():
        one_job = Amounts.of(shape).share_of(WHOLE)
        # A machine does not divide without rest: one job for each machine may be missing.
        assert counts[tenant] * one_job >= 1 / len(shapes) - one_job * (1 + len(FLEET))


@given(SHAPES, st.integers(2, 4))
@settings(max_examples=20, deadline=None)
def test_equals_get_the_same_and_nobody_envies_anybody(shape: Shape, tenants: int) -> None:
    counts = filled(Engine(BARE, FLEET), {f"tenant{number}": shape for number in range(tenants)})
    assert max(counts.values()) - min(counts.values()) <= 1


@given(st.lists(SHAPES, min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_nothing_is_idle_that_somebody_can_use(shapes: list[Shape]) -> None:
    engine = Engine(BARE, FLEET)
    filled(engine, {f"tenant{number}": shape for number, shape in enumerate(shapes)})
    assert len(engine.waiting)
    assert all(placement.find(engine.fleet, job.shape) is None for job in engine.waiting)


def test_who_has_twice_the_weight_gets_twice_as_much() -> None:
    engine = Engine(Settings(fair=True, weights={"double": 2.0}, reservations=0, half_life=0.0), FLEET)
    counts = filled(engine, {"double": Shape(1000, 1024), "single": Shape(1000, 1024)})
    assert counts == {"double": 32, "single": 16}


def test_a_class_is_shared_by_itself_and_never_gives_way_to_a_lower_one() -> None:
    engine = Engine(BARE, FLEET[:1])
    for number in range(40):
        engine.submit(Job(f"busy-{number}", "busy", Priority.HIGH, Shape(1000, 1024), 0.0))
        engine.submit(Job(f"idle-{number}", "idle", Priority.LOW, Shape(1000, 1024), 0.0))
    placed = [one.job for one in engine.decide(1.0)]
    assert len(placed) == 16
    assert all(job.startswith("busy") for job in placed)


def test_what_a_tenant_had_lately_counts_and_half_of_it_is_forgotten_after_each_half_life() -> None:
    usage = Usage(half_life=100.0)
    usage.whole = Amounts(10_000, 10_000, 0)
    shape = Shape(5_000, 1_000)
    usage.take(Priority.NORMAL, "a", shape, 0.0)
    assert usage.share(Priority.NORMAL, "a", 0.0) == 0.5
    assert usage.share(Priority.NORMAL, "a", 100.0) == pytest.approx(0.5 + 0.25)
    usage.release(Priority.NORMAL, "a", shape, 100.0)
    assert usage.share(Priority.NORMAL, "a", 100.0) == pytest.approx(0.25)
    assert usage.share(Priority.NORMAL, "a", 200.0) == pytest.approx(0.125)
    assert usage.share(Priority.NORMAL, "b", 200.0) == usage.share(Priority.HIGH, "a", 200.0) == 0.0


@pytest.mark.parametrize("wrong", [{"weights": {"a": 0.0}}, {"half_life": -1.0}])
def test_weights_and_half_lives_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="more than nothing"):
        Usage(**wrong)  # type: ignore[arg-type]
