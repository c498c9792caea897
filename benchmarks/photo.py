"""One photo on a warm AIMA: from the first byte of the POST to the finished dossier.

Alone (goal: p50 1.5 s), and with priority high while a long film is being analysed (goal: 3 s).
"""

import argparse
import asyncio
import io
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from aima_demo.case import make_demo_case, make_long_film
from benchmarks import harness

WARM_UP = 3
FILM_HEAD_START_SECONDS = 30.0


def photos(folder: Path, count: int) -> list[bytes]:
    """Make photos that no cache has seen: a portrait with one pixel changed."""
    from PIL import Image

    (source,) = list(make_demo_case(folder).media_folder.rglob("astronaut.png"))[:1]
    made = []
    with Image.open(source) as picture:
        for number in range(count):
            copy = picture.convert("RGB")
            copy.putpixel((number % 64, number // 64), (number, 255 - number, 0))
            buffer = io.BytesIO()
            copy.save(buffer, "PNG")
            made.append(buffer.getvalue())
    return made


async def one(aima: harness.Running, data: bytes, priority: str) -> dict[str, float]:
    """Send one photo and give the seconds to each stage, from the start of the POST."""
    case = await aima.case("photo", priority)
    started = time.perf_counter()
    stages: dict[str, float] = {}
    await aima.upload(case, "photo.png", data)
    stages["uploaded"] = time.perf_counter() - started
    while True:
        state = await aima.state(case)
        elapsed = time.perf_counter() - started
        for medium in state["media"]:
            stages.setdefault(medium["stage"], elapsed)
        if state["dossier"] and state["dossier"]["complete"]:
            stages["dossier"] = elapsed
            return stages
        await asyncio.sleep(0.01)


async def measure(count: int, film_minutes: float) -> dict[str, Any]:
    """Measure alone, then beside a film."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        some = photos(folder / "demo", 2 * count + 2 * WARM_UP)
        async with harness.running(folder / "data") as aima:
            alone = [await one(aima, some.pop(), "normal") for _ in range(count + WARM_UP)][WARM_UP:]
            harness.note(f"alone: p50 {statistics.median(s['dossier'] for s in alone):.2f} s")
            film = make_long_film(folder / "film.mp4", film_minutes)
            long = await aima.case("film")
            with film.open("rb") as file:
                await aima.upload(long, "film.mp4", file)
            await asyncio.sleep(FILM_HEAD_START_SECONDS)
            beside = [await one(aima, some.pop(), "high") for _ in range(count + WARM_UP)][WARM_UP:]
            state = await aima.state(long)
            busy = state["counts"]["running"] == 1
            harness.note(f"beside a film: p50 {statistics.median(s['dossier'] for s in beside):.2f} s")
    return {
        "alone_p50_seconds": round(statistics.median(s["dossier"] for s in alone), 3),
        "alone_seconds": harness.spread([s["dossier"] for s in alone]),
        "alone_stages_p50_seconds": _stages(alone),
        "beside_film_p50_seconds": round(statistics.median(s["dossier"] for s in beside), 3),
        "beside_film_seconds": harness.spread([s["dossier"] for s in beside]),
        "beside_film_stages_p50_seconds": _stages(beside),
        "film_still_running_at_the_end": busy,
        "film_minutes": film_minutes,
    }


def _stages(samples: list[dict[str, float]]) -> dict[str, float]:
    names = ("uploaded", "preparing", "analysing", "fusing", "analysed", "dossier")
    return {
        name: round(statistics.median(times), 3)
        for name in names
        if (times := [sample[name] for sample in samples if name in sample])
    }


def _options() -> argparse.Namespace:
    made = harness.parser(__doc__, repeats=11)
    made.add_argument("--film-minutes", type=float, default=60.0, help="length of the film that is analysed beside it")
    return made.parse_args()


if __name__ == "__main__":
    options = _options()
    harness.report("photo", asyncio.run(measure(options.repeats, options.film_minutes)), as_json=options.json)
