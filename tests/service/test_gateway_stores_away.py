"""Stores that go away under a running gateway: every route says so, and when to come back; nothing breaks."""

import asyncio
import hashlib
import re
from typing import Any

import aiohttp
import pytest

from aima_common.errors import UnavailableError
from aima_common.ports.documents import Insert
from aima_gateway import case_routes
from aima_gateway.table import ROUTES, Route

ELSEWHERE = {"list_keys", "revoke_key", "search", "begin_direct_upload"}
"""They ask for keys or words alone, which are still there, or are not offered on one machine."""

WITH_KEYS = [route for route in ROUTES if route.role is not None and route.operation not in ELSEWHERE]
DOCUMENTS = ("load", "find", "count", "insert", "transition", "delete", "append", "read", "now")
BODIES: dict[str, dict[str, Any]] = {
    "create_case": {"name": "x"},
    "upload_known": {"case": "c", "file_name": "x", "sha256": "0" * 64, "size_bytes": 1},
    "begin_direct_upload": {"case": "c", "file_name": "x", "sha256": "0" * 64, "size_bytes": 1},
    "create_webhook": {"url": "https://example.org/notices"},
    "create_key": {"role": "reader", "name": "x"},
    "correct_finding": {"finding": "f", "action": "remove", "note": ""},
}


def taken_away(doors: Any, monkeypatch: pytest.MonkeyPatch, store: str, names: tuple[str, ...], code: str) -> None:
    """Have every method of a store fail, as it does when its server is away; keys are still read."""
    plug = getattr(doors.ports, store)
    for name in names:
        method = getattr(plug, name)

        async def away(*arguments: Any, _method: Any = method, **more: Any) -> Any:
            if arguments and arguments[0] in {"keys", "tenants"}:
                return await _method(*arguments, **more)
            raise UnavailableError("10.0.0.7:27017 refuses connections", code=code)

        monkeypatch.setattr(plug, name, away)


async def asked(doors: Any, route: Route) -> tuple[int, dict[str, Any], str | None]:
    """Send a request to a route that could be answered if the stores were there."""
    path = re.sub(r"{\w+}", "6f4b7b0e-2d0a-5c1c-9a39-41494d410001", route.path)
    query = {one.name: "x" for one in route.query if one.required}
    headers = (
        {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
        if route.operation == "upload_part"
        else {}
    )
    body = None if route.method == "GET" else BODIES.get(route.operation, {})
    more = {"json": body} if body is not None and not headers else {}
    async with doors.http.request(route.method, path, params=query, headers=headers, **more) as answer:
        is_problem = answer.content_type == "application/problem+json" and route.method != "HEAD"
        return answer.status, await answer.json() if is_problem else {}, answer.headers.get("Retry-After")


@pytest.mark.parametrize("route", WITH_KEYS, ids=lambda route: str(route.operation))
async def test_every_route_says_that_the_documents_are_away(
    doors: Any, monkeypatch: pytest.MonkeyPatch, route: Route
) -> None:
    taken_away(doors, monkeypatch, "documents", DOCUMENTS, "mongodb")
    status, problem, come_back = await asked(doors, route)
    assert status == 503, problem
    assert int(come_back or 0) > 0
    if problem:
        assert problem["code"] == "store_away"
        assert "document store (MongoDB)" in problem["detail"]
        assert "10.0.0.7" not in str(problem)


@pytest.mark.parametrize(("store", "code", "name"), [("documents", "mongodb", "MongoDB"), ("objects", "s3", "S3")])
async def test_readiness_names_the_store_that_is_away(
    doors: Any, monkeypatch: pytest.MonkeyPatch, store: str, code: str, name: str
) -> None:
    async with doors.http.get("/readyz") as answer:
        assert (answer.status, (await answer.json())["ready"]) == (200, True)
    if store == "documents":

        def silent() -> float:
            raise UnavailableError("10.0.0.7:27017 refuses connections", code=code)

        monkeypatch.setattr(doors.ports.documents, "_clock", silent)
    else:
        taken_away(doors, monkeypatch, store, ("info",), code)
    async with doors.http.get("/readyz") as answer:
        told = await answer.json()
    assert (answer.status, told["ready"]) == (503, False)
    assert name in told["checks"][store]
    assert "10.0.0.7" not in str(told)


async def test_a_stream_of_events_ends_in_good_order_when_the_store_goes_away(
    doors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = await doors.case()
    async with doors.http.get(f"/v1/cases/{case}/events") as stream:
        assert (await stream.content.readline()).startswith(b"retry")
        with monkeypatch.context() as while_away:
            taken_away(doors, while_away, "documents", ("read",), "mongodb")
            async with asyncio.timeout(10):
                rest = await stream.content.read()
    assert b"HTTP/1.1" not in rest, "no second answer behind the first"
    async with doors.http.get(f"/v1/cases/{case}/events?follow=no") as stream:
        assert stream.status == 200
    assert case_routes.HEARTBEAT_SECONDS > 0


async def test_an_answer_that_breaks_off_is_seen_to_be_broken(doors: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    case, data = await doors.case(), bytes(3 << 20)
    digest = hashlib.sha256(data).hexdigest()
    reference = {"key": f"t/default/dossiers/{digest}", "sha256": digest, "size_bytes": len(data)}
    await doors.ports.objects.put(reference["key"], data)
    current = {"version": 1, "complete": True, "items": 1, "json": reference, "html": reference}
    await doors.ports.documents.insert(
        "dossiers", Insert(case, "default", "current", {"case": case, "current": current})
    )
    async with doors.http.get(f"/v1/cases/{case}/dossier") as answer:
        assert await answer.read() == data
    opened = doors.ports.objects.open

    async def breaking(*arguments: Any, **more: Any) -> Any:
        async for chunk in opened(*arguments, **more):
            yield chunk[:1000]
            raise UnavailableError("gone", code="s3")

    monkeypatch.setattr(doors.ports.objects, "open", breaking)
    with pytest.raises(aiohttp.ClientError):
        async with doors.http.get(f"/v1/cases/{case}/dossier") as answer:
            await answer.read()
