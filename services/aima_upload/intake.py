"""Files on their way in: whole, known already, or part by part."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import structlog

from aima_common import object_keys
from aima_common.errors import TransientError, UnavailableError
from aima_common.ports import Ports
from aima_common.ports.documents import Document
from aima_common.ports.objects import ResumableWriter, Sink, Writer
from aima_common.problems import ProblemError, refuse
from aima_upload import domain
from aima_upload.acceptance import Acceptance
from aima_upload.cases import Cases
from aima_upload.direct import DirectUploads
from aima_upload.domain import Content, Declared
from aima_upload.reception import Reception
from aima_upload.sessions import Sessions, declared_in
from aima_upload.settings import Settings

REMEMBERED = 256
"""Running hashes kept between the parts of an upload; without its own, a part reads the earlier ones back."""

log = structlog.get_logger()


class Intake:
    """Takes files in, whole and once."""

    def __init__(self, ports: Ports, settings: Settings) -> None:
        self.settings = settings
        self.cases = Cases(ports)
        self.sessions = Sessions(ports)
        self._objects = ports.objects
        self._acceptance = Acceptance(ports)
        self.direct = DirectUploads(ports, settings, self.sessions, self._acceptance)
        self._underway: dict[str, Reception] = {}

    async def upload(self, tenant: str, declared: Declared, chunks: AsyncIterator[bytes]) -> Document:
        """Take a whole file in; return its session, complete.

        What was sent under the same Idempotency-Key before is read again and compared, so that the
        same request has the same answer and another one is refused (422).
        """
        domain.check_size(declared.size_bytes, self.settings.limits)
        session = await self.sessions.begin(tenant, declared)
        if session.state == "complete":
            return await self._compare(session, chunks)
        key = object_keys.original(tenant, declared.sha256) if declared.sha256 else None
        async with self.sessions.turn(session) as mine:
            writer = await self._objects.create(key)
            try:
                reception = self._reception(writer)
                await reception.take(chunks)
                content = reception.content()
                domain.check_complete(declared, content)
                finish = partial(writer.finish, sha256=content.sha256)
                outcome = await self._acceptance.accept(mine, content, finish)
            finally:
                await asyncio.shield(_abandon(writer))
            await self.direct.forget(mine)
            return await self.sessions.complete(mine, outcome)

    async def known(self, tenant: str, declared: Declared) -> Document:
        """Make an item of content that this tenant sent before; raise `ProblemError` (404) otherwise."""
        if declared.sha256 is None or declared.size_bytes is None:
            raise refuse(422, "no_sha256", "sha256 and size_bytes are needed", "Send both, or upload the file.")
        content = Content(declared.sha256, declared.size_bytes)
        if not await self._acceptance.knows(tenant, content):
            raise refuse(404, "unknown_content", "these bytes are not here yet", "Send the file with POST /v1/uploads.")
        session = await self.sessions.begin(tenant, declared)
        if session.state == "complete":
            return session
        async with self.sessions.turn(session) as mine:
            outcome = await self._acceptance.accept(mine, content)
            return await self.sessions.complete(mine, outcome)

    async def begin(self, tenant: str, declared: Declared) -> Document:
        """Begin an upload that comes in parts."""
        if declared.size_bytes is None:
            raise refuse(400, "no_length", "Upload-Length is missing", "Send the size of the whole file.")
        domain.check_size(declared.size_bytes, self.settings.limits)
        return await self.sessions.begin(tenant, declared)

    async def offset(self, session: Document) -> int:
        """Tell how many bytes of an upload are durably here."""
        if session.state != "open":
            return int(session.body["size_bytes"] or 0)
        return await (await self._objects.writer(session.id)).size()

    async def append(self, session: Document, offset: int | None, chunks: AsyncIterator[bytes]) -> tuple[Document, int]:
        """Add a part at `offset`; return the session, complete with the last part, and its new offset."""
        if session.state != "open":
            raise refuse(409, f"upload_{session.state}", f"this upload is {session.state}", "Begin a new one.")
        async with self.sessions.turn(session) as mine:
            writer = await self._objects.writer(mine.id)
            domain.check_offset(await writer.size(), offset)
            declared = declared_in(mine)
            reception = await self._resumed(mine, writer)
            try:
                await reception.take(chunks)
            finally:
                await asyncio.shield(writer.flush())
            if declared.size_bytes is not None and reception.received < declared.size_bytes:
                self._remember(mine, reception)
                return mine, reception.received
            try:
                return await self._finish(mine, declared, reception, writer), reception.received
            except ProblemError:
                await _abandon(writer)
                raise

    async def abort(self, session: Document) -> None:
        """Throw an unfinished upload away; raise `ProblemError` (409) when it is being written or complete."""
        if session.state == "aborted":
            return
        if not await self.sessions.abort(session):
            raise refuse(409, "in_progress", "this upload is complete or being written", "Wait, or erase the medium.")
        await _abandon(await self._objects.writer(session.id))
        await self.direct.forget(session)

    def _reception(self, writer: Sink | None) -> Reception:
        return Reception(writer, self.settings.limits, self.settings.idle_seconds)

    async def _resumed(self, mine: Document, writer: ResumableWriter) -> Reception:
        size = await writer.size()
        reception = self._underway.pop(mine.id, None)
        if reception is None or not reception.continues(writer, size):
            reception = self._reception(writer)
            await reception.resume(writer)
        return reception

    def _remember(self, mine: Document, reception: Reception) -> None:
        self._underway[mine.id] = reception
        while len(self._underway) > REMEMBERED:
            self._underway.pop(next(iter(self._underway)))

    async def _compare(self, session: Document, chunks: AsyncIterator[bytes]) -> Document:
        reception = self._reception(None)
        await reception.take(chunks)
        if reception.content().sha256 != session.body["sha256"]:
            raise domain.key_reused()
        return session

    async def _finish(
        self, mine: Document, declared: Declared, reception: Reception, writer: ResumableWriter
    ) -> Document:
        content = reception.content()
        domain.check_complete(declared, content)
        if await writer.size() != content.size_bytes:
            raise UnavailableError("other bytes than those that were hashed are in the upload", code="upload_mixed")
        outcome = await self._acceptance.accept(mine, content, writer.finish)
        await _abandon(writer)
        await self.direct.forget(mine)
        return await self.sessions.complete(mine, outcome)


async def _abandon(writer: Writer | ResumableWriter) -> None:
    try:
        await writer.abort()
    except TransientError as error:
        log.warning("upload_not_removed", reason=str(error))
