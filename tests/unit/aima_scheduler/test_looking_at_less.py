"""What is not looked at does not change what is found: reservations and backfill against looking at everything."""

from unittest import mock

from hypothesis import example, given, settings
from hypothesis import strategies as st

from aima_common.contracts.media import Priority
from aima_scheduler.deciders import queue
from aima_scheduler.deciders.fleet import Fleet
from aima_scheduler.deciders.model import Gpu, Job, Machine, Shape, Slot, expected_seconds
from aima_scheduler.deciders.ordering import USUAL
from aima_scheduler.deciders.placement import find, shortfall
from aima_scheduler.deciders.queue import LEADERS, Waiting, place_of
from aima_scheduler.deciders.reservation import Ends, Running, plan

NOW = 1_000.0
ONE = Shape(1_000, 1_024)

lengths = st.sampled_from([None, 1.0, 10.0, 60.0, 600.0])
deadlines = st.one_of(st.none(), st.floats(NOW - 100, NOW + 10_000))


def job(number: int, shape: Shape = ONE, estimate: float | None = 60.0, deadline: float | None = None) -> Job:
    return Job(f"job-{number}", "tenant", Priority.NORMAL, shape, NOW - number, deadline, estimate)


@given(st.lists(st.tuples(lengths, deadlines), min_size=1, max_size=60), st.sampled_from([0.5, 5.0, 60.0, 1e9]))
@settings(max_examples=150)
def test_the_first_that_is_short_enough_is_found(
    drawn: list[tuple[float | None, float | None]], seconds: float
) -> None:
    jobs = [job(number, estimate=estimate, deadline=deadline) for number, (estimate, deadline) in enumerate(drawn)]
    waiting = Waiting(USUAL)
    waiting.advance(NOW)
    for one in jobs:
        waiting.add(one)
    (lane,) = waiting.lanes(ONE)
    for but in (jobs[0].id, "nobody"):
        short = [one for one in jobs if expected_seconds(one) <= seconds and one.id != but]
        first = min((place_of(one, USUAL, NOW) for one in short), default=None)
        found = lane.first_within(seconds, USUAL, NOW, but=but)
        assert (found and found[0]) == first


hot_times = st.tuples(
    st.one_of(st.floats(-7_000, 100), st.sampled_from([-7_000.0, -6_500.0, 0.0])),
    st.one_of(st.floats(1, 8_000), st.sampled_from([61.0, 7_000.0, 8_000.0])),
)
"""When jobs came and how long before their deadline it is: some of them equals by score."""

steps = st.one_of(st.floats(0, 3), st.floats(0, 400), st.sampled_from([0.0, 60.0, 600.0]))


@given(
    st.lists(hot_times, min_size=1, max_size=40),
    st.lists(st.tuples(steps, st.sampled_from(["look", "look", "look", "end the first", "add"])), max_size=40),
    st.sampled_from([1, 3, LEADERS]),
)
@example([(-6_000.0, 5_000.0), (-600.0, 800.0)], [(0.0, "look"), (400.0, "look")], LEADERS)
@example([(-7_000.0, 8_000.0)] * 9, [(0.0, "end the first")] * 9, 1)
@settings(max_examples=150)
def test_whoever_came_first_a_moment_ago_is_overtaken_in_time(
    drawn: list[tuple[float, float]], then: list[tuple[float, str]], leaders: int
) -> None:
    with mock.patch.object(queue, "LEADERS", leaders):
        follow(drawn, then)


def follow(drawn: list[tuple[float, float]], then: list[tuple[float, str]]) -> None:
    """Let time pass and jobs go; at every step compare who comes first with who is first of all."""
    waiting, now = Waiting(USUAL), NOW
    waiting.advance(now)
    numbers = iter(range(1_000))

    def add(queued: float, left: float) -> None:
        name = f"job-{next(numbers)}"
        waiting.add(Job(name, "tenant", Priority.NORMAL, ONE, now + queued, now + left, 60.0))

    for queued, left in drawn:
        add(queued, left)
    for step, what in then:
        now += step
        waiting.advance(now)
        if what == "add":
            add(-step, 10 * step + 1)
        for lane in waiting.lanes(ONE):
            found = lane.best(USUAL, now)
            assert found is not None
            assert found[0] == min(place_of(one, USUAL, now) for one in waiting)
            if what == "end the first":
                waiting.remove(found[1].id)


def started(machine: Machine, running: list[Running], shape: Shape) -> list[float]:
    """Replay a machine in full: when it has room for one member, for two, ..."""
    found: list[float] = []
    for at in [NOW, *sorted(one.ends_at(NOW) for one in running)]:
        fleet = Fleet([machine])
        for one in running:
            if one.ends_at(NOW) > at:
                fleet.take(one.job.shape, one.slots)
        free = fleet.free(machine.id)
        room = min(free.cpu_milli // shape.cpu_milli, free.memory_mib // shape.memory_mib)
        found += [at] * (room - len(found))
    return found


@given(
    st.lists(st.lists(st.tuples(st.integers(1, 3), lengths), max_size=4), min_size=1, max_size=5),
    st.integers(1, 3),
    st.integers(1, 4),
)
@settings(max_examples=150)
def test_a_start_is_the_earliest_of_all_machines(
    busy: list[list[tuple[int, float | None]]], members: int, cores: int
) -> None:
    machines = [Machine(f"m{number}", 12_000, 65_536, (Gpu("A", 1),)) for number in range(len(busy))]
    fleet, runs = Fleet(machines), {}
    for machine, jobs in zip(machines, busy, strict=True):
        runs[machine.id] = [
            Running(job(number, Shape(1_000 * size, 1_024), estimate), (Slot(machine.id),), NOW - number)
            for number, (size, estimate) in enumerate(jobs)
        ]
        for one in runs[machine.id]:
            fleet.take(one.job.shape, one.slots)
    wanted = Shape(1_000 * cores, 1_024, members=members)
    starts = sorted((at, one.id) for one in machines for at in started(one, runs[one.id], wanted)[:members])
    kept = plan(fleet, job(99, wanted), Ends(lambda name: runs[name], NOW))
    assert kept is not None
    assert (kept.at, kept.machines) == (starts[members - 1][0], tuple(name for _, name in starts[:members]))


@given(
    st.lists(st.tuples(st.integers(1, 8), st.integers(1, 8), st.integers(0, 2)), min_size=1, max_size=4),
    st.tuples(st.integers(1, 8), st.integers(1, 8), st.integers(0, 2), st.integers(1, 4)),
)
@settings(max_examples=300)
def test_what_no_machine_can_ever_run_is_what_does_not_fit_the_empty_fleet(
    sizes: list[tuple[int, int, int]], wanted: tuple[int, int, int, int]
) -> None:
    fleet = Fleet(
        Machine(f"m{number}", 1_000 * cores, 1_024 * memory, (Gpu("A", 1),) * gpus)
        for number, (cores, memory, gpus) in enumerate(sizes)
    )
    cores, memory, gpus, members = wanted
    shape = Shape(1_000 * cores, 1_024 * memory, gpus, members=members)
    assert (shortfall(fleet, shape) is None) == (find(fleet, shape) is not None)


def test_machines_that_come_and_go_are_listed_as_they_are() -> None:
    fleet = Fleet([Machine("a", 1, 1), Machine("b", 1, 1)])
    assert [machine.id for machine in fleet.machines] == ["a", "b"]
    fleet.remove("a")
    copy = fleet.copy()
    copy.add(Machine("c", 1, 1))
    assert [machine.id for machine in fleet.machines] == ["b"]
    assert [machine.id for machine in copy.machines] == ["b", "c"]
