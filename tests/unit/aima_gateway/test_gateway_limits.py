"""How much one client, and all together, may ask."""

import pytest

from aima_common.problems import ProblemError
from aima_gateway.limits import Admission, Limits, Rate
from aima_gateway.pace import Pace

PACE = Pace(per_second=10, burst=5)


def test_a_burst_passes_and_then_the_pace_holds() -> None:
    rate = Rate()
    assert [rate.wait_seconds("a", 100.0, PACE) for _ in range(5)] == [0.0] * 5
    assert rate.wait_seconds("a", 100.0, PACE) == pytest.approx(0.1)
    assert rate.wait_seconds("a", 100.1, PACE) == 0.0
    assert rate.wait_seconds("a", 100.1, PACE) == pytest.approx(0.1)


def test_being_refused_costs_nothing() -> None:
    rate = Rate()
    for _ in range(100):
        rate.wait_seconds("a", 100.0, PACE)
    assert rate.wait_seconds("a", 100.1, PACE) == 0.0


def test_clients_do_not_share_a_pace() -> None:
    rate = Rate()
    for _ in range(6):
        rate.wait_seconds("a", 0.0, PACE)
    assert rate.wait_seconds("b", 0.0, PACE) == 0.0


def test_memory_is_bounded_however_many_keys_knock() -> None:
    rate = Rate(remembered_keys=10)
    for number in range(1000):
        rate.wait_seconds(str(number), 0.0, PACE)
    assert len(rate._due) == 10


def test_a_place_is_given_back_whatever_happens() -> None:
    admission = Admission(Limits(concurrent_requests_per_key=1))
    with pytest.raises(ZeroDivisionError), admission.admitted("a", 0.0):
        raise ZeroDivisionError
    with admission.admitted("a", 0.0):
        assert admission.under_way == 1
    assert admission.under_way == 0


def test_one_client_too_many_is_429_and_all_together_too_many_is_503() -> None:
    admission = Admission(Limits(concurrent_requests=2, concurrent_requests_per_key=1))
    with admission.admitted("a", 0.0):
        with pytest.raises(ProblemError) as mine, admission.admitted("a", 0.0):
            pass
        with admission.admitted("b", 0.0), pytest.raises(ProblemError) as ours, admission.admitted("c", 0.0):
            pass
    assert (mine.value.problem.status, ours.value.problem.status) == (429, 503)
    assert mine.value.problem.retry_after_seconds
    assert ours.value.problem.retry_after_seconds
