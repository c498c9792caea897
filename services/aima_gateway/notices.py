"""What those outside are told: numbered per item, case and offer, on the tenant's results topic and by webhook.

A notice gets its number where its subject's document changes, and becomes a message by that very change. The message
is heard here again, in order per subject: only then it goes out, so that nothing older follows what is newer.
"""

from collections.abc import Mapping
from typing import Any

from aima_common.contracts import messages as m
from aima_common.contracts.codec import VERSION, dumps
from aima_common.contracts.envelope import Envelope
from aima_common.contracts.outside import results_topic
from aima_common.contracts.telling import tell
from aima_common.errors import PermanentError, TransientError
from aima_common.ports import Ports
from aima_common.ports.bus import Record
from aima_common.ports.documents import Change, Document, Expect, Insert, Outcome
from aima_common.runtime.tenant_topics import tenant_topics
from aima_gateway import notice_rules as rules
from aima_gateway.notice_rules import Draft
from aima_gateway.webhooks import Webhooks

COLLECTION = "notices"

ATTEMPTS = 5
"""How often a notice is numbered anew when somebody else was faster, before the message is handled again."""


class Notices:
    """Notices are made of what was offered by producers outside, and of all where a tenant has webhooks.

    With `everything`, an operator's choice, they are made of every item and case.
    """

    def __init__(self, ports: Ports, webhooks: Webhooks, *, everything: bool = False) -> None:
        self._bus = ports.bus
        self._documents = ports.documents
        self._webhooks = webhooks
        self._everything = everything

    async def note(self, envelope: Envelope[Any]) -> None:
        """Make notices of what a message means for those outside; again, it changes nothing."""
        match envelope.body:
            case m.MediumUploaded(item=identity):
                item = await self._documents.load("items", identity)
                if item is not None:
                    await self._note_item(envelope, item, rules.of_upload(item))
            case m.ProgressMade() as progress:
                await self._note_progress(envelope, progress)
            case m.DossierPublished() as published:
                wanted = await self._wants_all(envelope.tenant) or await self._knows(envelope.tenant, published.case)
                await self._number(envelope, published.case, rules.of_dossier(published), wanted=wanted)
            case m.OfferRejected() as rejected:
                await self._number(envelope, rejected.offer, rules.of_rejection(rejected), wanted=True)
            case _:
                pass

    async def give(self, envelope: Envelope[m.NoticeGiven]) -> None:
        """Send a notice out: to the tenant's topic, and to those of its webhooks that want it."""
        tenant, subject, notice = envelope.tenant, envelope.body.subject, envelope.body.notice
        if await self._is_next(subject, notice.sequence):
            value = dumps(notice.model_dump(mode="json"))
            await self._publish(tenant, Record(results_topic(tenant), subject, value, _headers(envelope)))
        await self._webhooks.enqueue(tenant, subject, notice)

    # ------------------------------------------------------------------------------------------------ numbering

    async def _note_progress(self, envelope: Envelope[Any], progress: m.ProgressMade) -> None:
        where = {"tenant": envelope.tenant, "medium": progress.medium}
        runs = await self._documents.find("runs", where)
        if runs and rules.newest(runs) != progress.run:
            return
        run = next((run for run in runs if run.id == progress.run), None)
        for item in await self._documents.find("items", where, limit=10_000):
            await self._note_item(envelope, item, rules.of_progress(progress, item, run))

    async def _note_item(self, envelope: Envelope[Any], item: Document, draft: Draft) -> None:
        wanted = item.body.get("origin") is not None or await self._wants_all(envelope.tenant)
        await self._number(envelope, item.id, draft, wanted=wanted, item=item)

    async def _wants_all(self, tenant: str) -> bool:
        return self._everything or bool(await self._webhooks.active(tenant))

    async def _knows(self, tenant: str, case: str) -> bool:
        return bool(await self._documents.find(COLLECTION, {"tenant": tenant, "case": case}, limit=1))

    async def _number(
        self, envelope: Envelope[Any], subject: str, draft: Draft, *, wanted: bool, item: Document | None = None
    ) -> None:
        for _ in range(ATTEMPTS):
            known = await self._documents.load(COLLECTION, subject)
            # What was told of once is told of to its end.
            if (known is None and not wanted) or (known is not None and not rules.is_news(draft, known.body)):
                return
            if await self._write(envelope, subject, draft, known, item):
                return
        raise TransientError(f"notices of {subject} come from many sides", code="notice_moved")

    async def _write(
        self, envelope: Envelope[Any], subject: str, draft: Draft, known: Document | None, item: Document | None
    ) -> bool:
        sequence = known.body["sequence"] + 1 if known else 1
        given = m.NoticeGiven(subject=subject, notice=draft.notice(sequence, envelope.time.isoformat()))
        told = tell(
            given,
            tenant=envelope.tenant,
            key=subject,
            cause=envelope.id,
            time=envelope.time,
            traceparent=rules.traceparent(item, envelope),
        )
        facts: Mapping[str, Any] = {"sequence": sequence, "step": draft.step, "case": draft.fields.get("case")}
        if known is None:
            body = {**facts, "medium": draft.fields.get("medium"), "given": 0}
            fresh = Insert(subject, envelope.tenant, "told", body)
            return await self._documents.insert(COLLECTION, fresh, outbox=[told], inbox=envelope.id)
        done = await self._documents.transition(
            COLLECTION,
            subject,
            expect=Expect(version=known.version),
            change=Change(set=facts),
            outbox=[told],
            inbox=envelope.id,
        )
        return done.outcome in {Outcome.APPLIED, Outcome.REPEATED}

    # -------------------------------------------------------------------------------------------------- sending

    async def _is_next(self, subject: str, sequence: int) -> bool:
        """Note that a notice goes out; False when a newer one has: a message may come once more, and late."""
        for _ in range(ATTEMPTS):
            known = await self._documents.load(COLLECTION, subject)
            if known is None or known.body["given"] == sequence:
                return True
            if known.body["given"] > sequence:
                return False
            expect = Expect(version=known.version)
            change = Change(set={"given": sequence})
            if (await self._documents.transition(COLLECTION, subject, expect=expect, change=change)).applied:
                return True
        raise TransientError(f"notices of {subject} come from many sides", code="notice_moved")

    async def _publish(self, tenant: str, record: Record) -> None:
        try:
            await self._bus.publish([record])
        except PermanentError as error:
            if error.code != "unknown_topic":
                raise
            await self._bus.ensure_topics(tenant_topics(tenant))
            await self._bus.publish([record])


def _headers(envelope: Envelope[m.NoticeGiven]) -> dict[str, str]:
    headers = {
        "ce_specversion": "1.0",
        "ce_id": envelope.id,
        "ce_type": f"aima.Notice.v{VERSION}",
        "ce_source": "aima",
        "ce_time": envelope.time.isoformat(),
        "ce_subject": envelope.body.subject,
        "content-type": "application/json",
        "aima_tenant": envelope.tenant,
    }
    return {**headers, **({"traceparent": envelope.traceparent} if envelope.traceparent else {})}
