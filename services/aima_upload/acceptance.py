"""The moment an upload becomes an item: bytes durable, medium known, message on its way."""

from collections.abc import Awaitable, Callable

from aima_common import ids, object_keys
from aima_common.contracts.media import Confidentiality, ObjectReference, Priority, Profile
from aima_common.contracts.messages import MediumUploaded
from aima_common.contracts.telling import tell
from aima_common.errors import TransientError
from aima_common.ids import CaseId, ItemId, MediumId, TenantId
from aima_common.ports import Ports
from aima_common.ports.bus import Record
from aima_common.ports.documents import Change, Document, Expect, Insert
from aima_common.problems import ProblemError, later
from aima_upload import domain
from aima_upload.domain import Content

Keep = Callable[[str], Awaitable[None]]
"""Makes the bytes that arrived the object of this key, durably."""


class Acceptance:
    """Makes media and items. Everything here may happen twice and counts once."""

    def __init__(self, ports: Ports) -> None:
        self._documents = ports.documents
        self._objects = ports.objects
        self._clock = ports.clock

    async def knows(self, tenant: str, content: Content) -> bool:
        """Tell whether this tenant has these bytes, whole."""
        medium = await self._documents.load("media", ids.medium_id(TenantId(tenant), content.sha256))
        if medium is None or medium.state != "stored" or medium.body["size_bytes"] != content.size_bytes:
            return False
        return await self._is_there(_original_of(medium))

    async def accept(
        self, session: Document, content: Content, keep: Keep | None = None, *, key: str | None = None
    ) -> dict[str, str | int]:
        """Make the upload an item; everything is durable on return.

        `keep` makes the bytes the object of a key; it is not called where they are known to be in place. `key` names
        where they lie already; what nobody comes to refer to, as the medium has its bytes elsewhere, is swept.
        Raises `ProblemError` (422) when the session became an item with other bytes before, and (409) while the same
        medium is being erased.
        """
        tenant = TenantId(session.tenant)
        medium = ids.medium_id(tenant, content.sha256)
        await self._refuse_while_erasing(medium)
        place = key or object_keys.original(tenant, content.sha256)
        elsewhere = await self._kept_elsewhere(medium, place)
        if elsewhere is None:
            if keep is not None:
                await keep(place)
            offered = ObjectReference(key=place, sha256=content.sha256, size_bytes=content.size_bytes)
            original = await self._keep_medium(tenant, medium, offered)
        else:
            original = elsewhere
        item = await self._keep_item(session, medium, content, original)
        await self._withdraw_if_erased(item, medium)
        return {"item": item, "medium": medium, "sha256": content.sha256, "size_bytes": content.size_bytes}

    async def _kept_elsewhere(self, medium: MediumId, place: str) -> ObjectReference | None:
        """Tell where a medium's bytes lie, whole, if that is not the place that is meant for them now."""
        known = await self._documents.load("media", medium)
        if known is None or known.state != "stored":
            return None
        original = _original_of(known)
        return original if original.key != place and await self._is_there(original) else None

    async def _is_there(self, original: ObjectReference) -> bool:
        info = await self._objects.info(original.key)
        return info is not None and info.size_bytes == original.size_bytes

    async def _refuse_while_erasing(self, medium: MediumId) -> None:
        known = await self._documents.load("media", medium)
        if known is None or known.state != "erased":
            return
        if await self._documents.count("erasures", {"medium": medium, "state": "requested"}):
            raise _being_erased()

    async def _keep_medium(self, tenant: TenantId, medium: MediumId, offered: ObjectReference) -> ObjectReference:
        """Make the medium, or find it; return where its bytes lie."""
        body = {
            "sha256": offered.sha256,
            "size_bytes": offered.size_bytes,
            "object": offered.model_dump(mode="json"),
            "stored_at": self._clock.now().isoformat(),
        }
        if await self._documents.insert("media", Insert(medium, tenant, "stored", body)):
            return offered
        known = await self._documents.load("media", medium)
        if known is None:
            raise TransientError("the medium vanished while it was made")
        original = _original_of(known)
        if known.state == "stored" and (original == offered or await self._is_there(original)):
            return original
        # It was erased, or its bytes were lost: these take their place.
        again = Change("stored", {"stored_at": body["stored_at"], "object": body["object"]})
        expect = Expect(state=known.state, version=known.version)
        if not (await self._documents.transition("media", medium, expect=expect, change=again)).applied:
            raise TransientError("the medium changed while it was made")
        return offered

    async def _keep_item(
        self, session: Document, medium: MediumId, content: Content, original: ObjectReference
    ) -> ItemId:
        item = ids.item_id(CaseId(session.body["case"]), int(session.body["ordinal"]))
        body = {
            "case": session.body["case"],
            "medium": medium,
            "ordinal": session.body["ordinal"],
            "file_name": session.body["file_name"],
            "size_bytes": content.size_bytes,
            "sha256": content.sha256,
            "upload": session.id,
            "origin": session.body.get("origin"),
            "accepted_at": self._clock.now().isoformat(),
        }
        told = await self._uploaded(session, item, medium, original)
        if not await self._documents.insert("items", Insert(item, session.tenant, "accepted", body), outbox=[told]):
            before = await self._documents.load("items", item)
            if before is None:
                raise TransientError("the item vanished while it was made")
            if before.body["medium"] != medium:
                raise domain.key_reused()
        return item

    async def _uploaded(self, session: Document, item: ItemId, medium: MediumId, original: ObjectReference) -> Record:
        case = await self._documents.load("cases", session.body["case"])
        options = case.body["options"] if case else domain.CaseOptions().body()
        message = MediumUploaded(
            case=session.body["case"],
            item=item,
            medium=medium,
            original=original,
            priority=Priority(options["priority"]),
            deadline=options["deadline"],
            confidentiality=Confidentiality(options["confidentiality"]),
            profile=Profile(options["profile"]),
        )
        trace = (session.body.get("origin") or {}).get("traceparent")
        now = self._clock.now()
        return tell(message, tenant=session.tenant, key=medium, cause=item, time=now, traceparent=trace)

    async def _withdraw_if_erased(self, item: ItemId, medium: MediumId) -> None:
        # An erasure that began meanwhile either saw this item or is seen here: nothing slips through.
        known = await self._documents.load("media", medium)
        if known is not None and known.state == "erased":
            await self._documents.transition("items", item, expect=Expect("accepted"), change=Change("erased"))
            raise _being_erased()


def _original_of(medium: Document) -> ObjectReference:
    return ObjectReference.model_validate(medium.body["object"])


def _being_erased() -> ProblemError:
    return later(409, "being_erased", "the same content is being erased just now")
