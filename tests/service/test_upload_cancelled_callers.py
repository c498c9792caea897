"""A request that is given up must not take the store with it."""

import asyncio
import contextlib
from pathlib import Path

from aima_common.adapters.embedded.documents import SqliteDocuments
from aima_common.ports.documents import Insert


async def test_a_caller_that_gives_up_does_not_stop_the_store(tmp_path: Path) -> None:
    async with SqliteDocuments.open(tmp_path / "documents.db") as documents:
        for number in range(50):
            given_up = asyncio.create_task(documents.insert("cases", Insert(f"given up {number}", "t", "open", {})))
            await asyncio.sleep(0)
            given_up.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await given_up
        async with asyncio.timeout(10):
            assert await documents.insert("cases", Insert("kept", "t", "open", {}))
        assert await documents.load("cases", "kept")
