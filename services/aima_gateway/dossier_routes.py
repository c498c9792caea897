"""Dossiers: as data, as a page, and as a link to that page."""

import datetime
from typing import Any

from aiohttp import web

from aima_common.ports.clock import Clock
from aima_common.ports.objects import Objects
from aima_common.problems import refuse
from aima_gateway import tickets, views
from aima_gateway.answers import ACTOR, Handlers, actor, json_answer, whole_number
from aima_gateway.audit import Audit
from aima_gateway.guard import Guard
from aima_gateway.keys import Role
from aima_gateway.reading import Reading
from aima_gateway.settings import Settings

PAGE_POLICY = (
    "sandbox allow-scripts allow-popups; default-src 'none'; img-src data:; media-src data:; font-src data:; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline'; frame-ancestors 'none'"
)
"""A dossier is a page of its own: without an origin it cannot reach the key of the page that opened it."""


class DossierRoutes:
    """Serves the current version; who reads it is written down."""

    def __init__(
        self, reading: Reading, objects: Objects, guard: Guard, audit: Audit, clock: Clock, settings: Settings
    ) -> None:
        self._reading = reading
        self._objects = objects
        self._guard = guard
        self._audit = audit
        self._clock = clock
        self._secret = settings.secret

    def handlers(self) -> Handlers:
        """Map operations to what answers them."""
        return {
            "read_dossier": self.read,
            "read_dossier_page": self.read_page,
            "link_dossier": self.link,
            "list_dossiers": self.list_dossiers,
        }

    async def read(self, request: web.Request) -> web.StreamResponse:
        who = actor(request)
        return await self._serve(request, who.tenant, who.key, "json", {"Content-Type": "application/json"})

    async def read_page(self, request: web.Request) -> web.StreamResponse:
        if "ticket" in request.query:
            case, now = request.match_info["case"], self._clock.now()
            tenant = tickets.check(self._secret, request.query["ticket"], f"dossier/{case}", now)
            if tenant is None:
                raise refuse(401, "bad_ticket", "this link is wrong or older than five minutes", "Open it anew.")
            who = "ticket"
        else:
            allowed = await self._guard.admit(request, Role.reader)
            request[ACTOR] = allowed
            tenant, who = allowed.tenant, allowed.key
        headers = {"Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": PAGE_POLICY}
        return await self._serve(request, tenant, who, "html", headers)

    async def link(self, request: web.Request) -> web.StreamResponse:
        who, case = actor(request), request.match_info["case"]
        await self._current(who.tenant, case)
        expires = self._clock.now() + datetime.timedelta(seconds=tickets.SECONDS)
        ticket = tickets.make(self._secret, who.tenant, f"dossier/{case}", expires)
        await self._audit.note(who.tenant, "link_dossier", actor=who.key, subject=case)
        url = f"/v1/cases/{case}/dossier.html?ticket={ticket}"
        return json_answer({"url": url, "expires_at": expires.isoformat()}, 201, {"Cache-Control": "no-store"})

    async def list_dossiers(self, request: web.Request) -> web.StreamResponse:
        tenant, limit = actor(request).tenant, whole_number(request, "limit", 50, 1, 500)
        shown = []
        for dossier in await self._reading.some("dossiers", tenant, {"state": "current"}, limit=limit):
            case = await self._reading.one("cases", tenant, str(dossier.body["case"]), "case")
            shown.append({"case": case.id, "name": case.body["name"], **(views.dossier_view(dossier) or {})})
        return json_answer({"dossiers": shown})

    async def _serve(
        self, request: web.Request, tenant: str, who: str, kind: str, headers: dict[str, str]
    ) -> web.StreamResponse:
        case = request.match_info["case"]
        current = await self._current(tenant, case)
        await self._audit.note(tenant, "read_dossier", actor=who, subject=case, version=current["version"], form=kind)
        tag = f'"{current[kind]["sha256"]}"'
        headers = {
            **headers,
            "ETag": tag,
            "Cache-Control": "private, no-cache",
            "Aima-Version": str(current["version"]),
        }
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers=headers)
        response = web.StreamResponse(headers=headers)
        response.content_length = current[kind]["size_bytes"]
        chunks = self._objects.open(current[kind]["key"])
        # The first chunk is fetched before the answer begins: what is missing is then a clear 404.
        chunk = await anext(chunks, b"")
        await response.prepare(request)
        while chunk:
            await response.write(chunk)
            chunk = await anext(chunks, b"")
        await response.write_eof()
        return response

    async def _current(self, tenant: str, case: str) -> dict[str, Any]:
        found = await self._reading.one("cases", tenant, case, "case")
        dossier = await self._reading.dossier(tenant, found.id)
        current = dossier.body.get("current") if dossier is not None and dossier.state == "current" else None
        if not current:
            raise refuse(
                404, "no_dossier", "nothing of this case has come to an end yet", "Follow its events, then ask again."
            )
        return dict(current)
