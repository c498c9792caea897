"""How far a partition may be committed, whatever the order in which its records are done."""

import random

import pytest

from aima_common.runtime.in_flight import Window


def test_nothing_is_committed_past_a_record_that_is_not_done() -> None:
    window = Window(("topic", 0))
    window.take([3, 4, 5, 6])
    assert window.next == 3
    for offset in (4, 6, 5):
        window.done(offset)
        assert (window.next, len(window)) == (3, 4)
    window.done(3)
    assert (window.next, len(window)) == (7, 0)


def test_gaps_in_the_log_do_not_stop_it() -> None:
    window = Window(("topic", 0))
    window.take([3, 7])
    window.done(3)
    assert window.next == 7
    window.take([20])
    window.done(7)
    window.done(20)
    assert window.next == 21


@pytest.mark.parametrize("seed", range(20))
def test_in_any_order_the_next_offset_is_the_first_that_is_not_done(seed: int) -> None:
    chance = random.Random(seed)
    window, taken, done = Window(("topic", 0)), list[int](), set[int]()
    following = 0
    for _ in range(300):
        waiting = [offset for offset in taken if offset not in done]
        if not waiting or chance.random() < 0.3:
            batch = [following := following + chance.randint(1, 3) for _ in range(chance.randint(1, 9))]
            window.take(batch)
            taken += batch
        else:
            offset = chance.choice(waiting[:6])
            window.done(offset)
            done.add(offset)
        expected = next((offset for offset in taken if offset not in done), taken[-1] + 1)
        assert window.next == expected
