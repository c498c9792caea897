"""Documents: the store that owns the truth.

One document is the unit of atomicity. A change, the id of the message that caused it (inbox), the
messages that tell of it (outbox) and the line in its history become durable together or not at all.
"""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Protocol

from aima_common.ports.bus import Record

Body = Mapping[str, Any]


LONGEST_LEASE_SECONDS = 120.0
"""Nobody takes a lease for longer. One that ends later than so from now was taken before the store's clock was set
back, and has run out: else what a dead process held would stay held for as long as the clock was set back by."""


@dataclass(frozen=True)
class Document:
    """A document as it was read: what every document has, and its own body."""

    id: str
    tenant: str
    state: str
    epoch: int
    """How often it was leased. Only the newest holder's epoch may write."""
    version: int
    """How often it was changed; strictly increasing."""
    body: Body
    holder: str | None = None
    lease_until: datetime.datetime | None = None


@dataclass(frozen=True)
class Insert:
    """A document that does not exist yet."""

    id: str
    tenant: str
    state: str
    body: Body


@dataclass(frozen=True)
class Expect:
    """What must be true of a document for a transition to happen; None means "whatever"."""

    state: str | Sequence[str] | None = None
    epoch: int | None = None
    version: int | None = None
    lease_expired: bool = False
    """Only when its lease has run out by the store's clock, or ends later than any lease taken now could: that clock
    was set back."""


@dataclass(frozen=True)
class Change:
    """What a transition does to a document. Paths in `set` and `add` are dotted."""

    state: str | None = None
    set: Body = field(default_factory=dict)
    add: Mapping[str, int | float] = field(default_factory=dict)
    """Numbers to add; a missing field counts as 0."""
    push: Body = field(default_factory=dict)
    """Values to append to lists; a missing list counts as empty."""


@dataclass(frozen=True)
class Lease:
    """Take (epoch + 1) or renew (same epoch) the ownership of a document."""

    holder: str
    seconds: float
    renew: bool = False


class Outcome(Enum):
    """How a transition ended."""

    APPLIED = "applied"
    REFUSED = "refused"
    """The expectation does not hold; nothing changed."""
    REPEATED = "repeated"
    """This inbox id has been applied to this document before; nothing changed."""
    MISSING = "missing"


@dataclass(frozen=True)
class Transitioned:
    """The outcome of a transition and the document after it (None when missing)."""

    outcome: Outcome
    document: Document | None

    @property
    def applied(self) -> bool:
        """Whether the change was made by this very call."""
        return self.outcome is Outcome.APPLIED


@dataclass(frozen=True)
class Range:
    """A half-open range of a sortable field, `at_least` <= value < `below`."""

    at_least: Any = None
    below: Any = None


Where = Mapping[str, Any]
"""Field -> value, list of values (any of), or `Range`. `id`, `tenant`, `state`, `holder` or a declared index."""


@dataclass(frozen=True)
class OutboxEntry:
    """A record waiting to be published, and where it waits."""

    token: str
    record: Record
    written_at: datetime.datetime


@dataclass(frozen=True)
class HistoryLine:
    """One applied transition, as the checker reads it."""

    document: str
    version: int
    state_before: str | None
    state_after: str
    epoch: int
    holder: str | None
    inbox: str | None
    at: datetime.datetime
    lease_until: datetime.datetime | None


def has_expired(lease_until: datetime.datetime | None, now: datetime.datetime) -> bool:
    """Tell whether a lease that was taken until `lease_until` binds nobody any more; both by the store's clock."""
    if lease_until is None:
        return False
    return lease_until < now or (lease_until - now).total_seconds() > LONGEST_LEASE_SECONDS


@dataclass(frozen=True)
class Entry:
    """A line of an append-only stream."""

    sequence: int
    id: str
    body: Body


class Documents(Protocol):
    """Collections of documents with compare-and-set; collections are declared in `collections.py`."""

    async def load(self, collection: str, document_id: str) -> Document | None:
        """Read one document, as of the newest acknowledged write."""

    async def find(
        self,
        collection: str,
        where: Where,
        *,
        order: Sequence[str] = (),
        limit: int = 1000,
        lease_expired: bool = False,
    ) -> Sequence[Document]:
        """Read the documents that match; a leading "-" in `order` means descending."""

    async def count(self, collection: str, where: Where) -> int:
        """Count the documents that match."""

    async def insert(
        self, collection: str, document: Insert, *, outbox: Sequence[Record] = (), inbox: str | None = None
    ) -> bool:
        """Add a document; False, and nothing changed, when its id (or a unique index) is taken."""

    async def transition(
        self,
        collection: str,
        document_id: str,
        *,
        expect: Expect = Expect(),
        change: Change = Change(),
        lease: Lease | None = None,
        release: bool = False,
        outbox: Sequence[Record] = (),
        inbox: str | None = None,
    ) -> Transitioned:
        """Change one document if `expect` holds, by the store's clock, with everything that belongs to it."""

    async def delete(self, collection: str, document_id: str) -> bool:
        """Remove a document with its inbox, outbox and history; for sweeps and erasure only."""

    async def outbox(self, limit: int = 500) -> Sequence[OutboxEntry]:
        """Read the oldest entries that wait to be published."""

    async def published(self, tokens: Sequence[str]) -> None:
        """Remove entries that were published."""

    async def outbox_since(self) -> datetime.datetime | None:
        """Tell since when the oldest entry of all processes waits to be published; None when none does."""

    async def history(self, collection: str, document_id: str | Sequence[str] | None = None) -> Sequence[HistoryLine]:
        """Read the transitions of a document, of some, or of all of a collection that keeps them, oldest first."""

    async def append(self, stream: str, entry_id: str, body: Body) -> int:
        """Add a line to a stream once per `entry_id`; return its sequence number, from 1 without gaps."""

    async def read(self, stream: str, after: int = 0, limit: int = 1000) -> Sequence[Entry]:
        """Read the lines of a stream behind a sequence number."""

    async def now(self) -> datetime.datetime:
        """Tell the store's time."""
