"""The place that chooses plugs for the sockets of one machine; `cluster_wiring` does it for a cluster."""

import asyncio
import contextlib
import fcntl
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from aima_common.adapters.embedded.bus import SqliteBus
from aima_common.adapters.embedded.documents import SqliteDocuments
from aima_common.adapters.embedded.objects import DirectoryObjects
from aima_common.adapters.embedded.search import SqliteSearch
from aima_common.adapters.embedded.vectors import EdgeVectors
from aima_common.adapters.system_clock import SystemClock
from aima_common.contracts.topics import TOPICS
from aima_common.errors import SettingsError, TransientError
from aima_common.ports import Ports
from aima_common.ports.bus import TopicSpecification
from aima_common.runtime.failures import DEAD_SUFFIX

SWEEP_SECONDS = 3600.0
"""How often the log is looked through for what is too old to be kept."""

DEAD_SECONDS = 14 * 24 * 3600
"""How long dead letters are kept on their topics at least; the documents that people see stay until they decide."""

EMBEDDED_PARTITIONS = 4
"""One process consumes them all; more would only be more positions to look at."""


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Own a data folder alone; raise `SettingsError` when another process does."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SettingsError(
                f"another AIMA works on {folder}: use that one (it prints its address), stop it, "
                "or give --data another folder"
            ) from error
        yield


@contextlib.asynccontextmanager
async def embedded(folder: Path) -> AsyncIterator[Ports]:
    """Plug in the stores of one machine, below one folder; topics exist when this returns."""
    async with contextlib.AsyncExitStack() as stack:
        documents = await stack.enter_async_context(SqliteDocuments.open(folder / "documents.db"))
        bus = await stack.enter_async_context(SqliteBus.open(folder / "log.db"))
        search = await stack.enter_async_context(SqliteSearch.open(folder / "search.db"))
        objects = await DirectoryObjects.at(folder / "objects")
        stack.push_async_callback(objects.close)
        vectors = EdgeVectors.open(folder / "vectors")
        stack.push_async_callback(vectors.close)
        await bus.inherit()
        await bus.ensure_topics(topic_specifications(EMBEDDED_PARTITIONS))
        sweeping = asyncio.create_task(_sweep(bus))
        stack.callback(sweeping.cancel)
        yield Ports(bus, documents, objects, vectors, search, SystemClock())


async def _sweep(bus: SqliteBus) -> None:
    """Drop what everybody has read and a cluster would not keep either; the log would grow for ever."""
    while True:
        with contextlib.suppress(TransientError):
            await bus.sweep(time.time() - max(topic.retention_seconds for topic in TOPICS))
        await asyncio.sleep(SWEEP_SECONDS)


def topic_specifications(most: int | None = None) -> list[TopicSpecification]:
    """List every topic and its dead-letter topic, with partitions bounded by `most`."""
    topics: list[TopicSpecification] = []
    for topic in TOPICS:
        count = min(topic.partitions, most or topic.partitions)
        for name in topic.names:
            topics.append(TopicSpecification(name, count, topic.retention_seconds))
            topics.append(TopicSpecification(name + DEAD_SUFFIX, 1, max(topic.retention_seconds, DEAD_SECONDS)))
    return topics


def topic_partitions(most: int | None = None) -> dict[str, int]:
    """List every topic and its dead-letter topic with their partitions, bounded by `most`."""
    return {topic.name: topic.partitions for topic in topic_specifications(most)}
