"""What is asked for at the same time is done together, in order, and each is told of its own."""

import asyncio
from collections.abc import Sequence

import pytest

from aima_common.combining import Combining
from aima_common.errors import PermanentError, UnavailableError


class Work:
    """Squares numbers, slowly; notes what was done together."""

    def __init__(self, most: int = 3) -> None:
        self.batches: list[tuple[str, list[int]]] = []
        self.go_on = asyncio.Event()
        self.combining = Combining[int, int](self._squares, most)

    async def _squares(self, key: str, numbers: Sequence[int]) -> Sequence[int]:
        self.batches.append((key, list(numbers)))
        await self.go_on.wait()
        if 13 in numbers:
            raise PermanentError("thirteen cannot be squared", code="thirteen")
        if 99 in numbers:
            raise UnavailableError("nobody squares", code="away")
        return [number * number for number in numbers]


async def asked(work: Work, *numbers: int, key: str = "a") -> list["asyncio.Task[int]"]:
    tasks = [asyncio.create_task(work.combining.do(key, number)) for number in numbers]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_what_comes_while_a_batch_is_under_way_is_the_next_one() -> None:
    work = Work()
    tasks = await asked(work, 1) + await asked(work, 2, 3, 4, 5) + await asked(work, 6, key="b")
    assert sorted(work.batches) == [("a", [1]), ("b", [6])]
    work.go_on.set()
    assert await asyncio.gather(*tasks) == [1, 4, 9, 16, 25, 36]
    assert [batch for key, batch in work.batches if key == "a"] == [[1], [2, 3, 4], [5]]
    assert await work.combining.do("a", 7) == 49


@pytest.mark.parametrize("wrong", [13, 99])
async def test_one_that_cannot_be_done_takes_no_others_with_it_and_who_is_away_fails_all(wrong: int) -> None:
    work = Work()
    tasks = await asked(work, 1) + await asked(work, 2, wrong, 3)
    work.go_on.set()
    told = await asyncio.gather(*tasks, return_exceptions=True)
    names = [one if isinstance(one, int) else type(one).__name__ for one in told]
    if wrong == 13:
        assert names == [1, 4, "PermanentError", 9]
    else:
        assert names == [1, "UnavailableError", "UnavailableError", "UnavailableError"]


async def test_whoever_stops_waiting_stops_nobody_else() -> None:
    work = Work()
    first, second, third = [*await asked(work, 1), *await asked(work, 2, 3)]
    first.cancel()
    second.cancel()
    work.go_on.set()
    assert await third == 9
    await work.combining.settle()
    assert [batch for _, batch in work.batches] == [[1], [2, 3]]
