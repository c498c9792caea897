"""What the checker of invariants looks at, and what it says of it: plain data."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from aima_common.ports.documents import Document, HistoryLine


@dataclass(frozen=True)
class Violation:
    """Something that must never be."""

    invariant: str
    subject: str
    detail: str


@dataclass(frozen=True)
class StoredObject:
    """An object that somebody refers to, or that lies there."""

    size_bytes: int
    age_seconds: float
    sha256: str | None = None
    """What its bytes hash to now, where they were read."""


@dataclass(frozen=True)
class Sent:
    """One request of a client to take a file in, and what the client was told of it.

    Whoever keeps such a ledger gives every file of a case a name of its own, and sends it again under the same
    idempotency key.
    """

    case: str
    file_name: str
    outcome: Literal["ok", "fail", "unknown"]
    """A 2xx, a 4xx or 5xx, or no answer: what was asked may have happened then, or not, but not twice."""
    item: str | None = None
    """What a 2xx named."""
    sha256: str | None = None
    """What was sent."""


@dataclass(frozen=True)
class Footprint:
    """What a process takes up."""

    rss_bytes: int
    descriptors: int
    children: int
    scratch_files: int = 0
    """Files in the folder where it keeps copies while it works on them."""


@dataclass(frozen=True)
class Snapshot:
    """What the checker looks at."""

    now: datetime.datetime
    documents: Mapping[str, Sequence[Document]]
    """Collection -> its documents."""
    histories: Mapping[str, Sequence[HistoryLine]]
    objects: Mapping[str, StoredObject]
    asked: frozenset[str] | None = None
    """Keys of the objects that were looked for; None: all that there are."""
    outbox_written_at: Sequence[datetime.datetime] = ()
    lag: Mapping[str, int] = field(default_factory=dict)
    """Consumer group -> records it has not committed."""
    missing_vectors: Sequence[str] = ()
    """Vectors that a committed result has and the vector store has not."""
    left_behind: Sequence[str] = ()
    """Vectors and passages of media whose erasure has ended."""
    accepted: Sequence[str] = ()
    """Items that some client was told were accepted."""
    sent: Sequence[Sent] = ()
    """The whole ledger of some client, refusals and silence included."""
    footprints: Mapping[str, Sequence[Footprint]] = field(default_factory=dict)
    """Process -> what it took up before the faults, after each of them, and in the end."""
    faults_ended_at: datetime.datetime | None = None
    """Since when nothing was made to go wrong, where somebody made it."""
    at_rest: bool = False
    """Whether all work has come to an end, so that "not yet" is no excuse."""

    def of(self, collection: str) -> Sequence[Document]:
        """Give the documents of a collection."""
        return self.documents.get(collection, ())

    def age_seconds(self, text: str) -> float:
        """Tell how long ago an ISO time was."""
        return (self.now - datetime.datetime.fromisoformat(text)).total_seconds()
