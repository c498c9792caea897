"""Requests that the gateway turns into messages: the work is for those who own what they are about."""

from aima_common.contracts.base import Message
from aima_common.contracts.messages import CancelRequested, CorrectionMade, ErasureRequested
from aima_common.contracts.telling import tell
from aima_common.ids import derive
from aima_common.ports import Ports
from aima_common.ports.documents import Insert

COLLECTION = "counters"


class Requests:
    """Writes a request down together with the message that tells of it."""

    def __init__(self, ports: Ports) -> None:
        self._documents = ports.documents
        self._clock = ports.clock

    async def cancel(self, tenant: str, case: str, medium: str | None, reason: str, request: str) -> None:
        """Ask that the work on a case, or on one medium of it, stops."""
        await self._publish(tenant, case, CancelRequested(case=case, medium=medium, reason=reason[:500]), request)

    async def erase(self, tenant: str, medium: str, actor: str, request: str) -> None:
        """Ask that a medium and everything derived from it goes."""
        await self._publish(tenant, medium, ErasureRequested(medium=medium, requested_by=actor), request)

    async def correct(self, tenant: str, made: CorrectionMade, request: str) -> str:
        """Tell of a correction, once per request; return its id."""
        return await self._publish(tenant, made.medium, made, request)

    async def _publish(self, tenant: str, key: str, message: Message, request: str) -> str:
        now = self._clock.now()
        name = type(message).__name__
        record = tell(message, tenant=tenant, key=key, cause=request, time=now)
        body = {"message": name, "subject": key, "at": now.isoformat()}
        identity = derive("request", name, key, request)
        await self._documents.insert(COLLECTION, Insert(identity, tenant, "open", body), outbox=[record])
        return record.headers["ce_id"]
