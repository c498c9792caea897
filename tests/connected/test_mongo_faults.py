"""Documents on MongoDB when mongod is away, hangs, refuses, or a document would grow for ever."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest

from aima_common.adapters import mongo_pipelines
from aima_common.adapters.mongo_documents import MongoDocuments
from aima_common.collections import BY_NAME, COLLECTIONS
from aima_common.errors import PermanentError, SettingsError, UnavailableError
from aima_common.ports.bus import Record
from aima_common.ports.documents import Change, Insert, Outcome
from aima_servers import Served
from tests.servers import standing_still

FEW = [BY_NAME["jobs"], BY_NAME["keys"]]


@pytest.fixture
def database() -> str:
    return f"t{secrets.token_hex(8)}"


@pytest.fixture
async def documents(mongod_uri: str, database: str) -> AsyncIterator[MongoDocuments]:
    async with MongoDocuments.open(mongod_uri, database, collections=FEW, timeout_seconds=1.0) as plug:
        yield plug


async def test_an_unknown_outcome_is_settled_by_saying_it_again(
    documents: MongoDocuments, mongod_server: Served
) -> None:
    await documents.insert("jobs", Insert("j1", "acme", "ready", {}))
    change, told = Change(add={"n": 1}), [Record("told", "k", b"once")]
    with standing_still(mongod_server):
        with pytest.raises(UnavailableError):
            await documents.transition("jobs", "j1", change=change, inbox="m1", outbox=told)
        with pytest.raises(UnavailableError):
            await documents.insert("jobs", Insert("j2", "acme", "ready", {}))
        with pytest.raises(UnavailableError):
            await documents.load("jobs", "j1")
    while True:
        try:
            done = await documents.transition("jobs", "j1", change=change, inbox="m1", outbox=told)
            await documents.insert("jobs", Insert("j2", "acme", "ready", {}))
            break
        except UnavailableError:
            await asyncio.sleep(0.1)
    assert done.outcome in {Outcome.APPLIED, Outcome.REPEATED}
    assert done.document is not None
    assert done.document.body == {"n": 1}
    assert len(await documents.outbox()) == 1
    assert await documents.count("jobs", {}) == 2


async def test_where_nobody_listens_opening_says_so(database: str) -> None:
    with pytest.raises(UnavailableError):
        async with MongoDocuments.open("mongodb://127.0.0.1:9", database, collections=FEW, timeout_seconds=1.0):
            pytest.fail("opened a store that is not there")


async def test_a_login_that_is_wrong_names_the_setting_and_tells_no_secret(mongod_uri: str, database: str) -> None:
    # Whoever logs in is asked, even where nobody has to log in.
    wrong = mongod_uri.replace("mongodb://", "mongodb://somebody:hunter2@")
    with pytest.raises(SettingsError, match="AIMA_MONGODB") as caught:
        async with MongoDocuments.open(wrong, database, collections=FEW, timeout_seconds=5.0):
            pytest.fail("let in")
    assert "hunter2" not in str(caught.value)
    async with MongoDocuments.open(mongod_uri, database, collections=FEW, timeout_seconds=5.0) as plug:
        assert await plug.count("jobs", {}) == 0, "positive control"


@pytest.mark.parametrize(
    "change",
    [
        Change(set={"large": "x" * (17 << 20)}),
        Change(add={"words": 1}),
        Change(push={"words": 1}),
        Change(set={"a.$b": 1}),
        Change(set={"a..b": 1}),
        Change(set={"a.": 1}),
    ],
    ids=["too large", "no number", "no list", "no name", "an empty name", "an empty end"],
)
async def test_a_change_that_can_never_work_is_refused_for_good(documents: MongoDocuments, change: Change) -> None:
    await documents.insert("jobs", Insert("j1", "acme", "ready", {"words": "one two"}))
    with pytest.raises(PermanentError):
        await documents.transition("jobs", "j1", change=change, outbox=[Record("told", "k", b"")])
    loaded = await documents.load("jobs", "j1")
    assert loaded is not None
    assert (loaded.version, loaded.body) == (1, {"words": "one two"})
    assert await documents.outbox() == []
    assert (await documents.transition("jobs", "j1", change=Change(set={"words": "three"}))).applied


async def test_a_document_that_is_too_large_to_begin_with_is_refused_for_good(documents: MongoDocuments) -> None:
    with pytest.raises(PermanentError):
        await documents.insert("jobs", Insert("j1", "acme", "ready", {"large": "x" * (17 << 20)}))
    assert await documents.load("jobs", "j1") is None


async def test_a_document_that_changes_for_ever_remembers_the_newest(
    documents: MongoDocuments, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mongo_pipelines, "INBOX_KEPT", 5)
    monkeypatch.setattr(mongo_pipelines, "HISTORY_KEPT", 4)
    await documents.insert("jobs", Insert("j1", "acme", "ready", {}))
    for number in range(8):
        await documents.transition("jobs", "j1", inbox=f"m{number}")
    assert [line.version for line in await documents.history("jobs", "j1")] == [6, 7, 8, 9]
    for number in range(3, 8):
        assert (await documents.transition("jobs", "j1", inbox=f"m{number}")).outcome is Outcome.REPEATED
    assert (await documents.transition("jobs", "j1", inbox="m2")).applied


def said(value: str) -> list[Record]:
    return [Record("told", "k", value.encode())]


async def values(plug: MongoDocuments) -> list[bytes]:
    return [entry.record.value for entry in await plug.outbox()]


async def test_each_process_tells_at_once_what_it_wrote_and_later_what_a_dead_one_left(
    mongod_uri: str, database: str
) -> None:
    async with MongoDocuments.open(mongod_uri, database, collections=FEW, leftover_seconds=600) as patient:
        async with MongoDocuments.open(mongod_uri, database, collections=FEW, leftover_seconds=600) as writer:
            await writer.insert("jobs", Insert("d1", "acme", "ready", {}), outbox=said("first"))
            await writer.transition("jobs", "d1", outbox=said("second"))
            assert await values(writer) == [b"first", b"second"]
            assert await values(patient) == []
            assert await patient.outbox_since() is not None, "what it must not tell yet it can still see"
            await writer.published([entry.token for entry in await writer.outbox(1)])
            assert await values(writer) == [b"second"]
        # The writer is gone with one entry untold.
        async with MongoDocuments.open(mongod_uri, database, collections=FEW, leftover_seconds=0.05) as heir:
            async with asyncio.timeout(10):
                while not (left := await heir.outbox()):
                    await asyncio.sleep(0.05)
            assert [entry.record.value for entry in left] == [b"second"]
            await heir.published([entry.token for entry in left])
        async with MongoDocuments.open(mongod_uri, database, collections=FEW) as everything:
            assert await values(everything) == []


async def test_a_process_that_waits_asks_the_database_seldom(
    mongod_uri: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    real = mongo_pipelines.waiting

    def counted(*arguments: Any) -> list[mongo_pipelines.Stage]:
        nonlocal asked
        asked += 1
        return real(*arguments)

    monkeypatch.setattr(mongo_pipelines, "waiting", counted)
    async with MongoDocuments.open(mongod_uri, database, collections=FEW, leftover_seconds=600) as plug:
        for _ in range(20):
            assert await values(plug) == []
        assert asked <= 1
    asked = 0
    async with MongoDocuments.open(mongod_uri, database, collections=FEW) as plug:
        for _ in range(20):
            assert await values(plug) == []
        assert asked == 20, "the control: without the memory every look is a question"


async def tell_all(plug: MongoDocuments, count: int) -> list[bytes]:
    told: list[bytes] = []
    async with asyncio.timeout(20):
        while len(told) < count:
            entries = await plug.outbox(3)
            told += [entry.record.value for entry in entries]
            await plug.published([entry.token for entry in entries])
            await asyncio.sleep(0.01)
    return told


async def test_what_the_memory_has_no_room_for_is_told_in_its_order_without_waiting(
    mongod_uri: str, database: str
) -> None:
    opened = MongoDocuments.open(mongod_uri, database, collections=FEW, leftover_seconds=600, remembered_entries=4)
    async with opened as plug:
        for number in range(11):
            collection, state = [("jobs", "ready"), ("keys", "active")][number % 2]
            await plug.insert(collection, Insert(f"d{9 - number}", "acme", state, {}), outbox=said(str(number)))
        assert await tell_all(plug, 11) == [str(number).encode() for number in range(11)]
        assert await values(plug) == []


async def test_an_entry_whose_fate_is_unknown_is_told_before_what_came_after_it(
    mongod_uri: str, database: str, mongod_server: Served
) -> None:
    opened = MongoDocuments.open(mongod_uri, database, collections=FEW, leftover_seconds=600, timeout_seconds=1.0)
    async with opened as plug:
        await plug.insert("jobs", Insert("j1", "acme", "ready", {}), outbox=said("before"))
        with standing_still(mongod_server), pytest.raises(UnavailableError):
            await plug.transition("jobs", "j1", inbox="m1", outbox=said("unknown"))
        for inbox, value in (("m1", "again"), ("m2", "after")):
            await insisting(plug, inbox, value)
        before, settled, after = await tell_all(plug, 3)
        assert (before, after) == (b"before", b"after")
        assert settled in {b"unknown", b"again"}
        assert await values(plug) == []


async def insisting(plug: MongoDocuments, inbox: str, value: str) -> None:
    while True:
        with contextlib.suppress(UnavailableError):
            await plug.transition("jobs", "j1", inbox=inbox, outbox=said(value))
            return
        await asyncio.sleep(0.1)


async def test_a_caller_who_leaves_in_the_middle_leaves_nothing_untold(mongod_uri: str, database: str) -> None:
    async with MongoDocuments.open(mongod_uri, database, collections=FEW, leftover_seconds=600) as plug:
        await plug.insert("jobs", Insert("j1", "acme", "ready", {}))
        for number in range(40):
            writing = asyncio.create_task(plug.transition("jobs", "j1", inbox=str(number), outbox=said(str(number))))
            await asyncio.sleep(number / 10_000)
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
        await asyncio.sleep(0.5)
        written = {line.inbox for line in await plug.history("jobs", "j1")} - {None}
        assert written, "the control: some writes were done although nobody waited for them"
        told = [one.decode() for one in await tell_all(plug, len(written))]
        assert set(told) == written


async def test_every_declared_index_is_made_and_opening_again_changes_nothing(mongod_uri: str, database: str) -> None:
    for _ in range(2):
        async with MongoDocuments.open(mongod_uri, database) as documents:
            for collection in COLLECTIONS:
                found = await documents._database[collection.name].index_information()
                paths = {key for index in found.values() for key, _ in index["key"]}
                assert {f"body.{field}" for field in collection.indexes} <= paths
                unique = [index for index in found.values() if index.get("unique")]
                assert len(unique) == len(collection.unique)


async def test_the_relay_and_the_reaper_read_by_index(documents: MongoDocuments) -> None:
    jobs = documents._database["jobs"]
    await documents.insert("jobs", Insert("j1", "acme", "ready", {}), outbox=[Record("told", "k", b"")])
    reaper = mongo_pipelines.matching({"state": "leased"}, lease_expired=True)
    relay = {"waiting_since": {"$exists": True}}
    own = mongo_pipelines.written_by(["jobs"], "ab-", 10)[0]["$match"]
    for wanted in (reaper, relay, own):
        plan = (await jobs.find(wanted).sort("_id" if wanted is reaper else "waiting_since").explain())["queryPlanner"]
        assert "IXSCAN" in stages(plan["winningPlan"])
        assert "COLLSCAN" not in stages(plan["winningPlan"])
    plan = (await jobs.find({"body.progress": 1}).explain())["queryPlanner"]
    assert "COLLSCAN" in stages(plan["winningPlan"]), "positive control: a field without an index"


def stages(plan: Any) -> set[str]:
    if isinstance(plan, list):
        return {stage for one in plan for stage in stages(one)}
    if isinstance(plan, dict):
        own = {plan["stage"]} if "stage" in plan else set()
        return own | {stage for one in plan.values() for stage in stages(one)}
    return set()
