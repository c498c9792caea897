"""Peak memory of the whole process tree while a long film is analysed, and whether it grows with the film.

Goal: 2.5 GiB at most, flat over the length. Memory is the sum of proportional set sizes, sampled once a second.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from aima_demo.case import make_long_film
from benchmarks import harness


async def measure(minutes: float) -> dict[str, Any]:
    """Analyse one film and watch."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        film = make_long_film(folder / "film.mp4", minutes)
        async with harness.running(folder / "data") as aima:
            case = await aima.case("film")
            started = time.perf_counter()
            with film.open("rb") as file:
                await aima.upload(case, "film.mp4", file)
            samples = await _watch(aima, case)
            seconds = time.perf_counter() - started
    mib = [sample / harness.MIB for sample in samples]
    third = max(1, len(mib) // 3)
    early, late = statistics.median(mib[third : 2 * third]), statistics.median(mib[-third:])
    return {
        "film_minutes": minutes,
        "seconds": round(seconds, 1),
        "peak_mib": round(max(mib)),
        "median_mib": round(statistics.median(mib)),
        "second_third_mib": round(early),
        "last_third_mib": round(late),
        "growth_ratio": round(late / early, 3),
        "film_minutes_per_minute": round(minutes / (seconds / 60), 2),
    }


async def _watch(aima: harness.Running, case: str) -> list[int]:
    samples: list[int] = []
    while True:
        samples.append(await asyncio.to_thread(aima.tree_bytes))
        state = await aima.state(case)
        if len(samples) % 30 == 0:
            harness.note(f"{len(samples)} s: {samples[-1] / harness.MIB:.0f} MiB, {state['progress']}")
        if state["dossier"] and state["dossier"]["complete"] and state["counts"]["analysed"] == 1:
            return samples
        await asyncio.sleep(1)


def _options() -> argparse.Namespace:
    made = harness.parser(__doc__, repeats=1)
    made.add_argument("--minutes", type=float, default=60.0, help="length of the film (default 60)")
    return made.parse_args()


if __name__ == "__main__":
    options = _options()
    harness.report("film_memory", asyncio.run(measure(options.minutes)), as_json=options.json)
