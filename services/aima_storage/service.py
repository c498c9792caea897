"""Owns locations, lifetimes and erasures: what lies where, whether it is whole, and when it is gone."""

import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import structlog

from aima_common import erasures
from aima_common.contracts import messages as m
from aima_common.contracts.base import Message
from aima_common.contracts.envelope import Envelope
from aima_common.contracts.media import ObjectReference
from aima_common.contracts.telling import tell
from aima_common.errors import ObjectMissingError, TransientError
from aima_common.ids import derive
from aima_common.object_keys import folders_of
from aima_common.pages import every
from aima_common.ports import Ports
from aima_common.ports.documents import Change, Document, Expect, Insert
from aima_storage import domain, sweeping
from aima_storage.sweeping import Sweeper

SCRUB_SECONDS = 60.0
"""Pause between two originals that are read again and compared with their hash."""

log = structlog.get_logger()


class Storage:
    """Keeps the register of objects; removes them when every owner has let go."""

    name = "storage"

    def __init__(self, ports: Ports) -> None:
        self._documents = ports.documents
        self._objects = ports.objects
        self._clock = ports.clock
        self._sweeper = Sweeper(ports)

    def handlers(self) -> Mapping[type[Message], Callable[[Envelope[Any]], Awaitable[None]]]:
        """Map messages to what follows from them."""
        return {
            m.MediumUploaded: self.on_medium_uploaded,
            m.MediumPrepared: self.on_medium_prepared,
            m.DossierPublished: self.on_dossier_published,
            m.ErasureRequested: self.on_erasure_requested,
            m.PartErased: self.on_part_erased,
        }

    def background(self) -> Sequence[Callable[[], Awaitable[None]]]:
        """Check originals and sweep up for as long as the process lives."""
        return [self.scrub, self.sweep]

    async def on_medium_uploaded(self, envelope: Envelope[m.MediumUploaded]) -> None:
        """Register an original."""
        await self._register(envelope, [envelope.body.original], "original", envelope.body.medium)

    async def on_medium_prepared(self, envelope: Envelope[m.MediumPrepared]) -> None:
        """Register the derivatives of a medium."""
        body = envelope.body
        parts = [o for s in body.segments for o in (s.frames, s.thumbnails, s.sound) if o]
        parts += [o for o in (body.poster, body.thumbnail) if o]
        await self._register(envelope, parts, "derivative", body.medium)

    async def on_dossier_published(self, envelope: Envelope[m.DossierPublished]) -> None:
        """Register a version of a dossier."""
        await self._register(envelope, [envelope.body.dossier], "dossier", "")

    async def on_erasure_requested(self, envelope: Envelope[m.ErasureRequested]) -> None:
        """Open an erasure: it ends when every owner has said that its part is gone."""
        identity = await self._open_erasure(envelope, envelope.id)
        change = Change(set={"requested_by": envelope.body.requested_by})
        await self._documents.transition("erasures", identity, change=change, inbox=envelope.id)

    async def on_part_erased(self, envelope: Envelope[m.PartErased]) -> None:
        """Note an owner; when all have let go, remove the bytes and say so."""
        # An owner's answer names the request as its cause, and may come before the request itself.
        identity = await self._open_erasure(envelope, envelope.cause or "")
        change = Change(push={"owners": envelope.body.owner})
        done = await self._documents.transition("erasures", identity, change=change, inbox=envelope.id)
        if done.document and done.document.state == "requested" and domain.all_erased(done.document.body["owners"]):
            await self._erase(envelope.tenant, envelope.body.medium)
            told = m.MediumErased(medium=envelope.body.medium)
            medium = envelope.body.medium
            record = tell(told, tenant=envelope.tenant, key=medium, cause=envelope.id, time=envelope.time)
            end = Change(state="erased", set={"erased_at": self._clock.now().isoformat()})
            await self._documents.transition(
                "erasures", identity, expect=Expect(state="requested"), change=end, outbox=[record]
            )

    async def scrub(self) -> None:
        """Read one original after the other again, and report the one whose bytes are not what was uploaded."""
        while True:
            await self._clock.sleep(SCRUB_SECONDS)
            with contextlib.suppress(TransientError):
                async for location in every(self._documents, "locations", {"kind": "original", "state": "present"}):
                    await self.check(location)
                    await self._clock.sleep(SCRUB_SECONDS)

    async def sweep(self) -> None:
        """Remove now and again what nobody refers to."""
        while True:
            await self._clock.sleep(sweeping.EVERY_SECONDS)
            with contextlib.suppress(TransientError):
                await self._sweeper.sweep()

    async def check(self, location: Document) -> bool:
        """Compare an object with its hash; one that is missing or wrong is marked and reported."""
        digest = hashlib.sha256()
        try:
            async for chunk in self._objects.open(location.body["key"]):
                digest.update(chunk)
            state = "present" if digest.hexdigest() == location.body["sha256"] else "quarantined"
        except ObjectMissingError:
            state = "missing"
        if state == "present":
            return True
        expect, change = Expect(state="present"), Change(state=state)
        noted = await self._documents.transition("locations", location.id, expect=expect, change=change)
        if noted.applied:  # else it was erased since it was listed, and nothing is wrong
            log.error("object_damaged", key=location.body["key"], state=state)
        return False

    async def _open_erasure(self, envelope: Envelope[Any], request: str) -> str:
        identity = erasures.erasure_id(envelope.tenant, envelope.body.medium, request)
        body = {"medium": envelope.body.medium, "owners": [], "requested_by": ""}
        await self._documents.insert("erasures", Insert(identity, envelope.tenant, "requested", body))
        return identity

    async def _register(
        self, envelope: Envelope[Any], found: Sequence[ObjectReference], kind: str, medium: str
    ) -> None:
        """Register objects, unless they have been erased or forgotten since they were told of."""
        if not found or await self._is_gone(found[0], medium):
            return
        for reference in found:
            body = {"kind": kind, "medium": medium, **reference.model_dump(mode="json")}
            identity = derive("location", reference.key)
            if not await self._documents.insert("locations", Insert(identity, envelope.tenant, "present", body)):
                back = Change(state="present")
                await self._documents.transition(
                    "locations", identity, expect=Expect(state=("missing", "erased")), change=back, inbox=envelope.id
                )
        if await self._is_gone(found[0], medium):
            # An erasure ended in between, and may have looked for what is registered before it was.
            for reference in found:
                await self._documents.delete("locations", derive("location", reference.key))

    async def _is_gone(self, reference: ObjectReference, medium: str) -> bool:
        if medium:
            return await erasures.is_erased(self._documents, medium)
        return await self._objects.info(reference.key) is None

    async def _erase(self, tenant: str, medium: str) -> None:
        async for location in every(self._documents, "locations", {"medium": medium, "tenant": tenant}):
            await self._objects.delete(location.body["key"])
            await self._documents.delete("locations", location.id)
        async for location in every(self._documents, "locations", {"kind": "dossier", "tenant": tenant}):
            # Every version that told of the medium has been removed by its owner.
            if await self._objects.info(location.body["key"]) is None:
                await self._documents.delete("locations", location.id)
        for folder in folders_of(tenant, medium):
            async for info in self._objects.list(folder):
                await self._objects.delete(info.key)
