"""How soon the real servers of a cluster are ready, all together, once their files are here (goal: 20 s)."""

import asyncio
import time
from typing import Any

from aima_servers.running import USUAL, fetch, serving
from benchmarks import harness


async def measure(repeats: int) -> dict[str, Any]:
    """Start all of them, each time with new data, and wait until every one serves."""
    ready, stopped = [], []
    for number in range(repeats):
        began = time.perf_counter()
        async with serving():
            ready.append(time.perf_counter() - began)
            ending = time.perf_counter()
        stopped.append(time.perf_counter() - ending)
        harness.note(f"{number + 1}/{repeats}: ready after {ready[-1]:.2f} s, stopped after {stopped[-1]:.2f} s")
    return {
        "servers": ", ".join(USUAL),
        "ready_seconds": harness.spread(ready),
        "stopped_seconds": harness.spread(stopped),
    }


if __name__ == "__main__":
    options = harness.parser(__doc__).parse_args()
    fetch(report=harness.note)
    harness.report("servers", asyncio.run(measure(options.repeats)), as_json=options.json)
