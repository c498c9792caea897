"""A store of documents in memory: the server, on a clock that is handed over, with protections that can be taken off.

Every method is one atomic step. Bodies are kept as JSON, so that nobody shares a list with anybody.
"""

import datetime
import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aima_common.collections import BY_NAME
from aima_common.contracts.codec import dumps, loads
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
    Range,
    Transitioned,
    Where,
    has_expired,
)

OWN_FIELDS = frozenset({"id", "tenant", "state", "holder", "epoch", "version"})


@dataclass(frozen=True)
class Protections:
    """What keeps the truth whole; with one of them off the checker must find what breaks."""

    fencing: bool = True
    inbox: bool = True
    outbox_kept: bool = True
    """Whether an entry stays until it was published; otherwise reading it removes it."""
    durable: bool = True
    """Whether what was acknowledged survives when the store goes down; otherwise the newest writes are lost."""
    manual_commits: bool = True
    """Whether a record counts as read when it was handled; otherwise it does as soon as it is handed out."""
    reaping: bool = True
    """Whether the jobs of holders that fell silent are freed."""


@dataclass(frozen=True)
class _Kept:
    """A document in the store: its body is only ever exchanged, never changed."""

    document: Document
    json: bytes
    inbox: frozenset[str] = frozenset()

    def read(self) -> Document:
        """Give a copy away."""
        d = self.document
        return Document(d.id, d.tenant, d.state, d.epoch, d.version, loads(self.json), d.holder, d.lease_until)


@dataclass
class _State:
    """Everything the store holds."""

    collections: dict[str, dict[str, _Kept]] = field(default_factory=dict)
    outbox: dict[int, tuple[tuple[str, str], OutboxEntry]] = field(default_factory=dict)
    history: list[tuple[str, HistoryLine]] = field(default_factory=list)
    streams: dict[str, dict[str, Entry]] = field(default_factory=dict)

    def copy(self) -> "_State":
        """Copy the containers; what they hold is never changed."""
        collections = {name: dict(kept) for name, kept in self.collections.items()}
        streams = {name: dict(entries) for name, entries in self.streams.items()}
        return _State(collections, dict(self.outbox), list(self.history), streams)


class MemoryStore:
    """The server: every method is one atomic step."""

    def __init__(self, clock: Callable[[], float], protections: Protections = Protections()) -> None:
        self._clock = clock
        self._protections = protections
        self._state = _State()
        self._tokens = itertools.count(1)
        self._before: list[tuple[float, _State]] = []
        """Earlier states, where writes are lost when the store goes down."""
        self.outcomes: Counter[Outcome] = Counter()
        """How the transitions ended."""

    def now(self) -> datetime.datetime:
        """Tell the store's time."""
        return datetime.datetime.fromtimestamp(self._clock(), datetime.UTC)

    def go_down(self, lost_seconds: float) -> None:
        """Lose what a store that acknowledges before it is durable would lose."""
        if not self._protections.durable:
            since = self._clock() - lost_seconds
            lost = [state for at, state in self._before if at >= since]
            if lost:
                self._state = lost[0]
            self._before.clear()

    def load(self, collection: str, document_id: str) -> Document | None:
        """Read one document."""
        kept = self._of(collection).get(document_id)
        return kept.read() if kept else None

    def find(
        self,
        collection: str,
        where: Where,
        *,
        order: Sequence[str] = (),
        limit: int = 1000,
        lease_expired: bool = False,
    ) -> list[Document]:
        """Read the documents that match."""
        now = self.now()
        found = [
            kept
            for kept in self._of(collection).values()
            if _matches(kept.document, where)
            and not (lease_expired and not has_expired(kept.document.lease_until, now))
        ]
        if len(found) > 1:
            found.sort(key=lambda kept: kept.document.id)
            for name in reversed(order):
                wanted = name.lstrip("-")
                found.sort(key=lambda kept: _sortable(_value(kept.document, wanted)), reverse=name.startswith("-"))
        return [kept.read() for kept in found[:limit]]

    def count(self, collection: str, where: Where) -> int:
        """Count the documents that match."""
        return sum(_matches(kept.document, where) for kept in self._of(collection).values())

    def insert(self, collection: str, document: Insert, outbox: Sequence[Record], inbox: str | None) -> bool:
        """Add a document once."""
        text = dumps(document.body)
        made = Document(document.id, document.tenant, document.state, 0, 1, loads(text))
        if document.id in self._of(collection) or self._taken(collection, made):
            return False
        self._remember_state()
        now = self.now()
        self._of(collection)[document.id] = _Kept(made, text, frozenset({inbox} if inbox else ()))
        self._enqueue(collection, document.id, outbox, now)
        self._log(collection, HistoryLine(document.id, 1, None, document.state, 0, None, inbox, now, None))
        return True

    def transition(
        self,
        collection: str,
        document_id: str,
        expect: Expect,
        change: Change,
        lease: Lease | None,
        release: bool,
        outbox: Sequence[Record],
        inbox: str | None,
    ) -> Transitioned:
        """Change one document, its inbox, outbox and history at once."""
        done = self._transition(collection, document_id, expect, change, lease, release, outbox, inbox)
        self.outcomes[done.outcome] += 1
        return done

    def _transition(
        self,
        collection: str,
        document_id: str,
        expect: Expect,
        change: Change,
        lease: Lease | None,
        release: bool,
        outbox: Sequence[Record],
        inbox: str | None,
    ) -> Transitioned:
        kept = self._of(collection).get(document_id)
        if kept is None:
            return Transitioned(Outcome.MISSING, None)
        if inbox and self._protections.inbox and inbox in kept.inbox:
            return Transitioned(Outcome.REPEATED, kept.read())
        now = self.now()
        before = kept.document
        if self._protections.fencing and not _holds(before, expect, lease, now):
            return Transitioned(Outcome.REFUSED, kept.read())
        text = _changed(kept.json, change)
        epoch, holder, until = _owned(before, lease, now)
        after = Document(
            document_id,
            before.tenant,
            change.state or before.state,
            epoch,
            before.version + 1,
            loads(text),
            None if release else holder,
            None if release else until,
        )
        if self._taken(collection, after):
            return Transitioned(Outcome.REFUSED, kept.read())
        self._remember_state()
        self._of(collection)[document_id] = _Kept(after, text, kept.inbox | {inbox} if inbox else kept.inbox)
        self._enqueue(collection, document_id, outbox, now)
        # Who renews or ends writes under the epoch it believes in; fencing is what makes that the newest.
        believed = before.epoch if expect.epoch is None else expect.epoch
        wrote = epoch if lease and not lease.renew else believed
        holder = after.holder or before.holder
        line = HistoryLine(
            document_id, after.version, before.state, after.state, wrote, holder, inbox, now, after.lease_until
        )
        self._log(collection, line)
        return Transitioned(Outcome.APPLIED, self._of(collection)[document_id].read())

    def delete(self, collection: str, document_id: str) -> bool:
        """Remove a document and everything that belongs to it."""
        if self._of(collection).pop(document_id, None) is None:
            return False
        owner, state = (collection, document_id), self._state
        state.outbox = {token: held for token, held in state.outbox.items() if held[0] != owner}
        state.history = [(name, line) for name, line in state.history if (name, line.document) != owner]
        return True

    def outbox(self, limit: int) -> list[OutboxEntry]:
        """Read the oldest entries that wait."""
        found = [entry for _, entry in itertools.islice(self._state.outbox.values(), limit)]
        if not self._protections.outbox_kept:
            self.published([entry.token for entry in found])
        return found

    def published(self, tokens: Sequence[str]) -> None:
        """Remove entries that were published."""
        for token in tokens:
            self._state.outbox.pop(int(token), None)

    def outbox_since(self) -> datetime.datetime | None:
        """Tell since when the oldest entry waits."""
        return next((entry.written_at for _, entry in self._state.outbox.values()), None)

    def history(self, collection: str, document_id: str | Sequence[str] | None) -> list[HistoryLine]:
        """Read transitions, oldest first."""
        lines = [line for name, line in self._state.history if name == collection]
        wanted = [document_id] if isinstance(document_id, str) else document_id
        return lines if wanted is None else [line for line in lines if line.document in wanted]

    def append(self, stream: str, entry_id: str, body: Body) -> int:
        """Add a line to a stream once."""
        entries = self._state.streams.setdefault(stream, {})
        if entry_id not in entries:
            entries[entry_id] = Entry(len(entries) + 1, entry_id, loads(dumps(body)))
        return entries[entry_id].sequence

    def read(self, stream: str, after: int, limit: int) -> list[Entry]:
        """Read the lines behind a sequence number."""
        entries = self._state.streams.get(stream, {}).values()
        return [entry for entry in entries if entry.sequence > after][:limit]

    def _of(self, collection: str) -> dict[str, _Kept]:
        if collection not in BY_NAME:
            raise KeyError(f"collection {collection!r} is not declared in aima_common.collections")
        return self._state.collections.setdefault(collection, {})

    def _taken(self, collection: str, document: Document) -> bool:
        for fields in BY_NAME[collection].unique:
            values = [_value(document, name) for name in fields]
            others = (kept.document for kept in self._of(collection).values() if kept.document.id != document.id)
            if None not in values and any([_value(other, name) for name in fields] == values for other in others):
                return True
        return False

    def _enqueue(self, collection: str, document_id: str, records: Sequence[Record], now: datetime.datetime) -> None:
        for record in records:
            token = next(self._tokens)
            self._state.outbox[token] = ((collection, document_id), OutboxEntry(str(token), record, now))

    def _log(self, collection: str, line: HistoryLine) -> None:
        if BY_NAME[collection].history:
            self._state.history.append((collection, line))

    def _remember_state(self) -> None:
        if not self._protections.durable:
            self._before.append((self._clock(), self._state.copy()))


def _value(document: Document, name: str) -> Any:
    if name in OWN_FIELDS:
        return getattr(document, name)
    value: Any = document.body
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _matches(document: Document, where: Where) -> bool:
    for name, wanted in where.items():
        value = _value(document, name)
        if isinstance(wanted, Range):
            if value is None or (wanted.at_least is not None and value < wanted.at_least):
                return False
            if wanted.below is not None and value >= wanted.below:
                return False
        elif isinstance(wanted, list | tuple | set | frozenset):
            if value not in wanted:
                return False
        elif value != wanted:
            return False
    return True


def _sortable(value: Any) -> tuple[bool, Any]:
    """Nothing comes before everything else."""
    return value is not None, value if value is not None else 0


def _holds(document: Document, expect: Expect, lease: Lease | None, now: datetime.datetime) -> bool:
    states = [expect.state] if isinstance(expect.state, str) else expect.state
    return not (
        (states is not None and document.state not in states)
        or (expect.epoch is not None and document.epoch != expect.epoch)
        or (expect.version is not None and document.version != expect.version)
        or (expect.lease_expired and not has_expired(document.lease_until, now))
        or (lease is not None and lease.renew and document.holder != lease.holder)
    )


def _owned(
    document: Document, lease: Lease | None, now: datetime.datetime
) -> tuple[int, str | None, datetime.datetime | None]:
    """Tell epoch, holder and end of the lease after a change."""
    if lease is None:
        return document.epoch, document.holder, document.lease_until
    until = now + datetime.timedelta(seconds=lease.seconds)
    return document.epoch + (0 if lease.renew else 1), lease.holder, until


def _changed(text: bytes, change: Change) -> bytes:
    if not (change.set or change.add or change.push):
        return text
    body: dict[str, Any] = loads(text)
    for path, value in change.set.items():
        parent, leaf = _parent(body, path)
        parent[leaf] = value
    for path, number in change.add.items():
        parent, leaf = _parent(body, path)
        parent[leaf] = parent.get(leaf, 0) + number
    for path, value in change.push.items():
        parent, leaf = _parent(body, path)
        parent.setdefault(leaf, []).append(value)
    return dumps(body)


def _parent(body: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    *parents, leaf = path.split(".")
    for name in parents:
        body = body.setdefault(name, {})
    return body, leaf
