"""Owns the preparations: has media decoded in the sandbox, and tells of every segment as soon as it is durable."""

import asyncio
import contextlib
import dataclasses
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from aima_common import erasures, object_keys
from aima_common.contracts import messages as m
from aima_common.contracts.base import Message
from aima_common.contracts.envelope import Envelope
from aima_common.contracts.media import MediumType, ObjectReference, Priority, Probe, SegmentDerivatives
from aima_common.contracts.telling import tell
from aima_common.errors import PermanentError, StaleLeaseError
from aima_common.ids import derive, job_id
from aima_common.jobs import AFRESH, Done, Failure, Held, JobKind, JobRunner, Ledger, new_job
from aima_common.ports import Ports
from aima_common.ports.bus import Record
from aima_common.ports.documents import Change, Document, Expect, Insert, Outcome
from aima_common.runtime.telemetry import DEAD_LETTERS
from aima_preprocessing.decoder_client import PreparationPlan
from aima_preprocessing.events import Event, Finished, Probed, SegmentDecoded
from aima_preprocessing.refusals import MediumRefusedError

BATCH_NICE = 10
"""Work that nobody waits for gives way to what somebody waits for, by the system's own scheduler."""


class Decoder(Protocol):
    """Whoever decodes: the client of the sandbox server."""

    def prepare(self, source: int | str, plan: PreparationPlan, start_segment: int = 0) -> AsyncGenerator[Event]:
        """Decode a medium, yielding what was made of it; raise `MediumRefusedError` for what cannot be."""


class Preprocessing:
    """Nobody else writes preparations."""

    name = "preprocessing"

    def __init__(
        self, ports: Ports, ledger: Ledger, decoder: Decoder, *, slots: int, plan: PreparationPlan | None = None
    ) -> None:
        self._ports = ports
        self._plan = plan or PreparationPlan()
        self._documents = ports.documents
        self._ledger = ledger
        self._decoder = decoder
        self._runner = JobRunner(ledger, JobKind.PREPARE, self.prepare, slots=slots, on_failure=self._on_failure)

    def handlers(self) -> Mapping[type[Message], Callable[[Envelope[Any]], Awaitable[None]]]:
        """Map messages to what follows from them."""
        return {
            m.MediumUploaded: self.on_medium_uploaded,
            m.PreparationRequested: self.on_preparation_requested,
            m.ErasureRequested: self.on_erasure_requested,
        }

    def background(self) -> Sequence[Callable[[], Awaitable[None]]]:
        """Prepare for as long as the process lives."""
        return [self._runner.run]

    async def on_medium_uploaded(self, envelope: Envelope[m.MediumUploaded]) -> None:
        """Have a medium prepared, unless it is or is being prepared."""
        body = envelope.body
        known = await self._documents.load("preparations", body.medium)
        if known is None:
            await self._documents.insert(
                "preparations",
                Insert(body.medium, envelope.tenant, "preparing", _empty(body.medium)),
                inbox=envelope.id,
            )
        elif known.state in {"prepared", "rejected"}:
            return
        elif known.state == "erased":
            again = Change(state="preparing", set=_empty(body.medium))
            expect = Expect(state="erased")
            done = await self._documents.transition(
                "preparations", body.medium, expect=expect, change=again, inbox=envelope.id
            )
            if not done.applied:
                # The upload that was erased is told of once more.
                return
        job = new_job(
            job_id(body.medium, JobKind.PREPARE.value),
            envelope.tenant,
            JobKind.PREPARE,
            submitted_at=self._ports.clock.now(),
            priority=Priority(body.priority),
            deadline=body.deadline,
            run=None,
            medium=body.medium,
            original=body.original.model_dump(mode="json"),
        )
        if not await self._ledger.add(job, inbox=envelope.id):
            # It was given up or cancelled before; somebody wants it again.
            afresh = Change(state="ready", set=AFRESH)
            expect = Expect(state=("dead", "cancelled", "done"))
            await self._documents.transition("jobs", job.id, expect=expect, change=afresh, inbox=envelope.id)
        self._runner.wake()

    async def on_preparation_requested(self, envelope: Envelope[m.PreparationRequested]) -> None:
        """Prepare a medium once more that was rejected; whatever else became of it meanwhile stays."""
        medium = envelope.body.medium
        known = await self._documents.load("preparations", medium)
        if known is None or known.tenant != envelope.tenant:
            return
        told = m.MediumReadmitted(medium=medium)
        time = self._ports.clock.now()
        done = await self._documents.transition(
            "preparations",
            medium,
            expect=Expect(state="rejected"),
            change=Change(state="preparing", set=_empty(medium)),
            outbox=[tell(told, tenant=envelope.tenant, key=medium, cause=envelope.id, time=time)],
            inbox=envelope.id,
        )
        if done.document is None or done.outcome is Outcome.REFUSED:
            return
        # The job is looked at even when the message came before: a crash may lie between the two.
        again = Change(state="ready", set=AFRESH)
        await self._documents.transition(
            "jobs",
            job_id(medium, JobKind.PREPARE.value),
            expect=Expect(state=("dead", "cancelled", "done")),
            change=again,
            inbox=envelope.id,
        )
        self._runner.wake()

    async def on_erasure_requested(self, envelope: Envelope[m.ErasureRequested]) -> None:
        """Forget what is known of a medium's insides; its derivatives go with storage."""
        medium = envelope.body.medium
        if await erasures.is_over(self._documents, envelope):
            return
        record = tell(
            m.PartErased(medium=medium, owner=self.name),
            tenant=envelope.tenant,
            key=medium,
            cause=envelope.id,
            time=envelope.time,
        )
        erased = Change(state="erased", set={**_empty(medium), "type": None})
        marker = Insert(medium, envelope.tenant, "erased", _empty(medium))
        if not await self._documents.insert("preparations", marker, outbox=[record], inbox=envelope.id):
            await self._documents.transition("preparations", medium, change=erased, outbox=[record], inbox=envelope.id)
        # What is under way would leave derivatives behind.
        self._runner.stop(job_id(medium, JobKind.PREPARE.value))

    async def prepare(self, held: Held) -> Done:
        """Decode what is not decoded yet; every segment becomes durable, and is told of, on its own."""
        preparation = await self._load(held)
        if preparation.state != "preparing":
            return Done()
        original = ObjectReference.model_validate(held.body["original"])
        begun = len(preparation.body["segments"])
        plan = self._plan if held.interactive else dataclasses.replace(self._plan, nice=BATCH_NICE)
        try:
            async with (
                self._ports.objects.lend(original.key) as path,
                contextlib.aclosing(self._decoder.prepare(path, plan, begun)) as events,
            ):
                async for event in events:
                    await self._take(held, event)
        except MediumRefusedError as error:
            await self._reject(held, error)
        return Done()

    async def _take(self, held: Held, event: Event) -> None:
        match event:
            case Probed(probe):
                preparation = await self._load(held)
                facts = {"type": probe.type.value, "probe": probe.model_dump(mode="json")}
                if preparation.body["type"] is None:
                    await self._change(preparation, Change(set=facts), [])
            case SegmentDecoded():
                await self._keep_segment(held, event)
            case Finished():
                await self._finish(held, event)

    async def _keep_segment(self, held: Held, event: SegmentDecoded) -> None:
        frames, thumbnails, sound = await asyncio.gather(
            *(self._keep(held, blob) for blob in (event.frames, event.thumbnails, event.sound))
        )
        derivatives = SegmentDerivatives(segment=event.segment, frames=frames, thumbnails=thumbnails, sound=sound)
        preparation = await self._load(held)
        if len(preparation.body["segments"]) != event.segment.index:
            # An earlier holder got as far before it was fenced; its bytes are the same.
            return
        told = m.SegmentPrepared(
            medium=preparation.id,
            type=MediumType(preparation.body["type"]),
            original_sha256=held.body["original"]["sha256"],
            derivatives=derivatives,
            probe=Probe.model_validate(preparation.body["probe"], strict=False),
        )
        push: dict[str, Any] = {"segments": derivatives.model_dump(mode="json")}
        problems = [
            *preparation.body["problems"],
            *(p for p in event.problems if p not in preparation.body["problems"]),
        ]
        await self._change(preparation, Change(push=push, set={"problems": problems}), [self._tell(held, told)])

    async def _finish(self, held: Held, event: Finished) -> None:
        preparation = await self._load(held)
        poster, thumbnail = await asyncio.gather(self._keep(held, event.poster), self._keep(held, event.thumbnail))
        problems = list(dict.fromkeys([*preparation.body["problems"], *event.problems]))
        told = m.MediumPrepared(
            medium=preparation.id,
            type=event.probe.type,
            original_sha256=held.body["original"]["sha256"],
            probe=event.probe,
            segments=[SegmentDerivatives.model_validate(s, strict=False) for s in preparation.body["segments"]],
            poster=poster,
            thumbnail=thumbnail,
            perceptual_hash=event.perceptual_hash,
            problems=problems,
        )
        facts = told.model_dump(
            mode="json", include={"type", "probe", "poster", "thumbnail", "perceptual_hash", "problems"}
        )
        await self._change(preparation, Change(state="prepared", set=facts), [self._tell(held, told)])

    async def _reject(self, held: Held, error: MediumRefusedError) -> None:
        preparation = await self._load(held)
        told = m.MediumRejected(medium=preparation.id, code=error.code, reason=str(error), remedy=error.remedy)
        reason = told.model_dump(mode="json", include={"code", "reason", "remedy", "failed"})
        letter = {
            "service": self.name,
            "reason": error.code,
            "detail": str(error),
            "medium": preparation.id,
            "original": held.body["original"],
            "at": self._ports.clock.now().isoformat(),
        }
        # The original stays where it is, in quarantine by its state: nothing but this service ever opens it.
        identity = derive("dead_letter", self.name, preparation.id)
        if not await self._documents.insert("dead_letters", Insert(identity, held.tenant, "open", letter)):
            # Somebody had it tried again: the same end opens the same letter.
            again = Change(state="open", set=letter)
            await self._documents.transition("dead_letters", identity, expect=Expect(state="retried"), change=again)
        await self._change(preparation, Change(state="rejected", set={"reason": reason}), [self._tell(held, told)])
        DEAD_LETTERS.labels(self.name, error.code).inc()

    async def _load(self, held: Held) -> Document:
        preparation = await self._documents.load("preparations", held.body["medium"])
        if preparation is None:
            raise PermanentError("the medium was erased meanwhile", code="erased")
        return preparation

    async def _change(self, preparation: Document, change: Change, outbox: Sequence[Record]) -> None:
        expect = Expect(state="preparing", version=preparation.version)
        done = await self._documents.transition(
            "preparations", preparation.id, expect=expect, change=change, outbox=outbox
        )
        if not done.applied:
            raise StaleLeaseError(f"somebody else prepares medium {preparation.id}")

    async def _keep(self, held: Held, blob: bytes | None) -> ObjectReference | None:
        if blob is None:
            return None
        sha256 = (await asyncio.to_thread(hashlib.sha256, blob)).hexdigest()
        key = object_keys.derivative(held.tenant, held.body["medium"], sha256)
        await self._ports.objects.put(key, blob)
        return ObjectReference(key=key, sha256=sha256, size_bytes=len(blob))

    def _on_failure(self, held: Held, failure: Failure) -> Mapping[str, Sequence[Record]]:
        told = m.MediumRejected(
            medium=held.body["medium"],
            code=failure.code,
            reason=failure.reason[:1000],
            remedy="upload the file again; if it fails again, `aima doctor` tells whether this machine is well",
            failed=True,
        )
        return {"dead": [self._tell(held, told)]}

    def _tell(self, held: Held, message: Message) -> Record:
        cause = held.cause
        return tell(message, tenant=held.tenant, key=held.body["medium"], cause=cause, time=self._ports.clock.now())


def _empty(medium: str) -> dict[str, Any]:
    return {
        "medium": medium,
        "type": None,
        "probe": None,
        "segments": [],
        "poster": None,
        "thumbnail": None,
        "perceptual_hash": None,
        "problems": [],
        "reason": None,
    }
