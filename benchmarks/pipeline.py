"""The same media through AIMA and through a bare loop on the same machine: its cost, with 0.8 or more as the goal.

The media are distinct films, photos and recordings: AIMA never analyses the same bytes twice, the loop
does. Runs are paired, so that both sides meet the same noise; processes are started and models loaded
within the measured time on both sides.
"""

import asyncio
import hashlib
import os
import statistics
import struct
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aima_demo.case import make_demo_case, make_long_film
from benchmarks import bare_loop, harness

FILM_MINUTES = (1.5, 0.7, 0.7, 0.7)
"""The maker gives whole rounds of 46 seconds: two rounds, and three times one."""
PHOTO_COPIES = 4


def make_media(folder: Path) -> tuple[list[Path], float]:
    """Make the media: four films, two recordings, photos that differ in a pixel; give them and their minutes.

    Raises ValueError when two of them have the same content: the two sides would not do the same work.
    """
    from PIL import Image

    demo = make_demo_case(folder / "demo")
    media = folder / "media"
    media.mkdir()
    paths = [make_long_film(media / f"film{number}.mp4", minutes) for number, minutes in enumerate(FILM_MINUTES)]
    for number, film in enumerate(paths):
        with film.open("ab") as file:
            # An empty box at the end of the file: other bytes, the same film.
            file.write(struct.pack(">I4sI", 12, b"free", number))
    recordings = [path for path in demo.media_folder.rglob("*") if path.suffix in {".wav", ".opus", ".mp3"}]
    for photo in ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle.png", "page.png"):
        (source,) = list(demo.media_folder.rglob(photo))[:1]
        with Image.open(source) as picture:
            for number in range(PHOTO_COPIES):
                copy = picture.convert("RGB")
                copy.putpixel((0, 0), (number, 0, 0))
                copy.save(media / f"{number}-{source.stem}.png")
    paths += [*recordings, *sorted(media.glob("*.png"))]
    if len({hashlib.sha256(path.read_bytes()).digest() for path in paths}) < len(paths):
        raise ValueError("two of the media are the same: AIMA would analyse them once, the bare loop twice")
    return paths, sum(minutes_of(path) for path in paths if path.suffix != ".png")


def minutes_of(path: Path) -> float:
    """Give how long a film or recording lasts, by its container."""
    import av

    with av.open(str(path)) as container:
        return float(container.duration or 0) / 60e6


async def through_aima(paths: Sequence[Path]) -> float:
    """Upload everything to a fresh AIMA and wait for the finished dossier."""
    with tempfile.TemporaryDirectory() as folder:
        async with harness.running(Path(folder)) as aima:
            started = time.perf_counter()
            case = await aima.case("pipeline")
            for path in sorted(paths, key=lambda path: -path.stat().st_size):
                with path.open("rb") as file:
                    await aima.upload(case, path.name, file)
            await aima.finished(case, len(paths), every=0.1)
            return time.perf_counter() - started


async def measure(repeats: int) -> dict[str, Any]:
    """Run both sides in turn."""
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        paths, minutes = make_media(Path(folder))
        ours, bare = [], []
        for number in range(repeats):
            bare.append(await asyncio.to_thread(_bare, paths, cores))
            ours.append(await through_aima(paths))
            harness.note(f"{number + 1}/{repeats}: bare loop {bare[-1]:.1f} s, AIMA {ours[-1]:.1f} s")
    ratios = [b / o for b, o in zip(bare, ours, strict=True)]
    return {
        "throughput_ratio": round(statistics.median(ratios), 4),
        "throughput_ratios": harness.spread(ratios),
        "aima_seconds": harness.spread(ours),
        "bare_seconds": harness.spread(bare),
        "media_minutes": round(minutes, 2),
        "media": len(paths),
        "media_minutes_per_core_hour": round(minutes / (statistics.median(ours) * cores / 3600), 1),
    }


def _bare(paths: Sequence[Path], cores: int) -> float:
    # With start and model loading, as on the other side.
    started = time.perf_counter()
    bare_loop.run(paths, cores)
    return time.perf_counter() - started


if __name__ == "__main__":
    options = harness.parser(__doc__).parse_args()
    harness.report("pipeline", asyncio.run(measure(options.repeats)), as_json=options.json)
