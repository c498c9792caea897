"""Corrections: what a person says instead of a model, on its way from the gateway to the dossier service."""

import hashlib
from typing import Any

import pytest

from aima_common import object_keys
from aima_common.contracts import messages as m
from aima_common.contracts.codec import decode, dumps
from aima_common.contracts.media import MediumType
from aima_common.contracts.picture import Picture, PictureFinding
from aima_common.ports.documents import Insert
from aima_gateway.keys import Role
from tests.service.conftest import bearer
from tests.service.stage import NOW, STILL

FINDING = PictureFinding(
    id="finding", kind="text", start_seconds=0.0, end_seconds=0.0, text="THE KEY", confidence=0.9, analyzer="text"
)
GOOD = {"finding": "finding", "field": "text", "value": "THE QUAY"}


async def analysed(doors: Any, state: str = "analysed") -> str:
    """Upload a still and write its picture, as fusion would."""
    medium = str((await doors.upload(await doors.case(), b"hello"))["medium"])
    picture = Picture(medium=medium, run="run", type=MediumType.IMAGE, probe=STILL, findings=[FINDING])
    data = dumps(picture.model_dump(mode="json"))
    digest = hashlib.sha256(data).hexdigest()
    key = object_keys.picture("default", medium, digest)
    await doors.ports.objects.put(key, data)
    reference = {"key": key, "sha256": digest, "size_bytes": len(data)}
    body = {"medium": medium, "accepted_at": NOW.isoformat(), "parts_done": 1, "parts_total": 1, "reason": None}
    await doors.ports.documents.insert("runs", Insert("run", "default", state, body))
    gathered = {"medium": medium, "picture": reference}
    await doors.ports.documents.insert("pictures", Insert("run", "default", "complete", gathered))
    return medium


async def told(doors: Any) -> list[Any]:
    """Read the corrections that were told, published or not."""
    found = await doors.ports.documents.find("counters", {})
    return [document for document in found if document.body.get("message") == "CorrectionMade"]


async def test_a_correction_is_told_once_with_the_name_of_its_author(doors: Any) -> None:
    medium = await analysed(doors)
    writer = bearer(await doors.key(Role.writer)) | {"Idempotency-Key": "once"}
    answers = []
    for _ in range(2):
        async with doors.http.post(f"/v1/media/{medium}/corrections", json=GOOD, headers=writer) as answer:
            assert answer.status == 202, await answer.text()
            answers.append(await answer.json())
    assert answers[0] == answers[1]
    assert len(await told(doors)) == 1
    async with doors.ports.bus.subscribe("test", ["aima.correction.made"]) as subscription:
        [delivery] = await anext(subscription.batches())
    envelope = decode(delivery.record)
    assert envelope.id == answers[0]["id"]
    made = m.CorrectionMade(medium=medium, finding="finding", field="text", value="THE QUAY", author="test")
    assert envelope.body == made


async def test_what_was_corrected_is_not_kept_with_the_answer(doors: Any) -> None:
    medium = await analysed(doors)
    async with doors.http.post(
        f"/v1/media/{medium}/corrections", json=GOOD, headers={"Idempotency-Key": "once"}
    ) as answer:
        assert answer.status == 202
    kept = [*await doors.ports.documents.find("idempotency", {}), *await told(doors)]
    assert len(kept) == 2
    assert "QUAY" not in str([document.body for document in kept])


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({**GOOD, "field": "confidence"}, "field"),
        ({**GOOD, "field": "label"}, "field"),
        ({**GOOD, "field": "kind"}, "value"),
        ({**GOOD, "value": "  "}, "value"),
        ({**GOOD, "value": "x" * 2001}, "value"),
        ({**GOOD, "value": "bell\x07"}, "value"),
        ({**GOOD, "value": 7}, "value"),
        ({**GOOD, "colour": "red"}, "colour"),
        ({"field": "text", "value": "x"}, "finding"),
    ],
)
async def test_what_is_no_correction_is_refused_by_field(doors: Any, asked: dict[str, Any], field: str) -> None:
    medium = await analysed(doors)
    async with doors.http.post(f"/v1/media/{medium}/corrections", json=asked) as answer:
        problem = await answer.json()
        assert (answer.status, problem["code"]) == (422, "bad_correction"), problem
        assert field in {error["field"] for error in problem["errors"]}
    assert await told(doors) == []
    async with doors.http.post(f"/v1/media/{medium}/corrections", json=GOOD) as answer:
        assert answer.status == 202


async def test_only_a_finding_of_this_medium_can_be_corrected(doors: Any) -> None:
    medium = await analysed(doors)
    async with doors.http.post(f"/v1/media/{medium}/corrections", json={**GOOD, "finding": "other"}) as answer:
        assert answer.status == 404
    assert await told(doors) == []
    async with doors.http.post(
        f"/v1/media/{medium}/corrections", json={**GOOD, "field": "kind", "value": "speech"}
    ) as answer:
        assert answer.status == 202


async def test_a_medium_that_is_still_being_analysed_is_corrected_later(doors: Any) -> None:
    medium = await analysed(doors, "fusing")
    async with doors.http.post(f"/v1/media/{medium}/corrections", json=GOOD) as answer:
        assert (answer.status, (await answer.json())["code"]) == (409, "not_finished")
    assert await told(doors) == []


async def test_a_reader_and_another_tenant_correct_nothing(doors: Any) -> None:
    medium = await analysed(doors)
    for role, tenant, status in ((Role.reader, "default", 403), (Role.writer, "other", 404)):
        key = bearer(await doors.key(role, tenant))
        async with doors.http.post(f"/v1/media/{medium}/corrections", json=GOOD, headers=key) as answer:
            assert answer.status == status
    assert await told(doors) == []
