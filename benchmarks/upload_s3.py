"""A large upload into S3: through the gateway, and straight into the store by presigned links, against minio-py.

Goals: through the gateway at 0.5 of the speed of minio-py or more, straight into the store at 0.9 or more, and
gateway and upload together grow by 64 MiB at most. All three send the same file of which all know the SHA-256
already; minio-py sends parts as large as those of the direct upload, while AIMA's time ends when the file is an
item: what went past it has been read back and hashed by then. Servers, gateway and upload are processes of their own.
"""

import argparse
import asyncio
import contextlib
import io
import os
import random
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import aiohttp
import psutil
from minio import Minio

from aima_client import Client, sending
from aima_cluster.running import Cluster, cluster
from benchmarks import harness

CHUNK_BYTES = 1 << 20
PART_BYTES = 16 << 20
SAMPLE_SECONDS = 0.05
BUCKET = "aima"
DIRECT_ENOUGH_MIB = 64
"""Smaller files are not sent straight into the store."""


@dataclass
class Place:
    """A cluster of one gateway and one upload process, and the ways into it."""

    client: Client
    session: aiohttp.ClientSession
    store: Minio
    services: list[psutil.Process]
    case: str

    async def put(self, path: Path, number: int) -> None:
        """Put a file with minio-py."""
        await asyncio.to_thread(self.store.fput_object, BUCKET, f"bare/{number}", str(path), part_size=PART_BYTES)

    async def through_gateway(self, path: Path, content: sending.FileDigest) -> None:
        """Send a file to the gateway in one request."""
        query = urlencode({"case": self.case, "file_name": path.name, "sha256": content.sha256})
        headers = {"Content-Length": str(content.size_bytes)}
        blocks = sending.blocks(path, content.size_bytes)
        async with self.session.post(f"/v1/uploads?{query}", data=blocks, headers=headers) as answer:
            answer.raise_for_status()
            await answer.read()

    async def direct(self, path: Path, content: sending.FileDigest) -> None:
        """Send a file straight into the store, as the client does by itself."""
        await self.client.upload(self.case, path, content=content)

    def empty(self) -> None:
        """Make room again; how long that takes is not measured."""
        for found in self.store.list_objects(BUCKET, recursive=True):
            if found.object_name and found.object_name.startswith(("bare/", "t/")):
                self.store.remove_object(BUCKET, found.object_name)


@contextlib.asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Place]:
    """Run what is measured."""
    replicas = {"gateway": 1, "upload": 1}
    async with cluster(folder, replicas=replicas, report=harness.note) as running:
        key, url, s3 = await running.key(), running.urls[0], running.servers["s3"]
        store = Minio(urlsplit(s3.address).netloc, s3.access_key, s3.secret_key, secure=False, region="us-east-1")
        timeout = aiohttp.ClientTimeout(total=None)
        headers = {"Authorization": f"Bearer {key}"}
        async with Client(url, key) as client, aiohttp.ClientSession(url, headers=headers, timeout=timeout) as session:
            case = (await client.create_case("large"))["id"]
            yield Place(client, session, store, _services(running), case)


def _services(running: Cluster) -> list[psutil.Process]:
    return [psutil.Process(process.pid) for process in running.processes.values()]


async def timed(work: Callable[[], Awaitable[None]], watched: list[psutil.Process]) -> tuple[float, int]:
    """Give the seconds that work takes, and by how many bytes processes grow meanwhile, taken together."""

    def resident() -> int:
        return sum(process.memory_info().rss for process in watched)

    before = peak = resident()
    started = time.perf_counter()
    working = asyncio.ensure_future(work())
    while not working.done():
        await asyncio.wait({working}, timeout=SAMPLE_SECONDS)
        peak = max(peak, resident())
    took = time.perf_counter() - started
    working.result()
    return took, peak - before


def make_file(path: Path, mib: int) -> None:
    """Write a file of bytes that no two MiB share."""
    block = bytearray(os.urandom(CHUNK_BYTES))
    with path.open("wb") as file:
        for number in range(mib):
            block[:8] = number.to_bytes(8, "big")
            file.write(block)


async def changed(path: Path) -> sending.FileDigest:
    """Make a file one that AIMA has not seen, and hash it."""
    with path.open("r+b") as file:
        file.seek(0, io.SEEK_SET)
        file.write(random.randbytes(16))
    return await sending.digest(path)


async def measure(repeats: int, mib: int) -> dict[str, Any]:
    """Send the same amount all three ways in turn."""
    seconds: dict[str, list[float]] = {"minio_py": [], "gateway": [], "direct": []}
    grown: dict[str, list[float]] = {"gateway": [], "direct": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small, large = folder / "small.bin", folder / "large.bin"
        make_file(small, DIRECT_ENOUGH_MIB)
        make_file(large, mib)
        async with opened(folder / "logs") as place:
            for way in (place.through_gateway, place.direct):
                await way(small, await changed(small))
            for number in range(repeats):
                await _round(place, number, large, seconds, grown)
                told = ", ".join(f"{way} {values[-1]:.1f} s" for way, values in seconds.items())
                more = ", ".join(f"{way} +{values[-1]:.0f} MiB" for way, values in grown.items())
                harness.note(f"{number + 1}/{repeats}: {told}; {more}")
    return {
        "gateway_ratio": _ratio(seconds, "gateway"),
        "direct_ratio": _ratio(seconds, "direct"),
        **{f"{way}_growth_mib": harness.spread(values) for way, values in grown.items()},
        **{f"{way}_mib_per_second": round(mib / statistics.median(values), 1) for way, values in seconds.items()},
        "mib": mib,
        "runs": repeats,
    }


async def _round(
    place: Place, number: int, path: Path, seconds: dict[str, list[float]], grown: dict[str, list[float]]
) -> None:
    await changed(path)
    seconds["minio_py"].append((await timed(lambda: place.put(path, number), []))[0])
    await asyncio.to_thread(place.empty)
    for name, way in (("gateway", place.through_gateway), ("direct", place.direct)):
        content = await changed(path)
        took, growth = await timed(lambda way=way, content=content: way(path, content), place.services)  # type: ignore[misc]
        seconds[name].append(took)
        grown[name].append(growth / harness.MIB)
        await asyncio.to_thread(place.empty)


def _ratio(seconds: dict[str, list[float]], way: str) -> float:
    pairs = zip(seconds["minio_py"], seconds[way], strict=True)
    return round(statistics.median(bare / ours for bare, ours in pairs), 4)


def _options() -> argparse.Namespace:
    made = harness.parser(__doc__)
    made.add_argument(
        "--mib", type=int, default=2048, help=f"size of the file (default 2048, at least {DIRECT_ENOUGH_MIB})"
    )
    options = made.parse_args()
    if options.mib < DIRECT_ENOUGH_MIB:
        made.error(f"--mib must be {DIRECT_ENOUGH_MIB} or more: smaller files are not sent straight into the store")
    return options


if __name__ == "__main__":
    options = _options()
    harness.report("upload_s3", asyncio.run(measure(options.repeats, options.mib)), as_json=options.json)
