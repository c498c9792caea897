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
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import psutil
from aiohttp import web

from benchmarks import harness

CHUNK_BYTES = 1 << 20
SAMPLE_SECONDS = 0.05


def serve_bare(folder: str, port: "multiprocessing.Queue[int]") -> None:
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
        port.put(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(main())


@contextlib.contextmanager
def bare_server(folder: Path) -> Any:
    """Start the baseline in a process of its own; give its address."""
    context = multiprocessing.get_context("spawn")
    port: multiprocessing.Queue[int] = context.Queue()
    process = context.Process(target=serve_bare, args=(str(folder), port))
    process.start()
    try:
        yield f"http://127.0.0.1:{port.get(timeout=30)}/"
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
    bare, through, grown = [], [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with bare_server(folder) as address:
            for number in range(repeats):
                bare.append((await timed(functools.partial(_to_bare, address, size, number)))[0])
                async with harness.running(folder / f"data{number}") as aima:
                    case = await aima.case("large")
                    warm = content(8 * harness.MIB, 1 << 40)
                    await aima.upload(case, "warm.bin", warm)
                    large = content(size, number + 1000)
                    seconds, growth = await timed(
                        functools.partial(aima.upload, case, "large.bin", large), aima.process
                    )
                through.append(seconds)
                grown.append(growth / harness.MIB)
                _empty(folder / f"data{number}")
                harness.note(
                    f"{number + 1}/{repeats}: bare {bare[-1]:.1f} s, gateway {seconds:.1f} s, +{grown[-1]:.0f} MiB"
                )
    ratios = [b / t for b, t in zip(bare, through, strict=True)]
    return {
        "gateway_ratio": round(statistics.median(ratios), 4),
        "gateway_ratios": harness.spread(ratios),
        "growth_mib": harness.spread(grown),
        "bare_mib_per_second": round(mib / statistics.median(bare), 1),
        "gateway_mib_per_second": round(mib / statistics.median(through), 1),
        "mib": mib,
    }


async def _to_bare(address: str, size: int, seed: int) -> None:
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session,
        session.post(address, data=content(size, seed)) as answer,
    ):
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
