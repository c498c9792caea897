"""Positive controls on a cluster that rests: without fencing or the inbox, the checker must find double writes.

They attack copies of MongoDB's database with the product's own plug, whose protections are taken out of its filters.
"""

import contextlib
import dataclasses
import random
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from motor.motor_asyncio import AsyncIOMotorClient

from aima_common.adapters import mongo_pipelines as pipelines
from aima_common.adapters.mongo_documents import MongoDocuments, MongoSearch
from aima_common.ports import Ports
from aima_common.ports.documents import Expect, Lease
from aima_common.ports.objects import Objects
from aima_common.settings import StoreSettings
from tests.chaos.cluster_ground import Ground
from tests.chaos.controls import Control, broken_rules, invariants_of, late_holder_is_refused, replay


class Undeletable:
    """Objects of which none can go: they belong to the cluster, whatever a copy's documents say."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    def __getattr__(self, name: str) -> Any:
        return getattr(self._objects, name)

    async def delete(self, _key: str) -> bool:
        """Leave it where it is."""
        return False


Filter = dict[str, Any]
Expectation = Callable[[str, Expect, Lease | None, str | None], Filter]


async def run_controls(ground: Ground) -> list[Control]:
    """Attack copies of what the cluster's work left, with each protection on and off."""
    return [await _fencing(ground), await _inbox(ground)]


async def _fencing(ground: Ground) -> Control:
    async with _copy(ground, "fenced") as ports:
        refused = await late_holder_is_refused(ports.documents)
        broken = await broken_rules(ports.documents)
    harm = "" if refused and not broken else f"refused: {refused}, broken: {broken}"
    with _expecting(lambda known: lambda document, _expect, lease, inbox: known(document, Expect(), lease, inbox)):
        async with _copy(ground, "unfenced") as ports:
            await late_holder_is_refused(ports.documents)
            return Control("fencing", harm, invariants_of(await broken_rules(ports.documents)))


async def _inbox(ground: Ground) -> Control:
    async with _copy(ground, "replayed") as ports:
        changed, broken = await replay(ports)
    harm = "" if not changed and not broken else f"changed: {changed[:5]}, broken: {broken[:5]}"
    with _expecting(lambda known: lambda document, expect, lease, _inbox: known(document, expect, lease, None)):
        async with _copy(ground, "forgetful") as ports:
            _, broken = await replay(ports)
    return Control("inbox", harm, invariants_of(broken))


@contextlib.contextmanager
def _expecting(weaken: Callable[[Expectation], Expectation]) -> Iterator[None]:
    """Take a protection out of the filter by which MongoDB decides whether a change may happen."""
    known: Expectation = pipelines.expectation
    setattr(pipelines, "expectation", weaken(known))  # noqa: B010 - in the harness's process alone
    try:
        yield
    finally:
        setattr(pipelines, "expectation", known)  # noqa: B010


@contextlib.asynccontextmanager
async def _copy(ground: Ground, name: str) -> AsyncIterator[Ports]:
    """Open a copy of the documents beside the cluster's own other stores; nobody tells what is written to it."""
    settings = StoreSettings.from_environment(ground.cluster.stores)
    database = f"{settings.mongodb_database}_{name}_{random.SystemRandom().getrandbits(32):x}"
    client: Any = AsyncIOMotorClient(settings.mongodb)
    try:
        source = client[settings.mongodb_database]
        for collection in await source.list_collection_names():
            await source[collection].aggregate([{"$out": {"db": database, "coll": collection}}]).to_list(None)
        async with ground.stores() as ports, MongoDocuments.open(settings.mongodb, database) as documents:
            objects: Any = Undeletable(ports.objects)
            search = await MongoSearch.on(documents)
            yield dataclasses.replace(ports, documents=documents, objects=objects, search=search)
    finally:
        await client.drop_database(database)
        client.close()
