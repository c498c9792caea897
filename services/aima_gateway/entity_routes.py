"""Entities: what returns across media, and where."""

from typing import Any

from aiohttp import web

from aima_common.ports.documents import Document, Range
from aima_gateway.answers import Handlers, actor, choice, json_answer, missing, whole_number
from aima_gateway.reading import MANY, Reading

KINDS = ("thing", "phrase")

MOST_APPEARANCES = 500
"""Media shown of one entity."""


class EntityRoutes:
    """Reads the entities that fusion keeps."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def handlers(self) -> Handlers:
        """Map operations to what answers them."""
        return {"list_entities": self.list_entities, "show_entity": self.show}

    async def list_entities(self, request: web.Request) -> web.StreamResponse:
        tenant, limit = actor(request).tenant, whole_number(request, "limit", 50, 1, 500)
        after = whole_number(request, "after", 0, 0, 1 << 40)
        where: dict[str, Any] = {"state": "current", "ordinal": Range(at_least=after + 1)}
        if "kind" in request.query:
            where["kind"] = choice(request, "kind", KINDS, "thing")
        words = request.query.get("q", "").casefold().split()
        # Stores compare whole names; which names hold these words is looked up here.
        found = await self._reading.some("entities", tenant, where, ["ordinal"], MANY if words else limit)
        chosen = [entity for entity in found if all(word in entity.body["name"] for word in words)][:limit]
        shown = [await self._in_short(entity) for entity in chosen]
        return json_answer({"entities": shown, "next": str(shown[-1]["ordinal"]) if len(shown) == limit else None})

    async def show(self, request: web.Request) -> web.StreamResponse:
        entity = await self._reading.one("entities", actor(request).tenant, request.match_info["entity"], "entity")
        if entity.state != "current":
            raise missing("entity")
        where = {"entity": entity.id}
        seen = await self._reading.some("appearances", entity.tenant, where, ["medium"], MOST_APPEARANCES)
        named = await self._reading.named_items(entity.tenant, {str(one.body["medium"]) for one in seen})
        appearances = [
            {
                "medium": one.body["medium"],
                "items": named.get(str(one.body["medium"]), []),
                "stretches": one.body["stretches"],
            }
            for one in seen
        ]
        return json_answer({**await self._in_short(entity), "appearances": appearances})

    async def _in_short(self, entity: Document) -> dict[str, Any]:
        media = await self._reading.count("appearances", entity.tenant, {"entity": entity.id})
        return {"id": entity.id, **{name: entity.body[name] for name in ("kind", "name", "ordinal")}, "media": media}
