"""When the door for uploads closes, when it opens again, and when a client is asked to come back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aima_common.contracts.media import Priority
from aima_gateway.backlog import URGENCY, BacklogLimits, Door, Waiting, come_back_seconds, door_after

LIMITS = BacklogLimits(oldest_seconds=100.0, fewest=3, outbox_seconds=60.0)
EVERYBODY = frozenset(URGENCY)
ages = st.dictionaries(st.sampled_from(URGENCY), st.lists(st.floats(0, 300), max_size=6))


def waiting(age: float, count: int = 3, priority: Priority = Priority.NORMAL) -> Waiting:
    return Waiting({priority: [age] * count})


@pytest.mark.parametrize(
    ("age", "count", "was_closed", "closed"),
    [
        (99, 3, False, False),
        (101, 3, False, True),
        (101, 2, False, False),
        (71, 3, True, True),
        (69, 3, True, False),
        (71, 3, False, False),
        (0, 0, True, False),
    ],
)
def test_the_door_closes_by_age_and_opens_again_lower(
    *, age: float, count: int, was_closed: bool, closed: bool
) -> None:
    before = Door(EVERYBODY) if was_closed else Door()
    door = door_after(waiting(age, count), LIMITS, before)
    assert (door.reason(Priority.NORMAL) is not None) is closed
    assert ("come back" in door.told()) is closed


def test_a_class_is_held_up_by_its_own_work_and_by_more_urgent_work_alone() -> None:
    door = door_after(waiting(500), LIMITS, Door())
    assert door.closed == {Priority.NORMAL, Priority.LOW, Priority.BATCH}
    urgent = door_after(waiting(500, priority=Priority.CRITICAL), LIMITS, Door())
    assert urgent.closed == EVERYBODY


def test_a_few_jobs_that_are_stuck_are_no_backlog_however_much_young_work_waits() -> None:
    stuck, young = [1e6, 1e6], [5.0] * 1000
    assert door_after(Waiting({Priority.NORMAL: stuck + young}), LIMITS, Door()).is_open
    assert not door_after(Waiting({Priority.NORMAL: [*stuck, 101.0, *young]}), LIMITS, Door()).is_open


def test_old_messages_close_the_door_for_everybody() -> None:
    door = door_after(Waiting({}, outbox_seconds=61), LIMITS, Door())
    assert door.reason(Priority.CRITICAL) == "messages have waited for 61 s to be told"
    assert not door_after(Waiting({}, outbox_seconds=43), LIMITS, door).is_open
    assert door_after(Waiting({}, outbox_seconds=41), LIMITS, door).is_open


def test_without_a_limit_the_door_never_closes() -> None:
    assert door_after(Waiting({Priority.CRITICAL: [1e9] * 100}, 1e9), BacklogLimits(), Door(EVERYBODY)).is_open


@given(ages, st.frozensets(st.sampled_from(URGENCY)))
def test_whoever_is_more_urgent_gets_in_wherever_somebody_less_urgent_does(
    found: dict[Priority, list[float]], before: frozenset[Priority]
) -> None:
    first_closed = {one for number, one in enumerate(URGENCY) if before & set(URGENCY[: number + 1])}
    closed = door_after(Waiting(found), LIMITS, Door(frozenset(first_closed))).closed
    assert closed == set(URGENCY[len(URGENCY) - len(closed) :])


@given(ages, st.floats(1, 300))
def test_more_waiting_work_never_opens_the_door(found: dict[Priority, list[float]], age: float) -> None:
    more = {**found, Priority.HIGH: [*found.get(Priority.HIGH, []), age]}
    assert door_after(Waiting(found), LIMITS, Door()).closed <= door_after(Waiting(more), LIMITS, Door()).closed


@given(st.floats(0, 1e6), st.floats(0, 1))
def test_clients_come_back_soon_but_not_at_once_and_not_together(waited: float, jitter: float) -> None:
    seconds = come_back_seconds(waited, 100.0, jitter)
    assert 2 <= seconds <= 90
    assert come_back_seconds(waited, 100.0, 0.0) <= seconds
