"""Harm to the connections between a cluster's services and its servers: slow, reset, silent, and answers that get lost.

A proxy stands before Kafka, MongoDB and S3 all the time; the checker goes past it.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

from aima_servers import Served, serving
from aima_servers.processes import free_ports
from tests.chaos import proxy as harm
from tests.chaos.cluster_faults import Fault, require
from tests.chaos.cluster_ground import Ground
from tests.chaos.damages import GROWN, OF_SERVERS, TWICE
from tests.chaos.proxy import Proxy

BLACK_HOLE_SECONDS = 30.0
"""As long as a server is away when it is stopped: longer than any single request may take."""

HARM_SECONDS = 15.0
"""How long connections are slow, or break again and again."""

BURST_SECONDS = 0.25
"""How long everything breaks at a time; between two bursts work goes on, so that it is always in the middle of some."""

SLOW = harm.Fault(delay_seconds=0.1, bytes_per_second=100_000)
"""A fifth of a second for every question and its answer, and the width of a bad line."""

KAFKA_WRITES = frozenset({0, 8})
"""The protocol's numbers for producing records and for committing offsets."""

MONGODB_WRITES = (b"findAndModify\x00", b"insert\x00", b"update\x00")
S3_WRITES = (b"PUT ", b"POST ", b"DELETE ")


def _kafka_write(request: bytes) -> bool:
    """Four bytes of length, then two that say what is asked."""
    return int.from_bytes(request[4:6], "big") in KAFKA_WRITES if len(request) >= 6 else False


WRITES: Mapping[str, Callable[[bytes], bool]] = {
    "kafka": _kafka_write,
    "mongod": lambda request: any(word in request for word in MONGODB_WRITES),
    "s3": lambda request: request.startswith(S3_WRITES),
}
"""Server -> whether a request that begins so changes something there."""


@dataclass(frozen=True)
class Lines:
    """Servers, what stands before them, and the settings by which services come through it."""

    servers: Mapping[str, Served]
    proxies: Mapping[str, Proxy]

    @property
    def detours(self) -> Mapping[str, str]:
        """What services are told in place of the servers' own addresses."""
        return {
            "AIMA_KAFKA": f"127.0.0.1:{self.proxies['kafka'].port}",
            # A client of a replica set goes on to the addresses that its members tell of; a direct one stays here.
            "AIMA_MONGODB": f"mongodb://127.0.0.1:{self.proxies['mongod'].port}/?directConnection=true",
            "AIMA_S3": f"http://127.0.0.1:{self.proxies['s3'].port}",
        }


@contextlib.asynccontextmanager
async def proxied(report: Callable[[str], None]) -> AsyncIterator[Lines]:
    """Run the four servers with proxies before three of them."""
    (inner,) = free_ports(1)
    async with contextlib.AsyncExitStack() as stack:
        kafka = await stack.enter_async_context(Proxy.listening(inner))
        servers = await stack.enter_async_context(serving(report=report, kafka_behind=(inner, kafka.port)))
        proxies = {"kafka": kafka}
        for name in ("mongod", "s3"):
            target = int(servers[name].address.partition("//")[2].partition("/")[0].rpartition(":")[2])
            proxies[name] = await stack.enter_async_context(Proxy.listening(target))
        yield Lines(servers, proxies)


def slow(server: str) -> Fault:
    """Hold up every stretch of bytes, each way."""

    async def inflict(ground: Ground, rng: random.Random) -> str:
        proxy = ground.proxies[server]
        before = proxy.held_up
        async with _harmed(proxy, SLOW):
            await asyncio.sleep(HARM_SECONDS)
        held_up = proxy.held_up - before
        require(held_up > 0, "nothing was held up")
        return f"{held_up} stretches of bytes each took {SLOW.delay_seconds} s longer, for {HARM_SECONDS:.0f} s"

    return Fault(f"{server}: slow connections", inflict, threatens=(*OF_SERVERS[server], GROWN))


def black_hole(server: str) -> Fault:
    """Take connections and bytes, and give nothing."""

    async def inflict(ground: Ground, rng: random.Random) -> str:
        proxy = ground.proxies[server]
        before = proxy.held_up + 1  # the connection that looks whether it is so
        async with _harmed(proxy, harm.BLACK_HOLE):
            silent = await _is_silent(proxy)
            await asyncio.sleep(BLACK_HOLE_SECONDS)
        require(silent, "a byte came through")
        held_up = proxy.held_up - before
        require(held_up > 0, "nobody said anything meanwhile")
        return f"nothing passed for {BLACK_HOLE_SECONDS:.0f} s; {held_up} connections and requests waited"

    return Fault(f"{server}: black-holed connections", inflict, threatens=(*OF_SERVERS[server], GROWN))


def reset(server: str, seconds: float = HARM_SECONDS) -> Fault:
    """Reset every connection, again and again."""

    async def inflict(ground: Ground, rng: random.Random) -> str:
        proxy = ground.proxies[server]
        before = proxy.resets
        bursts = await _in_bursts(proxy, harm.RESET, seconds, rng)
        resets = proxy.resets - before
        require(resets > 0, "no connection was reset")
        return f"{resets} connections were reset in {bursts} bursts"

    return Fault(f"{server}: reset connections", inflict, threatens=(*OF_SERVERS[server], GROWN))


def lost_replies(server: str, seconds: float = HARM_SECONDS) -> Fault:
    """Have what is asked done, and reset the connection in the place of the answer."""

    async def inflict(ground: Ground, rng: random.Random) -> str:
        proxy = ground.proxies[server]
        before = len(proxy.unanswered)
        bursts = await _in_bursts(proxy, harm.DROP_REPLIES, seconds, rng)
        lost = proxy.unanswered[before:]
        writes = sum(map(WRITES[server], lost))
        require(writes > 0, f"of {len(lost)} answers that were lost none was a write's")
        return f"{len(lost)} answers were lost in {bursts} bursts, {writes} of them to writes that had been done"

    return Fault(f"{server}: answers lost after the write", inflict, threatens=(*OF_SERVERS[server], TWICE))


@contextlib.asynccontextmanager
async def _harmed(proxy: Proxy, fault: harm.Fault) -> AsyncIterator[None]:
    await proxy.inflict(fault)
    try:
        yield
    finally:
        await proxy.inflict(harm.PASS)


async def _in_bursts(proxy: Proxy, fault: harm.Fault, seconds: float, rng: random.Random) -> int:
    loop, bursts = asyncio.get_running_loop(), 0
    end = loop.time() + seconds
    while loop.time() < end:
        async with _harmed(proxy, fault):
            await asyncio.sleep(BURST_SECONDS)
        bursts += 1
        await asyncio.sleep(rng.uniform(0.2, 1.5))
    return bursts


async def _is_silent(proxy: Proxy) -> bool:
    """Connect as a client would, say something, and hear nothing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        async with asyncio.timeout(1.0):
            await reader.read(1)
    except TimeoutError:
        return True
    finally:
        writer.close()
    return False
