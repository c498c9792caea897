"""Which indexes AIMA has MongoDB keep, and when one that it wants no more may go. No driver.

People may have indexes of their own in the same collections, and theirs look no different. So a register in the
database names those that some version of AIMA asked for, and no other is ever dropped.

One that is wanted no more goes at the first start that comes `UNWANTED_SECONDS` after the start that first missed it.
In a rolling update processes of the version before work on, and their questions would find no index; the right answer
would come all the same, but from reading everything that waits. Each version, as it starts, says what it wants: what
was to go and is wanted again stays, and its time begins anew. A version from before the register says nothing; it makes
its indexes anew when it starts, and what it makes after they were dropped stays: a person may have made it.

Nobody waits for anybody here: the register changes in one atomic step by the store's clock, what another process has
dropped is gone, and what could not be dropped is tried again at the next start. Unique indexes are not registered.
They are promises, and which of two versions is right about one is for people to say.
"""

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aima_common.adapters.mongo_pipelines import Stage, field_path
from aima_common.collections import Collection

UNWANTED_SECONDS = 24 * 3600.0
"""How long an index is kept that nobody wants: longer than a rolling update takes, and thinking it over."""

MEANINGFUL = ["string", "int", "long", "double", "bool"]
"""Types that a unique index compares: a missing or null field is no value and repeats nothing."""

REGISTER, REGISTERED = "registers", "indexes"
"""The collection and the document that name the indexes which AIMA asked for."""

FORMER: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "jobs": (
        *((field, "state") for field in ("analyzer", "kind", "lane", "machine", "priority", "run")),
        ("kind", "state", "priority", "submitted_at", "id", "machine", "lane"),
        ("kind", "state", "priority", "tenant", "submitted_at", "id"),
        ("kind", "state", "machine", "priority", "submitted_at", "id", "lane"),
        ("kind", "state", "machine", "priority", "tenant", "submitted_at", "id"),
        ("kind", "state", "machine", "priority", "deadline", "id"),
    ),
}
"""By collection, the fields of what was asked for by versions that kept no register, as it begins. Nothing is added."""

ABSENT_CODES = (26, 27)
"""There is no such collection, no such index."""

Index = dict[str, Any]
"""Keys, name and options, as the driver takes them."""


def indexes(collection: Collection) -> list[Index]:
    """List the indexes that a collection is to have."""
    wanted = [_index("state", "lease_until"), _index("tenant", "state"), _index("waiting_since", sparse=True)]
    wanted += [_index(field_path(field), "state") for field in collection.indexes]
    for first, *others in collection.ordered:
        wanted.append(_index(*map(field_path, (first, "state", *others))))
    for first, *others in collection.some:
        # MongoDB uses it for whoever asks for a range of that field within this one: any text.
        texts = {field_path(others[-1]): {"$gte": ""}}
        wanted.append(_index(*map(field_path, (first, "state", *others, "id")), partialFilterExpression=texts))
    for number, fields in enumerate(collection.unique):
        paths = [field_path(field) for field in fields]
        meaningful = {path: {"$type": MEANINGFUL} for path in paths}
        once = _index(*paths, unique=True, partialFilterExpression=meaningful)
        wanted.append({**once, "name": f"once_{number}"})
    return wanted


def _index(*paths: str, **options: Any) -> Index:
    return {"keys": [(path, 1) for path in paths], "name": _name(paths), **options}


def _name(paths: Iterable[str]) -> str:
    """Name an index as MongoDB's drivers do."""
    return "_".join(f"{path}_1" for path in paths)


async def leave_unwanted(database: Any, collections: Sequence[Collection]) -> list[str]:
    """Note what is wanted of these collections, drop what has been wanted by nobody for long; tell its names."""
    opened = [one.name for one in collections]
    wanted = [f"{one.name}/{index['name']}" for one in collections for index in indexes(one) if "unique" not in index]
    stages = registration(opened, wanted, await _former(database, opened))
    # The driver's word for "as it is after the change" is true.
    register = await database[REGISTER].find_one_and_update(
        {"_id": REGISTERED}, stages, upsert=True, return_document=True
    )
    gone = due(register, opened)
    for name in gone:
        collection, _, index = name.partition("/")
        await database.command("dropIndexes", collection, index=index, allowable_errors=ABSENT_CODES)
    if gone:
        await database[REGISTER].update_one(
            {"_id": REGISTERED}, {"$pull": {"names": {"$in": gone}, "unwanted": {"name": {"$in": gone}}}}
        )
    return gone


async def _former(database: Any, opened: Iterable[str]) -> list[str]:
    """Find what versions without a register left behind."""
    found = []
    for collection in FORMER.keys() & set(opened):
        names = {_name(map(field_path, fields)) for fields in FORMER[collection]}
        there = await database[collection].index_information()
        found += [f"{collection}/{name}" for name in sorted(names & there.keys())]
    return found


def registration(opened: Sequence[str], wanted: Sequence[str], former: Sequence[str]) -> list[Stage]:
    """Write what a start changes in the register: what is ours, and since when what of it is wanted no more."""
    named: Stage = {"$setUnion": [{"$ifNull": ["$names", _literal(former)]}, _literal(wanted)]}
    within = {"$in": [{"$first": {"$split": ["$$this", "/"]}}, _literal(opened)]}
    unwanted = {"$setDifference": [{"$filter": {"input": "$names", "cond": within}}, _literal(wanted)]}
    known = {"$first": {"$filter": {"input": "$before", "as": "one", "cond": {"$eq": ["$$one.name", "$$this"]}}}}
    since = {"$let": {"vars": {"known": known}, "in": {"$ifNull": ["$$known.since", "$$NOW"]}}}
    others = {"$in": [{"$first": {"$split": ["$$this.name", "/"]}}, _literal(opened)]}
    noted = {"$map": {"input": unwanted, "in": {"name": "$$this", "since": since}}}
    kept = {"$filter": {"input": "$before", "cond": {"$not": [others]}}}
    return [
        {"$set": {"names": named, "before": {"$ifNull": ["$unwanted", []]}, "at": "$$NOW"}},
        {"$set": {"unwanted": {"$concatArrays": [kept, noted]}}},
        {"$unset": "before"},
    ]


def due(register: Mapping[str, Any], opened: Iterable[str]) -> list[str]:
    """List what of these collections has been unwanted for long enough, by the store's clock."""
    latest = register["at"] - datetime.timedelta(seconds=UNWANTED_SECONDS)
    unwanted = [one["name"] for one in register["unwanted"] if one["since"] < latest]
    return [name for name in unwanted if name.partition("/")[0] in set(opened)]


def _literal(value: Sequence[str]) -> Stage:
    return {"$literal": list(value)}
