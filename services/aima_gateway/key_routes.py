"""Keys: making them, listing them, revoking them."""

from typing import Any

from aiohttp import web

from aima_common.ports.documents import Document
from aima_common.problems import FieldError, refuse
from aima_gateway.answers import Handlers, actor, json_answer, json_object, missing
from aima_gateway.audit import Audit
from aima_gateway.key_store import KeyStore
from aima_gateway.keys import Actor, Role

MAX_NAME_CHARACTERS = 100


class KeyRoutes:
    """A key never makes one that may do more than itself."""

    def __init__(self, keys: KeyStore, audit: Audit) -> None:
        self._keys = keys
        self._audit = audit

    def handlers(self) -> Handlers:
        """Map operations to what answers them."""
        return {"list_keys": self.list_keys, "create_key": self.create, "revoke_key": self.revoke}

    async def list_keys(self, request: web.Request) -> web.StreamResponse:
        who = actor(request)
        found = await self._keys.of_tenant(None if who.role is Role.operator else who.tenant)
        return json_answer({"keys": [_shown(key) for key in found]})

    async def create(self, request: web.Request) -> web.StreamResponse:
        who, asked = actor(request), await json_object(request)
        role, tenant, name = _wanted(asked, who)
        token, made = await self._keys.issue(tenant, role, name)
        await self._audit.note(tenant, "create_key", actor=who.key, subject=made.id, role=role.name)
        return json_answer({**_shown(made), "token": token.text}, 201, {"Cache-Control": "no-store"})

    async def revoke(self, request: web.Request) -> web.StreamResponse:
        who = actor(request)
        found = await self._keys.load(request.match_info["key"])
        if found is None or (found.tenant != who.tenant and who.role is not Role.operator):
            raise missing("key")
        if Role[found.body["role"]] > who.role:
            raise refuse(403, "role", "this key may do more than yours", "Ask somebody with that role.")
        await self._keys.revoke(found.id)
        await self._audit.note(found.tenant, "revoke_key", actor=who.key, subject=found.id)
        return web.Response(status=204)


def _wanted(asked: dict[str, Any], who: Actor) -> tuple[Role, str, str]:
    errors = [FieldError(field, "is not known") for field in asked if field not in {"role", "tenant", "name"}]
    role = Role.__members__.get(str(asked.get("role")))
    if role is None:
        errors.append(FieldError("role", f"is not one of {', '.join(Role.__members__)}"))
    tenant, name = asked.get("tenant", who.tenant), asked.get("name", "")
    if not (
        isinstance(tenant, str) and 0 < len(tenant) <= 64 and tenant.replace("-", "").isalnum() and tenant.isascii()
    ):
        errors.append(FieldError("tenant", "is not 1 to 64 letters, digits and hyphens"))
    if not (isinstance(name, str) and len(name) <= MAX_NAME_CHARACTERS):
        errors.append(FieldError("name", f"is longer than {MAX_NAME_CHARACTERS} characters"))
    if errors or role is None:
        raise refuse(422, "bad_key", "this key cannot be made", "Correct the named fields.", errors)
    if role > who.role or (tenant != who.tenant and who.role is not Role.operator):
        raise refuse(403, "role", "your key may not make this key", "Ask an operator.")
    return role, str(tenant), str(name)


def _shown(key: Document) -> dict[str, Any]:
    body = key.body
    return {
        "id": key.id,
        "tenant": key.tenant,
        "name": body["name"],
        "role": body["role"],
        "state": key.state,
        "created_at": body["created_at"],
    }
