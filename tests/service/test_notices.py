"""What those outside are told: numbered, in order, once per news, and nothing that is not theirs to know."""

import asyncio
import datetime
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aima_common.contracts import messages as m
from aima_common.contracts.base import Message
from aima_common.contracts.codec import decode
from aima_common.contracts.media import ObjectReference
from aima_common.contracts.outside import Notice, results_topic
from aima_common.contracts.telling import tell
from aima_common.ports.bus import Delivery
from aima_common.ports.documents import Change, Insert
from aima_common.runtime.tenant_topics import tenant_topics
from aima_gateway.service import Gateway
from aima_gateway.settings import Settings
from tests.service.stage import ORIGINAL, SHA, TENANT, Stage, staged

NOW = datetime.datetime(2026, 11, 23, 12, tzinfo=datetime.UTC)
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Desk:
    """A gateway that is told what the others say, one message after the other."""

    def __init__(self, stage: Stage, **settings: Any) -> None:
        self.stage = stage
        self.gateway = Gateway(stage.ports, Settings(**settings))
        self._handlers = self.gateway.handlers()

    async def hear(self, message: Message, *, cause: str = "", trace: str | None = None) -> Any:
        """Handle a message, and everything that is told because of it."""
        envelope = self.stage.envelope(message, cause=cause)
        if trace:
            envelope = envelope.model_copy(update={"traceparent": trace})
        await self._handlers[type(message)](envelope)
        await self.pass_on()
        return envelope

    async def pass_on(self) -> None:
        while entries := await self.stage.ports.documents.outbox():
            for entry in entries:
                envelope = decode(entry.record)
                await self._handlers[type(envelope.body)](envelope)
            await self.stage.ports.documents.published([entry.token for entry in entries])

    async def again(self, envelope: Any) -> None:
        await self._handlers[type(envelope.body)](envelope)
        await self.pass_on()

    async def item(self, name: str = "item", *, offered: bool = True, case: str = "case", medium: str = "film") -> None:
        origin = {"offer": f"offer of {name}", "traceparent": TRACE} if offered else None
        body = {"case": case, "medium": medium, "file_name": "secret name.mp4", "origin": origin}
        await self.stage.put("items", name, "accepted", **body)

    async def uploaded(self, item: str = "item", medium: str = "film") -> Any:
        return await self.hear(m.MediumUploaded(case="case", item=item, medium=medium, original=ORIGINAL))

    async def progress(
        self, stage: str, done: int = 0, total: int = 10, *, run: str = "run", medium: str = "film"
    ) -> Any:
        made = m.ProgressMade(medium=medium, run=run, stage=stage, done=done, total=total)
        return await self.hear(made)

    async def run(self, state: str, name: str = "run", **body: Any) -> None:
        common = {"medium": "film", "accepted_at": NOW.isoformat(), "reason": None}
        if not await self.stage.ports.documents.insert("runs", Insert(name, TENANT, state, {**common, **body})):
            await self.stage.ports.documents.transition("runs", name, change=Change(state, body))

    async def records(self) -> list[Delivery]:
        """Read the results topic from its beginning."""
        found: list[Delivery] = []
        await self.stage.ports.bus.ensure_topics(tenant_topics(TENANT))
        behind = await self.stage.ports.bus.lag("nobody", [results_topic(TENANT)])
        async with self.stage.ports.bus.subscribe("reader", [results_topic(TENANT)]) as subscription:
            batches = subscription.batches()
            while len(found) < behind:
                found += await anext(batches)
        return found

    async def notices(self) -> list[Notice]:
        return [Notice.model_validate_json(delivery.record.value) for delivery in await self.records()]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with staged(tmp_path) as stage:
        yield Desk(stage)


async def test_an_offered_item_is_told_of_from_its_acceptance_to_its_end(desk: Desk) -> None:
    await desk.item()
    await desk.uploaded()
    await desk.progress("preparing")
    await desk.progress("analysing", 1)
    await desk.progress("fusing", 10)
    await desk.progress("analysed", 10)
    found = await desk.notices()
    assert [notice.type for notice in found] == ["accepted", "progress", "progress", "progress", "analysed"]
    assert [notice.sequence for notice in found] == [1, 2, 3, 4, 5]
    assert {notice.id for notice in found} == {"offer of item"}
    assert {(notice.item, notice.case, notice.medium) for notice in found} == {("item", "case", "film")}
    progress = found[2].progress
    assert progress is not None
    assert (progress.stage, progress.done, progress.total) == ("analysing", 1, 10)


async def test_a_record_is_keyed_and_says_who_what_when_in_its_headers(desk: Desk) -> None:
    await desk.item()
    await desk.uploaded()
    [delivery] = await desk.records()
    headers = delivery.record.headers
    assert delivery.record.key == headers["ce_subject"] == "item"
    assert (headers["aima_tenant"], headers["ce_type"], headers["traceparent"]) == (TENANT, "aima.Notice.v1", TRACE)


async def test_neither_names_of_files_nor_places_of_bytes_are_told(desk: Desk) -> None:
    await desk.item()
    await desk.uploaded()
    dossier = ObjectReference(key="t/default/dossiers/x", sha256=SHA, size_bytes=3)
    await desk.hear(m.DossierPublished(case="case", version=1, complete=True, dossier=dossier, items=1))
    records = await desk.records()
    assert len(records) == 2
    for delivery in records:
        assert b"secret" not in delivery.record.value
        assert b"t/default" not in delivery.record.value


async def test_every_message_twice_tells_nothing_twice(desk: Desk) -> None:
    await desk.item()
    for envelope in [await desk.uploaded(), await desk.progress("preparing"), await desk.progress("analysed", 10)]:
        await desk.again(envelope)
    assert [notice.sequence for notice in await desk.notices()] == [1, 2, 3]


async def test_a_notice_that_comes_late_does_not_take_back_the_newer_one(desk: Desk) -> None:
    await desk.item()
    await desk.uploaded()
    [first] = await desk.stage.all("notices")
    await desk.progress("analysed", 10)
    notices = await desk.notices()
    late = m.NoticeGiven(subject="item", notice=notices[0])
    await desk.hear(late)
    assert [notice.sequence for notice in await desk.notices()] == [1, 2]
    await desk.hear(m.NoticeGiven(subject="item", notice=notices[1]))
    assert [notice.sequence for notice in await desk.notices()] == [1, 2, 2], "the newest may be repeated"
    assert first.body["sequence"] == 1


async def test_progress_is_told_in_steps_and_not_part_by_part(desk: Desk) -> None:
    await desk.item()
    for done in range(1001):
        envelope = desk.stage.envelope(m.ProgressMade(medium="film", run="r", stage="analysing", done=done, total=1000))
        await desk.gateway._notices.note(envelope)
    told = await desk.stage.told(m.NoticeGiven)
    assert [given.notice.progress.done for given in told] == [*range(0, 1001, 100)]


@pytest.mark.parametrize("stage", ["rejected", "failed", "cancelled"])
async def test_an_end_that_is_no_success_comes_with_its_reason(desk: Desk, stage: str) -> None:
    await desk.item()
    await desk.run(stage, reason={"code": "truncated", "reason": "it is cut off", "remedy": "send it whole"})
    await desk.progress(stage)
    [notice] = await desk.notices()
    assert notice.type == stage
    assert (notice.code, notice.reason, notice.remedy) == ("truncated", "it is cut off", "send it whole")


async def test_a_rejected_medium_that_is_prepared_again_is_told_of_again(desk: Desk) -> None:
    await desk.item()
    await desk.run("rejected", reason={"code": "truncated", "reason": "x", "remedy": ""})
    await desk.progress("rejected")
    await desk.progress("preparing")
    await desk.progress("rejected")
    assert [notice.type for notice in await desk.notices()] == ["rejected", "progress", "rejected"]


async def test_what_was_erased_is_told_without_anything_of_it(desk: Desk) -> None:
    await desk.item()
    await desk.uploaded()
    await desk.progress("erased")
    notice = (await desk.notices())[-1]
    assert notice.type == "erased"
    assert (notice.id, notice.medium, notice.reason) == (None, None, None)


async def test_items_with_the_same_content_are_told_of_each(desk: Desk) -> None:
    for name in ("one", "two"):
        await desk.item(name)
    await desk.item("by hand", offered=False)
    await desk.progress("analysed", 10)
    assert {notice.item for notice in await desk.notices()} == {"one", "two"}


async def test_only_the_newest_run_speaks_for_a_medium(desk: Desk) -> None:
    await desk.item()
    await desk.run("cancelled", "old", accepted_at="2026-01-01T00:00:00+00:00")
    await desk.run("analysing", "new")
    await desk.progress("cancelled", run="old")
    assert await desk.notices() == []
    await desk.progress("analysed", 10, run="new")
    assert [notice.type for notice in await desk.notices()] == ["analysed"]


async def test_acceptance_is_no_news_of_what_is_under_way(desk: Desk) -> None:
    await desk.item()
    await desk.progress("analysing", 5)
    await desk.uploaded()
    assert [notice.type for notice in await desk.notices()] == ["progress"]


async def test_the_dossier_of_an_offered_case_is_told_by_version_and_path(desk: Desk) -> None:
    dossier = ObjectReference(key="t/default/dossiers/x", sha256=SHA, size_bytes=3)
    await desk.hear(m.DossierPublished(case="other", version=1, complete=True, dossier=dossier, items=1))
    await desk.item()
    await desk.uploaded()
    for version in (1, 2):
        await desk.hear(
            m.DossierPublished(case="case", version=version, complete=version > 1, dossier=dossier, items=1)
        )
    told = [delivery for delivery in await desk.records() if delivery.record.key == "case"]
    found = [Notice.model_validate_json(delivery.record.value) for delivery in told]
    assert [notice.sequence for notice in found] == [1, 2]
    newest = found[-1].dossier
    assert newest is not None
    assert (newest.version, newest.complete, newest.path) == (2, True, "/v1/cases/case/dossier")
    assert not [one for one in await desk.notices() if one.case == "other"]


async def test_an_offer_that_became_no_item_is_told_with_its_place(desk: Desk) -> None:
    rejected = m.OfferRejected(
        offer="arrival", id="mine", case=None, code="hash_mismatch", reason="other bytes", remedy="correct it",
        topic="aima.ingress.default", partition=3, offset=17,
    )  # fmt: skip
    await desk.hear(rejected, trace=TRACE)
    [delivery] = await desk.records()
    assert delivery.record.key == "arrival"
    assert delivery.record.headers["traceparent"] == TRACE
    told = json.loads(delivery.record.value)
    assert (told["type"], told["id"], told["code"]) == ("rejected", "mine", "hash_mismatch")
    assert told["offer"] == {"topic": "aima.ingress.default", "partition": 3, "offset": 17}


async def test_what_people_upload_is_told_only_where_somebody_wants_it(desk: Desk, tmp_path: Path) -> None:
    await desk.item("by hand", offered=False)
    await desk.uploaded("by hand")
    await desk.progress("analysed", 10)
    assert await desk.notices() == []
    assert await desk.stage.all("notices") == []
    wanting = Desk(desk.stage, notices_of_everything=True)
    await wanting.progress("analysed", 10)
    assert [notice.item for notice in await wanting.notices()] == ["by hand"]


async def test_a_tenant_is_told_nothing_of_another_ones(desk: Desk) -> None:
    await desk.item()
    body = {"case": "theirs", "medium": "film", "origin": {"offer": "theirs", "traceparent": None}}
    await desk.stage.ports.documents.insert("items", Insert("theirs", "other", "accepted", body))
    await desk.progress("analysed", 10)
    assert [notice.item for notice in await desk.notices()] == ["item"]


async def test_notices_are_no_events_of_cases(desk: Desk) -> None:
    await desk.item()
    await desk.uploaded()
    assert await desk.stage.ports.documents.read("events/_operations") == []
    assert len(await desk.stage.ports.documents.read("events/case")) == 1


async def test_two_gateways_that_note_at_once_number_one_after_the_other(desk: Desk) -> None:
    await desk.item()
    stages = ["preparing", "analysing", "fusing", "analysed"]
    envelopes = [
        desk.stage.envelope(m.ProgressMade(medium="film", run="r", stage=stage, done=0, total=1)) for stage in stages
    ]
    others = [Desk(desk.stage).gateway for _ in stages]
    await asyncio.gather(*(one._notices.note(envelope) for one, envelope in zip(others, envelopes, strict=True)))
    told = await desk.stage.told(m.NoticeGiven)
    assert sorted(given.notice.sequence for given in told) == [1, 2, 3, 4]
    assert len({given.notice.sequence for given in told}) == len(told)


def test_a_record_of_a_message_carries_its_trace() -> None:
    told = tell(m.MediumErased(medium="m"), tenant=TENANT, key="m", cause="c", time=NOW, traceparent=TRACE)
    assert decode(told).traceparent == TRACE
    plain = tell(m.MediumErased(medium="m"), tenant=TENANT, key="m", cause="c", time=NOW)
    assert decode(plain).id == decode(told).id, "the same fact is the same message, whoever asked for it"
