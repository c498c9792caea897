"""Documents in MongoDB. The only module that knows motor; its successor would change this file and no other.

Nothing here spans two documents: every promise rests on one atomic change of one document, written to a
majority and journaled. MongoDB must be a replica set (of one, if need be), or writes could not be retried.
"""

import asyncio
import contextlib
import datetime
import itertools
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, Self

import structlog
from bson.errors import InvalidDocument
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import ASCENDING, DESCENDING, IndexModel, ReplaceOne, ReturnDocument, UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from aima_common.adapters import mongo_indexes
from aima_common.adapters import mongo_pipelines as pipelines
from aima_common.adapters.embedded import words as full_text
from aima_common.adapters.outbox_memory import REMEMBERED_ENTRIES, OutboxMemory
from aima_common.collections import COLLECTIONS, Collection
from aima_common.combining import Combining
from aima_common.errors import PermanentError, SettingsError, StorageFullError, UnavailableError
from aima_common.ports.bus import Record
from aima_common.ports.documents import (
    Body,
    Change,
    Document,
    Entry,
    Expect,
    HistoryLine,
    Insert,
    Lease,
    OutboxEntry,
    Outcome,
    Transitioned,
    Where,
)
from aima_common.ports.search import Hit, Passage

TIMEOUT_SECONDS = 10.0
"""How long one operation may take, retries included. Running out of it leaves the outcome unknown."""

STREAMS = "streams"
"""The collection that holds the lines of all streams."""

LINES_AT_A_TIME = 200
"""So many lines of a stream are written at a time."""

PASSAGES = "passages"
"""The collection that holds what can be searched."""

DUPLICATE_KEY_CODE = 11000
DISK_FULL_CODES = frozenset({14031})
LOGIN_CODES = {18: "the user or the password in AIMA_MONGODB is wrong", 13: "its user lacks the role readWrite"}
DOCUMENT_AT_FAULT_CODES = frozenset({2, 14, 10334, 17419, 15998, 16410, 28664, 40353})
"""Bad value, wrong type, too large (twice), not a field's name (three ways), not a list. Anything else may pass,
so it is tried again: an account without rights must not turn good messages into dead letters."""

log = structlog.get_logger()


class MongoDocuments:
    """The MongoDB plug of `Documents`.

    With an `OutboxMemory`, where many processes work on one database, each publishes what it wrote itself, from
    memory and at once; the store is asked now and again for entries that have waited for so long that whoever wrote
    them must have died. The memory is a shortcut: what it forgets is in the store.
    """

    def __init__(self, database: Any, collections: Sequence[Collection], memory: OutboxMemory) -> None:
        self._database = database
        self._memory = memory
        self._collections = {collection.name: database[collection.name] for collection in collections}
        self._keeps_history = {collection.name: collection.history for collection in collections}
        self._streams = database[STREAMS]
        self._lines = Combining[tuple[str, Any], int](self._append, LINES_AT_A_TIME)
        self._listener: Callable[[], None] = lambda: None

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls,
        uri: str,
        database: str,
        *,
        collections: Sequence[Collection] = COLLECTIONS,
        leftover_seconds: float = 0.0,
        remembered_entries: int = REMEMBERED_ENTRIES,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> AsyncIterator[Self]:
        """Connect, and make the collections' indexes; raise `UnavailableError` when MongoDB does not answer.

        Raises `SettingsError` when it does not let us in, or not do what has to be done.

        With `leftover_seconds` the outbox holds what this process wrote (the oldest `remembered_entries` of it in
        memory), and what others left behind for so long; with 0 it holds everybody's, and each look is a question.
        `timeout_seconds` is how long one operation may take, retries included.
        """
        client: Any = AsyncIOMotorClient(
            uri,
            appname="aima",
            tz_aware=True,
            retryWrites=True,
            retryReads=True,
            readPreference="primary",
            timeoutMS=round(timeout_seconds * 1000),
        )
        durable = client.get_database(
            database, write_concern=WriteConcern(w="majority", j=True), read_concern=ReadConcern("majority")
        )
        try:
            with _let_in(database):
                await _ensure_indexes(durable, collections)
            memory = OutboxMemory(secrets.token_hex(6), leftover_seconds, time.monotonic, remembered_entries)
            documents = cls(durable, collections, memory)
            yield documents
            await documents._lines.settle()
        finally:
            # It waits for its own threads, and those for a server that may hang: not on the loop.
            await asyncio.to_thread(client.delegate.close)

    @property
    def database(self) -> Any:
        """The driver's handle on the database, for the search that lies beside the documents."""
        return self._database

    def on_outbox(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever this process has put something into an outbox."""
        self._listener = listener

    async def load(self, collection: str, document_id: str) -> Document | None:
        """Read one document."""
        with _translated():
            found = await self._collections[collection].find_one({"_id": document_id}, pipelines.PUBLIC)
        return _document(found) if found else None

    async def find(
        self,
        collection: str,
        where: Where,
        *,
        order: Sequence[str] = (),
        limit: int = 1000,
        lease_expired: bool = False,
    ) -> Sequence[Document]:
        """Read the documents that match, all at one moment.

        Without a snapshot an index is read while it changes: a document that goes from one of the states asked for
        to another, past the reader, would not be found.
        """
        if limit < 1:
            return []
        wanted = pipelines.matching(where, lease_expired=lease_expired)
        with _translated():
            async with await self._database.client.start_session(snapshot=True) as moment:
                cursor = self._collections[collection].find(wanted, pipelines.PUBLIC, session=moment)
                found = await cursor.sort(pipelines.ordering(order)).limit(limit).to_list(limit)
        return [_document(one) for one in found]

    async def count(self, collection: str, where: Where) -> int:
        """Count the documents that match."""
        with _translated():
            return int(await self._collections[collection].count_documents(pipelines.matching(where)))

    async def insert(
        self, collection: str, document: Insert, *, outbox: Sequence[Record] = (), inbox: str | None = None
    ) -> bool:
        """Add a document once."""
        outgoing = self._memory.tokens(outbox)
        # An upsert that matches nothing, because only updates may read the store's clock.
        change = pipelines.insertion(document, outgoing, inbox, history=self._keeps_history[collection])
        try:
            with self._memory.doubting(outgoing, (DuplicateKeyError,)), _translated():
                done = await self._collections[collection].find_one_and_update(
                    pipelines.absent(document.id),
                    change,
                    projection={"changed_at": 1},
                    upsert=True,
                    return_document=ReturnDocument.AFTER,
                )
        except DuplicateKeyError:
            return False
        self._told(collection, outgoing, done)
        return True

    async def transition(
        self,
        collection: str,
        document_id: str,
        *,
        expect: Expect = Expect(),  # noqa: B008 - frozen
        change: Change = Change(),  # noqa: B008 - frozen
        lease: Lease | None = None,
        release: bool = False,
        outbox: Sequence[Record] = (),
        inbox: str | None = None,
    ) -> Transitioned:
        """Change one document with everything that belongs to it, in one atomic update."""
        outgoing, history = self._memory.tokens(outbox), self._keeps_history[collection]
        try:
            with self._memory.doubting(outgoing, (DuplicateKeyError,)), _translated():
                after = await self._collections[collection].find_one_and_update(
                    pipelines.expectation(document_id, expect, lease, inbox),
                    pipelines.transition(change, lease, outgoing, inbox, release=release, history=history),
                    projection=pipelines.CHANGED,
                    return_document=ReturnDocument.AFTER,
                )
        except DuplicateKeyError:
            after = None
        if after is None:
            return await self._not_applied(collection, document_id, inbox)
        self._told(collection, outgoing, after)
        return Transitioned(Outcome.APPLIED, _document(after))

    def _told(self, collection: str, outgoing: Mapping[str, Record], written: Mapping[str, Any]) -> None:
        """Note what has just become durable, by the store's time, and wake whoever publishes it."""
        if outgoing:
            self._memory.remember(
                OutboxEntry(f"{collection}/{token}/{written['_id']}", record, written["changed_at"])
                for token, record in outgoing.items()
            )
            self._listener()

    async def _not_applied(self, collection: str, document_id: str, inbox: str | None) -> Transitioned:
        """Tell why nothing happened. What is read here may be newer than what was refused, never older."""
        heard = {"$in": [{"$literal": inbox}, "$inbox"]}
        shown = {"tenant": 1, "state": 1, "epoch": 1, "version": 1, "body": 1, "holder": 1, "lease_until": 1}
        with _translated():
            found = await self._collections[collection].find_one({"_id": document_id}, {**shown, "heard": heard})
        if found is None:
            return Transitioned(Outcome.MISSING, None)
        outcome = Outcome.REPEATED if inbox and found["heard"] else Outcome.REFUSED
        return Transitioned(outcome, _document(found))

    async def delete(self, collection: str, document_id: str) -> bool:
        """Remove a document and everything that belongs to it."""
        with _translated():
            done = await self._collections[collection].delete_one({"_id": document_id})
        self._memory.forget_document(collection, document_id)
        return bool(done.deleted_count)

    async def outbox(self, limit: int = 500) -> Sequence[OutboxEntry]:
        """Read the oldest entries that wait: those that others left behind, when it is time to look, or its own."""
        if limit < 1:
            return []
        memory, names = self._memory, list(self._collections)
        if memory.has_gap():
            late = memory.reading()
            own = await self._entries(pipelines.written_by(names, memory.prefix, memory.room))
            memory.filled(late, own, whole=len(own) < memory.room)
        if memory.sweep_due():
            left = await self._entries(pipelines.waiting(names, limit, memory.leftover_seconds))
            memory.swept(whole=len(left) < limit)
            if left:
                return left
        return memory.oldest(limit)

    async def _entries(self, stages: list[pipelines.Stage]) -> list[OutboxEntry]:
        with _translated():
            found = await self._collections[next(iter(self._collections))].aggregate(stages).to_list(None)
        return [_outbox_entry(one) for one in found]

    async def published(self, tokens: Sequence[str]) -> None:
        """Remove entries that were published; entries that are gone already are no mistake."""
        waiting: dict[str, dict[str, list[str]]] = {}
        for token in tokens:
            collection, entry, document_id = token.split("/", 2)
            waiting.setdefault(collection, {}).setdefault(document_id, []).append(entry)
        for collection, documents in waiting.items():
            changes = [
                UpdateOne({"_id": document_id, "outbox.token": {"$in": entries}}, pipelines.removal(entries))
                for document_id, entries in documents.items()
            ]
            with _translated():
                await self._collections[collection].bulk_write(changes, ordered=False)
        self._memory.forget(tokens)

    async def outbox_since(self) -> datetime.datetime | None:
        """Tell since when the oldest entry waits, whoever wrote it."""
        names = list(self._collections)
        with _translated():
            found = await self._collections[names[0]].aggregate(pipelines.waiting_since(names)).to_list(1)
        return found[0]["waiting_since"] if found else None

    async def history(self, collection: str, document_id: str | Sequence[str] | None = None) -> Sequence[HistoryLine]:
        """Read transitions, oldest first; of each document the newest `HISTORY_KEPT`."""
        with _translated():
            cursor = self._collections[collection].aggregate(pipelines.histories(document_id), allowDiskUse=True)
            return [HistoryLine(document=one["_id"], **one["history"]) async for one in cursor]

    async def append(self, stream: str, entry_id: str, body: Body) -> int:
        """Add a line to a stream once."""
        return await self._lines.do(stream, (entry_id, pipelines.plain(body)))

    async def _append(self, stream: str, lines: Sequence[tuple[str, Any]]) -> Sequence[int]:
        """Add lines to a stream, each once; give their numbers.

        They take the numbers after the newest one that a majority has, so there are no gaps; a unique index lets one
        writer have them, and the others look again. That is why the lines of one process are written together.
        """
        for attempt in itertools.count():
            with _translated():
                entries = {"stream": stream, "entry": {"$in": [entry for entry, _ in lines]}}
                found = await self._streams.find(entries, {"sequence": 1, "entry": 1}).to_list(None)
                known = {str(one["entry"]): int(one["sequence"]) for one in found}
                left: dict[str, Any] = {}
                for entry, body in lines:
                    if entry not in known:
                        left.setdefault(entry, body)
                if not left:
                    return [known[entry] for entry, _ in lines]
                newest_first = self._streams.find({"stream": stream}, {"sequence": 1}).sort("sequence", DESCENDING)
                newest = await newest_first.limit(1).to_list(1)
                first = int(newest[0]["sequence"]) + 1 if newest else 1
                new = {entry: number for number, entry in enumerate(left, first)}
                documents = [
                    {"stream": stream, "sequence": number, "entry": entry, "body": left[entry]}
                    for entry, number in new.items()
                ]
                if await self._insert_in_order(documents):
                    known |= new
                    return [known[entry] for entry, _ in lines]
            await asyncio.sleep(random.uniform(0, min(0.2, 0.005 * 2 ** min(attempt, 6))))
        raise AssertionError

    async def _insert_in_order(self, lines: Sequence[Mapping[str, Any]]) -> bool:
        """Insert lines one after the other until a key is taken; tell whether none was."""
        try:
            await self._streams.insert_many(lines, ordered=True)
        except BulkWriteError as error:
            codes = {one["code"] for one in error.details["writeErrors"]}
            if codes != {DUPLICATE_KEY_CODE} or error.details["writeConcernErrors"]:
                raise
            return False
        return True

    async def read(self, stream: str, after: int = 0, limit: int = 1000) -> Sequence[Entry]:
        """Read the lines behind a sequence number."""
        if limit < 1:
            return []
        with _translated():
            cursor = self._streams.find({"stream": stream, "sequence": {"$gt": after}})
            found = await cursor.sort("sequence", ASCENDING).limit(limit).to_list(limit)
        return [Entry(one["sequence"], one["entry"], one["body"]) for one in found]

    async def now(self) -> datetime.datetime:
        """Tell the store's time."""
        with _translated():
            answer = await self._database.command("hello", codec_options=self._database.codec_options)
        told: datetime.datetime = answer["localTime"]
        return told


class MongoSearch:
    """The MongoDB plug of `Search`: words in an array with an index, cut by SQLite's full text.

    A query finds the same passages in a cluster as on one machine, which MongoDB's text index cannot promise
    (docs/adr/0013).
    """

    def __init__(self, passages: Any) -> None:
        self._passages = passages

    @classmethod
    async def on(cls, documents: MongoDocuments) -> Self:
        """Search in the database of these documents; makes the indexes."""
        passages = documents.database[PASSAGES]
        with _translated():
            await passages.create_indexes(
                [
                    IndexModel([("tenant", ASCENDING), ("tokens", ASCENDING)]),
                    IndexModel([("tenant", ASCENDING), ("medium", ASCENDING)]),
                ]
            )
        return cls(passages)

    async def index(self, passages: Sequence[Passage]) -> None:
        """Add or replace passages."""
        if not passages:
            return
        cut = await asyncio.to_thread(full_text.cut, [passage.text for passage in passages])
        changes = [
            ReplaceOne({"_id": passage.id}, pipelines.stored_passage(passage, tokens), upsert=True)
            for passage, tokens in zip(passages, cut, strict=True)
        ]
        with _translated():
            await self._passages.bulk_write(changes, ordered=False)

    async def query(self, tenant: str, words: str, *, medium: str | None = None, limit: int = 20) -> Sequence[Hit]:
        """Find the passages that hold all the words; the more of a passage they are, the better."""
        phrases = full_text.phrases(words)
        wanted = [tokens for tokens in await asyncio.to_thread(full_text.cut, phrases) if tokens]
        if not wanted or limit < 1:
            return []
        with _translated():
            stages = pipelines.searching(tenant, wanted, medium, limit)
            found = await self._passages.aggregate(stages).to_list(limit)
        snippets = await asyncio.to_thread(full_text.snippets, [one["text"] for one in found], phrases)
        return [pipelines.hit(one, snippet) for one, snippet in zip(found, snippets, strict=True)]

    async def forget(self, tenant: str, medium: str) -> None:
        """Remove every passage of a medium."""
        with _translated():
            await self._passages.delete_many({"tenant": tenant, "medium": medium})


async def _ensure_indexes(database: Any, collections: Sequence[Collection]) -> None:
    with _translated():
        for one in collections:
            await database[one.name].create_indexes([IndexModel(**index) for index in mongo_indexes.indexes(one)])
        lines = [
            IndexModel([("stream", ASCENDING), ("sequence", ASCENDING)], unique=True),
            IndexModel([("stream", ASCENDING), ("entry", ASCENDING)], unique=True),
        ]
        await database[STREAMS].create_indexes(lines)
    try:
        with _translated():
            gone = await mongo_indexes.leave_unwanted(database, collections)
    except (PermanentError, UnavailableError, DuplicateKeyError) as error:
        # One index too many costs writes a little; that is no reason not to start.
        log.warning("unwanted_indexes_stay", reason=str(error))
    else:
        for name in gone:
            log.info("unwanted_index_dropped", index=name)


def _document(found: Mapping[str, Any]) -> Document:
    return Document(
        id=found["_id"],
        tenant=found["tenant"],
        state=found["state"],
        epoch=found["epoch"],
        version=found["version"],
        body=found["body"],
        holder=found["holder"],
        lease_until=found["lease_until"],
    )


def _outbox_entry(found: Mapping[str, Any]) -> OutboxEntry:
    entry = found["outbox"]
    record = Record(entry["topic"], entry["key"], entry["value"], dict(entry["headers"]))
    return OutboxEntry(f"{found['collection']}/{entry['token']}/{found['_id']}", record, entry["at"])


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Turn the driver's errors into ours; a taken key stays what it is, its caller knows what it means."""
    try:
        yield
    except DuplicateKeyError:
        raise
    except InvalidDocument as error:
        raise PermanentError(f"the document cannot be stored: {error}", code="document_refused") from error
    except OperationFailure as error:
        code = _code(error)
        if code in DISK_FULL_CODES:
            raise StorageFullError(f"MongoDB has no room left: {error}", code="disk_full") from error
        if code in DOCUMENT_AT_FAULT_CODES:
            raise PermanentError(f"MongoDB refused the change: {error}", code="document_refused") from error
        raise UnavailableError(f"MongoDB did not take part: {error}", code="mongodb") from error
    except PyMongoError as error:
        raise UnavailableError(f"MongoDB is away, the outcome is unknown: {error}", code="mongodb") from error


@contextlib.contextmanager
def _let_in(database: str) -> Iterator[None]:
    """Name the setting when MongoDB answers, but not us."""
    try:
        yield
    except UnavailableError as error:
        cause = error.__cause__
        why = LOGIN_CODES.get(cause.code or 0) if isinstance(cause, OperationFailure) else None
        if why is None:
            raise
        raise SettingsError(
            f"MongoDB refuses us in the database {database!r} (AIMA_MONGODB_DATABASE): {why}; correct AIMA_MONGODB, "
            "with authSource= where the user is another database's, or give the user the role"
        ) from error


def _code(error: OperationFailure) -> int | None:
    if isinstance(error, BulkWriteError):
        failures = (error.details or {}).get("writeErrors", [])
        return int(failures[0]["code"]) if failures else None
    return error.code
