"""Indexes that AIMA asked MongoDB for and wants no more go, a day later; those of others stay."""

import asyncio
import dataclasses
import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from motor.motor_asyncio import AsyncIOMotorClient

from aima_common.adapters import mongo_indexes
from aima_common.adapters.mongo_documents import MongoDocuments
from aima_common.adapters.mongo_indexes import indexes
from aima_common.collections import BY_NAME, Collection

NOW = [BY_NAME["jobs"], BY_NAME["keys"], BY_NAME["machines"]]
FIELD = "body.run_1_state_1"
"""An index that AIMA once wanted, of one field."""
BEFORE = [dataclasses.replace(BY_NAME["jobs"], indexes=(*BY_NAME["jobs"].indexes, "later")), *NOW[1:]]
LATER = "body.later_1_state_1"
"""An index that one of two versions wants, both of which keep the register."""
TOGETHER = "body.kind_1_state_1_body.priority_1_body.submitted_at_1__id_1_body.machine_1_body.lane_1"
THEIRS = {"body.color_1_state_1", "body.kind_1_state_1_body.color_1", "body.medium_-1", "TTL of somebody"}


@pytest.fixture
async def database(mongod_uri: str) -> AsyncIterator[Any]:
    client: Any = AsyncIOMotorClient(mongod_uri)
    yield client[f"t{secrets.token_hex(8)}"]
    client.close()


async def start(database: Any, uri: str, collections: Sequence[Collection] = NOW) -> set[str]:
    """Be a process that starts and ends; tell which indexes of the jobs there are then."""
    async with MongoDocuments.open(uri, database.name, collections=collections):
        return set(await database.jobs.index_information())


async def somebody_elses(database: Any) -> None:
    """Make indexes as an operator might, by the names that MongoDB gives and by one of their own."""
    for fields in (("body.color", "state"), ("body.kind", "state", "body.color")):
        await database.jobs.create_index([(field, 1) for field in fields])
    await database.jobs.create_index([("body.medium", -1)])
    await database.jobs.create_index("body.at", name="TTL of somebody", expireAfterSeconds=3600)


def wanted() -> set[str]:
    return {"_id_", *(index["name"] for index in indexes(BY_NAME["jobs"]))}


async def test_what_an_earlier_version_left_goes_a_day_after_it_was_first_missed(
    database: Any, mongod_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await database.jobs.create_index([("body.run", 1), ("state", 1)])
    fields = ("body.kind", "state", "body.priority", "body.submitted_at", "_id", "body.machine", "body.lane")
    await database.jobs.create_index([(field, 1) for field in fields])
    await somebody_elses(database)
    for _ in range(2):
        assert await start(database, mongod_uri) == wanted() | THEIRS | {FIELD, TOGETHER}
    monkeypatch.setattr(mongo_indexes, "UNWANTED_SECONDS", 0)
    assert await start(database, mongod_uri) == wanted() | THEIRS
    # Whoever makes one by that name now is not an AIMA that we know of.
    await database.jobs.create_index([("body.run", 1), ("state", 1)])
    for _ in range(2):
        assert await start(database, mongod_uri) == wanted() | THEIRS | {FIELD}


async def test_a_version_that_still_wants_it_keeps_it_by_starting(
    database: Any, mongod_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mongo_indexes, "UNWANTED_SECONDS", 0)
    for _ in range(2):
        assert LATER in await start(database, mongod_uri, BEFORE)
        assert LATER in await start(database, mongod_uri), "missed for the first time since"
    assert LATER not in await start(database, mongod_uri), "missed for long enough"
    assert LATER in await start(database, mongod_uri, BEFORE), "who comes back after that has it again"


async def test_of_many_that_start_at_once_none_stumbles(
    database: Any, mongod_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = await asyncio.gather(*(start(database, mongod_uri, BEFORE) for _ in range(6)))
    assert all(found == wanted() | {LATER} for found in together)
    await start(database, mongod_uri)
    monkeypatch.setattr(mongo_indexes, "UNWANTED_SECONDS", 0)
    await asyncio.gather(*(start(database, mongod_uri) for _ in range(6)))
    assert set(await database.jobs.index_information()) == wanted()


async def test_of_collections_that_are_not_opened_nothing_is_said(
    database: Any, mongod_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mongo_indexes, "UNWANTED_SECONDS", 0)
    await start(database, mongod_uri, BEFORE)
    for _ in range(2):
        assert LATER in await start(database, mongod_uri, NOW[1:])
    await start(database, mongod_uri)
    await start(database, mongod_uri, NOW[1:])
    assert LATER not in await start(database, mongod_uri), "the control"


async def test_a_unique_index_is_a_promise_and_stays(
    database: Any, mongod_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mongo_indexes, "UNWANTED_SECONDS", 0)
    await start(database, mongod_uri)
    free = [BY_NAME["jobs"], dataclasses.replace(BY_NAME["keys"], unique=(), indexes=())]
    for _ in range(3):
        await start(database, mongod_uri, free)
    left = set(await database["keys"].index_information())
    assert "once_0" in left
    assert "body.digest_1_state_1" not in left, "the control"


async def test_a_register_that_nobody_can_read_stops_nobody(
    database: Any, mongod_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mongo_indexes, "UNWANTED_SECONDS", 0)
    await start(database, mongod_uri, BEFORE)
    await database.registers.update_one({"_id": "indexes"}, {"$set": {"names": "nonsense"}})
    for _ in range(2):
        assert await start(database, mongod_uri) == wanted() | {LATER}
