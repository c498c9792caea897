"""The same for many, several at a time."""

import asyncio

import pytest

from aima_common.abreast import AT_A_TIME, abreast
from aima_common.errors import TransientError


async def test_all_are_done_so_many_at_a_time_and_none_twice() -> None:
    under_way, most, done = 0, 0, list[int]()

    async def work(number: int) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        done.append(number)

    await abreast(work, range(10 * AT_A_TIME))
    assert sorted(done) == list(range(10 * AT_A_TIME))
    assert most == AT_A_TIME
    await abreast(work, [])
    assert len(done) == 10 * AT_A_TIME


async def test_what_has_to_wait_holds_up_none_of_the_others_and_is_told() -> None:
    done = []

    async def work(number: int) -> None:
        await asyncio.sleep(0)
        if number == 3:
            raise TransientError("not now", code="busy")
        done.append(number)

    with pytest.raises(TransientError, match="not now"):
        await abreast(work, range(100))
    assert sorted(done) == [number for number in range(100) if number != 3]


async def test_a_mistake_ends_the_work_at_once() -> None:
    done = []

    async def work(number: int) -> None:
        await asyncio.sleep(0)
        if number == 3:
            raise ValueError("a mistake")
        done.append(number)

    with pytest.raises(ValueError, match="a mistake"):
        await abreast(work, range(10_000))
    assert len(done) < 1000
