"""Where a shape fits: never beyond what there is, on GPUs that meet all together, as a naive search would find it."""

import dataclasses
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aima_scheduler.deciders import fleet as fleets
from aima_scheduler.deciders import placement
from aima_scheduler.deciders.fleet import Fleet
from aima_scheduler.deciders.model import WHOLE_GPU, Gpu, Machine, Shape, Slot
from aima_scheduler.deciders.placement import Data
from aima_scheduler.deciders.rooms import fits
from aima_scheduler.deciders.scoring import Scoring, rule_of

T4, A100 = Gpu("T4", 16_384), Gpu("A100", 81_920)
machines = st.builds(
    Machine,
    id=st.uuids().map(str),
    cpu_milli=st.sampled_from([4_000, 16_000]),
    memory_mib=st.sampled_from([8_192, 65_536]),
    gpus=st.lists(st.sampled_from([T4, A100]), max_size=3).map(tuple),
    location=st.sampled_from(["local", "cloud"]),
    cost_per_hour=st.sampled_from([0.0, 4.0]),
)
shares = st.builds(
    Shape,
    cpu_milli=st.sampled_from([500, 4_000]),
    memory_mib=st.sampled_from([512, 8_192]),
    gpu_count=st.just(1),
    gpu_milli=st.sampled_from([250, 500, WHOLE_GPU]),
    gpu_memory_mib=st.sampled_from([0, 8_192, 40_000]),
    gpu_types=st.sampled_from([(), ("A100",), ("T4", "A100")]),
)
shapes = st.one_of(
    shares,
    st.builds(Shape, cpu_milli=st.sampled_from([500, 4_000]), memory_mib=st.sampled_from([512, 8_192])),
    st.builds(Shape, cpu_milli=st.just(1_000), memory_mib=st.just(512), gpu_count=st.integers(2, 3)),
    st.builds(Shape, cpu_milli=st.just(1_000), memory_mib=st.just(512), members=st.integers(2, 4)),
    st.builds(Shape, cpu_milli=st.just(500), memory_mib=st.just(512), locations=st.just(("local",))),
)


@given(
    st.lists(machines, max_size=5, unique_by=lambda one: one.id),
    st.lists(st.tuples(shapes, st.booleans()), max_size=25),
    st.sampled_from(list(Scoring)),
)
@settings(max_examples=150, deadline=None)
def test_whatever_comes_and_goes_the_choice_is_the_naive_one_and_nothing_is_overdrawn(
    known: list[Machine], asked: list[tuple[Shape, bool]], scoring: Scoring
) -> None:
    fleet, taken = Fleet(known), []
    for shape, ends_soon in asked:
        fleet.saw(shape)
        found = placement.find(fleet, shape, scoring)
        if shape.members == 1:
            assert (found[0].machine if found else None) == naive(fleet, shape, scoring)
        if found is None:
            continue
        assert len(found) == shape.members
        for slot in found:
            machine = fleet.machine(slot.machine)
            for number in slot.gpus:
                gpu, free = machine.gpus[number], fleet.gpus(machine.id)[number]
                assert not shape.gpu_types or gpu.type in shape.gpu_types
                assert free.milli >= shape.gpu_milli
                assert free.memory_mib >= shape.gpu_memory_mib
            assert not shape.locations or machine.location in shape.locations
        fleet.take(shape, found)
        if ends_soon:
            fleet.release(shape, found)
        else:
            taken.append((shape, found))
    for shape, slots in taken:
        fleet.release(shape, slots)
    assert all(fleet.free(one.id) == Fleet([one]).free(one.id) for one in known)


def naive(fleet: Fleet, shape: Shape, scoring: Scoring) -> str | None:
    """Look at every machine; of equals the first."""
    rule, best = rule_of(scoring, fleet.workload), None
    for machine in fleet.machines:
        room = fleet.free(machine.id)
        if fits(room, shape):
            cost = 0.0 if scoring is Scoring.FIRST_FIT else placement.DEFAULT_PRICES.per_cost * machine.cost_per_hour
            key = (shape.gpu_count == 0 and bool(machine.gpus), rule(room, shape)[0] + cost)
            if best is None or key < best[0]:
                best = key, machine.id
    return best[1] if best else None


def test_type_memory_and_share_are_met_by_the_same_gpu() -> None:
    fleet = Fleet([Machine("m", 8_000, 65_536, (T4, A100))])
    wanted = Shape(1_000, 512, gpu_count=1, gpu_memory_mib=40_000, gpu_types=("T4",))
    assert placement.find(fleet, wanted) is None
    short = placement.shortfall(fleet, wanted)
    assert short is not None
    assert (short.dimension, short.nearest) == ("gpu_memory", "m")
    assert placement.find(fleet, dataclasses.replace(wanted, gpu_types=("A100",))) == (Slot("m", (1,)),)


def test_a_gang_that_does_not_fit_whole_takes_nothing() -> None:
    fleet = Fleet([Machine("m", 3_000, 65_536)])
    before = fleet.free("m")
    assert placement.find(fleet, Shape(1_000, 512, members=4)) is None
    assert fleet.free("m") == before
    assert placement.find(fleet, Shape(1_000, 512, members=3)) == (Slot("m"),) * 3


def test_bytes_that_lie_far_away_and_money_count_where_it_packs_as_well() -> None:
    far, near = Machine("far", 4_000, 8_192, location="cloud"), Machine("near", 4_000, 8_192, location="local")
    fleet, shape = Fleet([far, near]), Shape(1_000, 512)
    assert placement.find(fleet, shape) == (Slot("far"),)
    assert placement.find(fleet, shape, data=Data("local", 10**12)) == (Slot("near"),)
    dear = Fleet([dataclasses.replace(far, cost_per_hour=3.0), near])
    assert placement.find(dear, shape) == (Slot("near"),)


@pytest.mark.parametrize("slots", [[Slot("m"), Slot("m")], [Slot("nowhere")], [Slot("m", (0,))], []])
def test_what_cannot_be_taken_is_refused_and_changes_nothing(slots: list[Slot]) -> None:
    fleet = Fleet([Machine("m", 1_000, 1_024, (T4,))])
    before = fleet.free("m")
    with pytest.raises(ValueError, match=r"slots|no machine|asked for"):
        fleet.take(Shape(1_000, 512), slots)
    assert fleet.free("m") == before
    fleet.take(Shape(1_000, 512), [Slot("m")])
    with pytest.raises(ValueError, match="would have"):
        fleet.take(Shape(1_000, 512), [Slot("m")])


def test_a_fleet_that_forgets_its_rooms_goes_on_as_one_that_remembers_all(monkeypatch: pytest.MonkeyPatch) -> None:
    rng, known = random.Random(5), [Machine(f"m{number}", 8_000, 65_536, (T4, A100)) for number in range(4)]
    wanted = [
        Shape(500, 512),
        Shape(1_500, 4_096),
        Shape(500, 512, 1, 250),
        Shape(500, 512, 2),
        Shape(700, 600, 1, 300),
    ]
    forgetful, remembers = Fleet(known), Fleet(known)
    catalogues, running = {id(forgetful.catalogue): forgetful.catalogue}, list[tuple[Shape, tuple[Slot, ...]]]()
    for _ in range(4_000):
        shape = rng.choice(wanted)
        monkeypatch.setattr(fleets, "MOST_ROOMS", 1_000_000)
        expected = placement.find(remembers, shape)
        if expected is not None:
            remembers.take(shape, expected)
        monkeypatch.setattr(fleets, "MOST_ROOMS", -1_000_000)
        found = placement.find(forgetful, shape)
        assert found == expected
        if found is not None:
            forgetful.take(shape, found)
            running.append((shape, found))
        while running and (found is None or rng.random() < 0.4):
            ended, slots = running.pop(rng.randrange(len(running)))
            for one in (forgetful, remembers):
                one.release(ended, slots)
            found = slots
        catalogues[id(forgetful.catalogue)] = forgetful.catalogue
    assert len(catalogues) > 3, "the control: rooms were forgotten"
    assert [forgetful.free(one.id) for one in known] == [remembers.free(one.id) for one in known]
