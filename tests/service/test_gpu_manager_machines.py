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
