import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aima_common.contracts.media import Priority
from aima_common.urgency import WEIGHTS, deadline_factor, effective_priority, wait_factor

NOW = datetime.datetime(2026, 11, 23, 12, tzinfo=datetime.UTC)

seconds = st.floats(min_value=0, max_value=10**7)


def minutes(count: float) -> datetime.datetime:
    return NOW + datetime.timedelta(minutes=count)


def test_the_weights_are_those_of_the_specification() -> None:
    assert [WEIGHTS[priority] for priority in Priority] == [100, 50, 10, 5, 1]


@pytest.mark.parametrize(
    ("waited", "factor"), [(0, 1.0), (599, 1.0), (600, 1.0), (1200, 2.0), (5999, 9.998333), (6000, 10.0), (10**6, 10.0)]
)
def test_waiting_counts_from_600_seconds_on_and_tenfold_at_most(waited: float, factor: float) -> None:
    assert wait_factor(waited) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("left", "factor"), [(1000, 1.0), (100, 1.0), (50, 2.0), (10, 10.0), (1, 100.0), (0.1, 100.0), (-5, 100.0)]
)
def test_a_deadline_presses_the_more_the_nearer_it_is_and_a_missed_one_goes_on_pressing(
    left: float, factor: float
) -> None:
    assert deadline_factor(minutes(left), NOW) == pytest.approx(factor)


def test_in_mode_seed_a_missed_deadline_no_longer_presses() -> None:
    assert deadline_factor(minutes(-1), NOW, "seed") == 1.0
    assert deadline_factor(minutes(1), NOW, "seed") == deadline_factor(minutes(1), NOW, "corrected") == 100.0


def test_without_a_deadline_nothing_presses() -> None:
    assert deadline_factor(None, NOW) == deadline_factor(None, NOW, "seed") == 1.0


@given(st.sampled_from(Priority), seconds, seconds)
def test_who_waits_longer_is_never_less_urgent(priority: Priority, one: float, other: float) -> None:
    shorter, longer = sorted((one, other))
    assert _urgency(priority, longer) >= _urgency(priority, shorter)


@given(st.sampled_from(Priority), st.floats(-(10**5), 10**5), st.floats(-(10**5), 10**5))
def test_a_nearer_deadline_is_never_less_urgent(priority: Priority, one: float, other: float) -> None:
    nearer, farther = sorted((one, other))
    near = effective_priority(priority, NOW, minutes(nearer), NOW)
    assert near >= effective_priority(priority, NOW, minutes(farther), NOW)


@given(st.sampled_from(Priority), seconds, st.one_of(st.none(), st.floats(-(10**5), 10**5)))
def test_urgency_stays_between_the_weight_and_a_thousand_times_the_weight(
    priority: Priority, waited: float, left: float | None
) -> None:
    deadline = None if left is None else minutes(left)
    urgency = effective_priority(priority, NOW - datetime.timedelta(seconds=waited), deadline, NOW)
    assert WEIGHTS[priority] <= urgency <= 1000 * WEIGHTS[priority]


def _urgency(priority: Priority, waited: float) -> float:
    return effective_priority(priority, NOW - datetime.timedelta(seconds=waited), None, NOW)
