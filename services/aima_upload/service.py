"""Upload: takes files in, and lets go of what is cancelled or erased."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import structlog

from aima_common import erasures, object_keys
from aima_common.contracts.base import Message
from aima_common.contracts.envelope import Envelope
from aima_common.contracts.messages import CancelRequested, ErasureRequested, PartErased
from aima_common.contracts.telling import tell
from aima_common.errors import AimaError
from aima_common.jobs import Ledger
from aima_common.ports import Ports
from aima_common.ports.bus import Record
from aima_common.ports.documents import Change, Expect
from aima_upload.http import listening
from aima_upload.ingress import Ingress, Readers
from aima_upload.intake import Intake
from aima_upload.reading import plain_readers
from aima_upload.settings import Settings
from aima_upload.taking_in import TakingIn

SWEEP_SECONDS = 600.0

log = structlog.get_logger()


class Upload:
    """Owns cases, upload sessions, arrivals, items and media; nobody else writes them."""

    name = "upload"

    def __init__(
        self, ports: Ports, settings: Settings, *, ledger: Ledger | None = None, readers: Readers | None = None
    ) -> None:
        ledger = ledger or Ledger(ports, f"upload-{uuid.uuid4().hex[:8]}")
        self.intake = Intake(ports, settings)
        self._taking_in = TakingIn(ports, ledger, self.intake, settings)
        self._ingress = Ingress(ports, ledger, readers or plain_readers(ports), self._taking_in.runner.wake)
        self._ports = ports
        self._settings = settings
        self._listening = asyncio.Event()
        self._url = ""

    def handlers(self) -> Mapping[type[Message], Callable[[Envelope[Any]], Awaitable[None]]]:
        """Tell which messages upload acts on."""
        return {CancelRequested: self.on_cancel_requested, ErasureRequested: self.on_erasure_requested}

    def background(self) -> list[Callable[[], Awaitable[None]]]:
        """Tell upload's loops: the HTTP server, the ingress topics with what follows from them, and the sweep."""
        return [self.serve, self._ingress.listen, self._taking_in.runner.run, self._taking_in.conclude, self.sweep]

    async def serve(self) -> None:
        """Answer HTTP until cancelled."""
        async with listening(self.intake) as url:
            self._url = url
            self._listening.set()
            await asyncio.Event().wait()

    async def url(self) -> str:
        """Tell where upload listens, as soon as it does."""
        await self._listening.wait()
        return self._url

    async def on_cancel_requested(self, envelope: Envelope[CancelRequested]) -> None:
        await self.intake.cases.cancel(envelope.tenant, envelope.body.case, envelope.body.medium, envelope.id)

    async def on_erasure_requested(self, envelope: Envelope[ErasureRequested]) -> None:
        medium, documents = envelope.body.medium, self._ports.documents
        known = await documents.load("media", medium)
        if known is None or known.tenant != envelope.tenant or await erasures.is_over(documents, envelope):
            return
        await documents.transition("media", medium, expect=Expect(state="stored"), change=Change("erased"))
        for item in await documents.find("items", {"tenant": envelope.tenant, "medium": medium}, limit=100_000):
            forget = Change("erased", {"file_name": "", "origin": None})
            await documents.transition("items", item.id, expect=Expect(state=("accepted", "cancelled")), change=forget)
            # The session knows the name, too; and whoever sends the file again means it.
            await documents.delete("uploads", str(item.body.get("upload")))
        await self._taking_in.erase(envelope.tenant, medium)
        # Wherever the bytes lie; a client may have put them there a second time, unasked for.
        async for info in self._ports.objects.list(object_keys.original(envelope.tenant, known.body["sha256"])):
            await self._ports.objects.delete(info.key)
        told = self._part_erased(envelope)
        await documents.transition("media", medium, expect=Expect(state="erased"), outbox=[told], inbox=envelope.id)

    async def sweep(self) -> None:
        """Throw away what was begun and forgotten."""
        while True:
            try:
                for session in await self.intake.sessions.forgotten(self._settings.session_seconds):
                    await self.intake.abort(session)
                    log.info("upload_swept", upload=session.id)
                # What no session knows of any more: its process died between the one and the other.
                await self._ports.objects.sweep(2 * self._settings.session_seconds)
            except AimaError as error:
                log.warning("sweep_failed", service=self.name, reason=str(error))
            await self._ports.clock.sleep(SWEEP_SECONDS)

    def _part_erased(self, envelope: Envelope[ErasureRequested]) -> Record:
        medium = envelope.body.medium
        done = PartErased(medium=medium, owner=self.name)
        return tell(done, tenant=envelope.tenant, key=medium, cause=envelope.id, time=self._ports.clock.now())
