"""The collections `webhooks` and `deliveries`: who is to be told by HTTP, and what waits to be."""

import datetime
import os
import uuid
from collections.abc import Callable, Sequence

from aima_common.contracts.codec import dumps
from aima_common.contracts.outside import Notice
from aima_common.ids import derive
from aima_common.ports import Ports
from aima_common.ports.documents import Change, Document, Expect, Insert, Range
from aima_common.problems import refuse
from aima_gateway import webhook_rules as rules

WEBHOOKS = "webhooks"
DELIVERIES = "deliveries"

REMEMBERED_SECONDS = 1.0
"""How late a webhook that was made at another gateway gets its first delivery."""

KEPT_SECONDS = 7 * rules.DAY
"""How long deliveries are kept after their end."""


class Webhooks:
    """Subscriptions of tenants, and the deliveries that are owed to them."""

    def __init__(self, ports: Ports, entropy: Callable[[int], bytes] = os.urandom) -> None:
        self._documents = ports.documents
        self._clock = ports.clock
        self._entropy = entropy
        self._active: dict[str, tuple[float, Sequence[Document]]] = {}
        self._listener: Callable[[], None] = lambda: None

    def on_delivery(self, listener: Callable[[], None]) -> None:
        """Call `listener` when something new is owed."""
        self._listener = listener

    async def create(self, tenant: str, url: str, types: Sequence[str], description: str) -> tuple[Document, str]:
        """Subscribe; the secret is in this answer and, for signing, in the store."""
        if await self._documents.count(WEBHOOKS, {"tenant": tenant}) >= rules.MAX_PER_TENANT:
            detail = f"a tenant may have {rules.MAX_PER_TENANT} webhooks"
            raise refuse(409, "too_many_webhooks", detail, "Delete one that nobody needs.")
        secret = rules.make_secret(self._entropy(rules.SECRET_BYTES))
        body = {
            "url": url,
            "types": list(types),
            "description": description,
            "secret": secret,
            "created_at": self._clock.now().isoformat(),
            "failures": 0,
            "failing_since": None,
            "retry_at": None,
            "last_error": None,
            "delivered_at": None,
        }
        identity = str(uuid.uuid4())
        await self._documents.insert(WEBHOOKS, Insert(identity, tenant, "active", body))
        self._active.pop(tenant, None)
        return Document(identity, tenant, "active", 0, 1, body), secret

    async def of_tenant(self, tenant: str) -> Sequence[Document]:
        """List a tenant's webhooks, the oldest first."""
        found = await self._documents.find(WEBHOOKS, {"tenant": tenant}, limit=1000)
        return sorted(found, key=lambda hook: (hook.body["created_at"], hook.id))

    async def load(self, identity: str) -> Document | None:
        """Read a webhook."""
        return await self._documents.load(WEBHOOKS, identity)

    async def remove(self, hook: Document) -> None:
        """Unsubscribe; what is owed is not delivered any more."""
        await self._documents.delete(WEBHOOKS, hook.id)
        self._active.pop(hook.tenant, None)

    async def enable(self, hook: Document) -> Document | None:
        """Deliver again to a webhook that was disabled; what was given up meanwhile stays so."""
        fresh = Change("active", {"failures": 0, "failing_since": None, "retry_at": None})
        done = await self._documents.transition(WEBHOOKS, hook.id, expect=Expect(state="disabled"), change=fresh)
        self._active.pop(hook.tenant, None)
        return done.document

    async def waiting(self, hook: Document) -> int:
        """Count what is owed to a webhook."""
        return await self._documents.count(DELIVERIES, {"webhook": hook.id, "state": "waiting"})

    async def active(self, tenant: str) -> Sequence[Document]:
        """List the webhooks of a tenant that are delivered to, as they were a moment ago."""
        now = self._clock.monotonic()
        read_at, found = self._active.get(tenant, (-REMEMBERED_SECONDS, ()))
        if now - read_at >= REMEMBERED_SECONDS:
            found = await self._documents.find(WEBHOOKS, {"tenant": tenant, "state": "active"})
            self._active[tenant] = (now, found)
        return found

    async def enqueue(self, tenant: str, subject: str, notice: Notice) -> None:
        """Owe a notice to every webhook that wants its type, once."""
        now = self._clock.now().isoformat()
        content = {"type": str(notice.type), "timestamp": notice.time, "tenant": tenant, "subject": subject}
        payload = dumps({**content, "data": notice.model_dump(mode="json")}).decode()
        for hook in await self.active(tenant):
            if str(notice.type) not in hook.body["types"]:
                continue
            body = {"webhook": hook.id, "payload": payload, "attempts": 0, "due_at": now, "begun_at": now}
            identity = derive("delivery", hook.id, subject, notice.sequence)
            fresh = Insert(identity, tenant, "waiting", {**body, "ended_at": None, "last_error": None})
            if await self._documents.insert(DELIVERIES, fresh):
                self._listener()

    async def sweep(self) -> None:
        """Forget deliveries that ended long ago."""
        before = (self._clock.now() - datetime.timedelta(seconds=KEPT_SECONDS)).isoformat()
        where = {"state": ["delivered", "given_up"], "ended_at": Range(below=before)}
        for delivery in await self._documents.find(DELIVERIES, where, limit=1000):
            await self._documents.delete(DELIVERIES, delivery.id)
