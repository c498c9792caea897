"""A cluster to do harm to: cases of small media, the client's own book, and a look into the stores afterwards."""

import asyncio
import contextlib
import datetime
import http
import itertools
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiohttp
import psutil

from aima_client import sending
from aima_client.client import Client
from aima_client.errors import ClientError, ProblemError
from aima_cluster import Cluster
from aima_common import cluster_wiring
from aima_common.collections import RUN_TERMINAL
from aima_common.contracts.topics import all_groups
from aima_common.errors import TransientError
from aima_common.ports import Ports
from aima_common.settings import StoreSettings
from aima_monitoring import snapshot
from aima_monitoring.evidence import Footprint, Sent, Snapshot
from aima_monitoring.invariants import Violation, check
from tests.chaos.cluster_media import SmallFile, small_files
from tests.chaos.damages import Damage
from tests.chaos.footprint import footprint
from tests.chaos.proxy import Proxy

PATIENCE_SECONDS = 300.0
"""How long work may take to come to rest once nothing is made to go wrong any more (issue: five minutes)."""

ASK_SECONDS = 60.0
"""How long a client waits for one answer."""

POLL_SECONDS = 0.25
TAKEN, TURNED_AWAY = "taken", "told to come back (503, Retry-After)"

SENDERS = 4
"""Clients that upload at the same time."""

TENANT = "default"

ECHO = {"AIMA_ANALYZERS": "echo,voice", "AIMA_SLOTS": "2", "AIMA_LOG_LEVEL": "WARNING"}
"""Work that costs next to nothing, in every lane, so that what is tested is who does it, and once."""


@dataclass
class Book:
    """What a client sent, and what it was told: an answer that never came is neither a success nor a failure."""

    case: str
    sent: list[Sent] = field(default_factory=list)
    drawn: int = 0
    """Files that were made for it so far."""
    canary: str = ""
    """The item of the first picture, whose size is nobody else's: once it is erased its label must not be found."""

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
    """Those that earlier looks had not found."""
    terminal: dict[str, int]
    """State -> runs of the case's media."""
    redone: int
    """How often a job of the case was begun again."""
    dead_letters: int
    seconds_to_rest: float
    rested: bool
    """Whether it came to rest at all."""
    controls: Mapping[str, str] = field(default_factory=dict)
    """What the fault could have done -> the rule by which the checker found it when it was done to what was seen; ""
    where it did not."""


class Ground:
    """A running cluster, its stores, and a folder for media."""

    def __init__(
        self,
        cluster: Cluster,
        folder: Path,
        key: str,
        *,
        proxies: Mapping[str, Proxy] | None = None,
        scratch: Path | None = None,
    ) -> None:
        self.cluster = cluster
        self.proxies = proxies or {}
        """Server -> what stands between it and the services."""
        self._folder = folder
        self._scratch = scratch
        self._key = key
        self._accepted: list[str] = []
        self._footprints: dict[str, list[Footprint]] = {}
        self._known: set[Violation] = set()
        self._book = Book("")
        """Of the case that was opened last."""
        self._turned_away: SmallFile | None = None
        """What `upload_once` has to ask for again."""
        self._canary = ("", "")
        """The medium whose erasure comes next, and its label."""
        self.erased: list[str] = []
        """Labels of what was erased."""

    @contextlib.asynccontextmanager
    async def stores(self) -> AsyncIterator[Ports]:
        """Look into the stores, seeing every outbox whole."""
        settings = StoreSettings.from_environment(self.cluster.stores)
        async with cluster_wiring.cluster(settings, leftover_seconds=0) as ports:
            yield ports

    def client(self, number: int = 0) -> Client:
        """Talk to one of the gateways, patiently."""
        return Client(self._url(number), self._key, attempts=3)

    async def ask_once(self, number: int) -> str:
        """Ask for new work without any patience; tell in words how it was answered."""
        wish, headers = {"name": f"asked meanwhile {number}"}, {"Authorization": f"Bearer {self._key}"}
        timeout = aiohttp.ClientTimeout(total=ASK_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
                session.post(f"{self._url(number)}/v1/cases", json=wish) as answer,
            ):
                if answer.status == http.HTTPStatus.SERVICE_UNAVAILABLE and "Retry-After" in answer.headers:
                    return TURNED_AWAY
                return TAKEN if answer.status < http.HTTPStatus.BAD_REQUEST else f"answered {answer.status}"
        except (aiohttp.ClientError, TimeoutError):
            return "without an answer"

    async def upload_once(self, number: int, rng: random.Random) -> str:
        """Ask without any patience that one more file be taken in; tell in words how it was answered.

        One that is turned away is the next one to be asked for.
        """
        book = self._book
        file = self._turned_away or self._draw(book, 1, rng)[0]
        self._turned_away = file
        content = await sending.digest(file.path)
        named = {"case": book.case, "file_name": file.path.name, "sha256": file.sha256}
        headers = {
            "Authorization": f"Bearer {self._key}",
            "Idempotency-Key": sending.idempotency_key(book.case, file.path, content),
            "Content-Type": "application/octet-stream",
        }
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ASK_SECONDS), headers=headers) as session,
                session.post(f"{self._url(number)}/v1/uploads", params=named, data=file.path.read_bytes()) as answer,
            ):
                if answer.status < http.HTTPStatus.BAD_REQUEST:
                    item = str((await answer.json())["item"])
                    book.sent.append(Sent(book.case, file.path.name, "ok", item, file.sha256))
                    self._turned_away = None
                    return TAKEN
                book.sent.append(Sent(book.case, file.path.name, "fail", sha256=file.sha256))
                told = answer.status == http.HTTPStatus.SERVICE_UNAVAILABLE and "Retry-After" in answer.headers
                return TURNED_AWAY if told else f"answered {answer.status}"
        except (aiohttp.ClientError, TimeoutError):
            book.sent.append(Sent(book.case, file.path.name, "unknown", sha256=file.sha256))
            return "without an answer"

    async def send_waiting(self) -> None:
        """Send what `upload_once` was not given an item for, until it is acknowledged."""
        file, self._turned_away = self._turned_away, None
        if file:
            await self._send(self._book, file, 0)

    def _draw(self, book: Book, count: int, rng: random.Random) -> Sequence[SmallFile]:
        first, book.drawn = book.drawn, book.drawn + count
        return small_files(self._folder, book.case, count, rng, first)

    def _url(self, number: int) -> str:
        gateways = self.cluster.of("gateway")
        return f"http://127.0.0.1:{gateways[number % len(gateways)].member.environment['AIMA_GATEWAY_PORT']}"

    async def open_case(self, name: str) -> Book:
        """Create a case."""
        async with self.client() as client:
            self._book = Book(str((await client.create_case(name))["id"]))
            return self._book

    async def send(self, book: Book, count: int, rng: random.Random, pause_seconds: float) -> None:
        """Upload so many files, several at a time and each until it is acknowledged."""
        first = book.drawn
        waiting = list(enumerate(self._draw(book, count, rng), first))

        async def sender() -> None:
            while waiting:
                number, file = waiting.pop(0)
                item = await self._send(book, file, number)
                book.canary = book.canary if number else item
                await asyncio.sleep(rng.uniform(0, 2 * pause_seconds))

        await asyncio.gather(*(sender() for _ in range(SENDERS)))

    async def erase_canary(self) -> None:
        """Have the canary of the round before erased, asking until it is promised."""
        medium, label = self._canary
        for number in itertools.count():
            if not medium or await self._erase(medium, number):
                break
            await asyncio.sleep(0.3)
        self._canary = "", ""
        self.erased += [label] if medium else []

    async def rest(self, ports: Ports, book: Book) -> tuple[float, bool]:
        """Wait until nothing is ready, held, waiting to be told or unread, twice in a row; tell how long it took.

        False when it took longer than `PATIENCE_SECONDS`.
        """
        began, quiet = time.monotonic(), 0
        while quiet < 2 and time.monotonic() - began < PATIENCE_SECONDS:
            try:
                busy = await _busy(ports, book.case)
            except TransientError:
                busy = 1
            quiet = 0 if busy else quiet + 1
            await asyncio.sleep(POLL_SECONDS)
        return time.monotonic() - began, quiet == 2

    async def look(
        self,
        ports: Ports,
        book: Book,
        faults_ended_at: datetime.datetime,
        rest: tuple[float, bool],
        threatens: Sequence[Damage] = (),
    ) -> Found:
        """Let the checker speak, of what is there and of what a fault could have done; count how the case ended."""
        self.sample()
        self._accepted += book.accepted
        canaries = {TENANT: self.erased}
        seen = await snapshot.take(ports, accepted=self._accepted, at_rest=rest[1], canaries=canaries)
        await self._name_canary(ports, book, seen)
        seen = replace(seen, sent=book.sent, footprints=self._footprints, faults_ended_at=faults_ended_at)
        found = self._found(seen, book, rest)
        items = [item for item in seen.of("items") if item.body["case"] == book.case and item.state == "accepted"]
        already = check(seen)
        noticed = {damage: damage.noticed(seen, items, already) for damage in threatens}
        return replace(found, controls={damage.name: damage.invariant * noticed[damage] for damage in threatens})

    async def read_everything(self) -> tuple[int, int, list[Violation]]:
        """Read every object again and compare it with its hash; give their number, their bytes and what is wrong."""
        async with self.stores() as ports:
            canaries = {TENANT: self.erased}
            seen = await snapshot.take(ports, accepted=self._accepted, at_rest=True, read_bytes=True, canaries=canaries)
        found = [violation for violation in check(seen) if violation not in self._known]
        return len(seen.objects), sum(there.size_bytes for there in seen.objects.values()), found

    def sample(self) -> None:
        """Note what every process takes up now; a process that was started anew is another one."""
        for name, process in self.cluster.processes.items():
            with contextlib.suppress(psutil.NoSuchProcess):
                taken = footprint(process.pid, self._scratch)
                self._footprints.setdefault(f"{name}, process {process.pid}", []).append(taken)

    def _found(self, seen: Snapshot, book: Book, rest: tuple[float, bool]) -> Found:
        items = [item for item in seen.of("items") if item.body["case"] == book.case]
        media = {item.body["medium"] for item in items}
        runs = [run for run in seen.of("runs") if run.body["medium"] in media]
        jobs = [job for job in seen.of("jobs") if job.body.get("medium") in media]
        names = [item.body["file_name"] for item in items]
        violations = check(seen) + [
            Violation("I1", name, f"became {names.count(name)} items") for name in set(names) if names.count(name) > 1
        ]
        fresh = [violation for violation in violations if violation not in self._known]
        self._known |= set(fresh)
        terminal = {state: sum(run.state == state for run in runs) for state in RUN_TERMINAL}
        return Found(
            fresh,
            {state: number for state, number in terminal.items() if number},
            sum(max(0, job.epoch - 1) for job in jobs),
            len(seen.of("dead_letters")),
            *rest,
        )

    async def _name_canary(self, ports: Ports, book: Book, seen: Snapshot) -> None:
        """Remember what the next round erases, if it can be found now: else not finding it would say nothing."""
        medium = next((item.body["medium"] for item in seen.of("items") if item.id == book.canary), "")
        async with self.client() as client:
            findings = (await client.findings(medium))["findings"] if medium else []
        for label in [str(finding["label"]) for finding in findings if finding.get("label")]:
            if {hit.passage.medium for hit in await ports.search.query(TENANT, label)} == {medium}:
                self._canary = medium, label

    async def _erase(self, medium: str, number: int) -> bool:
        try:
            async with asyncio.timeout(ASK_SECONDS), self.client(number) as client:
                await client.erase(medium)
        except ProblemError as problem:
            return problem.status == http.HTTPStatus.NOT_FOUND  # done by a request whose answer was lost
        except (ClientError, OSError, TimeoutError):
            return False
        return True

    async def _send(self, book: Book, file: SmallFile, number: int) -> str:
        while True:
            try:
                async with asyncio.timeout(ASK_SECONDS), self.client(number) as client:
                    told = await client.upload(book.case, file.path)
            except (ClientError, OSError, TimeoutError):
                book.sent.append(Sent(book.case, file.path.name, "unknown", sha256=file.sha256))
            else:
                item = str(told["item"])
                book.sent.append(Sent(book.case, file.path.name, "ok", item, file.sha256))
                return item
            number += 1
            await asyncio.sleep(0.3)


async def _busy(ports: Ports, case: str) -> int:
    busy = await ports.documents.count("jobs", {"state": ["ready", "leased", "parked"]})
    busy += len(await ports.documents.outbox(1))
    busy = busy or await ports.documents.count("erasures", {"state": "requested"})
    busy = busy or await _unfinished(ports, case)
    for group, topics in all_groups().items():
        # One that is not through is enough to know: asking all of them would take time from those who work.
        busy = busy or await ports.bus.lag(group, topics)
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
