"""A medium that was rejected is prepared once more when somebody asks for it, and its run is open again."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aima_common.contracts import messages as m
from aima_common.contracts.codec import decode
from aima_common.ids import job_id
from aima_common.jobs import JobKind
from aima_common.ports.documents import Change, Expect
from aima_monitoring.transitions import LEGAL
from aima_preprocessing.service import Preprocessing
from aima_scheduler.service import Scheduler
from tests.service.pretended import PretendedDecoder
from tests.service.stage import NOW, ORIGINAL, Stage, analyzer_body, staged, uploaded

PREPARE = job_id("film", JobKind.PREPARE.value)


class Workshop:
    """Preprocessing and the scheduler, told each what the other says."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.services = (
            Preprocessing(stage.ports, stage.ledger, PretendedDecoder(segments=2), slots=1),
            Scheduler(stage.ports, stage.ledger),
        )

    async def hear(self, *envelopes: Any) -> None:
        for envelope in envelopes:
            for service in self.services:
                handler = service.handlers().get(type(envelope.body))
                if handler:
                    await handler(envelope)

    async def pass_on(self) -> None:
        """Tell everybody everything that waits to be told."""
        while entries := await self.stage.ports.documents.outbox():
            await self.hear(*(decode(entry.record) for entry in entries))
            await self.stage.ports.documents.published([entry.token for entry in entries])

    async def prepare(self, content: bytes) -> None:
        await self.stage.ports.objects.delete(ORIGINAL.key)
        await self.stage.ports.objects.put(ORIGINAL.key, content)
        held = await self.stage.ledger.claim(await self.stage.one("jobs", PREPARE))
        assert held is not None
        done = await self.services[0].prepare(held)
        await self.stage.ledger.finish(held, done.state, done.fields, done.outbox)
        await self.pass_on()

    async def states(self) -> tuple[str, str, str]:
        (run,) = await self.stage.all("runs")
        (letter,) = await self.stage.all("dead_letters")
        return (await self.stage.one("preparations", "film")).state, run.state, letter.state

    async def retry(self) -> Any:
        """Do what the gateway does before it tells; return what it tells."""
        (letter,) = await self.stage.all("dead_letters")
        await self.stage.ports.documents.transition(
            "dead_letters", letter.id, expect=Expect("open"), change=Change("retried")
        )
        wish = m.PreparationRequested(medium="film", requested_by="an operator")
        return self.stage.envelope(wish, cause=f"{letter.id}-{letter.version}")


@pytest.fixture
async def workshop(tmp_path: Path) -> AsyncIterator[Workshop]:
    async with staged(tmp_path) as stage:
        workshop = Workshop(stage)
        await stage.put("analyzers", "shots", "available", **analyzer_body("shots"))
        await stage.put("cases", "case", "open", name="case", options={})
        await stage.put("items", "item", "accepted", case="case", medium="film", accepted_at=NOW.isoformat())
        await workshop.hear(stage.envelope(uploaded()))
        await workshop.prepare(b"cut off")
        assert await workshop.states() == ("rejected", "rejected", "open")
        yield workshop


async def test_a_rejected_medium_that_can_be_prepared_by_now_is_analysed(workshop: Workshop) -> None:
    await workshop.hear(await workshop.retry())
    await workshop.pass_on()
    assert await workshop.states() == ("preparing", "accepted", "retried")
    await workshop.prepare(b"film")
    assert await workshop.states() == ("prepared", "analysing", "retried")
    assert await workshop.stage.all("jobs", kind="analyse")


async def test_what_is_rejected_again_has_an_open_letter_again(workshop: Workshop) -> None:
    for _ in range(3):
        await workshop.hear(await workshop.retry())
        await workshop.pass_on()
        assert await workshop.states() == ("preparing", "accepted", "retried")
        await workshop.prepare(b"cut off")
        assert await workshop.states() == ("rejected", "rejected", "open")


async def test_the_wish_that_comes_twice_is_one_wish(workshop: Workshop) -> None:
    wish = await workshop.retry()
    await workshop.hear(wish, wish)
    await workshop.pass_on()
    await workshop.prepare(b"cut off")
    before = await workshop.stage.everything()
    await workshop.hear(wish, wish)
    await workshop.pass_on()
    assert await workshop.stage.everything() == before


async def test_a_medium_that_is_prepared_is_left_alone(workshop: Workshop) -> None:
    await workshop.hear(await workshop.retry())
    await workshop.prepare(b"film")
    before = await workshop.stage.everything()
    await workshop.hear(workshop.stage.envelope(m.PreparationRequested(medium="film", requested_by="x")))
    await workshop.pass_on()
    assert await workshop.stage.everything() == before


async def test_what_happened_to_the_documents_is_what_the_auditor_allows(workshop: Workshop) -> None:
    await workshop.hear(await workshop.retry())
    await workshop.prepare(b"film")
    for collection in ("preparations", "runs", "jobs"):
        for line in await workshop.stage.ports.documents.history(collection):
            assert line.state_after in LEGAL[collection][line.state_before], (collection, line)
