"""A cluster to do harm to: a case of small media, the client's own book, and a look into the stores afterwards."""

import asyncio
import contextlib
import hashlib
import io
import random
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from aima_client.client import Client
from aima_client.errors import ClientError
from aima_cluster import Cluster
from aima_common import cluster_wiring
from aima_common.collections import RUN_TERMINAL
from aima_common.contracts.topics import all_groups
from aima_common.errors import TransientError
from aima_common.ports import Ports
from aima_common.settings import StoreSettings
from aima_monitoring import snapshot
from aima_monitoring.evidence import Sent
from aima_monitoring.invariants import Violation, check

PATIENCE_SECONDS = 300.0
"""How long work may take to come to rest once nothing is made to go wrong any more (issue: five minutes)."""

POLL_SECONDS = 0.5
SENDERS = 4
"""Clients that upload at the same time."""

ECHO = {"AIMA_ANALYZERS": "echo", "AIMA_SLOTS": "2", "AIMA_LOG_LEVEL": "WARNING"}
"""Work that costs nothing, so that what is tested is who does it, and once."""


@dataclass
class Book:
    """What a client sent, and what it was told: an answer that never came is neither a success nor a failure."""

    case: str
    sent: list[Sent] = field(default_factory=list)

    @property
    def accepted(self) -> list[str]:
        """The items that the client was told of."""
        return [entry.item for entry in self.sent if entry.item]

    def count(self, outcome: str) -> int:
        """Count the requests that ended so."""
        return sum(entry.outcome == outcome for entry in self.sent)


@dataclass(frozen=True)
class Found:
    """What was there when everything had come to rest."""

    violations: list[Violation]
    terminal: dict[str, int]
    """State -> runs of the case's media."""
    redone: int
    """How often a job of the case was begun again."""
    dead_letters: int
    seconds_to_rest: float


class Ground:
    """A running cluster, its stores, and a folder for media."""

    def __init__(self, cluster: Cluster, folder: Path, key: str) -> None:
        self.cluster = cluster
        self._folder = folder
        self._key = key

    @contextlib.asynccontextmanager
    async def stores(self) -> AsyncIterator[Ports]:
        """Look into the stores, seeing every outbox whole."""
        settings = StoreSettings.from_environment(self.cluster.stores)
        async with cluster_wiring.cluster(settings, leftover_seconds=0) as ports:
            yield ports

    def client(self, number: int = 0) -> Client:
        """Talk to one of the gateways, patiently."""
        urls = [f"http://127.0.0.1:{one.member.environment['AIMA_GATEWAY_PORT']}" for one in self.cluster.of("gateway")]
        return Client(urls[number % len(urls)], self._key, attempts=3)

    async def open_case(self, name: str) -> Book:
        """Create a case."""
        async with self.client() as client:
            return Book(str((await client.create_case(name))["id"]))

    async def send(self, book: Book, count: int, rng: random.Random, pause_seconds: float) -> None:
        """Upload so many pictures, several at a time and each until it is acknowledged."""
        files = [self._picture(book.case, number, rng) for number in range(count)]
        waiting = list(enumerate(files))

        async def sender() -> None:
            while waiting:
                number, path = waiting.pop(0)
                await self._send(book, path, number)
                await asyncio.sleep(rng.uniform(0, 2 * pause_seconds))

        await asyncio.gather(*(sender() for _ in range(SENDERS)))

    async def rest(self, book: Book) -> float:
        """Wait until nothing is ready, held, waiting to be told or unread, twice in a row; tell how long it took."""
        began = time.monotonic()
        async with asyncio.timeout(PATIENCE_SECONDS), self.stores() as ports:
            quiet = 0
            while quiet < 2:
                try:
                    busy = await _busy(ports, book.case)
                except TransientError:
                    busy = 1
                quiet = 0 if busy else quiet + 1
                await asyncio.sleep(POLL_SECONDS)
        return time.monotonic() - began

    async def look(self, book: Book, seconds_to_rest: float) -> Found:
        """Let the checker speak, and count how the case ended."""
        async with self.stores() as ports:
            seen = await snapshot.take(ports, accepted=book.accepted, at_rest=True)
            violations = check(replace(seen, sent=book.sent))
            items = [item for item in seen.of("items") if item.body["case"] == book.case]
            media = {item.body["medium"] for item in items}
            runs = [run for run in seen.of("runs") if run.body["medium"] in media]
            jobs = [job for job in seen.of("jobs") if job.body.get("medium") in media]
        names = [item.body["file_name"] for item in items]
        violations += [
            Violation("I1", name, f"became {names.count(name)} items") for name in set(names) if names.count(name) > 1
        ]
        terminal = {state: sum(run.state == state for run in runs) for state in RUN_TERMINAL}
        return Found(
            violations,
            {state: number for state, number in terminal.items() if number},
            sum(max(0, job.epoch - 1) for job in jobs),
            len(seen.of("dead_letters")),
            seconds_to_rest,
        )

    def _picture(self, case: str, number: int, rng: random.Random) -> Path:
        pixels = np.random.default_rng(rng.getrandbits(63)).integers(0, 255, (48, 64, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        path = self._folder / f"{case[:8]}-{number:03}.png"
        path.write_bytes(buffer.getvalue())
        return path

    async def _send(self, book: Book, path: Path, number: int) -> None:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        while True:
            try:
                async with asyncio.timeout(60), self.client(number) as client:
                    told = await client.upload(book.case, path)
            except ClientError:
                book.sent.append(Sent(book.case, path.name, "unknown", sha256=digest))
            except (OSError, TimeoutError):
                book.sent.append(Sent(book.case, path.name, "unknown", sha256=digest))
            else:
                book.sent.append(Sent(book.case, path.name, "ok", str(told["item"]), digest))
                return
            number += 1
            await asyncio.sleep(0.3)


async def _busy(ports: Ports, case: str) -> int:
    busy = await ports.documents.count("jobs", {"state": ["ready", "leased", "parked"]})
    busy += len(await ports.documents.outbox(1))
    busy = busy or await _unfinished(ports, case)
    if not busy:
        busy = sum(await asyncio.gather(*(ports.bus.lag(group, topics) for group, topics in all_groups().items())))
    return busy


async def _unfinished(ports: Ports, case: str) -> int:
    items = await ports.documents.find("items", {"case": case, "state": "accepted"}, limit=10_000)
    media = [str(item.body["medium"]) for item in items]
    unfinished = 0
    for start in range(0, len(media), 200):
        runs = await ports.documents.find("runs", {"medium": media[start : start + 200]}, limit=10_000)
        ended = {run.body["medium"] for run in runs if run.state in RUN_TERMINAL}
        unfinished += len(set(media[start : start + 200]) - ended)
    return unfinished


def any_of(rng: random.Random, names: Sequence[str]) -> str:
    """Draw one."""
    return names[rng.randrange(len(names))]
