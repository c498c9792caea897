"""The way in for producers that write to Kafka: every record is read, judged, and written down as an arrival.

Nothing is copied here: what is offered becomes a job, and the offset is committed (`taking_in`).
"""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import structlog

from aima_common.contracts.media import Priority
from aima_common.contracts.messages import OfferRejected
from aima_common.contracts.outside import Offer, ingress_topic
from aima_common.contracts.telling import tell
from aima_common.errors import PermanentError, TransientError
from aima_common.ids import derive, job_id
from aima_common.jobs import AFRESH, JobKind, Ledger, new_job
from aima_common.ports import Ports
from aima_common.ports.bus import Delivery, Record
from aima_common.ports.documents import Change, Document, Expect, Insert
from aima_common.runtime.confined import Telling
from aima_common.runtime.failures import keep_dead
from aima_common.runtime.tenant_topics import tenant_topics
from aima_upload import ingress_domain as domain
from aima_upload.ingress_domain import OfferRefusedError

INGRESS = "upload-ingress"
"""Who the dead letters say has set them aside."""

ARRIVALS = "arrivals"

LOOK_SECONDS = 20.0
"""How late a new tenant's topic is found; a minute is promised."""

SIDE_BY_SIDE = 16
"""Records of one tenant that are written down at the same time."""

BUG_ATTEMPTS = 3
LONGEST_BACKOFF_SECONDS = 30.0

log = structlog.get_logger()


def group_of(tenant: str) -> str:
    """Name the consumer group of all upload processes on a tenant's topic: a new tenant disturbs nobody's group."""
    return f"{INGRESS}-{tenant}"


class Reader(Protocol):
    """Deliveries of one topic, at least once; those that are done are committed."""

    def __aiter__(self) -> AsyncIterator[Delivery]:
        """Yield deliveries for as long as anybody asks."""

    async def done(self, delivery: Delivery) -> None:
        """Say that a delivery is handled."""


Readers = Callable[[str, str], AbstractAsyncContextManager[Reader]]
"""Makes the reader of a tenant's topic, from the tenant and the topic."""


class Ingress:
    """Nobody else reads the ingress topics, or writes arrivals."""

    def __init__(self, ports: Ports, ledger: Ledger, readers: Readers, on_arrival: Callable[[], None]) -> None:
        self._bus = ports.bus
        self._ports = ports
        self._documents = ports.documents
        self._clock = ports.clock
        self._ledger = ledger
        self._readers = readers
        self._on_arrival = on_arrival

    # ------------------------------------------------------------------------------------------------- listening

    async def listen(self) -> None:
        """Hear the producers of every tenant that has a key; those of a new one within a minute."""
        heard: dict[str, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    tenants = await self._tenants()
                    for tenant in sorted(tenants - heard.keys()):
                        await self._bus.ensure_topics(tenant_topics(tenant))
                        heard[tenant] = group.create_task(self._hear(tenant), name=f"ingress of {tenant}")
                    for tenant in heard.keys() - tenants:
                        heard.pop(tenant).cancel()
                except TransientError as error:
                    log.warning("ingress_waits", reason=str(error))
                await self._clock.sleep(LOOK_SECONDS)

    async def _tenants(self) -> set[str]:
        keys = await self._documents.find("keys", {"state": "active"}, limit=100_000)
        return {key.tenant for key in keys if domain.can_be_named(key.tenant)}

    async def _hear(self, tenant: str) -> None:
        room = asyncio.Semaphore(SIDE_BY_SIDE)
        async with (
            self._readers(tenant, ingress_topic(tenant)) as reader,
            asyncio.TaskGroup() as group,
        ):
            async for delivery in reader:
                await room.acquire()
                group.create_task(self._handle(reader, delivery, room))

    async def _handle(self, reader: Reader, delivery: Delivery, room: asyncio.Semaphore) -> None:
        """Handle a record until it is done; while the store is away, its partition waits."""
        try:
            failures = bugs = 0
            while not await self._handled(delivery, last=bugs >= BUG_ATTEMPTS - 1):
                failures, bugs = failures + 1, bugs + 1
                await self._clock.sleep(min(LONGEST_BACKOFF_SECONDS, 0.1 * 2 ** min(failures, 10)))
            await reader.done(delivery)
        finally:
            room.release()

    async def _handled(self, delivery: Delivery, *, last: bool) -> bool:
        try:
            await self.on_record(delivery)
        except TransientError as error:
            log.warning("ingress_waits", topic=delivery.record.topic, reason=str(error))
            return False
        except Exception as error:
            log.exception("offer_failed", topic=delivery.record.topic, offset=delivery.offset)
            if not last:
                return False
            refused = OfferRefusedError("bug", repr(error), "Report it; the operator can have it tried again.")
            await self._refuse(delivery, refused)
        return True

    # -------------------------------------------------------------------------------------------------- judging

    async def on_record(self, delivery: Delivery) -> None:
        """Write an offer down as an arrival with its job, or set the record aside; again, it changes nothing."""
        tenant = domain.tenant_of(delivery.record.topic)
        try:
            offer = domain.read_offer(delivery.record.value, tenant)
            await self._write_down(delivery, tenant, offer)
        except OfferRefusedError as error:
            await self._refuse(delivery, error)

    async def _write_down(self, delivery: Delivery, tenant: str, offer: Offer) -> None:
        identity, place = domain.arrival_id(tenant, offer.id), _inbox(delivery)
        body = {"fingerprint": domain.fingerprint(offer), "item": None, "medium": None, "object": None, "reason": None}
        job = self._job(identity, tenant, offer, delivery)
        if not await self._documents.insert(ARRIVALS, Insert(identity, tenant, "waiting", body), inbox=place):
            known = await self._known(identity)
            if known.state == "rejected":
                await self._take_up_again(known, body, job, place)
                return
            if known.body["fingerprint"] != body["fingerprint"]:
                raise _reused(offer)
            # Nothing new; but this very record shall not count as something new later, either.
            await self._documents.transition(ARRIVALS, identity, inbox=place)
            if known.state != "waiting":
                return
        # Added even when the arrival was there before: a crash may lie between the two.
        if await self._ledger.add(job):
            self._on_arrival()

    async def _take_up_again(self, known: Document, body: dict[str, Any], job: Insert, place: str) -> None:
        """Give an offer that was rejected another chance, unless it is the same record once more."""
        expect = Expect(state="rejected", version=known.version)
        done = await self._documents.transition(
            ARRIVALS, known.id, expect=expect, change=Change("waiting", body), inbox=place
        )
        now = done.document
        if now is None or now.state != "waiting" or now.body["fingerprint"] != body["fingerprint"]:
            return
        if not await self._ledger.add(job):
            afresh = {name: job.body[name] for name in (*OWN_FIELDS, *AFRESH, "not_before")}
            expect = Expect(state=("done", "dead", "cancelled"))
            await self._documents.transition("jobs", job.id, expect=expect, change=Change("ready", afresh), inbox=place)
        self._on_arrival()

    async def _known(self, identity: str) -> Document:
        known = await self._documents.load(ARRIVALS, identity)
        if known is None:
            raise TransientError("the arrival vanished while it was looked at")
        return known

    def _job(self, identity: str, tenant: str, offer: Offer, delivery: Delivery) -> Insert:
        chosen = domain.options(offer)
        record = delivery.record
        return new_job(
            job_id(identity, JobKind.TAKE_IN.value),
            tenant,
            JobKind.TAKE_IN,
            submitted_at=self._clock.now(),
            priority=Priority(chosen.get("priority", Priority.NORMAL.value)),
            run=None,
            medium=None,
            arrival=identity,
            place={"topic": record.topic, "partition": delivery.partition, "offset": delivery.offset},
            key=record.key,
            value=base64.b64encode(record.value).decode(),
            traceparent=domain.traceparent(record.headers),
        )

    # -------------------------------------------------------------------------------------------------- refusing

    async def _refuse(self, delivery: Delivery, error: OfferRefusedError) -> None:
        """Set a record aside that is no offer, and tell its producer as far as that is possible."""
        record, tenant = delivery.record, domain.tenant_of(delivery.record.topic)
        offer = domain.record_id(record.topic, delivery.partition, delivery.offset)
        if error.code in domain.FOREIGN:
            place = f"{record.topic}/{delivery.partition}/{delivery.offset}"
            await self._audit(tenant, error, place)
        await set_offer_aside(self._ports, tenant, delivery, error, offer=offer, offer_id=error.offer_id)

    async def _audit(self, tenant: str, error: PermanentError, place: str) -> None:
        line = {"at": self._clock.now().isoformat(), "action": error.code, "actor": "ingress", "subject": place}
        detail = str(error)[:500]
        await self._documents.append(f"audit/{tenant}", derive("audit", place), {**line, "detail": detail})


OWN_FIELDS = ("place", "key", "value", "traceparent", "priority")
"""What a job knows of the record that asked for it."""


async def set_offer_aside(
    ports: Ports,
    tenant: str,
    delivery: Delivery,
    error: PermanentError,
    *,
    offer: str,
    offer_id: str | None,
    case: str | None = None,
) -> None:
    """Keep the dead letter of an offer, together with the message that tells of it, once for its coordinates."""
    record = delivery.record
    code, reason, remedy = domain.reason_of(error)
    place: dict[str, str | int] = {"topic": record.topic, "partition": delivery.partition, "offset": delivery.offset}
    rejected = OfferRejected(
        offer=offer,
        id=offer_id,
        case=case,
        code=code,
        reason=reason[:1000],
        remedy=remedy,
        topic=record.topic,
        partition=delivery.partition,
        offset=delivery.offset,
    )
    # The tenant is the topic's; whatever else a stranger wrote into the headers is kept beside it.
    kept = Record(record.topic, record.key, record.value, {**record.headers, "aima_tenant": tenant})
    await keep_dead(ports, INGRESS, kept, place, code, reason, outbox=[_told(ports, tenant, delivery, rejected)])


def telling(ports: Ports, tenant: str) -> Telling:
    """Tell a tenant's producers of records that are set aside before anybody here sees them."""

    def tell_of(delivery: Delivery, reason: str, detail: str) -> list[Record]:
        topic, partition, offset = delivery.record.topic, delivery.partition, delivery.offset
        rejected = OfferRejected(
            offer=domain.record_id(topic, partition, offset),
            code=reason,
            reason=detail[:1000],
            remedy=domain.SEE_OFFER,
            topic=topic,
            partition=partition,
            offset=offset,
        )
        return [_told(ports, tenant, delivery, rejected)]

    return tell_of


def _told(ports: Ports, tenant: str, delivery: Delivery, rejected: OfferRejected) -> Record:
    return tell(
        rejected,
        tenant=tenant,
        key=rejected.offer,
        cause=_inbox(delivery),
        time=ports.clock.now(),
        traceparent=domain.traceparent(delivery.record.headers),
    )


def _inbox(delivery: Delivery) -> str:
    return f"{delivery.record.topic}/{delivery.partition}/{delivery.offset}"


def _reused(offer: Offer) -> OfferRefusedError:
    reason = f"another offer was made under the id {offer.id[:100]!r} before"
    return OfferRefusedError("id_reused", reason, "Give every offer an id of its own.", offer.id)
