"""Uploads straight to the store, where the store is a folder that no client can reach."""

import hashlib
from typing import Any

DATA = b"a film"
SHA256 = hashlib.sha256(DATA).hexdigest()


async def test_where_clients_cannot_reach_the_store_they_are_told_what_to_do_instead(doors: Any) -> None:
    case = await doors.case()
    asked = {"case": case, "file_name": "film.mp4", "sha256": SHA256, "size_bytes": len(DATA)}
    async with doors.http.post("/v1/uploads/direct", json=asked) as answer:
        problem = await answer.json()
        assert (answer.status, problem["code"]) == (501, "no_direct_uploads")
        assert "POST /v1/uploads" in problem["remedy"]
    assert await doors.ports.documents.find("uploads", {}) == []
    made = await doors.upload(case, DATA, "film.mp4")
    assert made["sha256"] == SHA256


async def test_an_upload_of_another_kind_has_no_links_and_cannot_be_completed_directly(doors: Any) -> None:
    made = await doors.upload(await doors.case(), DATA, "film.mp4")
    async with doors.http.get(f"/v1/uploads/{made['id']}/direct") as answer:
        assert (answer.status, (await answer.json())["code"]) == (409, "not_direct")
    async with doors.http.post(f"/v1/uploads/{made['id']}/direct/complete") as answer:
        assert (answer.status, (await answer.json())["state"]) == (200, "complete"), "it is done already"
    async with doors.http.get("/v1/uploads/another/direct") as answer:
        assert answer.status == 404
