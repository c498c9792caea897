"""A reply of mongod that is lost after the write was done: nobody knows, and saying it again settles it."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import pytest

from aima_common.adapters.mongo_documents import MongoDocuments
from aima_common.collections import BY_NAME
from aima_common.errors import UnavailableError
from aima_common.ports.bus import Record
from aima_common.ports.documents import Change, Documents, Insert, Outcome, Transitioned
from tests.chaos.proxy import BLACK_HOLE, DROP_REPLIES, PASS, RESET, Fault, Mode, Proxy

FEW = [BY_NAME["jobs"]]
TOLD = [Record("told", "k", b"once")]


@pytest.fixture
def database() -> str:
    return f"t{secrets.token_hex(8)}"


@pytest.fixture
async def documents(mongod_uri: str, database: str) -> AsyncIterator[MongoDocuments]:
    async with MongoDocuments.open(mongod_uri, database, collections=FEW) as plug:
        yield plug


@pytest.fixture
async def proxy(mongod_uri: str) -> AsyncIterator[Proxy]:
    port = urlsplit(mongod_uri).port
    assert port is not None
    async with Proxy.listening(port) as found:
        yield found


@pytest.fixture
async def behind(proxy: Proxy, documents: MongoDocuments, database: str) -> AsyncIterator[MongoDocuments]:
    # A client of a replica set goes on to the addresses that its members tell of; a direct connection stays here.
    uri = f"mongodb://127.0.0.1:{proxy.port}/?directConnection=true"
    async with MongoDocuments.open(uri, database, collections=FEW, timeout_seconds=1.0) as plug:
        yield plug


async def count(documents: Documents) -> Transitioned:
    return await documents.transition("jobs", "j1", change=Change(add={"n": 1}), inbox="m1", outbox=TOLD)


async def settled(documents: Documents) -> Transitioned:
    while True:
        try:
            return await count(documents)
        except UnavailableError:
            await asyncio.sleep(0.1)


async def test_without_harm_it_is_applied_and_then_known(documents: MongoDocuments, behind: MongoDocuments) -> None:
    await documents.insert("jobs", Insert("j1", "acme", "ready", {}))
    assert (await count(behind)).outcome is Outcome.APPLIED
    assert (await count(behind)).outcome is Outcome.REPEATED


async def test_a_write_whose_reply_was_lost_is_done_once(
    documents: MongoDocuments, behind: MongoDocuments, proxy: Proxy
) -> None:
    await documents.insert("jobs", Insert("j1", "acme", "ready", {}))
    while len(await documents.history("jobs", "j1")) == 1:
        # Where the proxy lost the reply to a heartbeat first, the write was never sent: then once more.
        await behind.load("jobs", "j1")
        await proxy.inflict(DROP_REPLIES)
        with pytest.raises(UnavailableError):
            await count(behind)
        await proxy.inflict(PASS)
    assert proxy.replies_dropped > 0
    assert (await settled(behind)).outcome is Outcome.REPEATED
    found = await documents.load("jobs", "j1")
    assert found is not None
    assert found.body == {"n": 1}
    assert len(await documents.outbox()) == 1


@pytest.mark.parametrize(
    "fault", [BLACK_HOLE, RESET, Fault(Mode.CUT, passing_bytes=300)], ids=["black hole", "reset", "cut"]
)
async def test_a_broken_line_is_unavailable_and_what_is_said_again_is_done_once(
    documents: MongoDocuments, behind: MongoDocuments, proxy: Proxy, fault: Fault
) -> None:
    await documents.insert("jobs", Insert("j1", "acme", "ready", {}))
    await behind.load("jobs", "j1")
    await proxy.inflict(fault)
    with pytest.raises(UnavailableError):
        await count(behind)
    await proxy.inflict(PASS)
    await settled(behind)
    found = await documents.load("jobs", "j1")
    assert found is not None
    assert found.body == {"n": 1}
    assert len(await documents.outbox()) == 1
