"""Reads what the checker looks at from the stores, whichever are plugged in: all at once, or a part at a time."""

import hashlib
import math
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from aima_common.contracts.media import Result
from aima_common.contracts.topics import all_groups
from aima_common.errors import ObjectMissingError
from aima_common.ids import finding_id
from aima_common.object_keys import folders_of
from aima_common.pages import every
from aima_common.ports import Ports
from aima_common.ports.documents import Document, Documents, Where
from aima_common.references import REFERRING, references
from aima_monitoring.invariants import Snapshot, StoredObject

SAME_VECTORS = 1000
"""Findings of one medium that may share one vector (the same words again and again)."""

WATCHED = ("jobs", "runs", "preparations", "pictures", "dossiers", "rollups")
"""Collections whose histories are looked at."""

READ = tuple(
    dict.fromkeys(
        (
            *("cases", "items", "media", "preparations", "runs", "jobs", "pictures", "dossiers", "erasures"),
            *("relations", "appearances", "corrections", "dead_letters"),
            *REFERRING,
        )
    )
)
"""Collections that some rule looks at. The others are counters, keys and registers of what is."""

PART = 500
"""Documents of a part, besides what the rules ask of them."""

ASKED = 50
"""Objects that are looked for in one part, and media that were erased whose objects are: every one costs a request."""

MOST = 100_000
"""Documents beside those of a part: a medium has a few of each kind."""

Each = TypeVar("Each")


async def take(
    ports: Ports,
    *,
    accepted: Sequence[str] = (),
    at_rest: bool = False,
    read_bytes: bool = False,
    canaries: Mapping[str, Sequence[str]] | None = None,
) -> Snapshot:
    """Take a snapshot; `read_bytes` re-hashes every object and asks for every vector, which takes its time.

    `canaries` are words that were in some medium of a tenant and must not be found once that medium is erased.
    A client's ledger, footprints and the end of faults are the harness's to add (`dataclasses.replace`).
    """
    documents = {name: [document async for document in every(ports.documents, name)] for name in READ}
    histories = {name: await ports.documents.history(name) for name in WATCHED}
    now = await ports.documents.now()
    objects = {
        info.key: StoredObject(info.size_bytes, now.timestamp() - info.modified_at)
        async for info in ports.objects.list("t/")
    }
    if read_bytes:
        objects = {key: replace(there, sha256=await _hash(ports, key)) for key, there in objects.items()}
    # Of all processes: what `outbox` gives is what this one has to publish.
    oldest = await ports.documents.outbox_since()
    lag = {group: await ports.bus.lag(group, topics) for group, topics in all_groups().items()}
    vectors = await _Vectors.known(ports, documents["jobs"]) if read_bytes else _Vectors(ports)
    passages = await _passages(ports, canaries or {})
    return Snapshot(
        now=now,
        documents=documents,
        histories=histories,
        objects=objects,
        outbox_written_at=[oldest] if oldest else [],
        lag=lag,
        missing_vectors=vectors.missing,
        left_behind=[*passages, *await vectors.left_behind(documents)],
        accepted=accepted,
        at_rest=at_rest,
    )


async def parts(ports: Ports, turn: int = 0) -> AsyncIterator[Snapshot]:
    """Take a snapshot in parts, so that what is held of it is as small as one of them, however much there is.

    Each has some documents of one collection, and of the others what the rules ask of these. Of a part's objects a
    share is looked for; with as many turns as there are shares every object is. Those that nobody refers to are
    storage's to find.
    """
    oldest = await ports.documents.outbox_since()
    lag = {group: await ports.bus.lag(group, topics) for group, topics in all_groups().items()}
    now = await ports.documents.now()
    yield Snapshot(now, {}, {}, {}, outbox_written_at=[oldest] if oldest else [], lag=lag)
    for name in dict.fromkeys((*READ, *WATCHED)):
        part: list[Document] = []
        async for document in every(ports.documents, name):
            part.append(document)
            if len(part) == PART:
                yield await _part(ports, name, part, turn)
                part = []
        if part:
            yield await _part(ports, name, part, turn)


async def _part(ports: Ports, name: str, chosen: Sequence[Document], turn: int) -> Snapshot:
    documents = {**await _beside(ports.documents, name, chosen), name: chosen}
    lines = await ports.documents.history(name, [one.id for one in chosen]) if name in WATCHED else ()
    erased = _share([m for m in documents.get("media", ()) if m.state == "erased"], turn)
    originals = [m.body["object"]["key"] for m in erased if "object" in m.body]
    asked = frozenset((*_share(sorted(references(documents)), turn), *originals))
    infos = [info for key in sorted(asked) if (info := await ports.objects.info(key)) is not None]
    for medium in erased if name == "media" else ():
        for folder in folders_of(medium.tenant, medium.id):
            infos += [info async for info in ports.objects.list(folder)]
    now = await ports.documents.now()
    objects = {info.key: StoredObject(info.size_bytes, now.timestamp() - info.modified_at) for info in infos}
    return Snapshot(now, documents, {name: lines}, objects, asked)


async def _beside(documents: Documents, name: str, chosen: Sequence[Document]) -> dict[str, Sequence[Document]]:
    """Read what the rules ask of documents of a collection: the media they are about, and what must go with them."""
    ids = [one.id for one in chosen]
    about = {str(one.body[field]) for one in chosen for field in ("medium", "other") if one.body.get(field)}
    media = ids if name == "media" else sorted(about)
    wanted: dict[str, Where] = {"media": {"id": media}, "erasures": {"medium": media}}
    if name == "items":
        wanted["runs"] = {"medium": media}
    elif name == "pictures":
        wanted["runs"] = {"id": ids}
    elif name == "dossiers":
        wanted["cases"] = {"id": sorted({str(one.body["case"]) for one in chosen if one.body.get("case")})}
    elif name == "preparations":
        wanted["dead_letters"] = {"medium": ids}
    asked = {other: where for other, where in wanted.items() if other != name and all(where.values())}
    return {other: await documents.find(other, where, limit=MOST) for other, where in asked.items()}


def _share(all_of_them: Sequence[Each], turn: int) -> Sequence[Each]:
    shares = max(1, math.ceil(len(all_of_them) / ASKED))
    return all_of_them[turn % shares :: shares]


async def _hash(ports: Ports, key: str) -> str:
    digest = hashlib.sha256()
    async for chunk in ports.objects.open(key):
        digest.update(chunk)
    return digest.hexdigest()


class _Vectors:
    """What the vector store should hold, and what it should not."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._lengths: dict[str, int] = {}
        """Space -> length of its vectors, as far as some result tells."""
        self.missing: list[str] = []

    @classmethod
    async def known(cls, ports: Ports, jobs: Sequence[Document]) -> "_Vectors":
        """Look for every vector of every committed result."""
        vectors = cls(ports)
        for job in jobs:
            reference = job.body.get("result")
            if job.state == "done" and job.body["kind"] == "analyse" and reference:
                await vectors._look_for(job.tenant, reference["key"])
        return vectors

    async def _look_for(self, tenant: str, key: str) -> None:
        try:
            result = Result.model_validate_json(await self._ports.objects.get(key))
        except ObjectMissingError:
            return
        for vector in result.vectors:
            self._lengths[vector.space] = len(vector.vector)
            identity = finding_id(result.key, vector.finding) if vector.finding is not None else result.medium
            where = {"tenant": tenant, "medium": result.medium}
            near = await self._ports.vectors.nearest(vector.space, vector.vector, where=where, limit=SAME_VECTORS)
            if identity not in {neighbour.id for neighbour in near}:
                self.missing.append(f"{vector.space}/{identity}")

    async def left_behind(self, documents: Mapping[str, Sequence[Document]]) -> list[str]:
        """List the spaces in which an erased medium still has a vector: any one of its vectors is near enough."""
        running = {erasure.body["medium"] for erasure in documents["erasures"] if erasure.state != "erased"}
        erased = [m for m in documents["media"] if m.state == "erased" and m.id not in running]
        found = []
        for medium in erased:
            for space, length in sorted(self._lengths.items()):
                where = {"tenant": medium.tenant, "medium": medium.id}
                if await self._ports.vectors.nearest(space, [1.0] * length, where=where, limit=1):
                    found.append(f"{space} of {medium.id}")
        return found


async def _passages(ports: Ports, canaries: Mapping[str, Sequence[str]]) -> list[str]:
    """List the passages that hold words of what was erased."""
    found = []
    for tenant, words in canaries.items():
        for word in words:
            found += [
                f"passage {hit.passage.id} of {hit.passage.medium}" for hit in await ports.search.query(tenant, word)
            ]
    return found
