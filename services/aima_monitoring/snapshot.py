"""Reads what the checker looks at from the stores."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from aima_common.collections import COLLECTIONS
from aima_common.contracts.media import Result
from aima_common.contracts.topics import TOPICS, heard_by
from aima_common.errors import ObjectMissingError
from aima_common.ids import finding_id
from aima_common.ports import Ports
from aima_common.ports.documents import Document
from aima_monitoring.invariants import Snapshot, StoredObject

MOST = 1_000_000
SAME_VECTORS = 1000
"""Findings of one medium that may share one vector (the same words again and again)."""

WATCHED = ("jobs", "runs", "preparations", "pictures", "dossiers", "rollups")


async def take(
    ports: Ports, *, accepted: Sequence[str] = (), at_rest: bool = False, read_bytes: bool = False
) -> Snapshot:
    """Take a snapshot; `read_bytes` re-hashes every object and asks for every vector, which takes its time."""
    documents = {c.name: await ports.documents.find(c.name, {}, limit=MOST) for c in COLLECTIONS}
    histories = {name: await ports.documents.history(name) for name in WATCHED}
    now = await ports.documents.now()
    objects = {
        info.key: StoredObject(info.size_bytes, now.timestamp() - info.modified_at)
        async for info in ports.objects.list("t/")
    }
    if read_bytes:
        objects = {key: replace(there, sha256=await _hash(ports, key)) for key, there in objects.items()}
    waiting = await ports.documents.outbox(limit=10_000)
    groups = sorted({service for topic in TOPICS for service in topic.consumers})
    lag = {group: await ports.bus.lag(group, [topic.name for topic in heard_by(group)]) for group in groups}
    return Snapshot(
        now=now,
        documents=documents,
        histories=histories,
        objects=objects,
        outbox_written_at=[entry.written_at for entry in waiting],
        lag=lag,
        missing_vectors=await _missing_vectors(ports, documents["jobs"]) if read_bytes else (),
        accepted=accepted,
        at_rest=at_rest,
    )


async def _hash(ports: Ports, key: str) -> str:
    digest = hashlib.sha256()
    async for chunk in ports.objects.open(key):
        digest.update(chunk)
    return digest.hexdigest()


async def _missing_vectors(ports: Ports, jobs: Sequence[Document]) -> list[str]:
    missing = []
    for job in jobs:
        reference = job.body.get("result")
        if job.state != "done" or job.body["kind"] != "analyse" or not reference:
            continue
        try:
            result = Result.model_validate_json(await ports.objects.get(reference["key"]))
        except ObjectMissingError:
            continue
        for vector in result.vectors:
            identity = finding_id(result.key, vector.finding) if vector.finding is not None else result.medium
            where = {"tenant": job.tenant, "medium": result.medium}
            near = await ports.vectors.nearest(vector.space, vector.vector, where=where, limit=SAME_VECTORS)
            if identity not in {neighbour.id for neighbour in near}:
                missing.append(f"{vector.space}/{identity}")
    return missing
