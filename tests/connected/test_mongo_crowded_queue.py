"""What a scheduler asks MongoDB while a crowd waits is answered from an index, in its order, whoever else waits."""

import asyncio
import datetime
import secrets
from typing import Any

import pytest

from aima_common.adapters.mongo_documents import MongoDocuments
from aima_common.adapters.mongo_pipelines import matching, ordering
from aima_common.contracts.media import Priority
from aima_common.jobs import JobKind, new_job
from aima_common.jobs.window import Window
from aima_common.ports.documents import Change, Range, Where
from tests.service.stage import NEEDS, NOW

FLOOD, PLACED, MOST = 600, 5, 50
READY: Where = {"kind": "analyse", "state": "ready", "machine": None}
BATCH: Where = {**READY, "priority": "batch"}


@pytest.fixture
async def crowd(mongod_uri: str) -> Any:
    """A tenant's flood, behind it a neighbour and a deadline, and some jobs on a machine."""
    async with MongoDocuments.open(mongod_uri, f"t{secrets.token_hex(8)}") as documents:
        names: list[tuple[str, str, str | None]] = []
        names += [("flood", f"flood-{number:04}", None) for number in range(FLOOD)]
        deadline = (NOW + datetime.timedelta(minutes=2)).isoformat()
        names += [("neighbour", "neighbour", None), ("flood", "dated", deadline)]
        for start in range(0, len(names), 100):
            jobs = [
                new_job(
                    name,
                    tenant,
                    JobKind.ANALYSE,
                    submitted_at=NOW + datetime.timedelta(seconds=start + number),
                    priority=Priority.BATCH,
                    deadline=deadline,
                    lane="image",
                    needs=NEEDS,
                )
                for number, (tenant, name, deadline) in enumerate(names[start : start + 100])
            ]
            await asyncio.gather(*(documents.insert("jobs", job) for job in jobs))
        for number in range(PLACED):
            await documents.transition("jobs", f"flood-{number:04}", change=Change(set={"machine": "m"}))
        yield documents


async def test_a_look_shows_a_neighbour_and_a_near_deadline_behind_a_flood(crowd: MongoDocuments) -> None:
    shown = {job.id for job in await Window(crowd, "analyse", MOST, lambda: 0.0).look()}
    assert {"neighbour", "dated", f"flood-{PLACED:04}"} <= shown
    assert len(shown) < 3 * MOST, "and no more than a bounded number"
    oldest = {job.id for job in await crowd.find("jobs", BATCH, order=["submitted_at"], limit=MOST)}
    assert not {"neighbour", "dated"} & oldest, "control: they are not among the oldest"


@pytest.mark.parametrize(
    ("where", "order"),
    [
        (READY, ["priority", "submitted_at"]),
        (BATCH, ["submitted_at"]),
        ({**BATCH, "tenant": Range(at_least="")}, ["tenant", "submitted_at"]),
        ({**BATCH, "deadline": Range(at_least="")}, ["deadline"]),
        ({"kind": "analyse", "machine": ["m", "n"], "state": ["ready", "leased"]}, []),
    ],
)
async def test_nothing_is_read_but_what_is_told(crowd: MongoDocuments, where: Where, order: list[str]) -> None:
    assert await examined(crowd, where, order) <= MOST + 2
    by_no_index = await examined(crowd, {"kind": "analyse", "state": "ready"}, ["finished_at"])
    assert by_no_index >= FLOOD, "control: what has no index is read whole"


async def examined(documents: MongoDocuments, where: Where, order: list[str]) -> int:
    """Ask MongoDB how many documents, or keys where these are more, it looks at for an answer."""
    found = documents._collections["jobs"].find(matching(where)).sort(ordering(order)).limit(MOST)
    told = (await found.explain())["executionStats"]
    return max(int(told["totalDocsExamined"]), int(told["totalKeysExamined"]))
