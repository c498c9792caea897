"""Upload sessions: what was declared, how much has arrived, and whose turn it is to write."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from typing import Any

from aima_common.errors import StaleLeaseError, TransientError
from aima_common.ids import Sha256, derive
from aima_common.ports import Ports
from aima_common.ports.documents import Change, Document, Expect, Insert, Lease
from aima_common.problems import later, refuse
from aima_upload import domain
from aima_upload.domain import Declared

LEASE_SECONDS = 15.0
"""How long a session stays closed to others after the process that wrote it died."""

RENEWALS = 3
"""Renewals within one lease: one may be lost."""


class Sessions:
    """The collection `uploads`. One writer at a time, by lease with epoch."""

    def __init__(self, ports: Ports) -> None:
        self._documents = ports.documents
        self._clock = ports.clock

    async def begin(self, tenant: str, declared: Declared) -> Document:
        """Make a session, or find the one that was made with the same Idempotency-Key.

        The place of the item in its case is taken here, once: whoever repeats the request gets the
        same item. Raises `ProblemError` when the case is not there or the key was used otherwise.
        """
        session_id = _session_id(tenant, declared)
        found = await self._documents.load("uploads", session_id)
        if found is None:
            await self._insert(tenant, session_id, declared)
            found = await self._documents.load("uploads", session_id)
        if found is None:
            raise TransientError("the upload session vanished while it was made")
        domain.check_repeat(found.body, declared)
        return found

    async def load(self, tenant: str, session_id: str) -> Document:
        """Read a session of this tenant; raise `ProblemError` (404) when there is none."""
        found = await self._documents.load("uploads", session_id)
        if found is None or found.tenant != tenant:
            raise refuse(404, "not_found", "there is no such upload", "Begin a new one.")
        return found

    @contextlib.asynccontextmanager
    async def turn(self, session: Document) -> AsyncIterator[Document]:
        """Hold a session alone while writing to it; raise `ProblemError` (409) when somebody else does."""
        mine = await self._take(session)
        renewal = asyncio.create_task(self._renew(mine))
        try:
            yield mine
        finally:
            renewal.cancel()
            # The store may be away or full: then the lease runs out by itself.
            with contextlib.suppress(TransientError):
                await asyncio.shield(self._release(mine))

    async def complete(self, session: Document, outcome: dict[str, Any]) -> Document:
        """Write down what a session led to; raise `StaleLeaseError` when it is somebody else's by now."""
        expect = Expect(state="open", epoch=session.epoch)
        done = await self._documents.transition(
            "uploads", session.id, expect=expect, change=Change("complete", outcome), release=True
        )
        if not done.applied or done.document is None:
            raise StaleLeaseError(f"upload {session.id} was taken over")
        return done.document

    async def note_direct(self, mine: Document, write: Mapping[str, Any] | None) -> Document:
        """Write down the direct write of a session, or that it has none any more."""
        expect = Expect(state="open", epoch=mine.epoch)
        change = Change(set={"direct": dict(write) if write else None})
        done = await self._documents.transition("uploads", mine.id, expect=expect, change=change)
        if not done.applied or done.document is None:
            raise StaleLeaseError(f"upload {mine.id} was taken over")
        return done.document

    async def abort(self, session: Document) -> bool:
        """Give a session up; False when it is complete or being written."""
        expect = Expect(state="open", version=session.version)
        return (
            await self._documents.transition("uploads", session.id, expect=expect, change=Change("aborted"))
        ).applied

    async def forgotten(self, older_than_seconds: float) -> list[Document]:
        """List open sessions that nobody has written to for long."""
        now = await self._documents.now()
        return [
            session
            for session in await self._documents.find("uploads", {"state": "open"}, limit=10_000)
            if (session.lease_until or now) <= now and now.timestamp() - session.body["touched_at"] > older_than_seconds
        ]

    async def _insert(self, tenant: str, session_id: str, declared: Declared) -> None:
        ordinal = await self._next_ordinal(tenant, declared.case)
        body = {
            "case": declared.case,
            "idempotency_key": declared.idempotency_key,
            "file_name": declared.file_name,
            "origin": asdict(declared.origin) if declared.origin else None,
            "declared_sha256": declared.sha256,
            "declared_size_bytes": declared.size_bytes,
            "ordinal": ordinal,
            "touched_at": self._clock.now().timestamp(),
            "direct": None,
            "sha256": None,
            "size_bytes": None,
            "item": None,
            "medium": None,
        }
        # Somebody who repeats the request at the same moment may be first; then one ordinal stays unused.
        await self._documents.insert("uploads", Insert(session_id, tenant, "open", body))

    async def _next_ordinal(self, tenant: str, case: str) -> int:
        found = await self._documents.load("cases", case)
        if found is None or found.tenant != tenant:
            raise refuse(404, "not_found", "there is no such case", "Create the case first, with POST /v1/cases.")
        done = await self._documents.transition(
            "cases", case, expect=Expect("open"), change=Change(add={"arrivals": 1})
        )
        if not done.applied or done.document is None:
            raise refuse(409, "case_cancelled", "this case was cancelled", "Create a new case for new files.")
        return int(done.document.body["arrivals"])

    async def _take(self, session: Document) -> Document:
        lease = Lease(uuid.uuid4().hex, LEASE_SECONDS)
        touch = Change(set={"touched_at": self._clock.now().timestamp()})
        expect = Expect(state="open", version=session.version, lease_expired=session.holder is not None)
        done = await self._documents.transition("uploads", session.id, expect=expect, change=touch, lease=lease)
        if done.applied and done.document is not None:
            return done.document
        raise later(409, "in_progress", "this upload is being written by another request", round(LEASE_SECONDS / 3))

    async def _renew(self, mine: Document) -> None:
        # Losing the lease is found at the end, by its epoch and by the size of what was written.
        while True:
            await self._clock.sleep(LEASE_SECONDS / RENEWALS)
            lease = Lease(mine.holder or "", LEASE_SECONDS, renew=True)
            expect = Expect(state="open", epoch=mine.epoch)
            with contextlib.suppress(TransientError):
                await self._documents.transition("uploads", mine.id, expect=expect, lease=lease)

    async def _release(self, mine: Document) -> None:
        touch = Change(set={"touched_at": self._clock.now().timestamp()})
        expect = Expect(state="open", epoch=mine.epoch)
        await self._documents.transition("uploads", mine.id, expect=expect, change=touch, release=True)


def declared_in(session: Document) -> Declared:
    """Read back what was declared when a session began."""
    body = session.body
    digest = body["declared_sha256"]
    return Declared(
        body["case"],
        body["file_name"],
        body["declared_size_bytes"],
        Sha256(digest) if digest else None,
        body["idempotency_key"],
    )


def _session_id(tenant: str, declared: Declared) -> str:
    if declared.idempotency_key is None:
        return str(uuid.uuid4())
    return derive("upload", tenant, declared.case, declared.idempotency_key)
