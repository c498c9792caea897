"""Files that clients send straight to the object store: begun, linked, and believed only after they were read."""

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Any

import structlog

from aima_common.errors import ObjectExistsError, PermanentError, TransientError
from aima_common.ids import Sha256
from aima_common.ports import Ports
from aima_common.ports.documents import Document
from aima_common.ports.objects import DirectWrite, DirectWrites
from aima_common.problems import ProblemError, refuse
from aima_upload import domain
from aima_upload.acceptance import Acceptance
from aima_upload.domain import Content, Declared
from aima_upload.sessions import Sessions, declared_in
from aima_upload.settings import Settings

LINK_SECONDS = 900
"""How long a link works: long enough for a part over a slow line, too short to be worth stealing."""

LINKS_AT_ONCE = 100

log = structlog.get_logger()


class DirectUploads:
    """Direct uploads. Each has a key of its own, so that what is not believed yet is in nobody's way."""

    def __init__(self, ports: Ports, settings: Settings, sessions: Sessions, acceptance: Acceptance) -> None:
        self._objects = ports.objects
        self._clock = ports.clock
        self._settings = settings
        self._sessions = sessions
        self._acceptance = acceptance

    async def begin(self, tenant: str, declared: Declared) -> Document:
        """Begin an upload, or find it begun; it is complete at once when the bytes are here already.

        Raises `ProblemError` (501) where the store cannot be reached from outside.
        """
        direct = self._direct()
        if declared.sha256 is None or not declared.size_bytes:
            raise refuse(422, "no_sha256", "sha256 and size_bytes are needed", "Send both, or use POST /v1/uploads.")
        domain.check_size(declared.size_bytes, self._settings.limits)
        session = await self._sessions.begin(tenant, declared)
        if session.state == "aborted":
            raise refuse(409, "upload_aborted", "this upload was aborted", "Begin one with another Idempotency-Key.")
        if session.state == "complete" or write_of(session) is not None:
            return session
        content = Content(declared.sha256, declared.size_bytes)
        async with self._sessions.turn(session) as mine:
            if await self._acceptance.knows(tenant, content):
                return await self._sessions.complete(mine, await self._acceptance.accept(mine, content))
            key = domain.direct_key(tenant, content.sha256, mine.id)
            write = await direct.begin(key, content.size_bytes)
            return await self._sessions.note_direct(mine, dataclasses.asdict(write))

    async def links(self, session: Document, first: int) -> Mapping[str, Any]:
        """Make links for parts from `first` on; each may be used until it expires, and again after a failure."""
        write = _begun(session)
        if not 1 <= first <= write.parts:
            raise refuse(422, "no_such_part", f"there are parts 1 to {write.parts}", "Ask for one of them.")
        parts = range(first, min(first + LINKS_AT_ONCE, write.parts + 1))
        urls = await self._direct().links(write, parts, LINK_SECONDS)
        expires = self._clock.now() + datetime.timedelta(seconds=LINK_SECONDS)
        return {"first": first, "urls": list(urls), "expires_at": expires.isoformat()}

    async def complete(self, session: Document) -> Document:
        """Put the parts together, read them, and make them an item if they are what was declared.

        Raises `ProblemError` (422) when they are not: then nothing of them is kept, and the upload may begin anew.
        """
        if session.state == "complete":
            return session
        _begun(session)
        async with self._sessions.turn(session) as mine:
            write = _begun(mine)
            await self._put_together(mine, write)
            found = await self._objects.digest(write.key)
            content = Content(Sha256(found.sha256), found.size_bytes)
            await self._believe(mine, write, content)
            outcome = await self._acceptance.accept(mine, content, key=write.key)
            return await self._sessions.complete(mine, outcome)

    async def forget(self, session: Document) -> None:
        """Make the links of an upload that ended otherwise worthless; what cannot be removed now is swept.

        An object that was made of it already is left to storage: a medium may refer to it by now.
        """
        write, direct = write_of(session), self._objects.direct
        if write is None or direct is None:
            return
        try:
            await direct.abort(write)
        except TransientError as error:
            log.warning("upload_not_removed", upload=session.id, reason=str(error))

    async def _put_together(self, mine: Document, write: DirectWrite) -> None:
        try:
            await self._direct().complete(write)
        except ObjectExistsError:
            # The key is this upload's own: an earlier attempt got as far. What it holds is read either way.
            log.info("direct_upload_completed_before", upload=mine.id)
        except PermanentError as error:
            if error.code == "direct_gone":
                await self._sessions.note_direct(mine, None)
            raise refuse(409, error.code, str(error), error.remedy) from error

    async def _believe(self, mine: Document, write: DirectWrite, content: Content) -> None:
        try:
            domain.check_complete(declared_in(mine), content)
        except ProblemError:
            await self._objects.delete(write.key)
            await self._sessions.note_direct(mine, None)
            raise

    def _direct(self) -> DirectWrites:
        if self._objects.direct is None:
            raise refuse(
                501,
                "no_direct_uploads",
                "this AIMA keeps its objects where clients cannot reach them",
                "Send the file with POST /v1/uploads.",
            )
        return self._objects.direct


def write_of(session: Document) -> DirectWrite | None:
    """Read back what was begun for a session, if anything was."""
    body = session.body.get("direct")
    return DirectWrite(**body) if body else None


def _begun(session: Document) -> DirectWrite:
    write = write_of(session)
    if session.state != "open" or write is None:
        raise refuse(409, "not_direct", "no direct upload is under way here", "Begin one: POST /v1/uploads/direct.")
    return write
