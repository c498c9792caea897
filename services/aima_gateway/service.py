"""Gateway: answers HTTP, and writes down what people may follow."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any

import structlog
from aiohttp import web

from aima_common.contracts import messages as m
from aima_common.contracts.base import Message
from aima_common.contracts.envelope import Envelope
from aima_common.egress import Egress
from aima_common.errors import AimaError
from aima_common.ports import Ports
from aima_gateway.answers import Handler, RouteGroup
from aima_gateway.application import application
from aima_gateway.audit import Audit
from aima_gateway.backlog_gate import BacklogGate
from aima_gateway.case_routes import CaseRoutes
from aima_gateway.correction_routes import CorrectionRoutes
from aima_gateway.dead_letter_routes import DeadLetterRoutes
from aima_gateway.dossier_routes import DossierRoutes
from aima_gateway.entity_routes import EntityRoutes
from aima_gateway.events import CaseEvents, heard
from aima_gateway.findings import Findings
from aima_gateway.guard import Guard
from aima_gateway.idempotency import Idempotency
from aima_gateway.job_routes import ExplainJob, JobRoutes
from aima_gateway.key_routes import KeyRoutes
from aima_gateway.key_store import KeyStore
from aima_gateway.limits import Admission
from aima_gateway.media_routes import MediaRoutes
from aima_gateway.notices import Notices
from aima_gateway.operations_routes import Check, OperationsRoutes
from aima_gateway.queue_routes import QueueRoutes, ShowQueue
from aima_gateway.reading import Reading
from aima_gateway.requests import Requests
from aima_gateway.search_routes import EmbedText, SearchRoutes
from aima_gateway.settings import Settings
from aima_gateway.tenant_door import TenantDoor
from aima_gateway.upload_door import UploadDoor
from aima_gateway.uploads import UploadReplicas, UploadRoutes, Urls
from aima_gateway.webhook_delivery import WebhookDelivery
from aima_gateway.webhook_routes import WebhookRoutes
from aima_gateway.webhooks import Webhooks

SWEEP_SECONDS = 600.0
CLOSE_SECONDS = 5.0
"""How long requests under way may take to end when the process stops; streams are simply asked for again."""

LINGER_SECONDS = 30.0
"""How long a body is still read, and thrown away, once its request was refused: many clients look for the answer only
when they have sent everything, and would find a reset connection instead."""

log = structlog.get_logger()


class Gateway:
    """The one door.

    `embed_text` turns a query into a vector, or None where the model is not installed; `explain_job` gives what the
    scheduler says of a tenant's job, or None where it says nothing; `show_queue` likewise of queue and machines.
    """

    name = "gateway"

    def __init__(
        self,
        ports: Ports,
        settings: Settings,
        *,
        upload_urls: Urls | None = None,
        embed_text: EmbedText | None = None,
        explain_job: ExplainJob | None = None,
        show_queue: ShowQueue | None = None,
        checks: Mapping[str, Check] | None = None,
    ) -> None:
        self.keys = KeyStore(ports, settings.environment)
        self.admission = Admission(settings.limits)
        self.tenants = TenantDoor(ports, settings.tenants, shared=settings.shared_limits)
        self._gate = BacklogGate(ports, settings.backlog)
        self._ports = ports
        self._settings = settings
        self.embed_text = embed_text
        self._explain_job = explain_job
        self._show_queue = show_queue
        self._checks = dict(checks or {})
        self._audit = Audit(ports)
        self._events = CaseEvents(ports, settings.poll_seconds)
        self._idempotency = Idempotency(ports)
        self._webhooks = Webhooks(ports)
        self._egress = Egress(settings.private_hosts)
        self._delivery = WebhookDelivery(ports, self._webhooks, self._egress)
        self._notices = Notices(ports, self._webhooks, everything=settings.notices_of_everything)
        urls = upload_urls or _always(settings.upload_urls)
        self._replicas = UploadReplicas(urls, settings.secret, ports.clock.monotonic)
        self._listening = asyncio.Event()
        self._url = ""

    def handlers(self) -> Mapping[type[Message], Callable[[Envelope[Any]], Awaitable[None]]]:
        """Tell which messages become events, notices, or both."""
        return {
            **dict.fromkeys(heard(), self._events.record),
            **dict.fromkeys((m.MediumUploaded, m.ProgressMade, m.DossierPublished), self._record_and_note),
            m.OfferRejected: self._notices.note,
            m.NoticeGiven: self._notices.give,
        }

    def background(self) -> list[Callable[[], Awaitable[None]]]:
        """Tell the gateway's loops: HTTP, the sweep, what is held for tenants that upload, and webhooks."""
        return [self.serve, self.sweep, self.tenants.room.keep, self._delivery.deliver]

    def application(self) -> web.Application:
        """Make the HTTP application."""
        guard = Guard(self.keys, self._audit)
        app = application(self._routes(guard), guard, self.admission, self.tenants)
        app.on_shutdown.append(self._end_streams)
        return app

    async def serve(self) -> None:
        """Answer HTTP until cancelled."""
        async with self._replicas.connected(), self._open() as url:
            self._url = url
            self._listening.set()
            await asyncio.Event().wait()

    async def url(self) -> str:
        """Tell where the gateway listens, as soon as it does."""
        await self._listening.wait()
        return self._url

    async def sweep(self) -> None:
        """Forget answers that nobody will ask for again."""
        while True:
            try:
                await self._idempotency.sweep()
                await self._webhooks.sweep()
            except AimaError as error:
                log.warning("sweep_failed", service=self.name, reason=str(error))
            await self._ports.clock.sleep(SWEEP_SECONDS)

    @contextlib.asynccontextmanager
    async def _open(self) -> AsyncIterator[str]:
        # A compressed body could unfold without end: nothing is unpacked here.
        runner = web.AppRunner(
            self.application(),
            access_log=None,
            auto_decompress=False,
            shutdown_timeout=CLOSE_SECONDS,
            lingering_time=LINGER_SECONDS,
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, self._settings.host, self._settings.port).start()
            host, port = runner.addresses[0][:2]
            yield f"http://{host}:{port}"
        finally:
            await runner.cleanup()

    def _routes(self, guard: Guard) -> dict[str, Handler]:
        return {operation: handler for group in self._groups(guard) for operation, handler in group.handlers().items()}

    def _groups(self, guard: Guard) -> Sequence[RouteGroup]:
        ports, settings, audit = self._ports, self._settings, self._audit
        reading, requests = Reading(ports), Requests(ports)
        findings = Findings(reading, ports.objects)
        checks = {"upload": self._replicas.alive, **self._checks}
        return (
            CaseRoutes(reading, self._events, self._replicas, self._idempotency, requests, audit, settings),
            UploadRoutes(self._replicas, UploadDoor(ports.documents, self._gate, self.tenants)),
            MediaRoutes(reading, findings, ports.objects, requests, audit),
            CorrectionRoutes(reading, findings, self.keys, self._idempotency, requests, audit),
            JobRoutes(reading, requests, audit, ports.clock, self._explain_job),
            QueueRoutes(reading, ports.clock, self._show_queue),
            EntityRoutes(reading),
            SearchRoutes(reading, ports.search, ports.vectors, self._embed),
            DossierRoutes(reading, ports.objects, guard, audit, ports.clock, settings),
            KeyRoutes(self.keys, audit),
            DeadLetterRoutes(ports, audit),
            WebhookRoutes(self._webhooks, self._egress, audit),
            OperationsRoutes(ports, checks, self._gate.told),
        )

    async def _record_and_note(self, envelope: Envelope[Any]) -> None:
        await self._events.record(envelope)
        await self._notices.note(envelope)

    async def _end_streams(self, app: web.Application) -> None:
        self._events.close()

    async def _embed(self, text: str) -> Sequence[float] | None:
        return await self.embed_text(text) if self.embed_text else None


def _always(urls: Sequence[str]) -> Urls:
    async def tell() -> Sequence[str]:
        return urls

    return tell
