"""Keeps the entities of all tenants: numbered once, appearing wherever they were found, gone with their last medium."""

from collections.abc import Iterable
from dataclasses import asdict

from aima_common import ids
from aima_common.contracts.picture import PictureFinding
from aima_common.errors import TransientError
from aima_common.ports.documents import Change, Document, Documents, Expect, Insert
from aima_fusion.entities import EntityKind, Mention, entity_id, is_entity, mentions

MOST_MENTIONS = 100_000
ATTEMPTS = 20
"""How often an entity is looked at again when others change it at the same time."""


class EntityRegister:
    """The collections `entities`, `appearances` and `ordinals`.

    An appearance is what one medium says of one entity, or of a line that may become one; whether there is
    an entity follows from how many appearances there are, so that media may come and go in any order. Only the
    numbers follow the order of arrival: none is given twice, and some may be skipped.
    """

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    async def note(self, tenant: str, medium: str, findings: Iterable[PictureFinding]) -> None:
        """Let a medium's appearances be exactly those of these findings; saying it again changes nothing."""
        known = {document.id: document for document in await self._of_medium(tenant, medium)}
        for mention in mentions(findings):
            entity = entity_id(tenant, mention.kind, mention.name)
            appearance = ids.derive("appearance", entity, medium)
            await self._keep(appearance, tenant, medium, entity, mention, known.pop(appearance, None))
            await self._settle(tenant, entity, mention.kind, mention.name)
        await self._remove(tenant, known.values())

    async def forget(self, tenant: str, medium: str) -> None:
        """Remove a medium's appearances, and the entities that nothing else mentions."""
        await self._remove(tenant, await self._of_medium(tenant, medium))

    async def _of_medium(self, tenant: str, medium: str) -> list[Document]:
        where = {"tenant": tenant, "medium": medium}
        return list(await self._documents.find("appearances", where, limit=MOST_MENTIONS))

    async def _keep(
        self, identity: str, tenant: str, medium: str, entity: str, mention: Mention, before: Document | None
    ) -> None:
        stretches = [asdict(stretch) for stretch in mention.stretches]
        if before is not None and before.body["stretches"] == stretches:
            return
        body = {
            "entity": entity,
            "medium": medium,
            "kind": mention.kind,
            "name": mention.name,
            "stretches": stretches,
        }
        if not await self._documents.insert("appearances", Insert(identity, tenant, "seen", body)):
            await self._documents.transition("appearances", identity, change=Change(set={"stretches": stretches}))

    async def _remove(self, tenant: str, appearances: Iterable[Document]) -> None:
        for gone in appearances:
            # Before as well: after a crash in between nobody would know that the entity has to go.
            await self._settle(tenant, gone.body["entity"], gone.body["kind"], gone.body["name"], without=gone.id)
            await self._documents.delete("appearances", gone.id)
            await self._settle(tenant, gone.body["entity"], gone.body["kind"], gone.body["name"])

    async def _settle(self, tenant: str, entity: str, kind: EntityKind, name: str, *, without: str = "") -> None:
        """Make, revive or erase an entity, as its appearances have it.

        They are counted again after every change: of two who change them at the same time, the later one to
        look sees both.
        """
        for _ in range(ATTEMPTS):
            known = await self._documents.load("entities", entity)
            wanted = is_entity(kind, await self._media(tenant, entity, without))
            if wanted == (known is not None and known.state == "current"):
                return
            await self._change(tenant, entity, kind, name if wanted else "", known)
        raise TransientError("an entity is being changed by many", code="entity_moves")

    async def _media(self, tenant: str, entity: str, without: str) -> int:
        count = await self._documents.count("appearances", {"tenant": tenant, "entity": entity})
        if without:
            left_out = await self._documents.load("appearances", without)
            count -= int(left_out is not None)
        return count

    async def _change(self, tenant: str, entity: str, kind: EntityKind, name: str, known: Document | None) -> None:
        if known is None:
            body = {"kind": kind, "name": name, "ordinal": await self._next_ordinal(tenant)}
            await self._documents.insert("entities", Insert(entity, tenant, "current", body))
            return
        change = Change("current" if name else "erased", {"name": name})
        await self._documents.transition("entities", entity, expect=Expect(version=known.version), change=change)

    async def _next_ordinal(self, tenant: str) -> int:
        counter = ids.derive("ordinals", tenant, "entities")
        await self._documents.insert("ordinals", Insert(counter, tenant, "open", {"last": 0}))
        drawn = await self._documents.transition("ordinals", counter, change=Change(add={"last": 1}))
        if drawn.document is None:
            raise TransientError("the numbers of entities cannot be drawn")
        return int(drawn.document.body["last"])
