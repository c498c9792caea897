"""What the documents' promises look like to MongoDB: filters and aggregation pipelines. Pure.

A stored document holds, beside its own fields, everything that must become durable with it:

    _id tenant state epoch version body holder lease_until
    inbox          ids of the messages applied to it, the newest last
    outbox         records that wait to be published
    waiting_since  when the oldest of them was written; absent when none waits, so that its index is sparse
    history        its transitions
    changed_at     when it was last changed, by the store's clock
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from aima_common.contracts.codec import dumps, loads
from aima_common.ports.bus import Record
from aima_common.ports.documents import LONGEST_LEASE_SECONDS, Change, Expect, Insert, Lease, Range, Where
from aima_common.ports.search import Hit, Passage

Stage = dict[str, Any]

INBOX_KEPT = 2000
"""Message ids that a document remembers. More than a document ever hears within a topic's retention."""

HISTORY_KEPT = 2000
"""Lines of history that a document keeps, so that one that changes for ever stays far below 16 MiB."""

PUBLIC = {"inbox": 0, "outbox": 0, "history": 0, "waiting_since": 0, "changed_at": 0}
"""The projection that readers get: a document without what only the store itself needs."""

CHANGED = {"inbox": 0, "outbox": 0, "history": 0, "waiting_since": 0}
"""The same with the time of the last change, for whoever has just made it."""

OWN_FIELDS = frozenset({"tenant", "state", "holder", "epoch", "version"})

AT = {"$max": ["$$NOW", "$changed_at"]}
"""The store's time, but never before the document's last change: clocks step back, histories do not."""


def plain(value: Any) -> Any:
    """Reduce a value to what JSON can hold, exactly as a store that writes JSON would."""
    return loads(dumps(value))


def field_path(field: str) -> str:
    """Tell where a field of `find` lies in a stored document."""
    if field == "id":
        return "_id"
    return field if field in OWN_FIELDS else f"body.{field}"


def matching(where: Where, *, lease_expired: bool = False) -> dict[str, Any]:
    """Write a `Where` as a filter."""
    clauses: list[dict[str, Any]] = [{field_path(field): _condition(wanted)} for field, wanted in where.items()]
    if lease_expired:
        clauses.append(_expired())
    return {"$and": clauses} if clauses else {}


def _condition(wanted: Any) -> Any:
    if isinstance(wanted, Range):
        bounds = {"$gte": wanted.at_least, "$lt": wanted.below}
        return {sign: plain(bound) for sign, bound in bounds.items() if bound is not None} or {"$exists": True}
    if isinstance(wanted, list | tuple | set | frozenset):
        return {"$in": [plain(one) for one in wanted]}
    return {"$eq": plain(wanted)}


def _expired() -> dict[str, Any]:
    # The first half excludes documents without a lease (null sorts below every time) and uses the index.
    latest = {"$add": ["$$NOW", round(1000 * LONGEST_LEASE_SECONDS)]}
    run_out = {"$or": [{"$lt": ["$lease_until", "$$NOW"]}, {"$gt": ["$lease_until", latest]}]}
    return {"lease_until": {"$type": "date"}, "$expr": run_out}


def ordering(order: Sequence[str]) -> list[tuple[str, int]]:
    """Write an order as sort keys; the id decides ties."""
    keys = [(field_path(field.removeprefix("-")), -1 if field.startswith("-") else 1) for field in order]
    return [*keys, ("_id", 1)]


def absent(document_id: str) -> dict[str, Any]:
    """Match nothing, so that an upsert inserts, and fails on the id when it is taken."""
    return {"_id": document_id, "version": {"$lt": 0}}


Outgoing = Mapping[str, Record]
"""Records to be told, by the tokens under which they wait."""


def insertion(document: Insert, outbox: Outgoing, inbox: str | None, *, history: bool = True) -> list[Stage]:
    """Write a new document with everything that belongs to it."""
    line = _line(1, None, _literal(document.state), 0, None, inbox, "$$NOW", None)
    whole: Stage = {
        "_id": _literal(document.id),
        "tenant": _literal(document.tenant),
        "state": _literal(document.state),
        "epoch": 0,
        "version": 1,
        "body": _literal(plain(document.body)),
        "holder": None,
        "lease_until": None,
        "inbox": _literal([inbox] if inbox else []),
        "outbox": _entries(outbox, "$$NOW"),
        "history": [line] if history else [],
        "changed_at": "$$NOW",
    }
    if outbox:
        whole["waiting_since"] = "$$NOW"
    return [{"$replaceWith": whole}]


def expectation(document_id: str, expect: Expect, lease: Lease | None, inbox: str | None) -> dict[str, Any]:
    """Match the document when a transition may happen."""
    clauses: list[dict[str, Any]] = [{"_id": document_id}]
    if expect.state is not None:
        states = [expect.state] if isinstance(expect.state, str) else list(expect.state)
        clauses.append({"state": {"$in": states}})
    if expect.epoch is not None:
        clauses.append({"epoch": expect.epoch})
    if expect.version is not None:
        clauses.append({"version": expect.version})
    if expect.lease_expired:
        clauses.append(_expired())
    if lease and lease.renew:
        clauses.append({"holder": lease.holder})
    if inbox:
        clauses.append({"inbox": {"$ne": inbox}})
    return {"$and": clauses}


def transition(
    change: Change, lease: Lease | None, outbox: Outgoing, inbox: str | None, *, release: bool, history: bool = True
) -> list[Stage]:
    """Write a transition. The first stage sees the document as it was before; the others change its body."""
    state = "$state" if change.state is None else _literal(change.state)
    epoch = {"$add": ["$epoch", 1]} if lease and not lease.renew else "$epoch"
    holder, until = _ownership(lease, release=release)
    version = {"$add": ["$version", 1]}
    # The holder that ends its lease is the one who wrote the line.
    writer = {"$ifNull": [holder, "$holder"]}
    line = _line(version, "$state", state, epoch, writer, inbox, AT, until)
    fields: Stage = {
        "state": state,
        "epoch": epoch,
        "version": version,
        "holder": holder,
        "lease_until": until,
        "changed_at": AT,
    }
    if history:
        fields["history"] = _newest("$history", [line], HISTORY_KEPT)
    if inbox:
        fields["inbox"] = _newest("$inbox", _literal([inbox]), INBOX_KEPT)
    if outbox:
        fields["outbox"] = {"$concatArrays": ["$outbox", _entries(outbox, AT)]}
        fields["waiting_since"] = {"$ifNull": ["$waiting_since", AT]}
    return [{"$set": fields}, *({"$set": {path: value}} for path, value in _body_changes(change))]


def _ownership(lease: Lease | None, *, release: bool) -> tuple[Any, Any]:
    if release:
        return None, None
    if lease is None:
        return "$holder", "$lease_until"
    # A date plus a number is that many milliseconds later.
    return _literal(lease.holder), {"$add": ["$$NOW", round(lease.seconds * 1000)]}


def _body_changes(change: Change) -> Iterator[tuple[str, Any]]:
    for path, value in change.set.items():
        yield f"body.{path}", _literal(plain(value))
    for path, number in change.add.items():
        yield f"body.{path}", {"$add": [{"$ifNull": [f"$body.{path}", 0]}, number]}
    for path, value in change.push.items():
        before = {"$ifNull": [f"$body.{path}", []]}
        yield f"body.{path}", {"$concatArrays": [before, _literal([plain(value)])]}


def _entries(outgoing: Outgoing, at: Any) -> list[Stage]:
    return [
        {
            "token": _literal(token),
            "topic": _literal(record.topic),
            "key": _literal(record.key),
            "value": _literal(record.value),
            # Pairs, because a header's name may hold dots.
            "headers": _literal([[name, value] for name, value in record.headers.items()]),
            "at": at,
        }
        for token, record in outgoing.items()
    ]


def _line(
    version: Any, before: Any, after: Any, epoch: Any, holder: Any, inbox: str | None, at: Any, until: Any
) -> Stage:
    return {
        "version": version,
        "state_before": before,
        "state_after": after,
        "epoch": epoch,
        "holder": holder,
        "inbox": _literal(inbox),
        "at": at,
        "lease_until": until,
    }


def _newest(array: str, more: Any, kept: int) -> Stage:
    return {"$slice": [{"$concatArrays": [array, more]}, -kept]}


def _literal(value: Any) -> Stage:
    return {"$literal": value}


def waiting(collections: Sequence[str], limit: int, older_than_seconds: float = 0.0) -> list[Stage]:
    """Gather the oldest outbox entries of all collections; run it on the first of them."""
    first, *others = (_waiting_in(collection, limit, older_than_seconds) for collection in collections)
    unions = [
        {"$unionWith": {"coll": collection, "pipeline": stages}}
        for collection, stages in zip(collections[1:], others, strict=True)
    ]
    return [*first, *unions, {"$sort": {"outbox.at": 1, "collection": 1, "_id": 1, "place": 1}}, {"$limit": limit}]


def written_by(collections: Sequence[str], prefix: str, limit: int) -> list[Stage]:
    """Gather the oldest outbox entries whose tokens begin so, in the order of their tokens; run it on the first."""
    of_prefix = {"outbox.token": {"$regex": f"^{prefix}"}}
    oldest: list[Stage] = [{"$sort": {"outbox.token": 1}}, {"$limit": limit}]

    def stages(collection: str) -> list[Stage]:
        return [
            {"$match": {"waiting_since": {"$exists": True}, **of_prefix}},
            {"$project": {"outbox": 1, "collection": _literal(collection)}},
            {"$unwind": "$outbox"},
            {"$match": of_prefix},
            *oldest,
        ]

    unions = [{"$unionWith": {"coll": one, "pipeline": stages(one)}} for one in collections[1:]]
    return [*stages(collections[0]), *unions, *oldest]


def waiting_since(collections: Sequence[str]) -> list[Stage]:
    """Find the oldest time since when any document of these collections has something to tell; run it on the first."""
    own: list[Stage] = [
        {"$match": {"waiting_since": {"$exists": True}}},
        {"$sort": {"waiting_since": 1}},
        {"$limit": 1},
        {"$project": {"_id": 0, "waiting_since": 1}},
    ]
    unions = [{"$unionWith": {"coll": collection, "pipeline": own}} for collection in collections[1:]]
    return [*own, *unions, {"$sort": {"waiting_since": 1}}, {"$limit": 1}]


def _waiting_in(collection: str, limit: int, older_than_seconds: float) -> list[Stage]:
    # A date minus a number is that many milliseconds earlier.
    before = {"$subtract": ["$$NOW", round(older_than_seconds * 1000)]}
    return [
        # The oldest first, and of these the old ones: asked for the old ones at once, MongoDB reads every document.
        {"$match": {"waiting_since": {"$exists": True}}},
        {"$sort": {"waiting_since": 1}},
        {"$limit": limit},
        {"$match": {"$expr": {"$lte": ["$waiting_since", before]}}},
        {"$project": {"outbox": 1, "collection": _literal(collection)}},
        {"$unwind": {"path": "$outbox", "includeArrayIndex": "place"}},
        {"$match": {"$expr": {"$lte": ["$outbox.at", before]}}},
    ]


def removal(tokens: Sequence[str]) -> list[Stage]:
    """Take published entries out of a document."""
    others = {"$filter": {"input": "$outbox", "cond": {"$not": [{"$in": ["$$this.token", _literal(list(tokens))]}]}}}
    oldest = {"$cond": [{"$eq": ["$outbox", []]}, "$$REMOVE", {"$first": "$outbox.at"}]}
    return [{"$set": {"outbox": others}}, {"$set": {"waiting_since": oldest}}]


def histories(document_id: str | Sequence[str] | None) -> list[Stage]:
    """Read the lines of one document, of some or of all, oldest first."""
    some = document_id if isinstance(document_id, str | None) else {"$in": list(document_id)}
    chosen: Mapping[str, Any] = {"_id": some} if some is not None else {}
    return [
        {"$match": chosen},
        {"$project": {"history": 1}},
        {"$unwind": "$history"},
        {"$sort": {"history.at": 1, "_id": 1, "history.version": 1}},
    ]


def stored_passage(passage: Passage, tokens: Sequence[str]) -> dict[str, Any]:
    """Write a passage with the words that it is found by."""
    return {
        "tenant": passage.tenant,
        "medium": passage.medium,
        "kind": passage.kind,
        "text": passage.text,
        "start": passage.start_seconds,
        "end": passage.end_seconds,
        "tokens": list(tokens),
        "joined": f" {' '.join(tokens)} ",
    }


def searching(tenant: str, wanted: Sequence[Sequence[str]], medium: str | None, limit: int) -> list[Stage]:
    """Find passages with all the words, those first of which the words are the larger part."""
    words = sorted({token for phrase in wanted for token in phrase})
    clauses: list[Stage] = [{"tenant": tenant, "tokens": {"$all": words}}]
    clauses += [{"medium": medium}] if medium else []
    clauses += [{"joined": {"$regex": re.escape(f" {' '.join(phrase)} ")}} for phrase in wanted if len(phrase) > 1]
    matching_tokens = {"$filter": {"input": "$tokens", "cond": {"$in": ["$$this", _literal(words)]}}}
    share = {"$divide": [{"$size": matching_tokens}, {"$size": "$tokens"}]}
    return [
        {"$match": {"$and": clauses}},
        {"$set": {"score": share}},
        {"$sort": {"score": -1, "_id": 1}},
        {"$limit": limit},
        {"$project": {"tokens": 0, "joined": 0}},
    ]


def hit(found: Mapping[str, Any], snippet: str) -> Hit:
    """Read a passage that was found."""
    passage = Passage(
        found["_id"], found["tenant"], found["medium"], found["kind"], found["text"], found["start"], found["end"]
    )
    return Hit(passage, score=float(found["score"]), snippet=snippet)
