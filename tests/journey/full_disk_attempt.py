"""Fills the disk under one store at every size of its files in turn, and tells what was lost; a process of its own.

The limit on the size of files makes a write fail exactly where a full disk would make it fail: in its middle.
"""

import asyncio
import json
import resource
import sqlite3
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from aima_common.adapters.embedded.bus import SqliteBus
from aima_common.adapters.embedded.documents import SqliteDocuments
from aima_common.adapters.embedded.search import SqliteSearch
from aima_common.errors import StorageFullError
from aima_common.ports.bus import Record
from aima_common.ports.documents import Change, Expect, Insert
from aima_common.ports.search import Passage

STEP_BYTES = 1543
"""A prime: the limit falls on every part of a page and of a log frame."""
STEPS = 60
WRITES = 3
TOPIC = "media"

Write = Callable[[int], Awaitable[None]]
Present = Callable[[], Awaitable[set[int]]]


@asynccontextmanager
async def documents(folder: Path) -> AsyncIterator[tuple[Write, Present]]:
    """Insert a document with a message, then change it: one step of the pipeline."""
    async with SqliteDocuments.open(folder / "documents.db") as store:

        async def write(number: int) -> None:
            told = Record(TOPIC, str(number), b"x" * 700, {})
            await store.insert("cases", Insert(str(number), "t", "open", {"text": "y" * 900}), outbox=[told])
            done = await store.transition("cases", str(number), expect=Expect("open"), change=Change("cancelled"))
            assert done.applied

        async def present() -> set[int]:
            found = await store.find("cases", {}, limit=1000)
            waiting = {entry.record.key for entry in await store.outbox()}
            assert waiting == {document.id for document in found}, "a document without its message, or the reverse"
            return {int(document.id) for document in found if document.state == "cancelled"}

        yield write, present


@asynccontextmanager
async def bus(folder: Path) -> AsyncIterator[tuple[Write, Present]]:
    """Publish two records at once."""
    async with SqliteBus.open(folder / "log.db") as log:
        await log.ensure_topics({TOPIC: 2})

        async def write(number: int) -> None:
            await log.publish([Record(TOPIC, f"{number}-{part}", b"z" * 1500, {}) for part in range(2)])

        async def present() -> set[int]:
            with sqlite3.connect(folder / "log.db") as reader:
                keys = [row[0].split("-") for row in reader.execute("SELECT key FROM log")]
            whole = {int(number) for number, part in keys if part == "0"}
            assert whole == {int(number) for number, part in keys if part == "1"}, "half of a publication"
            return whole

        yield write, present


@asynccontextmanager
async def search(folder: Path) -> AsyncIterator[tuple[Write, Present]]:
    """Index a passage."""
    async with SqliteSearch.open(folder / "search.db") as index:

        async def write(number: int) -> None:
            words = f"common word{number} " + "filling " * 150
            await index.index([Passage(str(number), "t", f"m{number}", "speech", words, 0.0, 1.0)])

        async def present() -> set[int]:
            hits = await index.query("t", "common", limit=1000)
            for hit in hits:
                assert await index.query("t", f"word{hit.passage.id}"), "a passage without its words"
            return {int(hit.passage.id) for hit in hits}

        yield write, present


STORES = {"documents": documents, "bus": bus, "search": search}


def limit(size: int) -> None:
    """Let no file of this process grow beyond `size`."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


async def attempt(name: str, room: int, folder: Path) -> tuple[int, int]:
    """Write until there is no room and beyond; return how many writes were acknowledged, and how many refused."""
    acknowledged: set[int] = set()
    refused: set[int] = set()
    async with STORES[name](folder) as (write, present):
        limit(max(path.stat().st_size for path in folder.iterdir()) + room)
        for number in range(WRITES):
            try:
                await write(number)
            except StorageFullError:
                refused.add(number)
            else:
                acknowledged.add(number)
        limit(resource.RLIM_INFINITY)
        assert acknowledged <= await present(), "what was acknowledged is readable"
        for number in refused - await present():
            try:
                await write(number)
            except AssertionError:
                # Inserted before the disk was full; its change came too late, and comes now.
                assert name == "documents"
        await write(WRITES)
    async with STORES[name](folder) as (_, present):
        assert acknowledged | {WRITES} <= await present(), "what was acknowledged survives the process"
    for path in folder.glob("*.db"):
        with sqlite3.connect(path) as reader:
            assert reader.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    return len(acknowledged), len(refused)


async def main(name: str) -> None:
    """Try with no room, and with a little more every time; print what happened."""
    outcomes = []
    for step in range(STEPS):
        with tempfile.TemporaryDirectory() as folder:
            outcomes.append(await attempt(name, step * STEP_BYTES, Path(folder)))
    print(json.dumps(outcomes))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
