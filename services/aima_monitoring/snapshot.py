"""Reads what the checker looks at from the stores, whichever are plugged in."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from aima_common.contracts.media import Result
from aima_common.contracts.topics import all_groups
from aima_common.errors import ObjectMissingError
from aima_common.ids import finding_id
from aima_common.pages import every
from aima_common.ports import Ports
from aima_common.ports.documents import Document
from aima_common.references import REFERRING
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
