"""Gateways that share a tenant's limits through a real MongoDB, each with a connection of its own."""

import asyncio
import contextlib
import itertools
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from aima_common.adapters.mongo_documents import MongoDocuments
from aima_common.adapters.system_clock import SystemClock
from aima_common.collections import BY_NAME
from aima_common.contracts.media import Priority
from aima_common.jobs import JobKind, new_job
from aima_common.ports import Ports
from aima_common.ports.documents import Insert
from aima_common.problems import ProblemError
from aima_gateway.backlog import BacklogLimits
from aima_gateway.backlog_gate import BacklogGate
from aima_gateway.pace import PART_SECONDS, Pace
from aima_gateway.tenant_limits import Amount, TenantLimits
from aima_gateway.tenant_rates import TenantRates
from aima_gateway.upload_room import UploadRoom
from aima_gateway.usage import Usage

USED = [BY_NAME[name] for name in ("counters", "items", "jobs")]
LIMITS = TenantLimits(uploads_at_once=4, items_per_day=30, bytes_per_day=2000)


@pytest.fixture
async def ports(mongod_uri: str) -> AsyncIterator[list[Ports]]:
    """Four gateways' ways to one database."""
    database, nothing = f"t{secrets.token_hex(8)}", None
    async with contextlib.AsyncExitStack() as stack:
        found = []
        for _ in range(4):
            opened = MongoDocuments.open(mongod_uri, database, collections=USED)
            documents: Any = await stack.enter_async_context(opened)
            sockets: Any = nothing
            found.append(Ports(sockets, documents, sockets, sockets, sockets, SystemClock()))
        yield found


async def test_all_gateways_together_keep_a_tenants_pace(ports: list[Ports]) -> None:
    pace, passed = Pace(200, 200), 0

    async def client(rates: TenantRates) -> None:
        nonlocal passed
        for _ in range(100):
            passed += await rates.wait_seconds("acme", pace) == 0
            await asyncio.sleep(0.01)

    began = time.monotonic()
    gateways = [TenantRates(one) for one in ports]
    await asyncio.gather(*(client(rates) for rates in gateways for _ in range(4)))
    assert 100 <= passed <= 200 + 200 * (time.monotonic() - began + PART_SECONDS)
    known = await ports[0].documents.load("counters", "pace/acme")
    assert known is not None
    assert known.version < passed / 2, "requests are counted in memory"
    assert await ports[0].documents.history("counters") == []


async def test_all_gateways_together_keep_a_tenants_uploads_within_its_limits(ports: list[Ports]) -> None:
    numbers, under_way, most, refused = itertools.count(), 0, 0, Counter[str]()

    async def upload(room: UploadRoom, documents: Any) -> None:
        nonlocal under_way, most
        with contextlib.suppress(ProblemError):
            async with room.held("acme", LIMITS, Amount(1, 1, 90)) as place:
                under_way += 1
                most = max(most, under_way)
                at = (await documents.now()).isoformat()
                body = {"accepted_at": at, "size_bytes": 90}
                assert await documents.insert("items", Insert(f"i{next(numbers)}", "acme", "accepted", body))
                under_way -= 1
                place.ended(201, item=True)
            return
        refused["busy or used up"] += 1
        await asyncio.sleep(0.05)

    async def client(room: UploadRoom, documents: Any) -> None:
        for _ in range(20):
            await upload(room, documents)

    rooms = [UploadRoom(one) for one in ports]
    keeping = [asyncio.create_task(room.keep()) for room in rooms]
    await asyncio.gather(*(client(room, one.documents) for room, one in zip(rooms, ports, strict=True) for _ in "12"))
    used = await Usage(ports[0]).today("acme")
    assert used == Amount(0, await ports[0].documents.count("items", {}), 90 * used.items)
    assert used.within(Amount(0, 30, 2000))
    assert used.items
    assert most <= 4
    assert refused
    for task in keeping:
        task.cancel()
    await asyncio.gather(*keeping, return_exceptions=True)


async def test_the_door_sees_what_waits_in_the_store(ports: list[Ports]) -> None:
    gate = BacklogGate(ports[0], BacklogLimits(oldest_seconds=0.05, fewest=3), _calm)
    assert (await gate.door()).is_open
    now = await ports[1].documents.now()
    for name in _names(3):
        job = new_job(name, "acme", JobKind.ANALYSE, submitted_at=now, priority=Priority.LOW)
        assert await ports[1].documents.insert("jobs", job)
    await asyncio.sleep(1.1)
    assert (await gate.door()).closed == {Priority.LOW, Priority.BATCH}


def _calm() -> float:
    return 0.0


def _names(count: int) -> Iterator[str]:
    return (f"job {number}" for number in range(count))
