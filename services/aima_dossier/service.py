"""Writes a version of a case's dossier whenever something in it has come to an end."""

import asyncio
import contextlib
import datetime
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aima_common import erasures, object_keys
from aima_common.collections import RUN_TERMINAL
from aima_common.contracts import messages as m
from aima_common.contracts.base import Message
from aima_common.contracts.envelope import Envelope
from aima_common.contracts.media import ObjectReference
from aima_common.contracts.picture import Picture
from aima_common.contracts.telling import tell
from aima_common.errors import PermanentError, TransientError
from aima_common.ids import derive, job_id
from aima_common.jobs import Done, Held, JobKind, JobRunner, Ledger, new_job, rest_until
from aima_common.pages import every
from aima_common.ports import Ports
from aima_common.ports.bus import Record
from aima_common.ports.documents import Change, Document, Expect, Insert
from aima_common.ports.search import Passage
from aima_dossier.canonical import digest
from aima_dossier.domain import assemble
from aima_dossier.facts import MOST_ITEMS, Facts, FactsReader
from aima_dossier.images import ImageReader
from aima_dossier.model import Dossier
from aima_dossier.news import News
from aima_dossier.pace import Ends, Pace
from aima_dossier.render import render

MEND_SECONDS = 300
"""How often a version is asked for again that could not be written."""

SEARCHABLE = ("speech", "text", "label")


class DossierService:
    """Owns the dossiers, the corrections and the search index; nobody else writes them."""

    name = "dossier"

    def __init__(self, ports: Ports, ledger: Ledger) -> None:
        self._ports = ports
        self._documents = ports.documents
        self._ledger = ledger
        self._reader = FactsReader(ports)
        self._images = ImageReader(ports)
        self._news = News(ports.documents)
        self._ends, self._pace = Ends(ports.documents, self._reader.newest_run), Pace()
        self._runner = JobRunner(ledger, JobKind.WRITE, self.write, slots=1)

    def handlers(self) -> Mapping[type[Message], Callable[[Envelope[Any]], Awaitable[None]]]:
        """Map messages to what follows from them."""
        return {
            m.ProgressMade: self.on_progress_made,
            m.CorrectionMade: self.on_correction_made,
            m.ErasureRequested: self.on_erasure_requested,
            m.MediumErased: self.on_medium_erased,
        }

    def background(self) -> Sequence[Callable[[], Awaitable[None]]]:
        """Write, and mend what was not written, for as long as the process lives."""
        return [self._runner.run, self.mend]

    async def on_progress_made(self, envelope: Envelope[m.ProgressMade]) -> None:
        """Index what a finished run found, and have its cases written."""
        body = envelope.body
        if body.stage not in RUN_TERMINAL:
            return
        run = await self._documents.load("runs", body.run)
        picture = await self._reader.picture(run) if run and body.stage == "analysed" else None
        if picture:
            await self._ports.search.index(_passages(envelope.tenant, picture))
        await self._want_cases_of(body.medium, envelope)

    async def on_correction_made(self, envelope: Envelope[m.CorrectionMade]) -> None:
        """Keep a correction: a statement too, by a person."""
        body = envelope.body
        made = {**body.model_dump(mode="json"), "made_at": envelope.time.isoformat()}
        await self._documents.insert("corrections", Insert(envelope.id, envelope.tenant, "made", made))
        # Looked at afterwards: an erasure that ends in between has looked for corrections already.
        if await erasures.covers(self._documents, envelope.tenant, body.medium, envelope.time):
            await self._documents.delete("corrections", envelope.id)
            return
        await self._want_cases_of(body.medium, envelope)

    async def on_erasure_requested(self, envelope: Envelope[m.ErasureRequested]) -> None:
        """Forget the passages and corrections of a medium, and every written version that tells of it."""
        medium, tenant = envelope.body.medium, envelope.tenant
        done = derive("erasure", self.name, envelope.id)
        if await self._documents.load("dossiers", done) or await erasures.is_over(self._documents, envelope):
            # Versions that were written since then do not tell of it, and storage looks for them no more.
            return
        await self._ports.search.forget(tenant, medium)
        for correction in await self._documents.find("corrections", {"medium": medium, "tenant": tenant}):
            await self._documents.delete("corrections", correction.id)
        for case in await self._cases_of(medium):
            await self._forget_versions(case)
        told = m.PartErased(medium=medium, owner=self.name)
        record = tell(told, tenant=tenant, key=medium, cause=envelope.id, time=envelope.time)
        marker = Insert(done, tenant, "erased", {"case": "", "medium": medium})
        await self._documents.insert("dossiers", marker, outbox=[record])

    async def on_medium_erased(self, envelope: Envelope[m.MediumErased]) -> None:
        """Write the cases anew, without the medium and without a correction that came while it was erased."""
        medium, tenant = envelope.body.medium, envelope.tenant
        for correction in await self._documents.find("corrections", {"medium": medium, "tenant": tenant}):
            made_at = datetime.datetime.fromisoformat(correction.body["made_at"])
            if await erasures.covers(self._documents, tenant, medium, made_at):
                await self._documents.delete("corrections", correction.id)
        await self._want_cases_of(envelope.body.medium, envelope)

    async def mend(self) -> None:
        """Ask again for versions whose writing was given up, so that the last event is covered after all."""
        while True:
            await self._ports.clock.sleep(MEND_SECONDS)
            with contextlib.suppress(TransientError):
                await self.ask_for_the_unwritten()

    async def ask_for_the_unwritten(self) -> None:
        """Have every case written of which more was told than was written."""
        moment = int(self._ports.clock.now().timestamp()) // MEND_SECONDS
        unwritten = await self._news.cases()
        async for document in every(self._documents, "dossiers", {"state": ["empty", "current"]}):
            if _counted_by_others(document):
                unwritten.add((document.id, document.tenant))
        for case, tenant in sorted(unwritten):
            await self._ask(case, tenant, datetime.timedelta(0), f"mend-{moment}")

    async def write(self, held: Held) -> Done:
        """Write the case as it is now; does nothing when everything that was told of it is written already."""
        case = await self._documents.load("cases", held.body["case"])
        wanted = await self._documents.load("dossiers", held.body["case"])
        if case is None or wanted is None:
            raise PermanentError("the case is gone", code="erased")
        # Before the facts: what is told of while they are read is not covered.
        news = await self._news.of(case.id)
        if not news and not _counted_by_others(wanted):
            return Done()
        began = self._ports.clock.monotonic()
        facts = await self._reader.read(case)
        version = int(wanted.body["version"]) + 1
        now = self._ports.clock.now()
        dossier = await asyncio.to_thread(_compose, facts, version, now)
        page = await asyncio.to_thread(render, dossier, await self._images.read(dossier))
        current = await self._keep(held, dossier, page.encode())
        self._pace.wrote(case.id, self._ports.clock.monotonic() - began)
        told = m.DossierPublished(
            case=case.id,
            version=version,
            complete=dossier.complete,
            dossier=ObjectReference.model_validate(current["json"]),
            items=len(dossier.items),
        )
        record = tell(told, tenant=held.tenant, key=case.id, cause=held.cause, time=now)
        if not await self._publish(wanted, current, record):
            await self._discard(case.id, current)
            raise TransientError("another version was written meanwhile", code="dossier_moved")
        # Whoever dies before this has a version written once more; the other way round it would be missing.
        await self._news.cover(news)
        # Not its key: versions are forgotten when a medium in them is erased, and the job stays.
        return Done({"version": version})

    async def _publish(self, wanted: Document, current: Mapping[str, Any], record: Record) -> bool:
        """Make a version the current one; False when others were written or forgotten since `wanted` was read."""
        seen: Document | None = wanted
        change = Change(
            state="current",
            set={"written": wanted.body["wanted"], "version": current["version"], "current": dict(current)},
            push={"versions": {"version": current["version"], "json": current["json"], "html": current["html"]}},
        )
        while seen is not None and {**seen.body, "wanted": 0} == {**wanted.body, "wanted": 0}:
            # More may have been counted of the case meanwhile: this version does not cover it, and says so.
            expect = Expect(version=seen.version)
            moved = await self._documents.transition(
                "dossiers", wanted.id, expect=expect, change=change, outbox=[record]
            )
            if moved.applied:
                return True
            seen = await self._documents.load("dossiers", wanted.id)
        return False

    async def _discard(self, case: str, unused: Mapping[str, Any]) -> None:
        """Remove what was written in vain, unless another writer wrote the same bytes and won."""
        document = await self._documents.load("dossiers", case)
        versions = document.body["versions"] if document else []
        for kind in ("json", "html"):
            key = unused[kind]["key"]
            if key not in {version[kind]["key"] for version in versions}:
                await self._ports.objects.delete(key)

    async def _keep(self, held: Held, dossier: Dossier, page: bytes) -> dict[str, Any]:
        data = dossier.model_dump_json(by_alias=True, indent=1).encode()
        kept = {}
        for kind, content in (("json", data), ("html", page)):
            sha256 = hashlib.sha256(content).hexdigest()
            key = object_keys.dossier(held.tenant, held.body["case"], sha256, kind)
            reference = ObjectReference(key=key, sha256=sha256, size_bytes=len(content))
            await self._ports.objects.put(reference.key, content)
            kept[kind] = reference.model_dump(mode="json")
        return {
            "version": dossier.version,
            "complete": dossier.complete,
            "items": len(dossier.items),
            "digest": await asyncio.to_thread(digest, dossier),
            **kept,
        }

    async def _cases_of(self, medium: str) -> list[str]:
        items = await self._documents.find("items", {"medium": medium}, limit=MOST_ITEMS)
        return sorted({item.body["case"] for item in items})

    async def _want_cases_of(self, medium: str, envelope: Envelope[Any]) -> None:
        for case in await self._cases_of(medium):
            await self._want(case, medium, envelope)

    async def _want(self, case: str, medium: str, envelope: Envelope[Any]) -> None:
        empty = {"case": case, "wanted": 0, "written": 0, "version": 0, "current": None, "versions": []}
        await self._documents.insert("dossiers", Insert(case, envelope.tenant, "empty", empty))
        if not await self._news.tell(case, envelope.tenant, medium, envelope.id):
            return
        if await self._ends.reached(case):
            await self._ask(case, envelope.tenant, datetime.timedelta(0), f"end-{envelope.id}")
        else:
            # Its job starts after this moment is over, so that it covers all that is told within it.
            delay, moment = self._pace.next(case, self._ports.clock.now())
            await self._ask(case, envelope.tenant, delay, moment)

    async def _ask(self, case: str, tenant: str, delay: datetime.timedelta, occasion: str) -> None:
        # By the store's clock, which decides when a job is due.
        now = await self._documents.now()
        body: dict[str, Any] = {"case": case, "run": None, "medium": None}
        job = new_job(job_id(case, JobKind.WRITE.value, occasion), tenant, JobKind.WRITE, submitted_at=now, **body)
        later = {**job.body, **rest_until(now + delay)} if delay else job.body
        if await self._ledger.add(Insert(job.id, job.tenant, job.state, later)):
            self._runner.wake()

    async def _forget_versions(self, case: str) -> None:
        document = await self._documents.load("dossiers", case)
        if document is None:
            return
        for version in document.body["versions"]:
            for kind in ("json", "html"):
                await self._ports.objects.delete(version[kind]["key"])
        change = Change(state="empty", set={"current": None, "versions": []}, add={"forgotten": 1})
        await self._documents.transition("dossiers", case, change=change)


def _counted_by_others(document: Document) -> bool:
    """Tell whether something is to be written that processes of an earlier version counted in the case's document."""
    return bool(document.body["written"] < document.body["wanted"])


def _compose(facts: Facts, version: int, now: datetime.datetime) -> Dossier:
    return assemble(
        facts.case,
        facts.items,
        facts.media,
        version=version,
        created_at=now,
        relations=facts.relations,
        corrections=facts.corrections,
    )


def _passages(tenant: str, picture: Picture) -> list[Passage]:
    return [
        Passage(f.id, tenant, picture.medium, f.kind, f.text or f.label or "", f.start_seconds, f.end_seconds)
        for f in picture.findings
        if f.kind in SEARCHABLE and (f.text or f.label)
    ]
