"""Keys: who may come in, and what they may do there."""

from typing import Any

import aiohttp
import pytest

from aima_gateway import keys
from aima_gateway.keys import Role
from aima_gateway.table import ROUTES

IDS = {
    "entity": "none",
    "letter": "l",
    "webhook": "w",
    "case": "c",
    "medium": "m",
    "job": "j",
    "upload": "u",
    "key": "k",
    "file": "app.js",
}


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


@pytest.mark.parametrize("route", [route for route in ROUTES if route.role is not None], ids=lambda r: r.operation)
async def test_without_a_key_no_route_lets_anybody_in(doors: Any, route: Any) -> None:
    path = route.path.format(**IDS)
    forged = keys.make(b"\x01" * 40).text
    for headers in ({}, bearer("nonsense"), bearer(forged), {"Authorization": "Basic x"}):
        async with aiohttp.request(route.method, doors.url + path, headers=headers, data=b"") as answer:
            assert answer.status == 401
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    async with doors.http.request(route.method, path, data=b"") as answer:
        assert answer.status != 401


@pytest.mark.parametrize("route", [route for route in ROUTES if route.role is not None], ids=lambda r: r.operation)
async def test_a_role_that_is_too_small_is_told_so(doors: Any, route: Any) -> None:
    path = route.path.format(**IDS)
    for role in (Role.reader, Role.writer, Role.admin):
        async with doors.http.request(route.method, path, data=b"", headers=bearer(await doors.key(role))) as answer:
            assert (answer.status == 403) == (role < route.role)


async def test_the_store_keeps_the_digest_of_a_key_and_not_the_key(doors: Any) -> None:
    async with doors.http.post("/v1/keys", json={"role": "writer", "name": "for uploads"}) as answer:
        made = await answer.json()
    stored = await doors.ports.documents.load("keys", made["id"])
    assert stored.body["digest"] == keys.digest(made["token"])
    assert made["token"] not in repr(stored)
    assert keys.parse(made["token"]).secret not in repr(stored)  # type: ignore[union-attr]
    async with doors.http.get("/v1/keys") as answer:
        assert "token" not in (await answer.json())["keys"][0]


async def test_a_revoked_key_is_worthless_at_once(doors: Any) -> None:
    key = await doors.key(Role.reader)
    async with doors.http.get("/v1/cases", headers=bearer(key)) as answer:
        assert answer.status == 200
    async with doors.http.delete(f"/v1/keys/{keys.parse(key).id}") as answer:  # type: ignore[union-attr]
        assert answer.status == 204
    async with doors.http.get("/v1/cases", headers=bearer(key)) as answer:
        assert answer.status == 401


async def test_nobody_makes_a_key_that_may_do_more_or_is_of_another_tenant(doors: Any) -> None:
    admin = bearer(await doors.key(Role.admin))
    for asked in ({"role": "operator"}, {"role": "reader", "tenant": "other"}):
        async with doors.http.post("/v1/keys", json=asked, headers=admin) as answer:
            assert answer.status == 403
        async with doors.http.post("/v1/keys", json=asked) as answer:
            assert answer.status == 201
    async with doors.http.post("/v1/keys", json={"role": "admin"}, headers=admin) as answer:
        assert answer.status == 201


async def test_a_key_that_cannot_be_made_is_refused_by_field(doors: Any) -> None:
    async with doors.http.post("/v1/keys", json={"role": "god", "tenant": "../x", "colour": "red"}) as answer:
        problem = await answer.json()
        assert answer.status == 422
        assert {error["field"] for error in problem["errors"]} == {"role", "tenant", "colour"}


async def test_what_is_another_tenants_is_not_there(doors: Any) -> None:
    case = await doors.case()
    made = await doors.upload(case, b"hello")
    other = bearer(await doors.key(Role.admin, "other"))
    paths = [
        ("GET", f"/v1/cases/{case}"),
        ("PATCH", f"/v1/cases/{case}"),
        ("GET", f"/v1/cases/{case}/items"),
        ("GET", f"/v1/cases/{case}/events"),
        ("GET", f"/v1/cases/{case}/dossier"),
        ("GET", f"/v1/cases/{case}/dossier.html"),
        ("POST", f"/v1/cases/{case}/cancel"),
        ("POST", f"/v1/cases/{case}/dossier/link"),
        ("GET", f"/v1/media/{made['medium']}"),
        ("GET", f"/v1/media/{made['medium']}/findings"),
        ("GET", f"/v1/media/{made['medium']}/thumbnail"),
        ("DELETE", f"/v1/media/{made['medium']}"),
        ("POST", f"/v1/media/{made['medium']}/corrections"),
        ("GET", f"/v1/media?case={case}"),
        ("GET", f"/v1/jobs?case={case}"),
        ("GET", f"/v1/uploads/{made['id']}"),
        ("DELETE", f"/v1/uploads/{made['id']}"),
        ("POST", f"/v1/uploads?case={case}&file_name=x"),
    ]
    for method, path in paths:
        async with doors.http.request(method, path, data=b"{}", headers=other) as answer:
            assert answer.status == 404, (method, path, await answer.text())
    for path, name in (
        ("/v1/cases", "cases"),
        ("/v1/media", "media"),
        ("/v1/jobs", "jobs"),
        ("/v1/dossiers", "dossiers"),
        ("/v1/entities", "entities"),
    ):
        async with doors.http.get(path, headers=other) as answer:
            assert (await answer.json())[name] == []
    asked = {"case": case, "file_name": "x", "sha256": made["sha256"], "size_bytes": 5}
    async with doors.http.post("/v1/uploads/known", json=asked, headers=other) as answer:
        assert answer.status == 404
    async with doors.http.get(f"/v1/cases/{case}") as answer:
        assert (await answer.json())["counts"]["items"] == 1


async def test_who_does_what_is_written_down(doors: Any) -> None:
    case = await doors.case()
    made = await doors.upload(case, b"hello")
    async with doors.http.post(f"/v1/cases/{case}/cancel", json={"reason": "enough"}) as answer:
        assert answer.status == 202
    async with doors.http.delete(f"/v1/media/{made['medium']}") as answer:
        assert answer.status == 202
    async with doors.http.get("/v1/keys", headers=bearer(await doors.key(Role.reader))) as answer:
        assert answer.status == 403
    async with doors.http.get("/v1/keys", headers=bearer("wrong")) as answer:
        assert answer.status == 401
    lines = [entry.body for entry in await doors.ports.documents.read("audit/default")]
    assert [line["action"] for line in lines] == ["cancel_case", "erase_medium", "refused"]
    assert all(line["actor"] and line["at"] for line in lines)
    [stranger] = await doors.ports.documents.read("audit/_strangers")
    assert stranger.body["subject"] == "/v1/keys"


async def test_strangers_cannot_fill_the_audit(doors: Any) -> None:
    for _ in range(80):
        async with doors.http.get("/v1/keys", headers=bearer("wrong")) as answer:
            assert answer.status == 401
    assert len(await doors.ports.documents.read("audit/_strangers")) < 60
