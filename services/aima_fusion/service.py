"""Collects the parts of a run, and folds them into one picture when all are in or known to be missing."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aima_common import erasures, object_keys
from aima_common.contracts import messages as m
from aima_common.contracts.base import Message
from aima_common.contracts.codec import dumps
from aima_common.contracts.envelope import Envelope
from aima_common.contracts.media import MediumType, ObjectReference, Probe, Result, Segment
from aima_common.contracts.picture import MissingPart, Picture
from aima_common.contracts.telling import tell
from aima_common.errors import PermanentError, TransientError
from aima_common.ids import job_id
from aima_common.jobs import Done, Held, JobKind, JobRunner, Ledger, new_job
from aima_common.ports import Ports
from aima_common.ports.documents import Change, Document, Expect, Insert, Outcome
from aima_fusion import domain
from aima_fusion.entity_register import EntityRegister

IMAGES = "images"
"""The vector space of whole stills."""

CANDIDATES = 50
"""Nearest stills that are compared; more copies of one picture than this are linked through one another."""

SLOTS = 2


class Fusion:
    """Owns the pictures, the relations between media and the entities; nobody else writes them."""

    name = "fusion"

    def __init__(self, ports: Ports, ledger: Ledger) -> None:
        self._ports = ports
        self._documents = ports.documents
        self._ledger = ledger
        self._entities = EntityRegister(ports.documents)
        self._runner = JobRunner(ledger, JobKind.FUSE, self.fuse, slots=SLOTS)

    def handlers(self) -> Mapping[type[Message], Callable[[Envelope[Any]], Awaitable[None]]]:
        """Map messages to what follows from them."""
        return {
            m.AnalysisPlanned: self.on_analysis_planned,
            m.AnalysisCompleted: self.on_analysis_completed,
            m.AnalysisAbandoned: self.on_analysis_abandoned,
            m.ErasureRequested: self.on_erasure_requested,
        }

    def background(self) -> Sequence[Callable[[], Awaitable[None]]]:
        """Fold for as long as the process lives."""
        return [self._runner.run]

    async def on_analysis_planned(self, envelope: Envelope[m.AnalysisPlanned]) -> None:
        """Learn which parts to expect."""
        body = envelope.body
        expected = {part.job: part.model_dump(mode="json") for part in body.parts}
        missing = [MissingPart(capability=x.capability, reason=x.reason).model_dump(mode="json") for x in body.missing]
        # The plan's own id names the fold: a run that is taken up again is folded again.
        planned = {"expected": expected, "missing": missing, "plan": envelope.id}
        await self._note(envelope, body.run, Change(state="gathering", set=planned))

    async def on_analysis_completed(self, envelope: Envelope[m.AnalysisCompleted]) -> None:
        """Take a part in."""
        body = envelope.body
        part = {"key": body.result.key, "sha256": body.result.sha256}
        await self._note(envelope, body.run, Change(set={f"parts.{body.job}": part}))

    async def on_analysis_abandoned(self, envelope: Envelope[m.AnalysisAbandoned]) -> None:
        """Learn that a part will never come."""
        body = envelope.body
        gone = MissingPart(
            capability=body.capability,
            reason=body.reason,
            analyzer=body.analyzer,
            job=body.job,
            segment=body.segment,
        )
        await self._note(envelope, body.run, Change(set={f"abandoned.{body.job}": gone.model_dump(mode="json")}))

    async def on_erasure_requested(self, envelope: Envelope[m.ErasureRequested]) -> None:
        """Forget the pictures, relations, vectors and appearances of a medium."""
        medium, tenant = envelope.body.medium, envelope.tenant
        if await erasures.is_over(self._documents, envelope):
            return
        for space in (IMAGES, "texts"):
            await self._ports.vectors.forget(space, {"tenant": tenant, "medium": medium})
        for field in ("medium", "other"):
            for relation in await self._documents.find("relations", {field: medium, "tenant": tenant}):
                await self._documents.delete("relations", relation.id)
        told = m.PartErased(medium=medium, owner=self.name)
        record = tell(told, tenant=tenant, key=medium, cause=envelope.id, time=envelope.time)
        marker = Insert(medium, tenant, "erased", {"medium": medium})
        emptied = Change(state="erased", set={"parts": {}, "abandoned": {}, "expected": {}, "picture": None})
        for picture in await self._documents.find("pictures", {"medium": medium, "tenant": tenant}):
            await self._documents.transition("pictures", picture.id, change=emptied)
        # After the pictures: a fold that is under way looks at its own once it has noted what it found.
        await self._entities.forget(tenant, medium)
        if not await self._documents.insert("pictures", marker, outbox=[record], inbox=envelope.id):
            # The medium was erased before; storage waits for this answer as it did for the first.
            await self._documents.transition("pictures", marker.id, outbox=[record], inbox=envelope.id)

    async def _note(self, envelope: Envelope[Any], run: str, change: Change) -> None:
        medium = envelope.body.medium
        empty: dict[str, Any] = {"medium": medium, "run": run, "plan": "", "expected": None, "picture": None}
        empty |= {"parts": {}, "abandoned": {}, "missing": []}
        await self._documents.insert("pictures", Insert(run, envelope.tenant, "gathering", empty))
        done = await self._documents.transition("pictures", run, change=change, inbox=envelope.id)
        if done.outcome is Outcome.MISSING or done.document is None:
            raise TransientError(f"the picture of run {run} is being erased")
        if done.document.state == "gathering" and _all_in(done.document):
            await self._ask_for_fold(done.document)

    async def _ask_for_fold(self, picture: Document) -> None:
        run = await self._documents.load("runs", picture.id)
        options = {"priority": run.body["priority"], "deadline": run.body["deadline"]} if run else {}
        identity = job_id(picture.id, JobKind.FUSE.value, picture.body["plan"])
        job = new_job(
            identity,
            picture.tenant,
            JobKind.FUSE,
            submitted_at=self._ports.clock.now(),
            run=picture.id,
            medium=picture.body["medium"],
        )
        job = Insert(job.id, job.tenant, job.state, {**job.body, **options})
        if await self._ledger.add(job):
            self._runner.wake()

    async def fuse(self, held: Held) -> Done:
        """Fold all results of a run into its picture; the same results make the same bytes."""
        picture_document = await self._documents.load("pictures", held.body["run"])
        preparation = await self._documents.load("preparations", held.body["medium"])
        if picture_document is None or preparation is None or picture_document.state == "erased":
            raise PermanentError("the medium was erased meanwhile", code="erased")
        parts = await self._parts(picture_document)
        missing = _missing(picture_document)
        picture = await asyncio.to_thread(domain.fold, parts, missing, _prepared(preparation, held.body["run"]))
        reference = await self._keep(held.tenant, picture)
        if picture.type is MediumType.IMAGE:
            await self._relate(held.tenant, picture, parts)
        change = Change(state="complete", set={"picture": reference.model_dump(mode="json")})
        expect = Expect(state=("gathering", "complete"), version=picture_document.version)
        moved = await self._documents.transition("pictures", picture_document.id, expect=expect, change=change)
        if not moved.applied:
            raise TransientError("more was said of the medium while it was folded", code="picture_moved")
        await self._note_entities(held.tenant, picture)
        told = m.PictureCompleted(medium=picture.medium, run=picture.run, picture=reference)
        record = tell(told, tenant=held.tenant, key=picture.medium, cause=held.cause, time=self._ports.clock.now())
        return Done({"result": reference.model_dump(mode="json")}, [record])

    async def _note_entities(self, tenant: str, picture: Picture) -> None:
        await self._entities.note(tenant, picture.medium, picture.findings)
        after = await self._documents.load("pictures", picture.run)
        if after is None or after.state == "erased":
            await self._entities.forget(tenant, picture.medium)
            raise PermanentError("the medium was erased meanwhile", code="erased")

    async def _parts(self, picture: Document) -> list[domain.FoundPart]:
        expected = picture.body["expected"]
        found = []
        for job, reference in sorted(picture.body["parts"].items()):
            if job not in expected:
                continue
            result = Result.model_validate_json(await self._ports.objects.get(reference["key"]))
            found.append(domain.FoundPart(job, expected[job]["capability"], result))
        return found

    async def _keep(self, tenant: str, picture: Picture) -> ObjectReference:
        data = dumps(picture.model_dump(mode="json"))
        sha256 = hashlib.sha256(data).hexdigest()
        key = object_keys.picture(tenant, picture.medium, sha256)
        reference = ObjectReference(key=key, sha256=sha256, size_bytes=len(data))
        await erasures.keep(self._ports, picture.medium, key, data)
        return reference

    async def _relate(self, tenant: str, picture: Picture, parts: Sequence[domain.FoundPart]) -> None:
        """Link a still to those that show the same picture.

        Every still's vector was stored before its fold began, so of two stills that are folded at
        the same time at least one sees the other, and the relation has one id whoever writes it.
        """
        whole = [v.vector for part in parts for v in part.result.vectors if v.space == IMAGES and v.finding is None]
        if not whole:
            return
        near = await self._ports.vectors.nearest(IMAGES, whole[0], where={"tenant": tenant}, limit=CANDIDATES)
        for neighbour in near:
            other = str(neighbour.payload["medium"])
            preparation = await self._documents.load("preparations", other) if other != picture.medium else None
            if preparation is None:
                continue
            phash = preparation.body.get("perceptual_hash")
            similarity = domain.near_duplicate(picture.perceptual_hash, phash, neighbour.similarity)
            if similarity is not None:
                first, second = sorted((picture.medium, other))
                body = {"medium": first, "other": second, "similarity": round(similarity, 4)}
                identity = domain.relation_id(first, second)
                await self._documents.insert("relations", Insert(identity, tenant, "near_duplicate", body))


def _all_in(picture: Document) -> bool:
    expected = picture.body["expected"]
    return expected is not None and all(
        job in picture.body["parts"] or job in picture.body["abandoned"] for job in expected
    )


def _missing(picture: Document) -> list[MissingPart]:
    """List what will not come; a part that came after it was given up is not missing."""
    gone = [part for job, part in picture.body["abandoned"].items() if job not in picture.body["parts"]]
    return [MissingPart.model_validate(part, strict=False) for part in (*picture.body["missing"], *gone)]


def _prepared(preparation: Document, run: str) -> domain.PreparedMedium:
    body = preparation.body
    segments = tuple(Segment.model_validate(part["segment"], strict=False) for part in body["segments"])
    return domain.PreparedMedium(
        medium=body["medium"],
        run=run,
        type=MediumType(body["type"]),
        probe=Probe.model_validate_json(dumps(body["probe"])),
        segments=segments,
        perceptual_hash=body.get("perceptual_hash"),
        problems=tuple(body.get("problems", ())),
    )
