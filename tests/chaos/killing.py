"""Who is killed when: drawn from a seed, adapted to who is there."""

import asyncio
import random
from dataclasses import asdict, dataclass
from typing import Any

from tests.chaos.installation import Installation

TARGETS = ("main process", "process group", "inference", "decoder server", "decoder child", "vector process")
CHILD_SECONDS = 3.0
"""How long a kind of child is waited for before the main process is taken in its place."""

POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Kill:
    """Something that was done."""

    after_seconds: float
    """Pause since the last one."""
    target: str
    leases: int
    """Jobs that were held at that moment."""

    def as_dict(self) -> dict[str, Any]:
        """Lay it out for the report."""
        return asdict(self)


def schedule(count: int, mean_pause: float, seed: int) -> list[tuple[float, str]]:
    """Draw pauses and targets; every kind of target comes up before one comes up again."""
    rng = random.Random(seed)
    targets: list[str] = []
    while len(targets) < count:
        targets += rng.sample(TARGETS, len(TARGETS))
    # The main process itself is hit at least once, however few kills there are.
    if "main process" not in targets[:count]:
        targets[rng.randrange(count)] = "main process"
    return [(rng.uniform(0.2, 1.8) * mean_pause, target) for target in targets[:count]]


async def kill_all(house: Installation, planned: list[tuple[float, str]]) -> list[Kill]:
    """Carry the schedule out, starting AIMA again whenever it is gone."""
    done = []
    for pause, target in planned:
        await asyncio.sleep(pause)
        done.append(await _kill(house, pause, target))
    return done


async def _kill(house: Installation, pause: float, target: str) -> Kill:
    if target not in {"main process", "process group"}:
        deadline = asyncio.get_running_loop().time() + CHILD_SECONDS
        while asyncio.get_running_loop().time() < deadline:
            leases = await house.kill_child(target)
            if leases is not None:
                return Kill(round(pause, 3), target, leases)
            await asyncio.sleep(POLL_SECONDS)
        target = "main process"
    await house.kill(group=target == "process group")
    leases = await house.leases()
    await house.start()
    return Kill(round(pause, 3), target, leases)
