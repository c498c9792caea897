"""What a tenant may do, what a gateway gets of it, and what is counted. Pure."""

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aima_common.errors import SettingsError
from aima_gateway.pace import PART_SECONDS, Pace, Part, least_part, spend
from aima_gateway.settings import Settings
from aima_gateway.tenant_limits import (
    NOTHING,
    Accepted,
    Amount,
    Shortage,
    Tally,
    TenantLimits,
    day_after,
    day_of,
    grant,
    held_by_others,
    holders_with,
    seconds_left,
)

PACE = Pace(10, 40)
LIMITS = TenantLimits(uploads_at_once=8, items_per_day=100, bytes_per_day=1000)
NOON = datetime.datetime(2026, 11, 25, 12, tzinfo=datetime.UTC)
counts = st.integers(0, 120)
amounts = st.builds(Amount, st.integers(0, 10), counts, st.integers(0, 1200))


@given(st.floats(0, 2e9), st.floats(-100, 100), st.integers(1, 60), st.integers(1, 60))
def test_what_is_spent_is_never_more_than_there_is(now: float, ahead: float, wanted: int, least: int) -> None:
    spent = spend(PACE, now + ahead, now, wanted, min(wanted, least))
    assert 0 <= spent.count <= min(wanted, PACE.burst)
    assert (spent.count == 0) == (spent.wait_seconds > 0)
    assert spent.due <= max(now + ahead, now + PACE.burst / PACE.per_second + 1e-6)
    if not spent.count and least <= PACE.burst:
        again = spend(PACE, spent.due, now + spent.wait_seconds, wanted, min(wanted, least))
        assert again.count >= min(wanted, least), "whoever waits as told gets something"


def test_a_part_grows_with_what_is_asked_for_and_shrinks_when_nobody_asks() -> None:
    part, sizes, now = Part(), [], 0.0
    for _ in range(8):
        sizes.append(part.next_size(PACE, now))
        part.receive(sizes[-1], now)
        while part.take(now):
            now += 0.01
    assert sizes == [1, 2, 4, 8, 10, 10, 10, 10], "the largest is a second's worth"
    for _ in range(4):
        now += 2 * PART_SECONDS
        sizes.append(part.next_size(PACE, now))
        part.receive(sizes[-1], now)
    assert sizes[-4:] == [5, 2, 1, 1]


def test_a_part_is_worth_nothing_once_its_time_is_over() -> None:
    part = Part()
    part.receive(3, 100.0)
    assert part.take(100.0 + PART_SECONDS - 0.1)
    assert not part.take(100.0 + PART_SECONDS)


@pytest.mark.parametrize(
    ("pace", "wanted", "least"), [(PACE, 1, 1), (PACE, 10, 3), (Pace(1, 3), 5, 1), (Pace(100, 2), 9, 2)]
)
def test_the_least_part_can_always_be_had(pace: Pace, wanted: int, least: int) -> None:
    assert least_part(pace, wanted) == least
    assert spend(pace, 0.0, 1000.0, wanted, least).count >= least


@given(amounts, amounts, amounts)
def test_what_is_granted_is_needed_and_leaves_the_limits_whole(
    accepted: Amount, others: Amount, needed: Amount
) -> None:
    accepted = Amount(0, accepted.items, accepted.bytes)
    fits = (accepted + others + needed).within(Amount(8, 100, 1000))
    granted = grant(LIMITS, accepted, others, needed)
    assert isinstance(granted, Amount) == fits
    if isinstance(granted, Amount):
        assert needed.within(granted)
        assert (accepted + others + granted).within(Amount(8, 100, 1000))


def test_a_shortage_says_of_what_and_whether_waiting_helps() -> None:
    one = Amount(1, 1, 100)
    assert grant(LIMITS, NOTHING, Amount(uploads=8), one) == Shortage("uploads_at_once", 8, 0, under_way=True)
    assert grant(LIMITS, Amount(items=100), NOTHING, one) == Shortage("items_per_day", 100, 100, under_way=False)
    assert grant(LIMITS, Amount(bytes=901), NOTHING, one) == Shortage("bytes_per_day", 1000, 901, under_way=False)
    waiting = grant(LIMITS, Amount(bytes=500), Amount(bytes=401), one)
    assert waiting == Shortage("bytes_per_day", 1000, 500, under_way=True)


def test_what_is_not_limited_is_granted_without_end() -> None:
    huge = Amount(10**6, 10**9, 10**15)
    assert isinstance(grant(TenantLimits(), huge, huge, huge), Amount)
    assert not TenantLimits().bounds_uploads
    assert TenantLimits().pace is None


def test_whoever_fell_silent_holds_nothing() -> None:
    holders = holders_with(holders_with({}, "a", Amount(1, 2, 3), 115.0, 100.0), "b", Amount(4, 5, 6), 120.0, 105.0)
    assert held_by_others(holders, "a", 110.0) == Amount(4, 5, 6)
    assert held_by_others(holders, "c", 110.0) == Amount(5, 7, 9)
    assert held_by_others(holders, "c", 116.0) == Amount(4, 5, 6)
    assert set(holders_with(holders, "c", NOTHING, 130.0, 116.0)) == {"b"}


def test_an_operator_changes_single_limits_and_zero_is_no_limit() -> None:
    changed = LIMITS.changed_by({"items_per_day": 7, "bytes_per_day": 0, "unknown": 1})
    assert changed == TenantLimits(uploads_at_once=8, items_per_day=7, bytes_per_day=None)


def test_a_tally_counts_every_item_once_and_reads_the_last_stretch_again() -> None:
    def item(number: int, second: int, size: int = 10) -> Accepted:
        return Accepted(f"i{number}", NOON.replace(second=second).isoformat(), size)

    tally = Tally("2026-11-25", overlap_seconds=20)
    assert tally.reads_from == "2026-11-25"
    assert tally.add([item(1, 0), item(2, 40)]) == 2
    assert tally.reads_from == NOON.replace(second=20).isoformat()
    tally.forget()
    assert tally.remembered == 1
    # One appears late, one is seen again.
    assert tally.add([item(3, 25), item(2, 40), item(4, 50)]) == 2
    assert tally.sum == Amount(0, 4, 40)


def test_a_day_is_one_of_utc() -> None:
    late = datetime.datetime(2026, 12, 31, 23, 59, 30, tzinfo=datetime.UTC)
    assert (day_of(late), day_after(day_of(late)), seconds_left(late)) == ("2026-12-31", "2027-01-01", 30.0)
    east = late.astimezone(datetime.timezone(datetime.timedelta(hours=5)))
    assert (day_of(east), seconds_left(east)) == ("2026-12-31", 30.0)
    assert day_of(late) <= late.isoformat() < day_after(day_of(late))


def test_the_environment_sets_what_tenants_may_do() -> None:
    least = {"AIMA_INTERNAL_SECRET": "s", "AIMA_UPLOAD_URLS": "http://127.0.0.1:1"}
    usual = Settings.from_environment(least).tenants
    assert usual == TenantLimits(requests_per_second=400, uploads_at_once=64)
    set_ = {"AIMA_TENANT_REQUESTS_PER_SECOND": "0", "AIMA_TENANT_ITEMS_PER_DAY": "9"}
    assert Settings.from_environment({**least, **set_}).tenants == TenantLimits(None, 64, 9, None)
    with pytest.raises(SettingsError, match="AIMA_TENANT_BYTES_PER_DAY"):
        Settings.from_environment({**least, "AIMA_TENANT_BYTES_PER_DAY": "10 GiB"})
    assert Settings().tenants == TenantLimits(), "on one machine nobody is limited"
