"""Publishes what waits in the outbox of the store."""

import asyncio
import contextlib
from collections.abc import Sequence

import structlog

from aima_common.errors import PermanentError, TransientError
from aima_common.ports import Ports
from aima_common.ports.documents import OutboxEntry
from aima_common.runtime.failures import keep_dead
from aima_common.runtime.telemetry import OUTBOX_PUBLISHED

IDLE_SECONDS = 0.5
"""How late an entry written by another process is noticed; own entries wake the relay at once."""

log = structlog.get_logger()


async def relay_outbox(ports: Ports) -> None:
    """Publish outbox entries, oldest first, for as long as the process lives.

    An entry is removed after it was published: a crash in between repeats it, which inboxes make
    harmless; the other order would lose it.
    """
    wake = asyncio.Event()
    listen = getattr(ports.documents, "on_outbox", None)
    if listen:
        listen(wake.set)
    while True:
        wake.clear()
        try:
            await relay_once(ports)
        except TransientError as error:
            log.warning("outbox_waits", reason=str(error))
            await ports.clock.sleep(1.0)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(IDLE_SECONDS):
                await wake.wait()


async def relay_once(ports: Ports) -> None:
    """Publish what waits now; raise `TransientError` while the store or the bus is away."""
    while entries := await ports.documents.outbox():
        await _publish(ports, entries)
        await ports.documents.published([entry.token for entry in entries])
        OUTBOX_PUBLISHED.inc(len(entries))


async def _publish(ports: Ports, entries: Sequence[OutboxEntry]) -> None:
    """Publish entries; one that the bus will never take is set aside, and the others go on."""
    try:
        await ports.bus.publish([entry.record for entry in entries])
    except PermanentError:
        for entry in entries:
            try:
                await ports.bus.publish([entry.record])
            except PermanentError as error:
                await keep_dead(ports, "outbox", entry.record, {"token": entry.token}, error.code, str(error))
