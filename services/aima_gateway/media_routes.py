"""Media: what they are, what was found in them so far, small pictures of them, and erasing them."""

from typing import Any

from aiohttp import web

from aima_common.collections import RUN_TERMINAL
from aima_common.ports.documents import Document
from aima_common.ports.objects import Objects
from aima_common.problems import refuse
from aima_gateway import views
from aima_gateway.answers import REQUEST_ID, Handlers, actor, json_answer, whole_number
from aima_gateway.audit import Audit
from aima_gateway.findings import Findings
from aima_gateway.reading import Reading
from aima_gateway.requests import Requests


class MediaRoutes:
    """Serves derivatives that AIMA made itself; originals stay in their box."""

    def __init__(
        self, reading: Reading, findings: Findings, objects: Objects, requests: Requests, audit: Audit
    ) -> None:
        self._reading = reading
        self._findings = findings
        self._objects = objects
        self._requests = requests
        self._audit = audit

    def handlers(self) -> Handlers:
        """Map operations to what answers them."""
        return {
            "list_media": self.list_media,
            "show_medium": self.show,
            "list_findings": self.findings,
            "show_thumbnail": self.thumbnail,
            "show_preview": self.preview,
            "erase_medium": self.erase,
        }

    async def list_media(self, request: web.Request) -> web.StreamResponse:
        tenant, limit = actor(request).tenant, whole_number(request, "limit", 50, 1, 500)
        if "case" in request.query:
            case = await self._reading.one("cases", tenant, request.query["case"], "case")
            wanted = sorted({str(item.body["medium"]) for item in await self._reading.items(tenant, case.id)})
            where: dict[str, Any] = {
                "id": [medium for medium in wanted if medium > request.query.get("after", "")][:limit]
            }
            found = await self._reading.some("media", tenant, where, limit=limit)
        else:
            found = await self._reading.behind("media", tenant, request.query.get("after", ""), limit)
        shown = [
            {
                "id": medium.id,
                "state": medium.state,
                "sha256": medium.body["sha256"],
                "size_bytes": medium.body["size_bytes"],
            }
            for medium in found
        ]
        return json_answer({"media": shown, "next": shown[-1]["id"] if len(shown) == limit else None})

    async def show(self, request: web.Request) -> web.StreamResponse:
        medium = await self._medium(request)
        items = await self._reading.items_of_media(medium.tenant, [medium.id])
        runs = await self._reading.runs(medium.tenant, [medium.id])
        preparations = await self._reading.preparations(medium.tenant, [medium.id])
        return json_answer(views.medium_view(medium, items, runs.get(medium.id), preparations.get(medium.id)))

    async def findings(self, request: web.Request) -> web.StreamResponse:
        medium = await self._medium(request)
        run = (await self._reading.runs(medium.tenant, [medium.id])).get(medium.id)
        found = await self._findings.shown(run) if run is not None and medium.state == "stored" else []
        complete = run is not None and run.state in RUN_TERMINAL
        return json_answer({"medium": medium.id, "complete": complete, "findings": found})

    async def thumbnail(self, request: web.Request) -> web.StreamResponse:
        return await self._derivative(request, "thumbnail")

    async def preview(self, request: web.Request) -> web.StreamResponse:
        return await self._derivative(request, "poster")

    async def erase(self, request: web.Request) -> web.StreamResponse:
        medium, who = await self._medium(request), actor(request)
        await self._requests.erase(who.tenant, medium.id, who.key, request[REQUEST_ID])
        await self._audit.note(who.tenant, "erase_medium", actor=who.key, subject=medium.id)
        return json_answer({"medium": medium.id, "requested": True}, 202)

    async def _medium(self, request: web.Request) -> Document:
        return await self._reading.one("media", actor(request).tenant, request.match_info["medium"], "medium")

    async def _derivative(self, request: web.Request, name: str) -> web.StreamResponse:
        medium = await self._medium(request)
        preparation = (await self._reading.preparations(medium.tenant, [medium.id])).get(medium.id)
        reference = preparation.body.get(name) if preparation and preparation.state != "erased" else None
        if not reference:
            raise refuse(404, "no_picture", "there is no picture of this medium (yet)", "Sound has none; else wait.")
        tag = f'"{reference["sha256"]}"'
        headers = {"ETag": tag, "Cache-Control": "private, max-age=86400, immutable"}
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers=headers)
        data = await self._objects.get(reference["key"])
        return web.Response(body=data, content_type="image/jpeg", headers=headers)
