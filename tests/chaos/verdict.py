"""What a data folder says after everything has come to rest: the checker's violations, and the canonical dossier."""

import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aima_common import wiring
from aima_common.ports import Ports
from aima_common.ports.documents import Document
from aima_dossier.canonical import canonical
from aima_dossier.model import Dossier
from aima_monitoring import snapshot
from aima_monitoring.invariants import Violation, check
from tests.chaos.uploading import Book


@dataclass(frozen=True)
class Verdict:
    """What was found in a stopped data folder."""

    violations: list[Violation]
    canonical: bytes
    """The canonical dossier of the book's case."""
    complaints: list[str]
    """Where the client's book and the store disagree."""
    redone: int
    """How often a job was begun again."""
    jobs: dict[str, int]
    """State -> jobs."""
    computed: int
    """Analyses that called an analyzer and committed."""
    objects: int
    bytes: int


@contextlib.asynccontextmanager
async def opened(data: Path) -> AsyncIterator[Ports]:
    """Open the stores of a stopped installation."""
    with wiring.exclusive(data):
        async with wiring.embedded(data) as ports:
            yield ports


async def judge(data: Path, book: Book) -> Verdict:
    """Read everything, every byte of it, and let the checker speak."""
    async with opened(data) as ports:
        accepted = list(book.accepted.values())
        seen = await snapshot.take(ports, accepted=accepted, at_rest=True, read_bytes=True)
        jobs = seen.documents["jobs"]
        return Verdict(
            violations=check(seen),
            canonical=await _canonical(ports, book.case),
            complaints=compare(book, seen.documents["items"]),
            redone=sum(max(0, job.epoch - 1) for job in jobs),
            jobs=dict(Counter(job.state for job in jobs)),
            computed=sum(bool(job.body.get("computed")) for job in jobs),
            objects=len(seen.objects),
            bytes=sum(there.size_bytes for there in seen.objects.values()),
        )


def compare(book: Book, items: Any) -> list[str]:
    """List where the store has not exactly what the client was told of."""
    ours: list[Document] = [item for item in items if item.body["case"] == book.case]
    found: dict[str, list[Document]] = {}
    for item in ours:
        found.setdefault(str(item.body["file_name"]), []).append(item)
    complaints = [f"{name} became {len(same)} items" for name, same in found.items() if len(same) > 1]
    complaints += [f"{name} was never sent, and is there" for name in found.keys() - book.sha256.keys()]
    kept = {item.id: item for item in ours}
    for name, identity in book.accepted.items():
        if identity not in kept:
            complaints.append(f"{name} was accepted as {identity}, and is not there")
        elif kept[identity].body["sha256"] != book.sha256[name]:
            complaints.append(f"{name} has other bytes than were sent")
    return complaints


async def _canonical(ports: Ports, case: str) -> bytes:
    document = await ports.documents.load("dossiers", case)
    if document is None or not document.body["current"]:
        return b""
    written = await ports.objects.get(document.body["current"]["json"]["key"])
    return canonical(Dossier.model_validate_json(written))
