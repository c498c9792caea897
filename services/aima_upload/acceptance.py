"""The moment an upload becomes an item: bytes durable, medium known, message on its way."""

from aima_common import ids
from aima_common.contracts.media import Confidentiality, ObjectReference, Priority, Profile
from aima_common.contracts.messages import MediumUploaded
from aima_common.contracts.telling import tell
from aima_common.errors import TransientError
from aima_common.ids import CaseId, ItemId, MediumId, Sha256, TenantId
from aima_common.ports import Ports
from aima_common.ports.bus import Record
from aima_common.ports.documents import Change, Document, Expect, Insert
from aima_common.ports.objects import ResumableWriter
from aima_common.problems import ProblemError, later
from aima_upload import domain
from aima_upload.domain import Content


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
        info = await self._objects.info(domain.original_key(tenant, content.sha256))
        return info is not None and info.size_bytes == content.size_bytes

    async def accept(self, session: Document, content: Content, writer: ResumableWriter | None) -> dict[str, str | int]:
        """Make the upload an item; everything is durable on return.

        Without a writer the bytes are in place already. Raises `ProblemError` (422) when the session
        became an item with other bytes before, and (409) while the same medium is being erased.
        """
        tenant = TenantId(session.tenant)
        medium = ids.medium_id(tenant, content.sha256)
        await self._refuse_while_erasing(medium)
        if writer is not None:
            await writer.finish(domain.original_key(tenant, content.sha256))
        await self._keep_medium(tenant, medium, content)
        item = await self._keep_item(session, medium, content)
        await self._withdraw_if_erased(item, medium)
        return {"item": item, "medium": medium, "sha256": content.sha256, "size_bytes": content.size_bytes}

    async def _refuse_while_erasing(self, medium: MediumId) -> None:
        known = await self._documents.load("media", medium)
        if known is None or known.state != "erased":
            return
        if await self._documents.count("erasures", {"medium": medium, "state": "requested"}):
            raise _being_erased()

    async def _keep_medium(self, tenant: TenantId, medium: MediumId, content: Content) -> None:
        key = domain.original_key(tenant, content.sha256)
        reference = ObjectReference(key=key, sha256=content.sha256, size_bytes=content.size_bytes)
        body = {
            "sha256": content.sha256,
            "size_bytes": content.size_bytes,
            "object": reference.model_dump(mode="json"),
            "stored_at": self._clock.now().isoformat(),
        }
        if not await self._documents.insert("media", Insert(medium, tenant, "stored", body)):
            again = Change("stored", {"stored_at": body["stored_at"]})
            await self._documents.transition("media", medium, expect=Expect(state="erased"), change=again)

    async def _keep_item(self, session: Document, medium: MediumId, content: Content) -> ItemId:
        item = ids.item_id(CaseId(session.body["case"]), int(session.body["ordinal"]))
        body = {
            "case": session.body["case"],
            "medium": medium,
            "ordinal": session.body["ordinal"],
            "file_name": session.body["file_name"],
            "size_bytes": content.size_bytes,
            "sha256": content.sha256,
            "upload": session.id,
            "accepted_at": self._clock.now().isoformat(),
        }
        told = await self._uploaded(session, item, medium, content)
        if not await self._documents.insert("items", Insert(item, session.tenant, "accepted", body), outbox=[told]):
            before = await self._documents.load("items", item)
            if before is None:
                raise TransientError("the item vanished while it was made")
            if before.body["medium"] != medium:
                raise domain.key_reused()
        return item

    async def _uploaded(self, session: Document, item: ItemId, medium: MediumId, content: Content) -> Record:
        case = await self._documents.load("cases", session.body["case"])
        options = case.body["options"] if case else domain.CaseOptions().body()
        key = domain.original_key(session.tenant, content.sha256)
        message = MediumUploaded(
            case=session.body["case"],
            item=item,
            medium=medium,
            original=ObjectReference(key=key, sha256=Sha256(content.sha256), size_bytes=content.size_bytes),
            priority=Priority(options["priority"]),
            deadline=options["deadline"],
            confidentiality=Confidentiality(options["confidentiality"]),
            profile=Profile(options["profile"]),
        )
        return tell(message, tenant=session.tenant, key=medium, cause=item, time=self._clock.now())

    async def _withdraw_if_erased(self, item: ItemId, medium: MediumId) -> None:
        # An erasure that began meanwhile either saw this item or is seen here: nothing slips through.
        known = await self._documents.load("media", medium)
        if known is not None and known.state == "erased":
            await self._documents.transition("items", item, expect=Expect("accepted"), change=Change("erased"))
            raise _being_erased()


def _being_erased() -> ProblemError:
    return later(409, "being_erased", "the same content is being erased just now")
