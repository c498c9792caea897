"""The collection `keys`: who may come in."""

import contextlib
import os
from collections.abc import Callable, Sequence

from aima_common.errors import TransientError
from aima_common.ports import Ports
from aima_common.ports.documents import Change, Document, Expect, Insert
from aima_common.runtime.tenant_topics import tenant_topics
from aima_gateway import keys
from aima_gateway.keys import Actor, Role, Token

RANDOM_BYTES = keys.ID_BYTES + keys.SECRET_BYTES


class KeyStore:
    """Makes, finds and revokes keys. The store holds digests; the keys themselves are with their owners."""

    def __init__(self, ports: Ports, environment: str = "local", entropy: Callable[[int], bytes] = os.urandom) -> None:
        self._bus = ports.bus
        self._documents = ports.documents
        self._clock = ports.clock
        self._environment = environment
        self._entropy = entropy

    async def issue(self, tenant: str, role: Role, name: str) -> tuple[Token, Document]:
        """Make a key; its token is nowhere but in this answer."""
        token = keys.make(self._entropy(RANDOM_BYTES), self._environment)
        body = {"digest": token.digest, "role": role.name, "name": name, "created_at": self._clock.now().isoformat()}
        if not await self._documents.insert("keys", Insert(token.id, tenant, "active", body)):
            return await self.issue(tenant, role, name)
        # So that its producers need not wait; where the bus is away, upload makes them when it is back.
        with contextlib.suppress(TransientError):
            await self._bus.ensure_topics(tenant_topics(tenant))
        return token, Document(token.id, tenant, "active", 0, 1, body)

    async def actor(self, text: str) -> Actor | None:
        """Tell whose key this is; None for an unknown, mistyped or revoked one."""
        token = keys.parse(text)
        if token is None:
            return None
        found = await self._documents.load("keys", token.id)
        if found is None or found.state != "active" or not keys.matches(text, str(found.body["digest"])):
            return None
        return Actor(found.id, found.tenant, Role[found.body["role"]])

    async def of_tenant(self, tenant: str | None) -> Sequence[Document]:
        """List keys; of all tenants when None."""
        return await self._documents.find("keys", {"tenant": tenant} if tenant is not None else {})

    async def load(self, key: str) -> Document | None:
        """Read one key's document."""
        return await self._documents.load("keys", key)

    async def revoke(self, key: str) -> bool:
        """Make a key worthless at once; False when there is no such active key."""
        done = await self._documents.transition("keys", key, expect=Expect(state="active"), change=Change("revoked"))
        return done.applied
