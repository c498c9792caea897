"""A case with many media on a real MongoDB: changed, repaired and cancelled as a whole."""

import datetime
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest

from aima_common.abreast import abreast
from aima_common.adapters.mongo_documents import MongoDocuments
from aima_common.adapters.system_clock import SystemClock
from aima_common.collections import BY_NAME
from aima_common.contracts import messages as m
from aima_common.contracts.codec import decode
from aima_common.contracts.media import Priority
from aima_common.contracts.telling import tell
from aima_common.jobs import JobKind, Ledger, new_job
from aima_common.ports import Ports
from aima_common.ports.documents import Change, Insert
from aima_scheduler.service import Scheduler

USED = [BY_NAME[name] for name in ("cases", "items", "runs", "jobs", "preparations", "analyzers", "leaderships")]
TENANT, MEDIA = "default", 450
LONG_AGO = datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC)
OPTIONS: dict[str, Any] = {"priority": "normal", "deadline": None, "confidentiality": "public"}


@pytest.fixture
async def ports(mongod_uri: str) -> AsyncIterator[Ports]:
    """A database with a public case."""
    async with MongoDocuments.open(mongod_uri, f"t{secrets.token_hex(8)}", collections=USED) as documents:
        nothing: Any = None
        await documents.insert("cases", Insert("case", TENANT, "open", {"name": "case", "options": OPTIONS}))
        yield Ports(nothing, documents, nothing, nothing, nothing, SystemClock())


async def fill(ports: Ports) -> None:
    """Write items, runs and jobs, more than are read at once."""
    ledger = Ledger(ports, "submitter")

    async def one(number: int) -> None:
        medium, run = f"medium-{number}", f"run-{number}"
        item = {"case": "case", "medium": medium, "ordinal": number, "accepted_at": LONG_AGO.isoformat()}
        await ports.documents.insert("items", Insert(f"item-{number}", TENANT, "accepted", item))
        counted = {"parts_done": 0, "parts_total": 1, "reason": None}
        body = {"medium": medium, "accepted_at": LONG_AGO.isoformat(), **counted, **OPTIONS}
        await ports.documents.insert("runs", Insert(run, TENANT, "analysing", body))
        job = new_job(f"job-{number}", TENANT, JobKind.ANALYSE, submitted_at=LONG_AGO, medium=medium, run=run)
        await ledger.add(job)

    await abreast(one, range(MEDIA))


async def say(scheduler: Scheduler, message: Any) -> None:
    told = tell(
        message, tenant=TENANT, key="case", cause=secrets.token_hex(8), time=datetime.datetime.now(datetime.UTC)
    )
    await scheduler.handlers()[type(message)](decode(told))


async def found(ports: Ports, collection: str, **where: Any) -> int:
    return len(await ports.documents.find(collection, where, limit=10_000))


async def test_a_large_case_is_changed_repaired_and_cancelled_as_a_whole(ports: Ports) -> None:
    await fill(ports)
    ledger, documents = Ledger(ports, "scheduler"), ports.documents
    scheduler = Scheduler(ports, ledger)
    await documents.transition("cases", "case", change=Change(set={"options": {**OPTIONS, "priority": "high"}}))
    await say(scheduler, m.CaseChanged(case="case", priority=Priority.HIGH))
    assert await found(ports, "jobs", priority="high") == MEDIA
    # Of this change nobody tells.
    await documents.transition("cases", "case", change=Change(set={"options": {**OPTIONS, "priority": "batch"}}))
    await scheduler._safety.over_all(scheduler._repairing.held)
    assert await found(ports, "jobs", priority="batch") == MEDIA
    held = await ledger.claim((await ledger.ready(JobKind.ANALYSE))[0])
    assert held is not None
    await say(scheduler, m.CancelRequested(case="case"))
    assert await found(ports, "jobs", state="cancelled") == MEDIA
    assert await found(ports, "runs", state="cancelled") == MEDIA
