"""A large upload: memory and speed against one bare handler that hashes and fsyncs.

Goals: gateway and upload together grow by 64 MiB at most; straight to upload at 0.8 of the bare handler
or more, through the gateway at 0.6 or more. The bare handler runs in a process of its own and does what
must be done: take the body, hash it, write it, fsync it.
"""

import argparse
import asyncio
import contextlib
import functools
import hashlib
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil
from aiohttp import web

from benchmarks import harness

CHUNK_BYTES = 1 << 20
SAMPLE_SECONDS = 0.05
SECRET = "a secret of this measurement alone"


def serve_bare(folder: str, url: "multiprocessing.Queue[str]") -> None:
    """Run the baseline server."""

    async def take(request: web.Request) -> web.Response:
        digest = hashlib.sha256()
        with (Path(folder) / "bare").open("wb") as file:
            async for chunk in request.content.iter_any():
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        return web.json_response({"sha256": digest.hexdigest()})

    async def main() -> None:
        application = web.Application(client_max_size=0)
        application.router.add_post("/", take)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url.put(f"http://127.0.0.1:{runner.addresses[0][1]}/")
        await asyncio.Event().wait()

    asyncio.run(main())


def serve_upload(folder: str, url: "multiprocessing.Queue[str]") -> None:
    """Run the upload service alone, on the embedded plugs."""
    from aima_common import wiring
    from aima_common.runtime import run
    from aima_upload.service import Upload
    from aima_upload.settings import Settings

    async def main() -> None:
        async with wiring.embedded(Path(folder) / "alone") as ports:
            service = Upload(ports, Settings(secret=SECRET))
            running = asyncio.create_task(run(ports, service))
            url.put(await service.url())
            await running

    asyncio.run(main())


@contextlib.contextmanager
def serving(serve: Callable[..., None], folder: Path) -> Iterator[str]:
    """Start a server in a process of its own; give its address."""
    context = multiprocessing.get_context("spawn")
    told: multiprocessing.Queue[str] = context.Queue()
    process = context.Process(target=serve, args=(str(folder), told))
    process.start()
    try:
        yield told.get(timeout=30)
    finally:
        process.terminate()
        process.join()


async def content(size: int, seed: int) -> AsyncIterator[bytes]:
    """Give bytes that no store has seen: cheap to make, so that the client is not what is measured."""
    block = bytearray(os.urandom(CHUNK_BYTES))
    for number in range(size // CHUNK_BYTES):
        block[:16] = seed.to_bytes(8, "big") + number.to_bytes(8, "big")
        yield bytes(block)


async def timed(send: Callable[[], Any], process: psutil.Process | None = None) -> tuple[float, int]:
    """Give the seconds of a transfer and by how many bytes the process grew meanwhile."""
    before = process.memory_info().rss if process else 0
    peak = before
    started = time.perf_counter()
    sending = asyncio.ensure_future(send())
    while not sending.done():
        await asyncio.wait({sending}, timeout=SAMPLE_SECONDS)
        peak = max(peak, process.memory_info().rss if process else 0)
    sending.result()
    return time.perf_counter() - started, peak - before


async def measure(repeats: int, mib: int) -> dict[str, Any]:
    """Send the same amount to all three in turn."""
    size = mib * harness.MIB
    seconds: dict[str, list[float]] = {"bare": [], "upload": [], "gateway": []}
    grown = []
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        bare = stack.enter_context(serving(serve_bare, folder))
        alone = stack.enter_context(serving(serve_upload, folder))
        for number in range(repeats):
            seconds["bare"].append((await timed(functools.partial(_post, bare, size, number)))[0])
            seconds["upload"].append(await _to_upload(alone, size, number))
            for kept in (folder / "alone").rglob("originals/*"):
                kept.unlink()
            took, growth = await _through_gateway(folder / f"data{number}", size, number)
            seconds["gateway"].append(took)
            grown.append(growth / harness.MIB)
            told = ", ".join(f"{way} {values[-1]:.1f} s" for way, values in seconds.items())
            harness.note(f"{number + 1}/{repeats}: {told}, +{grown[-1]:.0f} MiB")
    return {
        "upload_ratio": _ratio(seconds, "upload"),
        "gateway_ratio": _ratio(seconds, "gateway"),
        "growth_mib": harness.spread(grown),
        **{f"{way}_mib_per_second": round(mib / statistics.median(values), 1) for way, values in seconds.items()},
        "mib": mib,
        "runs": repeats,
    }


def _ratio(seconds: dict[str, list[float]], way: str) -> float:
    return round(statistics.median(b / w for b, w in zip(seconds["bare"], seconds[way], strict=True)), 4)


async def _through_gateway(folder: Path, size: int, seed: int) -> tuple[float, int]:
    async with harness.running(folder) as aima:
        case = await aima.case("large")
        await aima.upload(case, "warm.bin", content(8 * harness.MIB, seed + (1 << 40)))
        measured = await timed(lambda: aima.upload(case, "large.bin", content(size, seed + 1000)), aima.process)
    _empty(folder)
    return measured


async def _to_upload(url: str, size: int, seed: int) -> float:
    headers = {"Authorization": f"Bearer {SECRET}", "Aima-Tenant": "default"}
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(url, headers=headers, timeout=timeout) as session:
        async with session.post("/v1/cases", json={"name": f"large {seed}"}) as answer:
            case = (await answer.json())["id"]
        path = f"/v1/uploads?case={case}&file_name=large.bin"
        return (await timed(lambda: _post(path, size, seed + 2000, session)))[0]


async def _post(url: str, size: int, seed: int, session: aiohttp.ClientSession | None = None) -> None:
    if session is None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as made:
            await _post(url, size, seed, made)
        return
    async with session.post(url, data=content(size, seed)) as answer:
        answer.raise_for_status()
        await answer.read()


def _empty(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def _options() -> argparse.Namespace:
    made = harness.parser(__doc__)
    made.add_argument("--mib", type=int, default=4096, help="size of the upload (default 4096)")
    return made.parse_args()


if __name__ == "__main__":
    options = _options()
    harness.report("upload", asyncio.run(measure(options.repeats, options.mib)), as_json=options.json)
