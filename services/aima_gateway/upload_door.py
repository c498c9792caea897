"""What stands before an upload: the backlog, and the tenant's limits. Nothing of a file's bytes is read here."""

import base64
import binascii
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from aima_common.contracts.codec import loads
from aima_common.contracts.media import Priority
from aima_common.errors import MalformedMessageError
from aima_common.ports.documents import Documents
from aima_common.problems import ProblemError, refuse
from aima_gateway.answers import actor
from aima_gateway.backlog_gate import BacklogGate
from aima_gateway.tenant_door import TenantDoor
from aima_gateway.tenant_limits import Amount
from aima_gateway.upload_room import Place


@dataclass(frozen=True)
class File:
    """What is said of a file before its bytes come. What upload will refuse may be missing or nonsense here."""

    case: str | None
    size_bytes: int | None
    accepted: bool = False
    """Whether it is an item already, and counts."""


class UploadDoor:
    """Lets uploads in: new ones while AIMA keeps up, all of them while their tenant is within its limits."""

    def __init__(self, documents: Documents, gate: BacklogGate, tenants: TenantDoor) -> None:
        self._documents = documents
        self._gate = gate
        self._tenants = tenants

    def new_file(self, request: web.Request) -> File:
        """Read what a file is that comes whole, or begins to come in parts (tus)."""
        length = request.headers.get("Upload-Length", request.headers.get("Content-Length"))
        return File(_case_named(request), _number(length))

    def declared(self, request: web.Request, body: bytes) -> File:
        """Read what a file is that is declared in a body of JSON."""
        try:
            asked: Any = loads(body)
        except MalformedMessageError:
            asked = None
        if not isinstance(asked, dict):
            return File(None, 0)
        case, size = asked.get("case"), asked.get("size_bytes")
        return File(case if isinstance(case, str) else None, size if isinstance(size, int) and size >= 0 else 0)

    async def begun(self, request: web.Request) -> File:
        """Look up what a file is whose upload has begun."""
        session = await self._documents.load("uploads", request.match_info["upload"])
        if session is None or session.tenant != actor(request).tenant:
            return File(None, 0)
        declared = int(session.body["declared_size_bytes"] or 0)
        return File(str(session.body["case"]), declared, accepted=session.state == "complete")

    async def admit_new(self, request: web.Request, file: File) -> None:
        """Let a new file in; raise `ProblemError` (503) while earlier ones have waited for too long."""

        async def priority() -> Priority:
            return await self._priority(actor(request).tenant, file.case)

        await self._gate.check(priority)

    @contextlib.asynccontextmanager
    async def place(self, request: web.Request, file: File) -> AsyncIterator[Place]:
        """Hold a place among the tenant's uploads; raise `ProblemError` (429) when there is none.

        Raises `TransientError` while the store that counts is away.
        """
        tenant = actor(request).tenant
        limits = await self._tenants.limits(tenant)
        if file.size_bytes is None and limits.bytes_per_day is not None:
            detail = "this tenant's bytes are counted, and the upload does not say how many it has"
            raise refuse(411, "no_length", detail, "Send Content-Length.")
        async with contextlib.AsyncExitStack() as stack:
            try:
                one = Amount(1, 1, file.size_bytes or 0)
                place = await stack.enter_async_context(self._tenants.place(tenant, limits, one))
            except ProblemError as error:
                if error.problem.code != "quota" or not await self._was_accepted(request, file):
                    raise
                # It counts already: whoever repeats a request gets the answer that it got before.
                place = Place()
            yield place

    async def _was_accepted(self, request: web.Request, file: File) -> bool:
        key = request.headers.get("Idempotency-Key")
        if file.accepted or key is None or file.case is None:
            return file.accepted
        where = {"tenant": actor(request).tenant, "idempotency_key": key, "case": file.case, "state": "complete"}
        return bool(await self._documents.find("uploads", where, limit=1))

    async def _priority(self, tenant: str, case: str | None) -> Priority:
        found = await self._documents.load("cases", case) if case else None
        if found is None or found.tenant != tenant:
            return Priority.NORMAL
        return Priority(found.body["options"]["priority"])


def _case_named(request: web.Request) -> str | None:
    """Tell which case a new upload names, in its query or in tus' metadata."""
    if "case" in request.query:
        return request.query["case"]
    for pair in request.headers.get("Upload-Metadata", "").split(","):
        name, _, value = pair.strip().partition(" ")
        if name == "case":
            with contextlib.suppress(binascii.Error, UnicodeDecodeError):
                return base64.b64decode(value, validate=True).decode()
    return None


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) <= 18 else None
