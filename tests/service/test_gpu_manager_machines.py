"""Machines are announced once, kept fresh, and noticed when they fall silent."""

import datetime
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from aima_common.contracts import messages as m
from aima_common.ports.documents import Change
from aima_gpu_manager.domain import Inventory
from aima_gpu_manager.service import AWAY_SECONDS, GpuManager
from tests.service.stage import Stage, staged

HERE = Inventory("here", 2.0, 8 << 30)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path) as found:
        yield found


async def told(stage: Stage) -> list[tuple[str, float, bool]]:
    return [(x.machine, x.cpus, x.available) for x in await stage.told(m.CapacityChanged)]


async def test_a_machine_is_told_of_when_it_comes_and_when_it_changes(stage: Stage) -> None:
    manager = GpuManager(stage.ports, lambda: HERE)
    await manager.announce(HERE)
    await manager.announce(HERE)
    await manager.announce(replace(HERE, cpus=4.0))
    assert await told(stage) == [("here", 2.0, True), ("here", 4.0, True)]
    assert (await stage.one("machines", "here")).body["cpus"] == 4.0


async def test_a_machine_that_says_nothing_is_away_until_it_speaks_again(stage: Stage) -> None:
    manager = GpuManager(stage.ports, lambda: HERE)
    await manager.announce(HERE)
    await manager._notice_the_silent()
    assert (await stage.one("machines", "here")).state == "available"
    before = stage.ports.clock.now() - datetime.timedelta(seconds=AWAY_SECONDS + 1)
    await stage.ports.documents.transition("machines", "here", change=Change(set={"seen_at": before.isoformat()}))
    for _ in range(2):
        await manager._notice_the_silent()
    assert (await stage.one("machines", "here")).state == "away"
    await manager.announce(HERE)
    assert [available for _, _, available in await told(stage)] == [True, False, True]


async def test_a_wish_for_capacity_changes_nothing_on_one_machine(stage: Stage) -> None:
    manager = GpuManager(stage.ports, lambda: HERE)
    wish = stage.envelope(m.CapacityRequested(reason="a model needs a GPU", gpus=1))
    await manager.handlers()[m.CapacityRequested](wish)
    assert await stage.told() == []


class Ticks:
    """A clock whose ticks are told; its time of day is wrong by a year."""

    def __init__(self) -> None:
        self.ticks = 0.0

    def now(self) -> datetime.datetime:
        return datetime.datetime(2025, 1, 1, tzinfo=datetime.UTC)

    def monotonic(self) -> float:
        return self.ticks

    async def sleep(self, seconds: float) -> None:
        self.ticks += seconds


@pytest.mark.parametrize("seen_at", ["2099-01-01T00:00:00+00:00", "soon"], ids=["clock set back", "no time"])
async def test_a_silent_machine_that_says_to_be_seen_later_than_now_is_away_as_soon_as_others(
    stage: Stage, seen_at: str
) -> None:
    clock = Ticks()
    manager = GpuManager(replace(stage.ports, clock=clock), lambda: HERE)
    for name in ("silent", "alive"):
        await stage.put("machines", name, "available", cpus=-1, memory_bytes="much", gpus=[], seen_at=seen_at)
    for _ in range(3):
        await manager._notice_the_silent()
        clock.ticks += AWAY_SECONDS / 2 - 1
        await stage.ports.documents.transition("machines", "alive", change=Change(add={"beats": 1}))
    assert {one.state for one in await stage.all("machines")} == {"available"}
    clock.ticks += 10
    await manager._notice_the_silent()
    assert [(one.id, one.state) for one in await stage.all("machines")] == [("alive", "available"), ("silent", "away")]
    assert await told(stage) == [("silent", 0.0, False)]


async def test_a_machine_whose_clock_is_wrong_is_seen_by_the_clock_of_the_store(stage: Stage) -> None:
    manager = GpuManager(replace(stage.ports, clock=Ticks()), lambda: HERE)
    await manager.announce(HERE)
    await manager._notice_the_silent()
    assert (await stage.one("machines", "here")).state == "available"
    seen = datetime.datetime.fromisoformat((await stage.one("machines", "here")).body["seen_at"])
    assert abs((await stage.ports.documents.now() - seen).total_seconds()) < AWAY_SECONDS
