"""Photos at full speed while analysis runs a tenth of the time: who grows, who is told to wait, does it all end.

Goals (two minutes of load): no process grows by more than 300 MiB; the gateways answer 429 or 503 with Retry-After;
once the brake is released everything accepted comes to its end within five minutes. Runs a cluster of its own.
"""

import argparse
import asyncio
import contextlib
import io
import signal
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import psutil
from PIL import Image

from aima_client.client import Client
from aima_cluster import Cluster, cluster
from benchmarks import harness

REPLICAS = {
    **dict.fromkeys(("gateway", "upload", "preprocessing", "analysis-image", "fusion", "scheduler"), 2),
    **dict.fromkeys(("gpu_manager", "dossier", "storage", "monitoring"), 1),
}
SETTINGS = {
    "AIMA_ANALYZERS": "echo",
    "AIMA_SLOTS": "2",
    "AIMA_ADMISSION_SECONDS": "15",
    "AIMA_LOG_LEVEL": "WARNING",
}
CLIENTS = 16
CYCLE_SECONDS = 2.0
SHARE = 0.1
"""Part of the time in which analysis may run while the brake is on."""

PHOTO_BYTES = 200_000


@dataclass
class Told:
    """What the clients were answered."""

    statuses: Counter[int] = field(default_factory=Counter)
    without_retry_after: int = 0
    accepted: int = 0
    unanswered: int = 0


def photo(seed: int) -> bytes:
    """Make a photo of about 200 kB that no store has seen."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 255, (60, 80, 3), dtype=np.uint8)
    picture = np.asarray(Image.fromarray(coarse).resize((960, 720), Image.Resampling.BICUBIC)).astype(np.int16)
    noisy = np.clip(picture + rng.integers(-12, 12, picture.shape), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noisy).save(buffer, "JPEG", quality=86)
    return buffer.getvalue()


async def send(url: str, key: str, case: str, number: int, photos: list[bytes], told: Told, until: float) -> None:
    """Be one client: the next photo as soon as the last one was answered; come back when asked to."""
    headers = {"Authorization": f"Bearer {key}"}
    sent = 0
    async with aiohttp.ClientSession(url, headers=headers, timeout=aiohttp.ClientTimeout(total=60)) as session:
        while time.monotonic() < until:
            # Another end makes another file of the same photo.
            data = photos[sent % len(photos)] + f"{number}-{sent}".encode()
            query = {"case": case, "file_name": f"{number}-{sent}.jpg"}
            try:
                async with session.post("/v1/uploads", params=query, data=data) as answer:
                    told.statuses[answer.status] += 1
                    wait = answer.headers.get("Retry-After")
                    if answer.status == 201:
                        sent, told.accepted = sent + 1, told.accepted + 1
                    elif wait is None:
                        told.without_retry_after += 1
            except (aiohttp.ClientError, TimeoutError):
                told.unanswered, wait = told.unanswered + 1, "1"
            if wait is not None:
                await asyncio.sleep(min(float(wait), max(0.0, until - time.monotonic())))


@contextlib.asynccontextmanager
async def braked(running: Cluster) -> Any:
    """Let analysis run a tenth of the time."""

    async def brake() -> None:
        while True:
            for process in running.of("analysis"):
                process.signal(signal.SIGSTOP)
            await asyncio.sleep(CYCLE_SECONDS * (1 - SHARE))
            for process in running.of("analysis"):
                process.signal(signal.SIGCONT)
            await asyncio.sleep(CYCLE_SECONDS * SHARE)

    braking = asyncio.create_task(brake())
    try:
        yield
    finally:
        braking.cancel()
        for process in running.of("analysis"):
            process.signal(signal.SIGCONT)


async def watch(running: Cluster, grown: dict[str, int]) -> None:
    """Note by how much each process has grown at most since it was ready."""
    first = {name: psutil.Process(one.pid).memory_info().rss for name, one in running.processes.items()}
    while True:
        for name, process in running.processes.items():
            with contextlib.suppress(psutil.Error):
                now = psutil.Process(process.pid).memory_info().rss
                grown[name] = max(grown.get(name, 0), now - first[name])
        await asyncio.sleep(0.5)


async def ended(url: str, key: str, case: str) -> dict[str, int]:
    """Count the case's items by how they ended."""
    headers = {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(url, headers=headers) as session, session.get(f"/v1/cases/{case}") as answer:
        return dict((await answer.json())["counts"])


async def measure(seconds: float) -> dict[str, Any]:
    """Load, brake, release, wait."""
    photos = [await asyncio.to_thread(photo, seed) for seed in range(24)]
    with tempfile.TemporaryDirectory() as folder:
        async with cluster(Path(folder), replicas=REPLICAS, extra=SETTINGS, report=harness.note) as running:
            key = await running.key()
            async with Client(running.urls[0], key) as client:
                case = str((await client.create_case("flood"))["id"])
            told, grown = Told(), dict[str, int]()
            watching = asyncio.create_task(watch(running, grown))
            async with braked(running):
                until = time.monotonic() + seconds
                await asyncio.gather(
                    *(send(running.urls[n % 2], key, case, n, photos, told, until) for n in range(CLIENTS))
                )
            harness.note(f"released after {seconds:.0f} s: {told}")
            released = time.monotonic()
            while (counts := await ended(running.urls[0], key, case))["running"]:
                await asyncio.sleep(1)
                if time.monotonic() - released > 900:
                    break
            took = time.monotonic() - released
            watching.cancel()
    worst = max(grown, key=lambda name: grown[name])
    return {
        "load_seconds": seconds,
        "photo_bytes": round(sum(map(len, photos)) / len(photos)),
        "accepted": told.accepted,
        "asked_to_come_back": told.statuses[429] + told.statuses[503],
        "refusals_without_retry_after": told.without_retry_after,
        "unanswered": told.unanswered,
        "statuses": {str(status): count for status, count in sorted(told.statuses.items())},
        "largest_growth_mib": round(grown[worst] / harness.MIB, 1),
        "largest_growth_of": worst,
        "ended": counts,
        "seconds_to_the_end_after_release": round(took, 1),
    }


def _options() -> argparse.Namespace:
    made = harness.parser(__doc__, repeats=1)
    made.add_argument("--seconds", type=float, default=120.0, help="length of the load (default 120)")
    return made.parse_args()


if __name__ == "__main__":
    options = _options()
    harness.report("backpressure", asyncio.run(measure(options.seconds)), as_json=options.json)
