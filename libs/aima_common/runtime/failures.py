"""Dead letters: what cannot be handled is kept whole, with its reason, and the partition goes on."""

import base64
from collections.abc import Mapping, Sequence

import structlog

from aima_common.ids import derive
from aima_common.ports import Ports
from aima_common.ports.bus import Delivery, Record
from aima_common.ports.documents import Insert
from aima_common.runtime.telemetry import DEAD_LETTERS

KEPT_BYTES = 256 * 1024
"""Of an oversized message this much is kept; its coordinates lead to the rest."""

DEAD_SUFFIX = ".dead"

log = structlog.get_logger()


async def set_aside(ports: Ports, service: str, delivery: Delivery, reason: str, detail: str) -> None:
    """Record a message as dead: a document for people, a record on the dead-letter topic for machines."""
    record = delivery.record
    headers = {**record.headers, "aima_dead_reason": reason, "aima_dead_service": service}
    dead = Record(record.topic + DEAD_SUFFIX, record.key, record.value[:KEPT_BYTES], headers)
    coordinates: dict[str, str | int] = {
        "topic": record.topic,
        "partition": delivery.partition,
        "offset": delivery.offset,
    }
    await keep_dead(ports, service, record, coordinates, reason, detail, outbox=[dead])


async def keep_dead(
    ports: Ports,
    service: str,
    record: Record,
    coordinates: Mapping[str, str | int],
    reason: str,
    detail: str,
    *,
    outbox: Sequence[Record] = (),
    size_bytes: int | None = None,
) -> None:
    """Keep the document of a dead letter, once for its coordinates.

    `size_bytes` is the size of its value where that is not all here.
    """
    identity = derive("dead_letter", service, *coordinates.values())
    body = {
        "service": service,
        "reason": reason,
        "detail": detail[:2000],
        "topic": record.topic,
        **coordinates,
        "key": record.key,
        "headers": dict(record.headers),
        "value": base64.b64encode(record.value[:KEPT_BYTES]).decode(),
        "size_bytes": len(record.value) if size_bytes is None else size_bytes,
        "at": ports.clock.now().isoformat(),
    }
    tenant = record.headers.get("aima_tenant", "")
    if await ports.documents.insert("dead_letters", Insert(identity, tenant, "open", body), outbox=outbox):
        DEAD_LETTERS.labels(service, reason).inc()
        log.error("message_set_aside", service=service, reason=reason, detail=detail[:500], **coordinates)
