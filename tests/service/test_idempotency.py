"""Repeated requests: the same answer, and no second effect."""

import asyncio
import datetime
import hashlib
from dataclasses import dataclass
from typing import Any

import pytest

from aima_common.errors import UnavailableError
from aima_common.ports.documents import Insert
from aima_common.problems import ProblemError, later, refuse
from aima_gateway import idempotency
from aima_gateway.idempotency import RUNNING_SECONDS, Answer, Idempotency

KEY = {"Idempotency-Key": "one of a kind"}


@dataclass(frozen=True)
class FixedClock:
    """Time that stands still."""

    time: datetime.datetime

    def now(self) -> datetime.datetime:
        return self.time


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


async def test_a_case_whose_answer_was_lost_is_found_by_whoever_repeats_the_request_at_once(
    doors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    post, lost = doors.gateway._replicas.post, list[Any]()

    async def without_answer(*arguments: Any) -> Any:
        answer = await post(*arguments)
        if not lost:
            lost.append(answer)
            raise later(503, "upload_interrupted", "the connection to upload broke")
        return answer

    monkeypatch.setattr(doors.gateway._replicas, "post", without_answer)
    statuses = []
    for _ in range(3):
        async with doors.http.post("/v1/cases", json={"name": "x"}, headers=KEY) as answer:
            statuses.append(answer.status)
    assert statuses == [503, 201, 201]
    assert await doors.ports.documents.count("cases", {}) == 1


class Attempts:
    """Attempts at one request: each does what the test says, and notes the seed that it was given."""

    def __init__(self, doors: Any) -> None:
        self.idempotency = Idempotency(doors.ports)
        self.seeds: list[str] = []

    async def ends(self, seed: str, error: Exception | None = None, body: bytes = b"{}") -> Answer:
        async def compute(seed: str) -> Answer:
            self.seeds.append(seed)
            if error is not None:
                raise error
            return Answer(201, {"seed": seed})

        return await self.idempotency.once("t", "op", "k", body, seed, compute)


@pytest.mark.parametrize(
    "error",
    [later(503, "upload_away", "no upload process answers"), UnavailableError("no reply", code="mongodb"), OSError()],
    ids=["broken connection", "lost reply of the store", "no telling"],
)
async def test_what_may_have_been_done_keeps_its_seed_and_its_body(doors: Any, error: Exception) -> None:
    attempts = Attempts(doors)
    with pytest.raises(type(error)):
        await attempts.ends("seed 1", error)
    with pytest.raises(ProblemError) as other:
        await attempts.ends("seed 2", body=b"[]")
    assert other.value.problem.code == "idempotency_key_reused"
    # A refusal now says nothing of what the first attempt did.
    with pytest.raises(ProblemError):
        await attempts.ends("seed 3", refuse(409, "not_finished", "not yet", "Wait."))
    with pytest.raises(ProblemError):
        await attempts.ends("seed 4", body=b"[]")
    assert (await attempts.ends("seed 5")).body == {"seed": "seed 1"}
    assert attempts.seeds == ["seed 1"] * 3


async def test_after_a_refusal_the_key_may_be_used_for_another_body(doors: Any) -> None:
    attempts = Attempts(doors)
    for number in range(2):
        with pytest.raises(ProblemError):
            await attempts.ends("seed", refuse(422, "bad", "it is wrong", "Correct it."), body=b"%d" % number)
    assert (await attempts.ends("seed", body=b"right")).status == 201
    with pytest.raises(ProblemError):
        await attempts.ends("seed", body=b"0")


@pytest.mark.parametrize(
    "error", [refuse(422, "bad", "it is wrong", "Correct it."), later(503, "upload_away", "nobody answers")]
)
async def test_a_slow_attempt_that_fails_takes_nothing_from_the_one_that_took_over(
    doors: Any, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    attempts, going, fails = Attempts(doors), asyncio.Event(), asyncio.Event()

    async def slow(seed: str) -> Answer:
        going.set()
        await fails.wait()
        raise error

    first = asyncio.create_task(attempts.idempotency.once("t", "op", "k", b"{}", "seed 1", slow))
    await going.wait()
    later_on = doors.ports.clock.now() + datetime.timedelta(seconds=RUNNING_SECONDS + 1)
    monkeypatch.setattr(attempts.idempotency, "_clock", FixedClock(later_on))
    assert (await attempts.ends("seed 2")).body == {"seed": "seed 1"}
    fails.set()
    with pytest.raises(type(error)):
        await first
    assert (await attempts.ends("seed 3")).body == {"seed": "seed 1"}
    assert attempts.seeds == ["seed 1"]


async def test_a_sweep_forgets_all_answers_that_are_over_and_no_others(
    doors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(idempotency, "SWEPT_AT_A_TIME", 3)
    now = doors.ports.clock.now()
    for number in range(10):
        expires = now + datetime.timedelta(hours=1 if number == 4 else -1)
        body = {"expires_at": expires.isoformat()}
        assert await doors.ports.documents.insert("idempotency", Insert(f"{number}", "t", "answered", body))
    await Idempotency(doors.ports).sweep()
    assert [record.id for record in await doors.ports.documents.find("idempotency", {})] == ["4"]


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
    requests = Idempotency(doors.ports)
    going, done = asyncio.Event(), asyncio.Event()

    async def slow(seed: str) -> Answer:
        going.set()
        await done.wait()
        return Answer(201, {"seed": seed})

    first = asyncio.create_task(requests.once("t", "op", "k", b"{}", "seed 1", slow))
    await going.wait()
    with pytest.raises(Exception, match="still running") as refused:
        await requests.once("t", "op", "k", b"{}", "seed 2", slow)
    assert refused.value.problem.status == 409  # type: ignore[attr-defined]
    done.set()
    assert await first == Answer(201, {"seed": "seed 1"})
    assert await requests.once("t", "op", "k", b"{}", "seed 3", slow) == Answer(201, {"seed": "seed 1"})


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
