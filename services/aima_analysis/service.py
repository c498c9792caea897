"""Runs analyzers over prepared media: claims placed jobs, computes once, commits with the lease."""

import asyncio
import datetime
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from aima_analysis.analyzers.analyzer import Analysis
from aima_analysis.analyzers.description import Description
from aima_analysis.embedding import Embedding
from aima_common import erasures, object_keys
from aima_common.contracts import messages as m
from aima_common.contracts.base import Message
from aima_common.contracts.codec import dumps
from aima_common.contracts.envelope import Envelope
from aima_common.contracts.media import MediumType, ObjectReference, Result, Segment
from aima_common.contracts.telling import tell
from aima_common.errors import ObjectExistsError, ObjectMissingError
from aima_common.ids import finding_id
from aima_common.jobs import Done, Failure, Held, JobKind, JobRunner, Ledger
from aima_common.ports import Ports
from aima_common.ports.bus import Record
from aima_common.ports.documents import Change, Insert
from aima_common.ports.vectors import Point
from aima_common.runtime.telemetry import ANALYZER_CALLS

DEADLINE_SECONDS_PER_MEDIA_MINUTE = 240.0
"""Analysis slower than four times real time per analyzer has gone wrong (spec 4.6: jobs never hang)."""

LEAST_DEADLINE_SECONDS = 120.0
"""Loading a model on a cold, busy machine takes tens of seconds."""


class Inference(Protocol):
    """Whoever computes: the pool of inference processes."""

    async def analyse(
        self,
        analyzer: str,
        type: MediumType,  # noqa: A002 - the field's word
        segment: Segment | None,
        blobs: Sequence[bytes],
        deadline_seconds: float,
        *,
        interactive: bool = False,
    ) -> Analysis:
        """Run one analyzer on one part, off the event loop."""


class AnalysisService:
    """Owns nothing but the leases it holds; results are objects under the key of what they are about."""

    name = "analysis"

    def __init__(
        self,
        ports: Ports,
        ledger: Ledger,
        inference: Inference,
        descriptions: Sequence[Description],
        *,
        machine: str,
        slots: int,
        lanes: Sequence[MediumType] = tuple(MediumType),
        embedding: Embedding | None = None,
    ) -> None:
        self._ports = ports
        self._inference = inference
        self._descriptions = descriptions
        self._embedding = embedding
        self.lanes = [lane.value for lane in lanes]
        where = {"machine": machine, "lane": self.lanes}
        self._runner = JobRunner(
            ledger, JobKind.ANALYSE, self.analyse, slots=slots, where=where, on_failure=self._on_failure
        )

    def handlers(self) -> Mapping[type[Message], Callable[[Envelope[Any]], Awaitable[None]]]:
        """Map messages to what follows from them."""
        return {m.AnalysisRequested: self.on_analysis_requested}

    def background(self) -> Sequence[Callable[[], Awaitable[None]]]:
        """Announce the analyzers, then claim jobs until cancelled; turn words into vectors for gateways elsewhere."""
        return [self.run, *([self._embedding.serve] if self._embedding else [])]

    async def run(self) -> None:
        """Announce what can be done here, then do what is placed here."""
        await self.announce()
        await self._runner.run()

    async def url(self) -> str:
        """Tell where words are turned into vectors; empty where nobody asks from elsewhere."""
        return await self._embedding.url() if self._embedding else ""

    async def on_analysis_requested(self, envelope: Envelope[m.AnalysisRequested]) -> None:
        """Take the hint; the store is the truth."""
        self._runner.wake()

    async def announce(self) -> None:
        """Write which analyzers there are, with their models and needs, for the scheduler to read."""
        # Each names all of them, so that nobody plans with half of the list.
        together = {"together_with": sorted(description.body["name"] for description in self._descriptions)}
        for description in self._descriptions:
            name, state = description.body["name"], description.state
            body = {**description.body, **together}
            if not await self._ports.documents.insert("analyzers", Insert(name, "", state, body)):
                change = Change(state=state, set=body)
                await self._ports.documents.transition("analyzers", name, change=change)

    async def analyse(self, held: Held) -> Done:
        """Make the result of a job, or find it: what was computed once is never computed again."""
        key = object_keys.result(held.tenant, held.body["medium"], held.body["result_key"])
        try:
            data, computed = await self._ports.objects.get(key), False
        except ObjectMissingError:
            data, computed = dumps((await self._compute(held)).model_dump(mode="json")), True
            try:
                await erasures.keep(self._ports, held.body["medium"], key, data)
            except ObjectExistsError:
                # Somebody was faster, and floating point is not the same on every machine: the first answer stands.
                data = await self._ports.objects.get(key)
        result = Result.model_validate_json(data)
        await self._put_vectors(held, result)
        reference = ObjectReference(key=key, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
        told = m.AnalysisCompleted(
            medium=held.body["medium"],
            run=held.body["run"],
            job=held.id,
            analyzer=held.body["analyzer"],
            segment=held.body["segment"]["index"] if held.body["segment"] else None,
            result=reference,
            finding_count=len(result.findings),
            computed=computed,
        )
        fields = {"result": reference.model_dump(mode="json"), "computed": computed, "findings": len(result.findings)}
        return Done(fields, [self._tell(held, told)])

    async def _compute(self, held: Held) -> Result:
        body = held.body
        segment = Segment.model_validate(body["segment"], strict=False) if body["segment"] else None
        blob = await self._ports.objects.get(body["input"]["key"])
        analysis = await self._inference.analyse(
            body["analyzer"],
            MediumType(body["lane"]),
            segment,
            [blob],
            deadline_seconds(segment),
            interactive=held.interactive,
        )
        ANALYZER_CALLS.labels(body["analyzer"]).inc()
        return Result(
            key=body["result_key"],
            medium=body["medium"],
            segment=segment,
            analyzer=body["analyzer"],
            analyzer_version=body["analyzer_version"],
            findings=analysis.findings,
            vectors=analysis.vectors,
            missing=analysis.missing,
        )

    async def _put_vectors(self, held: Held, result: Result) -> None:
        """Store the vectors before the commit: ids are deterministic, so a repeat replaces them by themselves."""
        points: dict[str, list[Point]] = {}
        for vector in result.vectors:
            finding = result.findings[vector.finding] if vector.finding is not None else None
            identity = finding_id(result.key, vector.finding) if vector.finding is not None else result.medium
            payload: dict[str, str | float | int] = {"tenant": held.tenant, "medium": result.medium}
            if finding:
                payload |= {
                    "kind": finding.kind,
                    "text": finding.text or finding.label or "",
                    "start_seconds": finding.start_seconds,
                    "end_seconds": finding.end_seconds,
                }
            points.setdefault(vector.space, []).append(Point(identity, vector.vector, payload))
        await asyncio.gather(*(self._ports.vectors.put(space, batch) for space, batch in points.items()))

    def _on_failure(self, held: Held, failure: Failure) -> Mapping[str, Sequence[Record]]:
        told = m.AnalysisFailed(
            medium=held.body["medium"],
            run=held.body["run"],
            job=held.id,
            epoch=held.epoch,
            code=failure.code,
            reason=failure.reason[:1000],
            transient=failure.transient,
        )
        record = self._tell(held, told)
        return {"ready": [record], "dead": [record]}

    def _tell(self, held: Held, message: Message) -> Record:
        now: datetime.datetime = self._ports.clock.now()
        return tell(message, tenant=held.tenant, key=held.body["medium"], cause=held.cause, time=now)


def deadline_seconds(segment: Segment | None) -> float:
    """Tell how long one call of an analyzer may take before it counts as hung."""
    minutes = (segment.context_end - segment.context_start) / 60 if segment else 0.0
    return LEAST_DEADLINE_SECONDS + minutes * DEADLINE_SECONDS_PER_MEDIA_MINUTE
