import pytest
from hypothesis import given
from hypothesis import strategies as st

from aima_scheduler.placement import QUEUE_AHEAD, Machine, Needs, Room, ever_fits, place

GIB = 1 << 30
LAPTOP = Machine("laptop", cpus=2, memory_bytes=8 * GIB)
SERVER = Machine("server", cpus=16, memory_bytes=64 * GIB)
GPU_BOX = Machine("gpu-box", cpus=8, memory_bytes=64 * GIB, gpus=2)


def rooms(*machines: Machine) -> list[Room]:
    return [Room(machine) for machine in machines]


def chosen(needs: Needs, *machines: Machine, interactive: bool = False) -> str | None:
    room = place(needs, rooms(*machines), interactive=interactive)
    return room.machine.id if room else None


def test_a_laptop_never_refuses_a_film_for_its_few_cores() -> None:
    greedy = Needs(cpus=16)
    assert ever_fits(greedy, [LAPTOP]) is None
    assert chosen(greedy, LAPTOP) == "laptop"


def test_memory_is_a_hard_need() -> None:
    assert chosen(Needs(memory_bytes=8 * GIB), LAPTOP) == "laptop"
    assert chosen(Needs(memory_bytes=8 * GIB + 1), LAPTOP) is None


def test_gpus_are_a_hard_need_and_are_not_given_twice() -> None:
    room = Room(GPU_BOX)
    for _ in range(2):
        found = place(Needs(gpus=1), [Room(LAPTOP), room], interactive=False)
        assert found is room
        room.take(Needs(gpus=1))
    assert place(Needs(gpus=1), [Room(LAPTOP), room], interactive=False) is None


def test_what_never_fits_is_told_why() -> None:
    reason = ever_fits(Needs(memory_bytes=100 * GIB, gpus=3), [LAPTOP, GPU_BOX])
    assert (
        reason == f"it needs {100 * 1024} MiB of memory and 3 GPUs; the largest machine here has {64 * 1024} MiB and 2"
    )
    assert ever_fits(Needs(memory_bytes=64 * GIB, gpus=2), [LAPTOP, GPU_BOX]) is None


def test_memory_and_gpus_must_be_met_by_the_same_machine() -> None:
    assert ever_fits(Needs(memory_bytes=65 * GIB, gpus=1), [Machine("huge", 1, 99 * GIB), GPU_BOX]) is not None


def test_work_without_gpu_stays_off_gpu_machines_while_others_fit() -> None:
    assert chosen(Needs(), GPU_BOX, SERVER) == "server"
    assert chosen(Needs(), GPU_BOX) == "gpu-box"


def test_the_fullest_machine_that_fits_comes_first() -> None:
    assert chosen(Needs(), SERVER, LAPTOP) == "laptop"


def test_a_machine_takes_jobs_up_to_its_cores_and_a_short_queue() -> None:
    room, taken = Room(LAPTOP), 0
    while place(Needs(cpus=1), [room], interactive=False):
        room.take(Needs(cpus=1))
        taken += 1
    assert taken == LAPTOP.cpus + QUEUE_AHEAD


def test_interactive_work_gets_one_place_more() -> None:
    room = Room(LAPTOP, Needs(cpus=LAPTOP.cpus + QUEUE_AHEAD))
    assert place(Needs(cpus=1), [room], interactive=False) is None
    assert place(Needs(cpus=1), [room], interactive=True) is room


machines = st.builds(
    Machine,
    st.uuids().map(str),
    st.floats(1, 64),
    st.integers(1, 256).map(lambda gib: gib * GIB),
    st.integers(0, 8),
)
wishes = st.builds(Needs, st.floats(0.1, 64), st.integers(0, 300).map(lambda gib: gib * GIB), st.integers(0, 8))


@given(wishes, st.lists(machines, max_size=5), st.booleans())
def test_an_empty_house_takes_exactly_what_could_ever_fit(
    needs: Needs, house: list[Machine], interactive: bool
) -> None:
    fits = ever_fits(needs, house) is None
    assert (place(needs, rooms(*house), interactive=interactive) is not None) == fits


@given(st.lists(wishes, max_size=30), st.lists(machines, min_size=1, max_size=4))
def test_no_machine_is_ever_given_more_than_it_has(jobs: list[Needs], house: list[Machine]) -> None:
    available = rooms(*house)
    for needs in jobs:
        if room := place(needs, available, interactive=False):
            room.take(needs)
    for room in available:
        assert room.taken.gpus <= room.machine.gpus
        assert room.taken.cpus <= room.machine.cpus + QUEUE_AHEAD + 1e-9


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_choice_does_not_hang_on_the_order_of_machines(order: tuple[int, int]) -> None:
    twins = [Machine("a", 4, GIB), Machine("b", 4, GIB)]
    assert chosen(Needs(), *(twins[i] for i in order)) == "a"
