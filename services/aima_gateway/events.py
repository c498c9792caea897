"""What happens to a case, as a stream that can be replayed and followed."""

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from aima_common.contracts import messages as m
from aima_common.contracts.base import Message
from aima_common.contracts.envelope import Envelope
from aima_common.contracts.topics import heard_by
from aima_common.ports import Ports
from aima_common.ports.documents import Entry

OPERATIONS = "events/_operations"
"""The stream of what concerns no case: advice on scaling, broken invariants."""

PAGE = 500

LEFT_OUT: Mapping[type[Message], frozenset[str]] = {
    m.MediumUploaded: frozenset({"original", "priority", "deadline", "confidentiality", "profile"}),
    m.SegmentPrepared: frozenset({"original_sha256", "derivatives", "probe"}),
    m.MediumPrepared: frozenset({"original_sha256", "segments", "poster", "thumbnail", "perceptual_hash", "probe"}),
    m.AnalysisPlanned: frozenset({"parts"}),
    m.AnalysisCompleted: frozenset({"result", "job"}),
    m.AnalysisAbandoned: frozenset({"job"}),
    m.PictureCompleted: frozenset({"picture"}),
    m.DossierPublished: frozenset({"dossier"}),
}
"""Where bytes lie is nobody's business outside."""

FOR_THOSE_OUTSIDE = frozenset({m.OfferRejected, m.NoticeGiven})


def event(envelope: Envelope[Any]) -> dict[str, Any]:
    """Write a message as people may see it."""
    body = envelope.body
    shown = body.model_dump(mode="json", exclude=set(LEFT_OUT.get(type(body), frozenset())))
    if isinstance(body, m.SegmentPrepared):
        segment = body.derivatives.segment
        shown |= {"segment": segment.index, "start_seconds": segment.core_start, "end_seconds": segment.core_end}
    if isinstance(body, m.AnalysisPlanned):
        shown |= {"parts": len(body.parts)}
    return {"type": envelope.type, "time": envelope.time.isoformat(), **{k: v for k, v in shown.items() if k != "type"}}


def heard() -> Sequence[type[Message]]:
    """Tell which messages become events: what concerns those outside is told to them alone."""
    return [topic.message for topic in heard_by("gateway") if topic.message not in FOR_THOSE_OUTSIDE]


class CaseEvents:
    """The streams `events/<case>`: one line per message and case."""

    def __init__(self, ports: Ports, poll_seconds: float) -> None:
        self._documents = ports.documents
        self._poll_seconds = poll_seconds
        self._news: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self._closed = False

    def close(self) -> None:
        """End all streams; their readers come back to whoever answers then."""
        self._closed = True
        for news in self._news.values():
            news.set()

    async def record(self, envelope: Envelope[Any]) -> None:
        """Add a message to the streams of all cases that it concerns, once each."""
        line = event(envelope)
        for stream in await self._streams(envelope):
            await self._documents.append(stream, envelope.id, line)
            if news := self._news.pop(stream, None):
                news.set()

    async def follow(self, case: str, after: int, *, onwards: bool) -> AsyncGenerator[Sequence[Entry], None]:
        """Yield what lies behind `after`; with `onwards` go on for ever, and yield nothing-new now and then."""
        stream = stream_of(case)
        while not self._closed:
            # Listened for before looking: what is written in between sets it.
            news = self._news[stream]
            entries = await self._documents.read(stream, after, PAGE)
            if entries:
                after = entries[-1].sequence
                yield entries
            elif not onwards:
                return
            else:
                yield ()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._poll_seconds):
                        await news.wait()

    async def _streams(self, envelope: Envelope[Any]) -> list[str]:
        body = envelope.body
        if case := getattr(body, "case", None):
            return [stream_of(case)]
        medium = getattr(body, "medium", None)
        if medium is None:
            return [OPERATIONS]
        where = {"tenant": envelope.tenant, "medium": medium}
        items = await self._documents.find("items", where, limit=10_000)
        return sorted({stream_of(str(item.body["case"])) for item in items})


def stream_of(case: str) -> str:
    """Name the stream of a case."""
    return f"events/{case}"
