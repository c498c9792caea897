"""What is thought of a partition after what was written down by whoever had it before."""

from typing import Any

from aima_common.runtime.journal import DEATHS, Beginning, judge

ME, OTHER = "me", "somebody else"


def entry(reader: str = OTHER, begun: int = 10, alone: int | None = None, **deaths: int) -> dict[str, Any]:
    return {
        "reader": reader,
        "begun": begun,
        "alone": alone,
        "deaths": {offset.lstrip("o"): count for offset, count in deaths.items()},
    }


def test_nothing_is_suspected_of_a_partition_that_is_new() -> None:
    assert judge(None, ME, 0, 200) == Beginning()


def test_who_got_on_since_is_not_suspected() -> None:
    assert judge(entry(begun=10), ME, 11, 211) == Beginning()


def test_who_begins_where_another_began_suspects_the_whole_batch() -> None:
    assert judge(entry(begun=10), ME, 10, 210) == Beginning(210, {})


def test_who_begins_again_where_it_began_itself_has_not_died() -> None:
    assert judge(entry(ME, begun=10), ME, 10, 210) == Beginning()
    assert judge(entry(ME, begun=10, alone=15), ME, 10, 210) == Beginning()


def test_a_record_that_was_alone_in_hand_witnessed_the_death_before_and_this_one() -> None:
    assert judge(entry(alone=15), ME, 10, 210) == Beginning(210, {15: 2})


def test_a_record_that_was_alone_again_has_witnessed_enough() -> None:
    assert judge(entry(begun=15, alone=15, o15=2), ME, 15, 16) == Beginning(16, {15: DEATHS})


def test_deaths_at_other_offsets_are_kept_until_they_are_passed() -> None:
    assert judge(entry(begun=12, alone=13, o17=2, o11=3), ME, 12, 14) == Beginning(18, {17: 2, 13: 2})
    assert judge(entry(begun=12, o17=2), ME, 13, 14) == Beginning(18, {17: 2})
    assert judge(entry(begun=12, o17=2), ME, 18, 20) == Beginning()


def test_a_record_that_was_committed_after_all_is_not_blamed() -> None:
    assert judge(entry(begun=10, alone=15), ME, 16, 200) == Beginning()
