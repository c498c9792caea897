import pytest

from aima_preprocessing.limits import Limits, allowance, check_still, check_upload_size, starting_allowance
from aima_preprocessing.refusals import LimitExceededError

FULL_HD = 1920 * 1080 * 30
LIMITS = Limits()


def test_limits_travel_as_plain_values() -> None:
    assert Limits.from_dict(Limits(frames=7).as_dict()) == Limits(frames=7)


def test_a_limit_is_the_last_thing_that_is_taken() -> None:
    check_still(LIMITS, 8000, 8000)
    with pytest.raises(LimitExceededError, match="still_pixels"):
        check_still(LIMITS, 8000, 8001)
    check_upload_size(LIMITS, 5 * 1024**3)
    with pytest.raises(LimitExceededError, match="upload_bytes"):
        check_upload_size(LIMITS, 5 * 1024**3 + 1)


def test_time_is_granted_by_the_media_minute() -> None:
    one, two = allowance(LIMITS, 60, FULL_HD), allowance(LIMITS, 120, FULL_HD)
    assert (one.wall_seconds, one.cpu_seconds) == (90, 150)
    assert (two.wall_seconds, two.cpu_seconds) == (150, 270)


def test_more_pixels_than_full_hd_are_granted_more_time_and_fewer_not_less() -> None:
    assert allowance(LIMITS, 60, 4 * FULL_HD).cpu_seconds == 30 + 4 * 120
    assert allowance(LIMITS, 60, FULL_HD / 10) == allowance(LIMITS, 60, FULL_HD)
    assert allowance(LIMITS, 0, FULL_HD) == starting_allowance(LIMITS)
