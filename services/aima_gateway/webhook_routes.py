"""Webhooks: subscribing, looking, unsubscribing."""

from typing import Any

from aiohttp import web

from aima_common.egress import Egress
from aima_common.errors import PermanentError
from aima_common.ports.documents import Document
from aima_common.problems import FieldError, refuse
from aima_gateway import webhook_rules as rules
from aima_gateway.answers import Handlers, actor, json_answer, json_object, missing
from aima_gateway.audit import Audit
from aima_gateway.webhooks import Webhooks


class WebhookRoutes:
    """Every tenant has its own."""

    def __init__(self, webhooks: Webhooks, egress: Egress, audit: Audit) -> None:
        self._webhooks = webhooks
        self._egress = egress
        self._audit = audit

    def handlers(self) -> Handlers:
        """Map operations to what answers them."""
        return {
            "list_webhooks": self.list_webhooks,
            "create_webhook": self.create,
            "show_webhook": self.show,
            "enable_webhook": self.enable,
            "delete_webhook": self.delete,
        }

    async def list_webhooks(self, request: web.Request) -> web.StreamResponse:
        found = await self._webhooks.of_tenant(actor(request).tenant)
        return json_answer({"webhooks": [await self._shown(hook) for hook in found]})

    async def create(self, request: web.Request) -> web.StreamResponse:
        who = actor(request)
        url, types, description = rules.wanted(await json_object(request))
        try:
            self._egress.check(url)
        except PermanentError as error:
            faults = [FieldError("url", str(error))]
            raise refuse(422, error.code, "this webhook cannot be made", error.remedy, faults) from error
        made, secret = await self._webhooks.create(who.tenant, url, types, description)
        await self._audit.note(who.tenant, "create_webhook", actor=who.key, subject=made.id)
        headers = {"Cache-Control": "no-store", "Location": f"/v1/webhooks/{made.id}"}
        return json_answer({**await self._shown(made), "secret": secret}, 201, headers)

    async def show(self, request: web.Request) -> web.StreamResponse:
        return json_answer(await self._shown(await self._hook(request)))

    async def enable(self, request: web.Request) -> web.StreamResponse:
        who = actor(request)
        enabled = await self._webhooks.enable(await self._hook(request))
        if enabled is None:
            raise missing("webhook")
        await self._audit.note(who.tenant, "enable_webhook", actor=who.key, subject=enabled.id)
        return json_answer(await self._shown(enabled))

    async def delete(self, request: web.Request) -> web.StreamResponse:
        who, hook = actor(request), await self._hook(request)
        await self._webhooks.remove(hook)
        await self._audit.note(who.tenant, "delete_webhook", actor=who.key, subject=hook.id)
        return web.Response(status=204)

    async def _hook(self, request: web.Request) -> Document:
        found = await self._webhooks.load(request.match_info["webhook"])
        if found is None or found.tenant != actor(request).tenant:
            raise missing("webhook")
        return found

    async def _shown(self, hook: Document) -> dict[str, Any]:
        return rules.view(hook, await self._webhooks.waiting(hook))
