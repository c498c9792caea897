"""Taking in what was offered: bytes are read from where they lie, hashed, and kept as an upload's are."""

import base64
import contextlib
import datetime
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import structlog

from aima_common.contracts.outside import Offer, OfferedUrl
from aima_common.egress import Egress
from aima_common.errors import PermanentError, TransientError, UnavailableError
from aima_common.ids import Sha256, job_id
from aima_common.jobs import Done, Held, JobKind, JobRunner, Ledger, rest_until
from aima_common.ports import Ports
from aima_common.ports.bus import Delivery, Record
from aima_common.ports.documents import Change, Document, Expect
from aima_common.problems import ProblemError
from aima_upload import domain as uploads
from aima_upload import ingress_domain as domain
from aima_upload.domain import Declared, Origin
from aima_upload.ingress import ARRIVALS, set_offer_aside
from aima_upload.intake import Intake
from aima_upload.settings import Settings

CONCLUDE_SECONDS = 10.0
"""How late an arrival whose job has died is told of."""

WAIT_SECONDS = 15.0
"""How long an arrival waits before it looks again whether a store is back."""

CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0
"""How long a server that was asked for a file may be silent."""

BUSY = frozenset({408, 425, 429})

log = structlog.get_logger()


class TakingIn:
    """Turns arrivals into items, or into dead letters with a reason."""

    def __init__(self, ports: Ports, ledger: Ledger, intake: Intake, settings: Settings) -> None:
        self._ports = ports
        self._documents = ports.documents
        self._objects = ports.objects
        self._clock = ports.clock
        self._intake = intake
        self._settings = settings
        self._egress = Egress(settings.private_hosts)
        self.runner = JobRunner(ledger, JobKind.TAKE_IN, self.take_in, slots=settings.arrivals_at_once)

    async def take_in(self, held: Held) -> Done:
        """Make an offer an item, once; what cannot be one is told to its producer and kept as a dead letter."""
        offer = Offer.model_validate_json(base64.b64decode(held.body["value"]))
        try:
            session = await self._item_of(held, offer)
        except ProblemError as error:
            if error.problem.retry_after_seconds is not None or error.code == "idle":
                return self._later(held, str(error))
            await self._reject(held, offer, error)
            return Done()
        except PermanentError as error:
            await self._reject(held, offer, error)
            return Done()
        except UnavailableError as error:
            if held.judge(error).by_server:
                # Accepted work waits for our own stores, as any other job does.
                raise
            return self._later(held, str(error))
        made = {name: session.body[name] for name in ("item", "medium")}
        change = Change("taken", {**made, "object": offer.object.key if offer.object else None})
        await self._documents.transition(ARRIVALS, held.body["arrival"], expect=Expect("waiting"), change=change)
        return Done(fields={"medium": made["medium"]})

    async def conclude(self) -> None:
        """Tell the end of arrivals whose jobs died while nobody could tell of it."""
        while True:
            with contextlib.suppress(TransientError):
                for arrival in await self._documents.find(ARRIVALS, {"state": "waiting"}, limit=10_000):
                    job = await self._documents.load("jobs", job_id(arrival.id, JobKind.TAKE_IN.value))
                    if job is not None and job.state == "dead":
                        await self._bury(job)
            await self._clock.sleep(CONCLUDE_SECONDS)

    async def erase(self, tenant: str, medium: str) -> None:
        """Forget where a medium came from, and remove the copy that its producer left in our bucket."""
        for arrival in await self._documents.find(ARRIVALS, {"tenant": tenant, "medium": medium}, limit=100_000):
            if key := arrival.body.get("object"):
                await self._objects.delete(key)
            gone = Change("erased", {"object": None, "reason": None})
            await self._documents.transition(ARRIVALS, arrival.id, expect=Expect("taken"), change=gone)

    # ------------------------------------------------------------------------------------------------ taking in

    async def _item_of(self, held: Held, offer: Offer) -> Document:
        tenant = held.tenant
        declared = Declared(
            case=await self._case_of(tenant, offer),
            file_name=uploads.file_name(offer.file_name),
            size_bytes=_size(offer),
            sha256=_sha256(offer),
            idempotency_key=domain.session_key(offer),
            origin=Origin(offer.id, held.body["traceparent"]),
        )
        session = await self._intake.sessions.begin(tenant, declared)
        if session.state == "complete":
            # An earlier attempt came as far; its source may be gone by now.
            return session
        if offer.url is not None:
            async with self._fetched(offer.url) as chunks:
                return await self._intake.upload(tenant, declared, chunks)
        return await self._intake.upload(tenant, declared, await self._read(offer))

    async def _case_of(self, tenant: str, offer: Offer) -> str:
        identity = domain.case_id(tenant, offer.case)
        if offer.case.id is not None:
            return (await self._intake.cases.load(tenant, identity)).id
        asked = {"name": offer.case.name, **domain.options(offer)}
        return (await self._intake.cases.named(tenant, identity, asked)).id

    async def _read(self, offer: Offer) -> AsyncIterator[bytes]:
        if offer.object is None:
            raise AssertionError
        key, size = offer.object.key, offer.object.size_bytes
        found = await self._objects.info(key)
        if found is None:
            remedy = "Put the object there first, then send the offer again under the same id."
            raise PermanentError(f"no object lies under {key!r}", code="object_missing", remedy=remedy)
        if found.size_bytes != size:
            reason = f"the object has {found.size_bytes} bytes where {size} were declared"
            raise PermanentError(
                reason, code="size_mismatch", remedy="Correct the offer, or put the whole object there."
            )
        return self._objects.open(key)

    @contextlib.asynccontextmanager
    async def _fetched(self, wanted: OfferedUrl) -> AsyncIterator[AsyncIterator[bytes]]:
        """Ask for a file at the address that a producer named, where the operator allows its host."""
        url = self._egress.check(wanted.url)
        if url.host not in self._settings.url_hosts:
            remedy = "Put the file into the bucket, or ask the operator to allow the host (AIMA_INGRESS_URL_HOSTS)."
            raise PermanentError(f"files are not fetched from {url.host}", code="url_not_allowed", remedy=remedy)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS)
        headers = {"Accept-Encoding": "identity"}
        try:
            async with (
                self._egress.session(timeout) as session,
                session.get(url, allow_redirects=False, headers=headers) as answer,
            ):
                _check_answer(answer)
                yield answer.content.iter_any()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise TransientError(f"{url.host} did not send the file: {error!r}", code="fetch_failed") from error

    def _later(self, held: Held, reason: str) -> Done:
        """Give the job back without counting the attempt."""
        now = self._clock.now()
        again = now + datetime.timedelta(seconds=WAIT_SECONDS)
        error = {"at": now.isoformat(), "code": "waits", "reason": reason[:500], "epoch": held.epoch}
        fields: dict[str, Any] = {
            "attempts": held.body["attempts"] - 1,
            **rest_until(again),
            "errors": [*held.body["errors"], error][-20:],
        }
        return Done(state="ready", fields=fields)

    # ------------------------------------------------------------------------------------------------ rejecting

    async def _bury(self, job: Document) -> None:
        last = (job.body["errors"] or [{"code": "abandoned", "reason": "whoever took it in fell silent"}])[-1]
        error = PermanentError(last["reason"], code=last["code"], remedy="Send it again under the same id.")
        await self._reject(job, Offer.model_validate_json(base64.b64decode(job.body["value"])), error)

    async def _reject(self, job: Held | Document, offer: Offer, error: PermanentError) -> None:
        place, arrival = job.body["place"], job.body["arrival"]
        headers = {"traceparent": job.body["traceparent"]} if job.body["traceparent"] else {}
        record = Record(place["topic"], job.body["key"], base64.b64decode(job.body["value"]), headers)
        delivery = Delivery(record, place["partition"], place["offset"])
        case = domain.case_id(job.tenant, offer.case)
        await set_offer_aside(self._ports, job.tenant, delivery, error, offer=arrival, offer_id=offer.id, case=case)
        code, reason, _ = domain.reason_of(error)
        change = Change("rejected", {"reason": {"code": code, "reason": reason[:500]}})
        await self._documents.transition(ARRIVALS, arrival, expect=Expect("waiting"), change=change)
        log.info("offer_rejected", tenant=job.tenant, arrival=arrival, code=code)


def _check_answer(answer: aiohttp.ClientResponse) -> None:
    status = answer.status
    if status >= 500 or status in BUSY:
        raise TransientError(f"{answer.url.host} answered with status {status}", code="fetch_failed")
    if status != 200:
        redirect = " (redirects are not followed)" if 300 <= status < 400 else ""
        reason = f"{answer.url.host} answered with status {status}{redirect}"
        raise PermanentError(reason, code="fetch_refused", remedy="Offer an address that answers with the file itself.")
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise PermanentError(
            f"{answer.url.host} sends the file compressed", code="fetch_refused", remedy="Serve the file as it is."
        )


def _size(offer: Offer) -> int | None:
    if offer.object is not None:
        return offer.object.size_bytes
    return offer.url.size_bytes if offer.url else None


def _sha256(offer: Offer) -> Sha256 | None:
    digest = offer.object.sha256 if offer.object else offer.url.sha256 if offer.url else None
    return Sha256(digest) if digest else None
