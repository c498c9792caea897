"""What waits to be told is found without reading what has nothing to tell."""

import asyncio
import secrets
from typing import Any

import pytest

from aima_common.adapters import mongo_pipelines as pipelines
from aima_common.adapters.mongo_documents import MongoDocuments
from aima_common.ports.bus import Record
from aima_common.ports.documents import Insert

SILENT, TELLING, LIMIT = 300, 3, 50
NAMES = ("jobs", "runs", "items")


@pytest.fixture
async def house(mongod_uri: str) -> Any:
    """Three collections of documents, few of which have something to tell."""
    async with MongoDocuments.open(mongod_uri, f"t{secrets.token_hex(8)}") as documents:
        for name in NAMES:
            silent = [Insert(f"{name}-{number}", "", "ready", {}) for number in range(SILENT)]
            await asyncio.gather(*(documents.insert(name, one) for one in silent))
            for number in range(TELLING):
                telling = Insert(f"{name}-tells-{number}", "", "ready", {})
                await documents.insert(name, telling, outbox=[Record("t", "k", b"x")])
        yield documents


async def examined(documents: MongoDocuments, stages: list[pipelines.Stage]) -> int:
    """Let MongoDB count the documents that it reads for an answer, in all collections."""
    asked = {"aggregate": NAMES[0], "pipeline": stages, "cursor": {}}
    told = await documents.database.command("explain", asked, verbosity="executionStats")
    return sum(_numbers(told, "totalDocsExamined"))


def _numbers(told: Any, name: str) -> list[int]:
    """Find a number in an explanation wherever it stands."""
    if isinstance(told, dict):
        here = [int(told[name])] if name in told else []
        return here + [number for value in told.values() for number in _numbers(value, name)]
    return [number for value in told for number in _numbers(value, name)] if isinstance(told, list) else []


@pytest.mark.parametrize("older_than", [0.0, 3600.0])
async def test_only_what_tells_is_read(house: MongoDocuments, older_than: float) -> None:
    stages = pipelines.waiting(NAMES, LIMIT, older_than)
    found = await house._collections[NAMES[0]].aggregate(stages).to_list(None)
    assert len(found) == (0 if older_than else len(NAMES) * TELLING)
    assert await examined(house, stages) <= 2 * len(NAMES) * TELLING
    assert await examined(house, pipelines.waiting_since(NAMES)) <= 2 * len(NAMES)
    assert await examined(house, pipelines.written_by(NAMES, "somebody", LIMIT)) <= 2 * len(NAMES) * TELLING
    by_no_index: list[pipelines.Stage] = [{"$match": {"changed_at": {"$exists": True}}}]
    assert await examined(house, by_no_index) >= SILENT, "control"
