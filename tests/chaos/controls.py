"""Positive controls on what a campaign left behind: the checker must notice what it is there to notice."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aima_common.adapters.embedded.bus import SqliteBus
from aima_common.adapters.embedded.documents import SqliteDocuments
from aima_common.adapters.embedded.objects import DirectoryObjects
from aima_common.adapters.embedded.search import SqliteSearch
from aima_common.adapters.system_clock import SystemClock
from aima_common.collections import COLLECTIONS
from aima_common.contracts.codec import decode
from aima_common.contracts.topics import BY_MESSAGE
from aima_common.errors import StaleLeaseError
from aima_common.jobs import Held, Ledger
from aima_common.ports import Ports
from aima_common.ports.bus import Bus
from aima_common.ports.documents import Document, Documents
from aima_dossier.service import DossierService
from aima_fusion.service import Fusion
from aima_monitoring.invariants import Snapshot, Violation, check
from aima_monitoring.service import Monitoring
from aima_monitoring.snapshot import WATCHED
from aima_scheduler.service import Scheduler
from aima_storage.service import Storage

STORES = ("documents.db", "log.db")


@dataclass(frozen=True)
class Control:
    """How one protection did, and how the checker did without it."""

    name: str
    with_it: str
    """What happened to the attack; must be harmless."""
    without_it: tuple[str, ...]
    """Invariants that the checker found broken; must not be empty."""

    @property
    def passed(self) -> bool:
        """Whether the protection protects, and the checker would notice if it did not."""
        return self.with_it == "" and bool(self.without_it)


async def run_controls(data: Path, scratch: Path) -> list[Control]:
    """Attack copies of a stopped data folder, with each protection on and off."""
    return [await _fencing(data, scratch), await _inbox(data, scratch)]


async def _fencing(data: Path, scratch: Path) -> Control:
    async with SqliteDocuments.open(_copy(data, scratch / "fenced") / "documents.db") as documents:
        refused = await late_holder_is_refused(documents)
        broken = await broken_rules(documents)
    harm = "" if refused and not broken else f"refused: {refused}, broken: {broken}"
    async with SqliteDocuments.open(_copy(data, scratch / "unfenced") / "documents.db", fencing=False) as documents:
        await late_holder_is_refused(documents)
        return Control("fencing", harm, invariants_of(await broken_rules(documents)))


async def late_holder_is_refused(documents: Documents) -> bool:
    """Let the first holder of the job that was begun most often come back and commit."""
    jobs = await documents.find("jobs", {"state": "done"}, limit=100_000)
    job = max(jobs, key=lambda found: found.epoch)
    ledger = Ledger(_ports(documents), job.holder or "a holder from before")
    try:
        await ledger.finish(Held(job, job.epoch - 1), "done", {"result": None}, [])
    except StaleLeaseError:
        return True
    return False


async def _inbox(data: Path, scratch: Path) -> Control:
    whole = await _replayed(data, _copy(data, scratch / "replayed"), inbox=True)
    harm = "" if not whole[0] and not whole[1] else f"changed: {whole[0][:5]}, broken: {whole[1][:5]}"
    _, broken = await _replayed(data, _copy(data, scratch / "forgetful"), inbox=False)
    return Control("inbox", harm, invariants_of(broken))


async def _replayed(data: Path, folder: Path, *, inbox: bool) -> tuple[list[str], list[Violation]]:
    """Handle every message since the beginning once more; tell what it changed and what it broke."""
    async with (
        SqliteDocuments.open(folder / "documents.db", inbox=inbox) as documents,
        SqliteBus.open(folder / "log.db") as bus,
        SqliteSearch.open(folder / "search.db") as search,
    ):
        objects = await DirectoryObjects.at(data / "objects")
        nothing: Any = None
        replayed = await replay(Ports(bus, documents, objects, nothing, search, SystemClock()))
        await objects.close()
    return replayed


async def replay(ports: Ports) -> tuple[list[str], list[Violation]]:
    """Have every message since the beginning handled once more; tell which documents changed and what is broken."""
    before = await _everything(ports.documents)
    ledger = Ledger(ports, "replay")
    services = (Scheduler(ports, ledger), Fusion(ports, ledger), DossierService(ports, ledger))
    for service in (*services, Storage(ports), Monitoring(ports)):
        await _replay(ports.bus, service)
    after = await _everything(ports.documents)
    changed = sorted(str(key) for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    return changed, await broken_rules(ports.documents)


async def _replay(bus: Bus, service: Any) -> None:
    handlers = service.handlers()
    topics = [name for message in handlers for name in BY_MESSAGE[message].names]
    waiting = await bus.lag(f"replay-{service.name}", topics)
    async with bus.subscribe(f"replay-{service.name}", topics) as subscription:
        if not waiting:
            return
        async for batch in subscription.batches():
            for delivery in batch:
                envelope = decode(delivery.record)
                await handlers[type(envelope.body)](envelope)
            waiting -= len(batch)
            if waiting <= 0:
                return


async def _everything(documents: Documents) -> dict[tuple[str, str], Document]:
    return {
        (collection.name, document.id): document
        for collection in COLLECTIONS
        for document in await documents.find(collection.name, {}, limit=1_000_000)
    }


async def broken_rules(documents: Documents) -> list[Violation]:
    """Check what can be checked without objects, vectors and bus."""
    found = {c.name: await documents.find(c.name, {}, limit=1_000_000) for c in COLLECTIONS}
    histories = {name: await documents.history(name) for name in WATCHED}
    told = check(Snapshot(await documents.now(), found, histories, {}))
    return [violation for violation in told if violation.invariant != "I7"]


def invariants_of(violations: Sequence[Violation]) -> tuple[str, ...]:
    return tuple(sorted({violation.invariant for violation in violations}))


def _ports(documents: Documents) -> Ports:
    nothing: Any = None
    return Ports(nothing, documents, nothing, nothing, nothing, SystemClock())


def _copy(data: Path, folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in STORES:
        for path in data.glob(f"{name}*"):
            shutil.copy(path, folder / path.name)
    return folder
