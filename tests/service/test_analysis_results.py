"""Analyses are computed once, committed with their vectors, and found again."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aima_analysis.analyzers.description import Description
from aima_analysis.service import AnalysisService, deadline_seconds
from aima_common import object_keys
from aima_common.contracts import messages as m
from aima_common.contracts.codec import dumps
from aima_common.contracts.media import Result
from aima_common.errors import TransientError
from aima_common.ids import Sha256, TenantId, medium_id
from aima_common.jobs import Failure, Held, JobKind, new_job
from aima_scheduler.domain import AnalyzerFacts
from tests.service.pretended import MACHINE, PretendedInference
from tests.service.stage import NOW, SHA, TENANT, Stage, analyzer_body, derivatives, segment, staged

KEY = "ef" * 32
FILM = medium_id(TenantId(TENANT), Sha256(SHA))
RESULT = object_keys.result(TENANT, FILM, KEY)


class Lab:
    """Analysis with an inference that pretends."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.inference = PretendedInference()
        descriptions = [
            Description(analyzer_body(name, models=[], parameters={}), reason)
            for name, reason in (("labels", None), ("speech", "its model is missing"))
        ]
        self.service = AnalysisService(
            stage.ports, stage.ledger, self.inference, descriptions, machine=MACHINE, slots=1
        )

    async def job(self, name: str = "job") -> Held:
        part = derivatives(0)
        assert part.frames is not None
        await self.stage.ports.objects.put(part.frames.key, b"frames")
        body: dict[str, Any] = {"run": "run", "medium": FILM, "lane": "video", "analyzer": "labels"}
        body |= {"analyzer_version": "1", "segment": segment(0).model_dump(), "input": part.frames.model_dump()}
        body |= {"result_key": KEY, "needs": {}, "capability": "labels"}
        assert await self.stage.ledger.add(new_job(name, TENANT, JobKind.ANALYSE, submitted_at=NOW, **body))
        held = await self.stage.ledger.claim(await self.stage.one("jobs", name))
        assert held is not None
        return held

    async def do(self, held: Held) -> m.AnalysisCompleted:
        done = await self.service.analyse(held)
        await self.stage.ledger.finish(held, done.state, done.fields, done.outbox)
        found: m.AnalysisCompleted = (await self.stage.told(m.AnalysisCompleted))[-1]
        return found


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async with staged(tmp_path) as stage:
        yield Lab(stage)


async def test_a_result_is_an_object_under_its_key_with_its_vectors_and_a_reference_in_the_message(lab: Lab) -> None:
    told = await lab.do(await lab.job())
    result = Result.model_validate_json(await lab.stage.ports.objects.get(RESULT))
    assert (told.result.key, told.finding_count, told.computed, told.segment) == (RESULT, 1, True, 0)
    assert (result.key, result.medium, result.findings[0].label) == (KEY, FILM, "cat")
    near = await lab.stage.ports.vectors.nearest(
        "images", result.vectors[0].vector, where={"tenant": TENANT, "medium": FILM}
    )
    assert len(near) == 1


async def test_what_was_computed_once_is_found_again_by_whoever_asks(lab: Lab) -> None:
    first = await lab.do(await lab.job("one"))
    second = await lab.do(await lab.job("two"))
    assert lab.inference.calls == ["labels"]
    assert (first.computed, second.computed) == (True, False)
    assert first.result == second.result


async def test_a_crash_after_computing_costs_no_second_computation(lab: Lab) -> None:
    held = await lab.job()
    await lab.service.analyse(held)
    await lab.stage.ledger.release(held)
    again = await lab.stage.ledger.claim(await lab.stage.one("jobs", "job"))
    assert again is not None
    assert not (await lab.do(again)).computed
    assert lab.inference.calls == ["labels"]


async def test_of_two_that_compute_the_same_the_first_answer_stands(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    held = await lab.job()
    analyse = lab.inference.analyse

    async def somebody_is_faster(*arguments: Any, **options: Any) -> Any:
        found = await analyse(*arguments, **options)
        other = Result(key=KEY, medium=FILM, segment=segment(0), analyzer="labels", analyzer_version="1", findings=[])
        await lab.stage.ports.objects.put(RESULT, dumps(other.model_dump(mode="json")))
        return found

    monkeypatch.setattr(lab.inference, "analyse", somebody_is_faster)
    told = await lab.do(held)
    assert told.finding_count == 0
    assert (await lab.stage.one("jobs", "job")).state == "done"


async def test_a_failed_attempt_is_told_whether_it_will_be_tried_again_or_not(lab: Lab) -> None:
    held = await lab.job()
    failure = Failure.of(TransientError("the process died", code="inference_died"))
    await lab.stage.ledger.fail(held, failure, lab.service._on_failure(held, failure))
    (told,) = await lab.stage.told(m.AnalysisFailed)
    assert (told.job, told.epoch, told.code, told.transient) == ("job", 1, "inference_died", True)


async def test_analyzers_are_announced_together_and_again_at_every_start(lab: Lab) -> None:
    for _ in range(2):
        await lab.service.announce()
    labels, speech = await lab.stage.all("analyzers")
    assert labels.body["together_with"] == speech.body["together_with"] == ["labels", "speech"]
    assert (labels.state, speech.state) == ("available", "unavailable")
    assert AnalyzerFacts.of(labels.state, labels.body).name == "labels"
    assert AnalyzerFacts.of(speech.state, speech.body).unavailable


def test_a_longer_part_may_take_longer() -> None:
    assert deadline_seconds(None) < deadline_seconds(segment(0)) < deadline_seconds(segment(1))


async def test_the_input_is_what_was_planned(lab: Lab) -> None:
    held = await lab.job()
    assert held.body["input"]["sha256"] == SHA
