"""Repeated requests: the same answer, and no second effect."""

import asyncio
import hashlib
from typing import Any

import pytest

from aima_gateway.idempotency import Answer, Idempotency

KEY = {"Idempotency-Key": "one of a kind"}


async def test_a_case_is_made_once_per_key(doors: Any) -> None:
    answers = []
    for _ in range(3):
        async with doors.http.post("/v1/cases", json={"name": "x"}, headers=KEY) as answer:
            answers.append((answer.status, await answer.json()))
    assert answers[0] == answers[1] == answers[2]
    assert answers[0][0] == 201
    assert await doors.ports.documents.count("cases", {}) == 1
    async with doors.http.post("/v1/cases", json={"name": "x"}) as answer:
        assert (await answer.json())["id"] != answers[0][1]["id"]


async def test_the_same_key_for_another_case_is_refused(doors: Any) -> None:
    async with doors.http.post("/v1/cases", json={"name": "x"}, headers=KEY) as answer:
        assert answer.status == 201
    async with doors.http.post("/v1/cases", json={"name": "y"}, headers=KEY) as answer:
        assert (answer.status, (await answer.json())["code"]) == (422, "idempotency_key_reused")


async def test_a_refused_request_does_not_use_its_key_up(doors: Any) -> None:
    async with doors.http.post("/v1/cases", json={"name": "  "}, headers=KEY) as answer:
        assert answer.status == 422
    async with doors.http.post("/v1/cases", json={"name": "x"}, headers=KEY) as answer:
        assert answer.status == 201


async def test_an_upload_counts_once_per_key(doors: Any) -> None:
    case = await doors.case()
    first = await doors.upload(case, b"hello", "x", **KEY)
    again = await doors.upload(case, b"hello", "x", **KEY)
    assert first == again
    digest = hashlib.sha256(b"hello").hexdigest()
    asked = {"case": case, "file_name": "x", "sha256": digest, "size_bytes": 5}
    async with doors.http.post("/v1/uploads/known", json=asked, headers=KEY) as answer:
        assert await answer.json() == first
    assert await doors.ports.documents.count("items", {}) == 1
    other = await doors.upload(case, b"hello", "x", **{"Idempotency-Key": "another"})
    assert other["item"] != first["item"]


@pytest.mark.parametrize(("data", "name"), [(b"other", "x"), (b"hello", "y")])
async def test_the_same_key_for_another_upload_is_refused(doors: Any, data: bytes, name: str) -> None:
    case = await doors.case()
    await doors.upload(case, b"hello", "x", **KEY)
    query = {"case": case, "file_name": name}
    async with doors.http.post("/v1/uploads", params=query, data=data, headers=KEY) as answer:
        assert (answer.status, (await answer.json())["code"]) == (422, "idempotency_key_reused")
    assert await doors.ports.documents.count("items", {}) == 1


async def test_a_repeat_while_the_first_is_running_is_asked_to_wait(doors: Any) -> None:
    idempotency = Idempotency(doors.ports)
    going, done = asyncio.Event(), asyncio.Event()

    async def slow(seed: str) -> Answer:
        going.set()
        await done.wait()
        return Answer(201, {"seed": seed})

    first = asyncio.create_task(idempotency.once("t", "op", "k", b"{}", "seed 1", slow))
    await going.wait()
    with pytest.raises(Exception, match="still running") as refused:
        await idempotency.once("t", "op", "k", b"{}", "seed 2", slow)
    assert refused.value.problem.status == 409  # type: ignore[attr-defined]
    done.set()
    assert await first == Answer(201, {"seed": "seed 1"})
    assert await idempotency.once("t", "op", "k", b"{}", "seed 3", slow) == Answer(201, {"seed": "seed 1"})


async def test_two_requests_at_once_make_one_upload(doors: Any) -> None:
    case = await doors.case()

    async def send() -> int:
        query = {"case": case, "file_name": "x"}
        async with doors.http.post("/v1/uploads", params=query, data=b"x" * 500_000, headers=KEY) as answer:
            return int(answer.status)

    statuses = await asyncio.gather(*(send() for _ in range(4)))
    assert 201 in statuses
    assert set(statuses) <= {201, 409}
    assert await doors.ports.documents.count("items", {}) == 1
