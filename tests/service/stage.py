"""What tests of single services share: stores of their own, envelopes, and a look at what was told."""

import contextlib
import datetime
import itertools
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aima_common import wiring
from aima_common.contracts import messages as m
from aima_common.contracts.base import Message
from aima_common.contracts.codec import decode
from aima_common.contracts.envelope import Envelope
from aima_common.contracts.media import MediumType, ObjectReference, Probe, Segment, SegmentDerivatives
from aima_common.contracts.telling import tell
from aima_common.jobs import Ledger
from aima_common.ports import Ports
from aima_common.ports.documents import Document, Insert

TENANT = "default"
NOW = datetime.datetime(2026, 11, 23, 12, tzinfo=datetime.UTC)
SHA = "ab" * 32
ORIGINAL = ObjectReference(key=f"t/{TENANT}/originals/{SHA}", sha256=SHA, size_bytes=8)
PROBE = Probe(type=MediumType.VIDEO, mime_type="video/mp4", container="mp4", duration_seconds=120.0, has_video=True)
STILL = Probe(type=MediumType.IMAGE, mime_type="image/jpeg", container="jpeg", width=4, height=4, has_video=True)

NEEDS = {"cpus": 1.0, "memory_bytes": 1 << 20, "gpus": 0}


@dataclass
class Stage:
    """Stores, a ledger, and a counter of causes."""

    ports: Ports
    ledger: Ledger
    causes: "itertools.count[int]" = field(default_factory=itertools.count)

    def envelope(self, message: Message, *, cause: str = "", key: str = "") -> Envelope[Any]:
        """Make an envelope; without a cause each is another message."""
        subject = key or getattr(message, "medium", None) or getattr(message, "case", "key")
        told = tell(message, tenant=TENANT, key=str(subject), cause=cause or f"cause-{next(self.causes)}", time=NOW)
        return decode(told)

    async def told(self, kind: type[Message] | None = None) -> list[Any]:
        """List what waits in the outbox or was published, in the order in which it was told."""
        waiting = [decode(entry.record).body for entry in await self.ports.documents.outbox(10_000)]
        return [body for body in waiting if kind is None or isinstance(body, kind)]

    async def one(self, collection: str, identity: str) -> Document:
        """Load a document that must be there."""
        document = await self.ports.documents.load(collection, identity)
        assert document is not None, f"no {identity} in {collection}"
        return document

    async def all(self, collection: str, **where: Any) -> Sequence[Document]:
        """Find documents."""
        return await self.ports.documents.find(collection, where, order=["id"])

    async def put(self, collection: str, identity: str, state: str, **body: Any) -> None:
        """Insert a document."""
        assert await self.ports.documents.insert(collection, Insert(identity, TENANT, state, body))

    async def everything(self) -> dict[str, Any]:
        """Read all documents that messages may change, as they are now, without times."""
        names = ("runs", "jobs", "pictures", "dossiers", "news", "preparations", "erasures", "rollups", "locations")
        return {name: [(d.id, d.state, d.version) for d in await self.all(name)] for name in names}


@contextlib.asynccontextmanager
async def staged(folder: Path) -> AsyncIterator[Stage]:
    """Open embedded stores."""
    async with wiring.embedded(folder) as ports:
        yield Stage(ports, Ledger(ports, "the holder"))


def segment(index: int) -> Segment:
    """Cut the segment of this number."""
    start = index * 60.0
    return Segment(
        index=index, core_start=start, core_end=start + 60, context_start=max(0.0, start - 2), context_end=start + 62
    )


def derivatives(index: int) -> SegmentDerivatives:
    """Name what was made of a segment."""
    frames = ObjectReference(key=f"t/{TENANT}/derivatives/film/{index}", sha256=SHA, size_bytes=3)
    return SegmentDerivatives(segment=segment(index), frames=frames)


def uploaded(medium: str = "film", case: str = "case", item: str = "item", **options: Any) -> m.MediumUploaded:
    """Tell that a medium was uploaded."""
    return m.MediumUploaded(case=case, item=item, medium=medium, original=ORIGINAL, **options)


def analyzer_body(name: str, accepts: Sequence[str] = ("video",), **more: Any) -> dict[str, Any]:
    """Describe an analyzer as analysis does."""
    return {
        "name": name,
        "version": "1",
        "capability": more.get("capability", name),
        "accepts": list(accepts),
        "input": more.get("input", "frames"),
        "digest": "d1",
        "needs": more.get("needs", NEEDS),
        **{key: value for key, value in more.items() if key in {"reason", "together_with"}},
    }
