"""The gateway's own answers: problems, cases, jobs, findings, dossiers, search, cancelling and erasing."""

import asyncio
import datetime
import hashlib
import io
import json
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from aima_common.contracts import messages as m
from aima_common.contracts.codec import decode
from aima_common.contracts.media import Finding, ObjectReference, Result
from aima_common.contracts.topics import BY_MESSAGE
from aima_common.jobs import JobKind, new_job
from aima_common.ports.documents import Insert
from aima_common.ports.search import Passage
from aima_common.ports.vectors import Point
from aima_gateway.limits import Limits

TIME = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


async def heard(doors: Any, message: type[Any]) -> Any:
    """Wait for the next message of a kind."""
    async with doors.ports.bus.subscribe("test", [BY_MESSAGE[message].name]) as subscription:
        async with asyncio.timeout(10):
            return decode((await anext(subscription.batches()))[0].record)


async def run_of(doors: Any, medium: str, state: str = "analysing", **fields: Any) -> str:
    """Write a run, as the scheduler would."""
    body = {"medium": medium, "accepted_at": TIME.isoformat(), "parts_done": 1, "parts_total": 4, "reason": None}
    await doors.ports.documents.insert("runs", Insert(f"run-{medium}", "default", state, {**body, **fields}))
    return f"run-{medium}"


async def job_of(doors: Any, identity: str, medium: str, state: str = "ready", **fields: Any) -> None:
    """Write a job, as the scheduler would."""
    body = {"run": f"run-{medium}", "medium": medium, "lane": "image", "analyzer": "faces", "segment": None, **fields}
    job = new_job(identity, "default", JobKind.ANALYSE, submitted_at=TIME, state=state, **body)
    assert await doors.ports.documents.insert("jobs", job)


async def dossier_of(doors: Any, case: str) -> None:
    """Write a dossier, as the dossier service would."""
    current: dict[str, Any] = {"version": 3, "complete": True, "items": 1}
    for kind, data in (("json", b'{"schema": "x"}'), ("html", b"<!doctype html><title>dossier</title>")):
        digest = hashlib.sha256(data).hexdigest()
        key = f"t/default/dossiers/{case}/{digest}.{kind}"
        await doors.ports.objects.put(key, data)
        current[kind] = {"key": key, "sha256": digest, "size_bytes": len(data)}
    body = {"case": case, "wanted": 1, "written": 1, "current": current}
    assert await doors.ports.documents.insert("dossiers", Insert(case, "default", "current", body))


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/nothing", None, 404, "no_such_route"),
        ("DELETE", "/v1/cases", None, 405, "method_not_allowed"),
        ("POST", "/v1/cases", b"{", 400, "not_json"),
        ("POST", "/v1/cases", b"[]", 400, "not_an_object"),
        ("POST", "/v1/cases", b"{}", 422, "bad_case_name"),
        ("POST", "/v1/cases", b'{"name": "a\\u0000b"}', 422, "bad_case_name"),
        ("POST", "/v1/cases", b'{"name": "x", "priority": "now", "colour": 1}', 422, "bad_options"),
        ("POST", "/v1/cases", b'{"name": "x", "deadline": "2001-01-01T00:00:00Z"}', 422, "bad_options"),
        ("POST", "/v1/cases", b'{"name": "x", "deadline": "2099-01-01T00:00:00"}', 422, "bad_options"),
        ("POST", "/v1/cases", b" " * 70_000, 413, "too_large"),
        ("GET", "/v1/cases?limit=0", None, 400, "bad_number"),
        ("GET", "/v1/search", None, 422, "bad_query"),
        ("GET", "/v1/search?q=x&mode=magic", None, 400, "bad_choice"),
        ("GET", "/v1/jobs?state=odd", None, 400, "bad_choice"),
    ],
)
async def test_every_error_says_what_why_and_what_to_do(
    doors: Any, method: str, path: str, body: bytes | None, status: int, code: str
) -> None:
    async with doors.http.request(method, path, data=body) as answer:
        problem = await answer.json(content_type="application/problem+json")
    assert (answer.status, problem["code"], problem["status"]) == (status, code, status)
    assert problem["title"]
    assert problem["detail"]
    assert problem["remedy"]
    assert problem["instance"].endswith(answer.headers["X-Request-Id"])


async def test_wrong_options_are_named_by_field(doors: Any) -> None:
    asked = {"name": "x", "priority": "now", "colour": 1, "deadline": "soon"}
    async with doors.http.post("/v1/cases", json=asked) as answer:
        problem = await answer.json()
    assert {error["field"] for error in problem["errors"]} == {"priority", "colour", "deadline"}


async def test_headers_that_are_too_large_are_refused(doors: Any) -> None:
    async with doors.http.get("/v1/cases", headers={"X-Large": "x" * 9000}) as answer:
        assert answer.status == 400
    async with doors.http.get("/v1/cases", headers={"X-Large": "x" * 1000}) as answer:
        assert answer.status == 200


async def test_a_case_shows_how_far_it_is(doors: Any) -> None:
    case = await doors.case("holiday", priority="high")
    first = await doors.upload(case, b"one", "one.jpg")
    await doors.upload(case, b"one", "again.jpg")
    second = await doors.upload(case, b"two", "two.jpg")
    await doors.upload(case, b"three", "three.jpg")
    await run_of(doors, first["medium"])
    reason = {"code": "bad", "reason": "it is broken", "remedy": "mend it"}
    await run_of(doors, second["medium"], "rejected", reason=reason, parts_total=None, parts_done=0)
    async with doors.http.get(f"/v1/cases/{case}") as answer:
        shown = await answer.json()
    assert shown["options"]["priority"] == "high"
    assert shown["counts"] == {
        "items": 4, "analysed": 0, "rejected": 1, "failed": 0, "cancelled": 0, "erased": 0, "running": 3,
    }  # fmt: skip
    assert shown["progress"] == {"parts_done": 1, "parts_total": 4}
    assert [medium["stage"] for medium in shown["media"]] == ["analysing", "rejected", "accepted"]
    assert shown["media"][1]["reason"] == reason
    assert len(shown["media"][0]["items"]) == 2
    async with doors.http.get(f"/v1/cases/{case}/items?limit=2") as answer:
        page = await answer.json()
    assert [item["file_name"] for item in page["items"]] == ["one.jpg", "again.jpg"]
    async with doors.http.get(f"/v1/cases/{case}/items?after={page['next']}") as answer:
        assert [item["status"] for item in (await answer.json())["items"]] == ["rejected", "accepted"]


async def test_cases_are_listed_newest_first_page_by_page(doors: Any) -> None:
    made = [await doors.case(name) for name in ("one", "two", "three")]
    async with doors.http.get("/v1/cases?limit=2") as answer:
        page = await answer.json()
    assert [case["id"] for case in page["cases"]] == [made[2], made[1]]
    async with doors.http.get("/v1/cases", params={"after": page["next"]}) as answer:
        assert [case["id"] for case in (await answer.json())["cases"]] == [made[0]]
    async with doors.http.get("/v1/cases?name=two") as answer:
        assert [case["id"] for case in (await answer.json())["cases"]] == [made[1]]


async def test_a_cases_priority_can_be_changed(doors: Any) -> None:
    case = await doors.case()
    deadline = "2099-01-01T00:00:00+01:00"
    async with doors.http.patch(f"/v1/cases/{case}", json={"priority": "high", "deadline": deadline}) as answer:
        assert (await answer.json())["options"]["deadline"] == "2098-12-31T23:00:00+00:00"
    told = await heard(doors, m.CaseChanged)
    assert (told.body.case, told.body.priority, told.body.deadline) == (case, "high", "2098-12-31T23:00:00+00:00")
    async with doors.http.patch(f"/v1/cases/{case}", json={"profile": "fast"}) as answer:
        assert answer.status == 422
    async with doors.http.get(f"/v1/cases/{case}") as answer:
        assert (await answer.json())["options"]["priority"] == "high"


async def test_cancelling_a_case_is_said_and_closes_it(doors: Any) -> None:
    case = await doors.case()
    await doors.upload(case, b"hello")
    async with doors.http.post(f"/v1/cases/{case}/cancel", json={"reason": "enough"}) as answer:
        assert answer.status == 202
    told = await heard(doors, m.CancelRequested)
    assert (told.body.case, told.body.medium, told.body.reason) == (case, None, "enough")
    async with asyncio.timeout(10):
        while (await doors.ports.documents.load("cases", case)).state != "cancelled":
            await asyncio.sleep(0.02)
    query = {"case": case, "file_name": "x"}
    async with doors.http.post("/v1/uploads", params=query, data=b"x") as answer:
        assert (answer.status, (await answer.json())["code"]) == (409, "case_cancelled")


async def test_erasing_a_medium_removes_what_upload_owns(doors: Any) -> None:
    case = await doors.case()
    made = await doors.upload(case, b"hello", "secret.jpg")
    async with doors.http.delete(f"/v1/media/{made['medium']}") as answer:
        assert answer.status == 202
    told = await heard(doors, m.PartErased)
    assert (told.body.medium, told.body.owner) == (made["medium"], "upload")
    originals = [info async for info in doors.ports.objects.list("t/default/originals")]
    item = await doors.ports.documents.load("items", made["item"])
    assert (originals, item.state, item.body["file_name"]) == ([], "erased", "")
    asked = {"case": case, "file_name": "x", "sha256": made["sha256"], "size_bytes": 5}
    async with doors.http.post("/v1/uploads/known", json=asked) as answer:
        assert answer.status == 404
    await doors.upload(case, b"hello", "again.jpg")
    assert await doors.ports.objects.get(f"t/default/originals/{made['sha256']}") == b"hello"


async def test_findings_are_shown_before_a_medium_is_finished(doors: Any) -> None:
    made = await doors.upload(await doors.case(), b"hello")
    medium = made["medium"]
    await run_of(doors, medium)
    found = Finding(kind="text", start_seconds=0.0, end_seconds=0.0, text="HELLO", confidence=0.9, analyzer="ocr")
    result = Result(key="k1", medium=medium, segment=None, analyzer="ocr", analyzer_version="1", findings=[found])
    data = result.model_dump_json().encode()
    reference = ObjectReference(key="t/default/results/film/k1", sha256=hashlib.sha256(data).hexdigest(), size_bytes=1)
    await doors.ports.objects.put(reference.key, data)
    await job_of(doors, "done", medium, "done", result=reference.model_dump(mode="json"))
    await job_of(doors, "waiting", medium)
    async with doors.http.get(f"/v1/media/{medium}/findings") as answer:
        shown = await answer.json()
    assert (shown["complete"], [f["text"] for f in shown["findings"]]) == (False, ["HELLO"])
    assert shown["findings"][0]["id"]


async def test_pictures_of_a_medium_are_derivatives_and_never_the_original(doors: Any) -> None:
    medium = (await doors.upload(await doors.case(), b"original bytes"))["medium"]
    for name in ("thumbnail", "preview"):
        async with doors.http.get(f"/v1/media/{medium}/{name}") as answer:
            assert answer.status == 404
    await doors.ports.objects.put("t/default/derivatives/p", b"jpeg bytes")
    reference = {
        "key": "t/default/derivatives/p",
        "sha256": hashlib.sha256(b"jpeg bytes").hexdigest(),
        "size_bytes": 10,
    }
    body = {"medium": medium, "poster": reference, "thumbnail": reference, "type": "image", "segments": []}
    await doors.ports.documents.insert("preparations", Insert(medium, "default", "prepared", body))
    async with doors.http.get(f"/v1/media/{medium}/preview") as answer:
        assert (answer.content_type, await answer.read()) == ("image/jpeg", b"jpeg bytes")
        tag = answer.headers["ETag"]
    async with doors.http.get(f"/v1/media/{medium}/preview", headers={"If-None-Match": tag}) as answer:
        assert answer.status == 304


async def test_a_dossier_is_served_as_data_as_a_page_and_by_link(doors: Any) -> None:
    case = await doors.case()
    async with doors.http.get(f"/v1/cases/{case}/dossier") as answer:
        assert (answer.status, (await answer.json())["code"]) == (404, "no_dossier")
    await dossier_of(doors, case)
    async with doors.http.get(f"/v1/cases/{case}/dossier") as answer:
        assert await answer.json() == {"schema": "x"}
    async with doors.http.get(f"/v1/cases/{case}/dossier.html") as answer:
        assert "sandbox" in answer.headers["Content-Security-Policy"]
    async with doors.http.post(f"/v1/cases/{case}/dossier/link") as answer:
        link = (await answer.json())["url"]
    async with aiohttp.ClientSession(doors.url) as stranger:
        async with stranger.get(link) as answer:
            assert (answer.status, await answer.text()) == (200, "<!doctype html><title>dossier</title>")
        other = await doors.case()
        await dossier_of(doors, other)
        for wrong in (link[:-1], link.replace(case, other), link.split("?")[0], link.split("?")[0] + "?ticket=a.b"):
            async with stranger.get(wrong) as answer:
                assert answer.status == 401, wrong
    async with doors.http.get("/v1/dossiers") as answer:
        assert {shown["case"] for shown in (await answer.json())["dossiers"]} == {case, other}


async def test_search_finds_by_words_and_says_that_meaning_is_missing(doors: Any) -> None:
    medium = (await doors.upload(await doors.case(), b"hello", "speech.wav"))["medium"]
    await doors.ports.search.index(
        [
            Passage("1", "default", medium, "speech", "It was the best of times", 1.0, 2.5),
            Passage("2", "other", medium, "speech", "the best of another tenant", 1.0, 2.5),
        ]
    )
    async with doors.http.get("/v1/search", params={"q": "best times"}) as answer:
        found = await answer.json()
    [hit] = found["hits"]
    assert (hit["text"], hit["start_seconds"]) == ("It was the best of times", 1.0)
    assert [item["file_name"] for item in hit["items"]] == ["speech.wav"]
    assert found["missing"] == ["meaning: the text embedding model is not installed"]


async def test_search_joins_words_and_meaning(doors: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    medium = (await doors.upload(await doors.case(), b"hello", "speech.wav"))["medium"]
    await doors.ports.search.index([Passage("1", "default", medium, "speech", "a dog barks", 1.0, 2.5)])
    payload = {"tenant": "default", "medium": medium, "kind": "speech", "start_seconds": 1.0, "end_seconds": 2.5}
    points = [
        Point("6f4b7b0e-2d0a-5c1c-9a39-41494d410001", [1.0, 0.0], {**payload, "text": "a dog barks"}),
        Point("6f4b7b0e-2d0a-5c1c-9a39-41494d410002", [0.9, 0.1], {**payload, "text": "a hound howls"}),
        Point("6f4b7b0e-2d0a-5c1c-9a39-41494d410003", [1.0, 0.0], {**payload, "tenant": "other", "text": "no"}),
    ]
    await doors.ports.vectors.put("texts", points)

    async def embed(text: str) -> list[float]:
        return [1.0, 0.0]

    monkeypatch.setattr(doors.gateway, "embed_text", embed)
    async with doors.http.get("/v1/search", params={"q": "dog"}) as answer:
        found = await answer.json()
    assert [(hit["text"], hit["found_by"]) for hit in found["hits"]] == [
        ("a dog barks", ["words", "meaning"]),
        ("a hound howls", ["meaning"]),
    ]
    assert found["missing"] == []


async def test_too_many_requests_are_asked_to_come_back(doors: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    case = await doors.case()
    admission = doors.gateway.admission
    monkeypatch.setattr(admission, "_limits", Limits(concurrent_requests_per_key=1))
    async with doors.http.get(f"/v1/cases/{case}/events") as stream:
        assert stream.status == 200
        async with doors.http.get("/v1/cases") as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
        monkeypatch.setattr(admission, "_limits", Limits(concurrent_requests=1))
        async with doors.http.get("/v1/cases") as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "2")
    monkeypatch.setattr(admission, "_limits", Limits())
    async with doors.http.get("/v1/cases") as answer:
        assert answer.status == 200


async def test_health_metrics_and_the_interface_need_no_key(doors: Any) -> None:
    async with aiohttp.ClientSession(doors.url) as stranger:
        for path in (
            "/livez",
            "/startupz",
            "/readyz",
            "/metrics",
            "/openapi.json",
            "/",
            "/page/app.js",
            "/page/style.css",
        ):
            async with stranger.get(path) as answer:
                assert answer.status == 200, path
        async with stranger.get("/metrics") as answer:
            assert "aima_http_requests_total" in await answer.text()
        async with stranger.get("/readyz") as answer:
            checks = {"documents": "ok", "objects": "ok", "upload": "ok"}
            assert await answer.json() == {"ready": True, "checks": checks, "uploads": "open"}
        async with stranger.get("/") as answer:
            policy = answer.headers["Content-Security-Policy"]
            assert "unsafe" not in policy
            assert "default-src 'none'" in policy


async def test_an_upload_service_that_is_away_is_said_and_shown(doors: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    case = await doors.case()

    async def nowhere() -> list[str]:
        return ["http://127.0.0.1:9"]

    monkeypatch.setattr(doors.gateway._replicas, "_urls", nowhere)
    query = {"case": case, "file_name": "x"}
    async with doors.http.post("/v1/uploads", params=query, data=io.BytesIO(b"x" * 300_000)) as answer:
        assert (answer.status, (await answer.json())["code"]) == (503, "upload_away")
        assert int(answer.headers["Retry-After"]) > 0
    async with doors.http.get("/readyz") as answer:
        assert (answer.status, (await answer.json())["ready"]) == (503, False)


async def test_the_least_loaded_replica_that_answers_is_asked(doors: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    replicas, living = doors.gateway._replicas, doors.upload_url

    async def several() -> list[str]:
        return ["http://127.0.0.1:9", living]

    monkeypatch.setattr(replicas, "_urls", several)
    await doors.upload(await doors.case(), b"hello")
    # Whoever did not answer is asked last for a while.
    assert (await replicas._by_load())[0] == living
    replicas._silent_since.clear()
    replicas._under_way[living] = 3
    assert (await replicas._by_load())[0] == "http://127.0.0.1:9"
    assert json.dumps(await replicas.alive()) == '"ok"'


@pytest.mark.parametrize("target", ["{path}", "http://elsewhere.example{path}", "http://user@127.0.0.1:9{path}"])
async def test_an_upload_goes_to_upload_whatever_place_its_target_names(doors: Any, target: str) -> None:
    case = await doors.case()
    address = urlsplit(doors.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    path = target.format(path=f"/v1/uploads?case={case}&file_name=x")
    key = doors.http.headers["Authorization"]
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Authorization: {key}", "Content-Length: 2", "Connection: close"]
    writer.write(("\r\n".join(lines) + "\r\n\r\nhi").encode())
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 201"), answer
    assert await doors.ports.documents.count("items", {"case": case}) == 1
