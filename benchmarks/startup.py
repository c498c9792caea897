"""How soon `aima up` is ready, and what it takes of memory while nobody asks for anything (goal: 5 s, 600 MiB)."""

import asyncio
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import harness

IDLE_SECONDS = 5.0


async def measure(repeats: int) -> dict[str, Any]:
    """Start and look, again and again, each time on an empty folder."""
    ready, idle = [], []
    for number in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            async with harness.running(Path(folder)) as aima:
                ready.append(aima.ready_seconds)
                await asyncio.sleep(IDLE_SECONDS)
                idle.append(aima.tree_bytes() / harness.MIB)
        harness.note(f"{number + 1}/{repeats}: ready after {ready[-1]:.2f} s, idle at {idle[-1]:.0f} MiB")
    return {"ready_seconds": harness.spread(ready), "idle_mib": harness.spread(idle)}


if __name__ == "__main__":
    options = harness.parser(__doc__).parse_args()
    harness.report("startup", asyncio.run(measure(options.repeats)), as_json=options.json)
