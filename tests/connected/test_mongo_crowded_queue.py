"""What a scheduler asks MongoDB while a crowd waits is answered from an index, in its order, whoever else waits."""

import asyncio
import datetime
import secrets
from dataclasses import replace
from typing import Any, cast

import pytest

from aima_common.adapters.mongo_documents import MongoDocuments
from aima_common.adapters.mongo_pipelines import matching, ordering
from aima_common.adapters.system_clock import SystemClock
from aima_common.contracts.media import Priority
from aima_common.jobs import JobKind, Ledger, new_job, rest_until
from aima_common.jobs.window import Window
from aima_common.ports import Ports
from aima_common.ports.documents import Change, Insert, Range, Where
from tests.service.stage import NEEDS, NOW

FLOOD, PLACED, RESTING, MOST = 600, 5, 200, 50
READY: Where = {"kind": "analyse", "state": "ready", "machine": None}
BATCH: Where = {**READY, "priority": "batch"}
AWAKE: Where = {**BATCH, "resting_until": None}
SOON = NOW + datetime.timedelta(minutes=2)
OVER = Range(at_least="", below=NOW.isoformat())


def job(name: str, tenant: str, age: int, deadline: datetime.datetime | None = None) -> Insert:
    """Describe a job that is the younger the larger `age` is."""
    return new_job(
        name,
        tenant,
        JobKind.ANALYSE,
        submitted_at=NOW + datetime.timedelta(seconds=age),
        priority=Priority.BATCH,
        deadline=deadline.isoformat() if deadline else None,
        lane="image",
        analyzer=("faces", "text")[age % 2],
        needs=NEEDS,
    )


def resting(number: int, tenant: str) -> Insert:
    """Describe an old job with a deadline whose rest ends after so many seconds; the first two have rested already."""
    one = job(f"resting-{number:04}", tenant, -number, SOON)
    return replace(one, body={**one.body, **rest_until(NOW + datetime.timedelta(seconds=number - 1.5))})


@pytest.fixture
async def crowd(mongod_uri: str) -> Any:
    """Jobs of two tenants that rest, a tenant's flood, behind it a neighbour and a deadline; some are on a machine."""
    jobs = [resting(number, ("flood", "neighbour")[number % 2]) for number in range(RESTING)]
    jobs += [job(f"flood-{number:04}", "flood", number) for number in range(FLOOD)]
    jobs += [job("neighbour", "neighbour", FLOOD), job("dated", "flood", FLOOD, SOON)]
    async with MongoDocuments.open(mongod_uri, f"t{secrets.token_hex(8)}") as documents:
        for start in range(0, len(jobs), 100):
            await asyncio.gather(*(documents.insert("jobs", one) for one in jobs[start : start + 100]))
        for number in range(PLACED):
            await documents.transition("jobs", f"flood-{number:04}", change=Change(set={"machine": "m"}))
        yield documents


async def test_a_look_shows_a_neighbour_and_a_near_deadline_behind_a_flood_and_who_rests(crowd: MongoDocuments) -> None:
    shown = {job.id for job in await Window(crowd, "analyse", MOST, lambda: 0.0).look()}
    assert {"neighbour", "dated", f"flood-{PLACED:04}"} <= shown
    assert len(shown) < 3 * MOST, "and no more than a bounded number"
    assert not {name for name in shown if name.startswith("resting")}, "who cannot start hides nobody"
    oldest = {job.id for job in await crowd.find("jobs", BATCH, order=["submitted_at"], limit=RESTING)}
    assert not {"neighbour", "dated", f"flood-{PLACED:04}"} & oldest, "control: they are not among the oldest"


@pytest.mark.parametrize(
    ("where", "order"),
    [
        (READY, ["priority", "resting_until", "submitted_at"]),
        (BATCH, ["resting_until", "submitted_at"]),
        ({**AWAKE, "tenant": Range(at_least="")}, ["tenant", "submitted_at"]),
        ({**AWAKE, "tenant": "neighbour"}, ["submitted_at"]),
        ({**AWAKE, "analyzer": Range(at_least="")}, ["analyzer", "submitted_at"]),
        ({**AWAKE, "analyzer": "text"}, ["submitted_at"]),
        ({**AWAKE, "deadline": Range(at_least="")}, ["deadline"]),
        ({"machine": None, "state": "ready", "resting_until": OVER}, ["resting_until"]),
        ({"machine": None, "state": "ready", "resting_until": Range(at_least=NOW.isoformat())}, ["resting_until"]),
        ({**READY, "machine": "m", "lane": ["image", "video"]}, ["priority", "resting_until", "submitted_at"]),
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


async def test_whose_rest_is_over_stands_among_the_others_again(crowd: MongoDocuments) -> None:
    nothing = cast("Any", None)
    ledger = Ledger(Ports(nothing, crowd, nothing, nothing, nothing, SystemClock()), "one")
    begin = await crowd.now()
    for name, seconds in (("over", -2.0), ("rests", 300.0), ("absurd", 3600.0)):
        one = job(name, "flood", FLOOD + 1)
        rest = rest_until(begin + datetime.timedelta(seconds=seconds))
        await crowd.insert("jobs", replace(one, body={**one.body, **rest}))
    await ledger.rouse()
    found = await crowd.find("jobs", {"id": ["over", "rests", "absurd"]})
    assert {one.id for one in found if one.body["resting_until"] is None} == {"over", "absurd"}
    assert {one.id for one in found if one.body["not_before"] > begin.isoformat()} == {"rests", "absurd"}
