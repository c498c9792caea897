"""Parts come in any order, twice, or never: the picture is asked for once, and is the same."""

import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from aima_common import object_keys
from aima_common.contracts import messages as m
from aima_common.contracts.codec import dumps
from aima_common.contracts.envelope import Envelope
from aima_common.contracts.media import Finding, FindingVector, MissingCapability, ObjectReference, Result
from aima_common.contracts.picture import Picture
from aima_common.errors import PermanentError, TransientError
from aima_common.jobs import JobKind
from aima_common.ports.documents import Change
from aima_common.ports.vectors import Point
from aima_fusion.service import Fusion
from tests.service.stage import PROBE, SHA, STILL, TENANT, Stage, derivatives, segment, staged

JOBS = ("job-0", "job-1", "job-2")
GONE = "job-2"
"""The part that is given up."""


class Desk:
    """Fusion, and what others have written."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.fusion = Fusion(stage.ports, stage.ledger)

    async def hear(self, *envelopes: Envelope[Any]) -> None:
        for envelope in envelopes:
            await self.fusion.handlers()[type(envelope.body)](envelope)

    async def result(self, index: int) -> ObjectReference:
        found = Finding(
            kind="label",
            start_seconds=index * 60.0 + 1,
            end_seconds=index * 60.0 + 2,
            label=f"label {index}",
            confidence=0.5,
            analyzer="labels",
        )
        result = Result(
            key=f"{index}" * 64,
            medium="film",
            segment=segment(index),
            analyzer="labels",
            analyzer_version="1",
            findings=[found],
        )
        data = dumps(result.model_dump(mode="json"))
        key = object_keys.result(TENANT, result.medium, result.key)
        await self.stage.ports.objects.put(key, data)
        return ObjectReference(key=key, sha256=SHA, size_bytes=len(data))

    async def messages(self) -> dict[str, Envelope[Any]]:
        """Make what a run with two results and a part given up is told by."""
        same = {"analyzer": "labels", "capability": "labels"}
        parts = [m.PlannedPart.model_validate({"job": job, "segment": n, **same}) for n, job in enumerate(JOBS)]
        lack = [MissingCapability(capability="speech", reason="its model is missing")]
        said: dict[str, Any] = {"planned": m.AnalysisPlanned(medium="film", run="run", parts=parts, missing=lack)}
        for index in (0, 1):
            said[f"part {index}"] = m.AnalysisCompleted(
                medium="film",
                run="run",
                job=JOBS[index],
                analyzer="labels",
                segment=index,
                result=await self.result(index),
                finding_count=1,
            )
        said["given up"] = m.AnalysisAbandoned(
            medium="film", run="run", job=GONE, analyzer="labels", capability="labels", segment=2, reason="it broke"
        )
        return {name: self.stage.envelope(body, cause=name) for name, body in said.items()}

    async def fold(self) -> Picture:
        """Do the one fold that was asked for."""
        (job,) = await self.stage.all("jobs", kind=JobKind.FUSE.value)
        held = await self.stage.ledger.claim(job)
        assert held is not None
        done = await self.fusion.fuse(held)
        await self.stage.ledger.finish(held, done.state, done.fields, done.outbox)
        (told,) = await self.stage.told(m.PictureCompleted)
        return Picture.model_validate_json(await self.stage.ports.objects.get(told.picture.key))

    async def folds(self) -> int:
        return len(await self.stage.all("jobs", kind=JobKind.FUSE.value))


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    async with staged(tmp_path) as stage:
        parts = [derivatives(index).model_dump(mode="json") for index in range(3)]
        await stage.put(
            "preparations", "film", "prepared", medium="film", type="video", probe=PROBE.model_dump(), segments=parts
        )
        yield Desk(stage)


ORDERS = list(itertools.permutations(["planned", "part 0", "part 1", "given up"]))


@pytest.mark.parametrize("order", ORDERS, ids="-".join)
async def test_in_any_order_and_twice_the_fold_is_asked_for_once_when_all_is_in(
    desk: Desk, order: tuple[str, ...]
) -> None:
    messages = await desk.messages()
    for name in order[:-1]:
        await desk.hear(messages[name], messages[name])
        assert await desk.folds() == 0
    await desk.hear(messages[order[-1]], *(messages[name] for name in order))
    assert await desk.folds() == 1
    picture = await desk.fold()
    assert [finding.label for finding in picture.findings] == ["label 0", "label 1"]
    assert {(lack.capability, lack.reason) for lack in picture.missing} >= {
        ("speech", "its model is missing"),
        ("labels", "it broke"),
    }
    before = await desk.stage.everything()
    await desk.hear(*messages.values())
    assert await desk.stage.everything() == before


async def test_every_order_makes_the_same_bytes(tmp_path: Path) -> None:
    keys = set()
    for number, order in enumerate((ORDERS[0], ORDERS[-1], ORDERS[9])):
        async with staged(tmp_path / str(number)) as stage:
            desk = Desk(stage)
            parts = [derivatives(index).model_dump(mode="json") for index in range(3)]
            body = {"medium": "film", "type": "video", "probe": PROBE.model_dump(), "segments": parts}
            await stage.put("preparations", "film", "prepared", **body)
            messages = await desk.messages()
            await desk.hear(*(messages[name] for name in order))
            await desk.fold()
            keys.add((await stage.told(m.PictureCompleted))[0].picture.key)
    assert len(keys) == 1


async def test_a_part_that_comes_after_it_was_given_up_is_not_missing(desk: Desk) -> None:
    messages = await desk.messages()
    late = messages["given up"].body.model_copy(update={"job": JOBS[1]})
    plan = messages["planned"].body
    shorter = plan.model_copy(update={"parts": plan.parts[:2]})
    await desk.hear(desk.stage.envelope(late), messages["part 0"], messages["part 1"], desk.stage.envelope(shorter))
    picture = await desk.fold()
    assert [finding.label for finding in picture.findings] == ["label 0", "label 1"]
    assert {lack.capability for lack in picture.missing} == {"speech"}


async def test_a_run_with_nothing_to_look_for_is_folded_at_once(desk: Desk) -> None:
    await desk.hear(desk.stage.envelope(m.AnalysisPlanned(medium="film", run="run", parts=[])))
    assert (await desk.fold()).findings == []


async def test_a_fold_interrupted_before_its_commit_is_done_again_and_says_the_same(desk: Desk) -> None:
    messages = await desk.messages()
    await desk.hear(*messages.values())
    (job,) = await desk.stage.all("jobs", kind=JobKind.FUSE.value)
    held = await desk.stage.ledger.claim(job)
    assert held is not None
    await desk.fusion.fuse(held)
    # The process dies here: the picture is complete, the job is not, and nobody was told.
    assert await desk.stage.told(m.PictureCompleted) == []
    await desk.stage.ledger.release(held)
    first = (await desk.stage.one("pictures", "run")).body["picture"]
    await desk.fold()
    assert (await desk.stage.one("pictures", "run")).body["picture"] == first


async def test_a_run_that_is_planned_anew_is_folded_anew(desk: Desk) -> None:
    messages = await desk.messages()
    await desk.hear(*messages.values())
    await desk.fold()
    await desk.hear(desk.stage.envelope(messages["planned"].body, cause="taken up again"))
    assert await desk.folds() == 2


async def test_erasure_empties_the_picture_and_answers_every_request(desk: Desk) -> None:
    messages = await desk.messages()
    await desk.hear(*messages.values())
    await desk.fold()
    payload: dict[str, str | float | int] = {"tenant": TENANT, "medium": "film"}
    await desk.stage.ports.vectors.put("images", [Point("6f4b7b0e-2d0a-5c1c-9a39-41494d410001", [1.0, 0.0], payload)])
    await desk.stage.put("relations", "relation", "near_duplicate", medium="film", other="x", similarity=1.0)
    requests = [
        desk.stage.envelope(m.ErasureRequested(medium="film", requested_by="k"), cause=cause) for cause in ("1", "2")
    ]
    for request in requests:
        await desk.hear(request, request)
    assert await desk.stage.told(m.PartErased) == [m.PartErased(medium="film", owner="fusion")] * 2
    picture = await desk.stage.one("pictures", "run")
    assert (picture.state, picture.body["parts"], picture.body["picture"]) == ("erased", {}, None)
    assert await desk.stage.all("relations") == []
    assert not await desk.stage.ports.vectors.nearest("images", [1.0, 0.0], where={"tenant": TENANT})


async def test_a_fold_under_way_does_not_bring_an_erased_picture_back(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = await desk.messages()
    await desk.hear(*messages.values())
    (job,) = await desk.stage.all("jobs", kind=JobKind.FUSE.value)
    held = await desk.stage.ledger.claim(job)
    assert held is not None
    keep = desk.fusion._keep

    async def erased_meanwhile(tenant: str, picture: Picture) -> ObjectReference:
        await desk.stage.ports.documents.transition("pictures", "run", change=Change(state="erased"))
        return await keep(tenant, picture)

    monkeypatch.setattr(desk.fusion, "_keep", erased_meanwhile)
    with pytest.raises(TransientError, match="while it was folded"):
        await desk.fusion.fuse(held)
    with pytest.raises(PermanentError, match="erased"):
        await desk.fusion.fuse(held)
    assert (await desk.stage.one("pictures", "run")).body["picture"] is None


@pytest.mark.parametrize(("distance", "related"), [(0, True), (40, False)], ids=["the same picture", "another"])
async def test_of_two_stills_folded_in_either_order_the_same_picture_is_related_once(
    tmp_path: Path, distance: int, related: bool
) -> None:
    hashes = {"one": "0" * 16, "two": f"{(1 << distance) - 1:016x}"}
    vectors = {"one": [1.0, 0.0], "two": [1.0, 0.01] if related else [0.0, 1.0]}
    async with staged(tmp_path) as stage:
        fusion = Fusion(stage.ports, stage.ledger)
        for medium, vector in vectors.items():
            identity = f"00000000-0000-0000-0000-{hashes[medium][-11:]}{'1' if medium == 'one' else '2'}"
            payload: dict[str, str | float | int] = {"tenant": TENANT, "medium": medium}
            await stage.ports.vectors.put("images", [Point(identity, vector, payload)])
        for medium in ("two", "one", "two"):
            await still(stage, fusion, medium, vectors[medium], hashes[medium])
        assert len(await stage.all("relations")) == int(related)


async def still(stage: Stage, fusion: Fusion, medium: str, vector: list[float], phash: str) -> None:
    result = Result(
        key=medium * 20,
        medium=medium,
        segment=None,
        analyzer="labels",
        analyzer_version="1",
        findings=[],
        vectors=[FindingVector(space="images", vector=vector)],
    )
    data = dumps(result.model_dump(mode="json"))
    key = object_keys.result(TENANT, result.medium, result.key)
    await stage.ports.objects.put(key, data)
    body: dict[str, Any] = {"medium": medium, "type": "image", "probe": STILL.model_dump(), "segments": []}
    await stage.ports.documents.delete("preparations", medium)
    await stage.put("preparations", medium, "prepared", **body, perceptual_hash=phash)
    run = f"run of {medium}"
    part = m.PlannedPart(job=f"job of {medium}", analyzer="labels", capability="labels")
    completed = m.AnalysisCompleted(
        medium=medium,
        run=run,
        job=part.job,
        analyzer="labels",
        result=ObjectReference(key=key, sha256=SHA, size_bytes=len(data)),
        finding_count=0,
    )
    plan = m.AnalysisPlanned(medium=medium, run=run, parts=[part])
    for body_of in (plan, completed):
        envelope = stage.envelope(body_of)
        await fusion.handlers()[type(body_of)](envelope)
    for job in await stage.all("jobs", kind=JobKind.FUSE.value, state="ready"):
        held = await stage.ledger.claim(job)
        assert held is not None
        done = await fusion.fuse(held)
        await stage.ledger.finish(held, done.state, done.fields, done.outbox)
