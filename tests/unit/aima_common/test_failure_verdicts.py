import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aima_common.errors import (
    MalformedMessageError,
    ObjectMissingError,
    PermanentError,
    StorageFullError,
    TransientError,
    UnavailableError,
)
from aima_common.jobs.failure import (
    LONGEST_AWAY_SECONDS,
    LONGEST_BACKOFF_SECONDS,
    MAX_ATTEMPTS,
    MAX_RETRIES,
    SERVER_CODES,
    SERVER_SECONDS,
    WAITING_SECONDS,
    Failure,
    Verdict,
    after_failure,
)

TRANSIENT = Failure("timeout", "it took too long", transient=True)
PERMANENT = Failure("corrupt", "the input is damaged", transient=False)


def after(attempts: int, failure: Failure, seed: int = 1) -> Verdict:
    return after_failure(attempts, failure, random.Random(seed))


def test_a_passing_failure_is_tried_again_three_times_and_then_final() -> None:
    states = [after(attempt, TRANSIENT).state for attempt in range(1, MAX_ATTEMPTS + 1)]
    assert states == ["ready"] * MAX_RETRIES + ["dead"] * (MAX_ATTEMPTS - MAX_RETRIES)


def test_the_pause_doubles_and_its_jitter_stays_within_the_upper_half() -> None:
    for attempt in (1, 2, 3):
        pauses = [after(attempt, TRANSIENT, seed).delay_seconds for seed in range(200)]
        assert 2**attempt / 2 <= min(pauses) < max(pauses) <= 2**attempt


@given(st.integers(1, 50), st.floats(0, 1000))
def test_a_pause_is_bounded_unless_the_other_side_asks_for_a_longer_one(attempts: int, wish: float) -> None:
    verdict = after(attempts, Failure("busy", "later", transient=True, retry_after_seconds=wish))
    if verdict.state == "ready":
        assert wish <= verdict.delay_seconds <= max(LONGEST_BACKOFF_SECONDS, wish)


def test_a_lasting_failure_is_final_at_once() -> None:
    assert after(1, PERMANENT) == Verdict("dead")


def test_an_unknown_failure_is_tried_once_more() -> None:
    unknown = Failure.of(KeyError("x"))
    assert [after(attempt, unknown).state for attempt in (1, 2)] == ["ready", "dead"]


@pytest.mark.parametrize(
    "error", [StorageFullError("no room"), UnavailableError("no Landlock", code="sandbox_missing")], ids=["disk", "box"]
)
def test_what_an_operator_must_mend_is_waited_for_without_counting(error: TransientError) -> None:
    for attempts in (1, MAX_ATTEMPTS, 100):
        assert after(attempts, Failure.of(error)) == Verdict("ready", WAITING_SECONDS[0], counts=False)


@pytest.mark.parametrize("code", sorted(SERVER_CODES))
def test_a_server_that_is_away_is_waited_for_however_often_and_not_met_by_all_at_once(code: str) -> None:
    away = Failure.of(UnavailableError("away", code=code))
    verdicts = [after(attempts, away, seed) for attempts in (1, MAX_ATTEMPTS, 100) for seed in range(20)]
    assert {(verdict.state, verdict.counts) for verdict in verdicts} == {("ready", False)}
    pauses = [verdict.delay_seconds for verdict in verdicts]
    assert SERVER_SECONDS[0] <= min(pauses) < max(pauses) <= SERVER_SECONDS[1]


@pytest.mark.parametrize("code", sorted(SERVER_CODES))
def test_a_server_that_refuses_one_job_for_too_long_is_not_waited_for_any_more(code: str) -> None:
    away = Failure.of(UnavailableError("it says no", code=code))
    assert away.lasting(0) is away
    assert away.lasting(LONGEST_AWAY_SECONDS - 1) is away
    lasting = away.lasting(LONGEST_AWAY_SECONDS)
    assert (lasting.code, lasting.by_server, lasting.waits_seconds) == (code, True, None)
    assert lasting.reason == "for 7 days without a break, so that it is not waited for any longer: it says no"
    verdicts = [after(attempt, lasting) for attempt in range(1, MAX_ATTEMPTS + 1)]
    assert all(verdict.counts for verdict in verdicts)
    assert [verdict.state for verdict in verdicts] == ["ready"] * MAX_RETRIES + ["dead"] * (MAX_ATTEMPTS - MAX_RETRIES)


def test_the_longest_outage_is_longer_than_a_weekend_with_nobody_there() -> None:
    assert LONGEST_AWAY_SECONDS > 4 * 24 * 3600


@pytest.mark.parametrize(
    "failure",
    [
        TRANSIENT,
        PERMANENT,
        Failure.of(StorageFullError("no room")),
        Failure.of(UnavailableError("no Landlock", code="sandbox_missing")),
        Failure.of(PermanentError("no", code="s3_login")),
        Failure.of(KeyError("x")),
    ],
    ids=["passing", "lasting", "disk", "box", "no server", "unknown"],
)
def test_what_is_no_servers_doing_is_judged_as_ever_however_long_it_lasts(failure: Failure) -> None:
    assert not failure.by_server
    assert failure.lasting(100 * LONGEST_AWAY_SECONDS) is failure


def test_other_unavailability_counts_as_an_attempt() -> None:
    gone = Failure.of(UnavailableError("gone", code="decoder_closed"))
    assert after(1, gone).counts
    assert after(MAX_ATTEMPTS, gone).state == "dead"


@pytest.mark.parametrize(
    ("error", "code", "transient"),
    [
        (PermanentError("no", code="limit_pixels"), "limit_pixels", False),
        (ObjectMissingError("k"), "object_missing", False),
        (MalformedMessageError("no"), "malformed_message", False),
        (TransientError("later", code="decoder_down"), "decoder_down", True),
        (TransientError("later"), "transient", True),
        (TimeoutError(), "timeout", True),
        (MemoryError(), "out_of_memory", True),
        (ZeroDivisionError(), "unknown", False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_an_error_is_judged_by_what_it_is(error: Exception, code: str, transient: bool) -> None:
    failure = Failure.of(error)
    assert (failure.code, failure.transient) == (code, transient)


def test_a_wish_to_wait_is_kept() -> None:
    assert Failure.of(TransientError("later", retry_after_seconds=7.0)).retry_after_seconds == 7.0
