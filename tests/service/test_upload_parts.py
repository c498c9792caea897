"""Uploads in parts (tus 1.0): they go on where they stopped."""

import base64
import hashlib
import io
from typing import Any

import pytest

from aima_upload.reception import Reception

PART = {"Content-Type": "application/offset+octet-stream", "Tus-Resumable": "1.0.0"}


async def begin(doors: Any, case: str, length: int, **given: str) -> str:
    fields = {"case": case, "filename": "film.mp4", **given}
    metadata = ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in fields.items())
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": str(length), "Upload-Metadata": metadata}
    async with doors.http.post("/v1/uploads", headers=headers) as answer:
        assert answer.status == 201, await answer.text()
        return str(answer.headers["Location"])


async def offset(doors: Any, place: str) -> int:
    async with doors.http.head(place) as answer:
        assert answer.status == 200
        return int(answer.headers["Upload-Offset"])


async def send(doors: Any, place: str, at: int, data: bytes) -> Any:
    return await doors.http.patch(place, data=io.BytesIO(data), headers={**PART, "Upload-Offset": str(at)})


async def test_an_upload_in_parts_is_complete_with_its_last_byte(doors: Any) -> None:
    data = bytes(range(256)) * 9000
    case = await doors.case()
    place = await begin(doors, case, len(data), sha256=hashlib.sha256(data).hexdigest())
    at = 0
    for length in (1, 1_000_000, 0, len(data) - 1_000_001):
        assert await offset(doors, place) == at
        answer = await send(doors, place, at, data[at : at + length])
        assert answer.status == 204
        at += length
    assert answer.headers["Aima-Medium"]
    assert await doors.ports.objects.get(f"t/default/originals/{hashlib.sha256(data).hexdigest()}") == data
    async with doors.http.get(place) as shown:
        assert (await shown.json())["state"] == "complete"


async def test_a_part_that_begins_elsewhere_is_refused(doors: Any) -> None:
    place = await begin(doors, await doors.case(), 10)
    assert (await send(doors, place, 0, b"01234")).status == 204
    for wrong in (0, 4, 6):
        answer = await send(doors, place, wrong, b"56789")
        assert (answer.status, (await answer.json())["code"]) == (409, "wrong_offset")
    assert (await send(doors, place, 5, b"56789")).status == 204


async def test_another_process_goes_on_with_what_it_finds(doors: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"0123456789" * 200_000
    place = await begin(doors, await doors.case(), len(data))
    assert (await send(doors, place, 0, data[:700_000])).status == 204
    # As after a restart: nothing is remembered of the running hash.
    monkeypatch.setattr(Reception, "continues", lambda self, writer, size: False)
    assert (await send(doors, place, 700_000, data[700_000:])).status == 204
    async with doors.http.get(place) as shown:
        assert (await shown.json())["sha256"] == hashlib.sha256(data).hexdigest()


async def test_more_bytes_than_declared_are_refused(doors: Any) -> None:
    place = await begin(doors, await doors.case(), 5)
    answer = await send(doors, place, 0, b"0123456789")
    assert (answer.status, (await answer.json())["code"]) == (422, "size_mismatch")
    assert await offset(doors, place) == 0
    assert (await send(doors, place, 0, b"01234")).status == 204


async def test_an_upload_can_be_given_up(doors: Any) -> None:
    place = await begin(doors, await doors.case(), 10)
    assert (await send(doors, place, 0, b"01234")).status == 204
    for _ in range(2):
        async with doors.http.delete(place) as answer:
            assert answer.status == 204
    answer = await send(doors, place, 5, b"56789")
    assert (answer.status, (await answer.json())["code"]) == (409, "upload_aborted")


async def test_what_lies_unfinished_for_long_is_swept(doors: Any) -> None:
    case = await doors.case()
    place = await begin(doors, case, 10)
    sessions = doors.upload_service.intake.sessions
    assert await sessions.forgotten(3600) == []
    [old] = await sessions.forgotten(-1)
    await doors.upload_service.intake.abort(old)
    async with doors.http.get(place) as shown:
        assert (await shown.json())["state"] == "aborted"


async def test_what_is_spoken_is_told(doors: Any) -> None:
    async with doors.http.options("/v1/uploads") as answer:
        assert answer.headers["Tus-Version"] == "1.0.0"
        assert "creation" in answer.headers["Tus-Extension"]
