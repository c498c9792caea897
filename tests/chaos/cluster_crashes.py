"""Crashes at named points, in every service that comes there, while a case is worked on."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from aima_cluster import Process
from tests.chaos.cluster_faults import Fault, require
from tests.chaos.cluster_ground import Ground
from tests.chaos.crashing import POINTS, STATUS, VARIABLE, last_words
from tests.chaos.damages import (
    DONE_TWICE,
    HELD_TWICE,
    LATE_WRITE,
    LOST,
    OBJECT_GONE,
    UNENDED,
    UNREAD,
    UNTOLD,
    Damage,
)

CRASH_SECONDS = 120.0
"""How long a process may take until it comes to its point."""

POLL_SECONDS = 0.1

WHERE: Mapping[str, Sequence[str]] = {
    "before a change": ("upload", "preprocessing", "scheduler", "fusion", "dossier", "storage"),
    "after a change": ("upload", "preprocessing", "scheduler", "analysis-image", "fusion", "dossier", "storage"),
    "before telling": ("upload", "preprocessing", "scheduler", "analysis-image", "fusion", "dossier"),
    "after telling": ("upload", "preprocessing", "scheduler", "analysis-image", "fusion", "dossier"),
    "before an offset": ("gateway", "preprocessing", "scheduler", "fusion", "dossier", "storage", "monitoring"),
    "after a claim": ("preprocessing", "analysis-image", "fusion", "dossier"),
    "after an object": ("upload", "preprocessing", "analysis-image", "dossier"),
    "before a result": ("preprocessing", "analysis-image", "fusion", "dossier"),
    "after a result": ("preprocessing", "analysis-image", "fusion", "dossier"),
}
"""Point -> the services that come there."""

THREATENS: Mapping[str, tuple[Damage, ...]] = {
    "before a change": (UNENDED, LOST),
    "after a change": (UNENDED, UNTOLD),
    "before telling": (UNTOLD, UNENDED),
    "after telling": (DONE_TWICE, UNTOLD),
    "before an offset": (DONE_TWICE, UNREAD),
    "after a claim": (HELD_TWICE, UNENDED),
    "after an object": (OBJECT_GONE, UNENDED),
    "before a result": (UNENDED, LATE_WRITE),
    "after a result": (UNTOLD, LATE_WRITE),
}
"""Point -> what a crash there could do."""


def crash_at(point: str, services: Sequence[str] = ()) -> Fault:
    """Have one process of each service (of all that come there) die at a point, and started anew without it."""
    assert point in POINTS
    armed: list[tuple[Process, int]] = []

    async def prepare(ground: Ground) -> str:
        chosen = [ground.cluster.of(service)[0] for service in services or WHERE[point]]
        armed[:] = [(process, process.deaths) for process in chosen]
        await asyncio.gather(*(_arm(process, point) for process in chosen))
        return f"{len(chosen)} processes are armed"

    async def inflict(ground: Ground, rng: random.Random) -> str:
        # The restart that arms a process is an end, too.
        pending = {process: deaths + 2 for process, deaths in armed}
        late: list[str] = []
        try:
            async with asyncio.timeout(CRASH_SECONDS):
                while any(process.deaths < deaths for process, deaths in pending.items()):
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            late = [process.member.name for process, deaths in pending.items() if process.deaths < deaths]
            await asyncio.gather(*(process.restart() for process in pending if process.member.name in late))
        require(not late, f"{', '.join(late)} never came there")
        for process in pending:
            await process.until_ready()
            said = process.log.read_text(errors="replace").count(last_words(point))
            require(process.status == STATUS and said == 1, f"{process.member.name} died {process.status}, said {said}")
        names = ", ".join(process.member.name for process in pending)
        return f"{names} died there with status {STATUS} and came back"

    return Fault(f"crash {point}", inflict, prepare=prepare, threatens=THREATENS[point])


async def _arm(process: Process, point: str) -> None:
    member = process.member
    armed = replace(
        member,
        environment={**member.environment, VARIABLE: point},
        arguments=("-m", "tests.chaos.crashing", member.module),
    )
    await process.restart(armed)
