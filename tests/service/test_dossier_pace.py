"""A case of many media is looked at as a whole seldom, and its end is noticed all the same."""

import datetime
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aima_common.ports.documents import Change, Document
from aima_dossier.pace import GATHER_SECONDS, LONGEST_GATHER_SECONDS, Ends, Pace
from tests.service.stage import NOW, Stage, staged

MEDIA = 100


class Hall:
    """A case of many media, and how often it was asked for one of them."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.asked = 0
        self.ends = Ends(stage.ports.documents, self.newest_run)

    async def newest_run(self, medium: str) -> Document | None:
        self.asked += 1
        return await self.stage.ports.documents.load("runs", f"run {medium}")

    async def accept(self, number: int, *, begun: bool = True) -> None:
        body = {"case": "case", "medium": f"m{number}", "ordinal": number}
        await self.stage.put("items", f"item {number}", "accepted", **body)
        if begun:
            await self.begin(number)

    async def begin(self, number: int) -> None:
        await self.stage.put("runs", f"run m{number}", "analysing", medium=f"m{number}", accepted_at=NOW.isoformat())

    async def end(self, number: int) -> None:
        await self.stage.ports.documents.transition("runs", f"run m{number}", change=Change(state="analysed"))


@pytest.fixture
async def hall(tmp_path: Path) -> AsyncIterator[Hall]:
    async with staged(tmp_path) as stage:
        yield Hall(stage)


@pytest.mark.parametrize("order", ["as they came", "the other way round", "by chance"])
async def test_the_end_of_many_is_noticed_without_asking_for_all_of_them_each_time(hall: Hall, order: str) -> None:
    numbers = list(range(MEDIA))
    for number in numbers:
        await hall.accept(number)
    if order == "the other way round":
        numbers.reverse()
    elif order == "by chance":
        random.Random(1).shuffle(numbers)
    told = []
    for number in numbers:
        await hall.end(number)
        told.append(await hall.ends.reached("case"))
    assert told == [False] * (MEDIA - 1) + [True]
    # All of them with every message would be 10,000.
    assert MEDIA <= hall.asked < 10 * MEDIA
    assert await hall.ends.reached("case"), "and so it stays"


async def test_what_came_later_or_is_not_worked_on_yet_is_waited_for(hall: Hall) -> None:
    await hall.accept(0)
    await hall.end(0)
    assert await hall.ends.reached("case")
    await hall.accept(1, begun=False)
    assert not await hall.ends.reached("case")
    await hall.begin(1)
    assert not await hall.ends.reached("case")
    await hall.end(1)
    assert await hall.ends.reached("case")


async def test_nobody_waits_for_what_was_erased(hall: Hall) -> None:
    for number in range(2):
        await hall.accept(number)
    await hall.end(0)
    assert not await hall.ends.reached("case")
    documents: Any = hall.stage.ports.documents
    await documents.delete("runs", "run m1")
    await documents.transition("items", "item 1", change=Change(state="erased"))
    assert await hall.ends.reached("case")


@pytest.mark.parametrize(
    ("took", "gathers"),
    [
        (0.0, GATHER_SECONDS),
        (1.0, GATHER_SECONDS),
        (4.0, 2 * GATHER_SECONDS),
        (6.0, 4 * GATHER_SECONDS),
        (9_999.0, LONGEST_GATHER_SECONDS),
    ],
)
def test_a_case_that_takes_long_to_write_is_written_more_seldom(took: float, gathers: int) -> None:
    pace = Pace()
    assert pace.next("case", NOW)[0] == datetime.timedelta(seconds=GATHER_SECONDS)
    pace.wrote("case", took)
    delay, moment = pace.next("case", NOW)
    assert delay == datetime.timedelta(seconds=gathers)
    assert pace.next("case", NOW + delay)[1] != moment
    assert pace.next("another", NOW)[0] == datetime.timedelta(seconds=GATHER_SECONDS)
    pace.wrote("case", 0.1)
    assert pace.next("case", NOW)[0] == datetime.timedelta(seconds=GATHER_SECONDS), "and again as before"
