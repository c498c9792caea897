"""When the door for uploads closes, when it opens again, and when a client is asked to come back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aima_gateway.backlog import Backlog, BacklogLimits, come_back_seconds, is_closed

LIMITS = BacklogLimits(oldest_seconds=100.0, fewest=10)


@pytest.mark.parametrize(
    ("oldest", "waiting", "was_closed", "urgent", "closed"),
    [
        (99, 1000, False, False, False),
        (101, 1000, False, False, True),
        (101, 9, False, False, False),
        (71, 1000, True, False, True),
        (69, 1000, True, False, False),
        (71, 1000, False, False, False),
        (101, 1000, False, True, False),
        (401, 1000, False, True, True),
        (0, 0, True, False, False),
    ],
)
def test_the_door_closes_by_age_and_opens_again_lower(
    *, oldest: float, waiting: int, was_closed: bool, urgent: bool, closed: bool
) -> None:
    assert is_closed(Backlog(oldest, waiting), LIMITS, was_closed=was_closed, urgent=urgent) is closed


def test_without_a_limit_the_door_never_closes() -> None:
    assert not is_closed(Backlog(1e9, 10**6), BacklogLimits(), was_closed=True)


@given(st.floats(0, 1e6), st.floats(0, 1))
def test_clients_come_back_soon_but_not_at_once_and_not_together(oldest: float, jitter: float) -> None:
    seconds = come_back_seconds(Backlog(oldest, 100), LIMITS, jitter)
    assert 2 <= seconds <= 90
    assert come_back_seconds(Backlog(oldest, 100), LIMITS, 0.0) <= seconds
