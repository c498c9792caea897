"""Cancelling takes effect within seconds, keeps what was found, and can be thought better of."""

import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aima_client.client import Client
from aima_common.collections import JOB_TERMINAL
from aima_common.ports.documents import Document
from aima_demo import make_demo_case
from tests.journey.aima_process import RunningAima, aima, aima_on, all_of, calls_of_analyzers, documents_of, until

EFFECT_SECONDS = 5.0
"""What AIMA promises; compared with the times that the stores and the log wrote down."""


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_demo_case(tmp_path_factory.mktemp("media")).film


@pytest.fixture(scope="module")
def talkative(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningAima]:
    """Run an AIMA whose log tells of every job that is let go."""
    with aima_on(
        tmp_path_factory.mktemp("talkative"), "--log-level", "INFO", "--analyzers", "faces,labels,speech,voice"
    ) as running:
        yield running


async def partly_analysed(client: Client, film: Path, case: str) -> str:
    """Upload the film and wait until some of its parts are done and others are not; return its run."""
    await client.upload(case, film)

    async def some() -> str | None:
        jobs = (await client.jobs(case=case, kind="analyse"))["jobs"]
        states = [job["state"] for job in jobs]
        return str(jobs[0]["run"]) if "done" in states and "leased" in states else None

    return str(await until("a part of the film is analysed", some))


async def jobs_of(house: RunningAima, run: str) -> list[Document]:
    async with documents_of(house.data) as documents:
        return [job for job in await all_of(documents, "jobs", kind="analyse") if job.body["run"] == run]


async def test_a_cancelled_case_stops_in_time_keeps_what_was_found_and_can_be_taken_up_again(
    talkative: RunningAima, film: Path
) -> None:
    async with talkative.client() as client:
        case = (await client.create_case("to be cancelled"))["id"]
        run = await partly_analysed(client, film, case)
        told = aima("cancel", case, "--reason", "the wrong film")
        assert told.status == 0, told.err

        async def stopped() -> bool:
            return all(job.state in JOB_TERMINAL for job in await jobs_of(talkative, run))

        await until("every job has ended", stopped)
        await it_took_effect_in_time(talkative, case, run)
        await what_was_found_is_still_there(client, talkative, case, run)
        await it_is_analysed_after_all(client, talkative, film, run)


async def it_took_effect_in_time(house: RunningAima, case: str, run: str) -> None:
    async with documents_of(house.data) as documents:
        requests = await all_of(documents, "counters")
        (asked,) = (r for r in requests if r.body.get("message") == "CancelRequested" and r.body["subject"] == case)
        asked_at = datetime.datetime.fromisoformat(asked.body["at"])
        ended = [line for line in await documents.history("runs", run) if line.state_after == "cancelled"]
        jobs = [line for line in await documents.history("jobs") if line.state_after == "cancelled"]
    assert len(ended) == 1
    assert jobs, "the control: there was something to cancel"
    for line in (*ended, *jobs):
        assert (line.at - asked_at).total_seconds() < EFFECT_SECONDS
    held = {line.document for line in jobs if line.state_before == "leased"}
    assert held, "the control: something was being computed"

    async def told() -> dict[str, datetime.datetime]:
        found = let_go(house)
        return found if held <= found.keys() else {}

    for job, at in (await until("all who computed have said that they stopped", told)).items():
        assert job not in held or (at - asked_at).total_seconds() < EFFECT_SECONDS


def let_go(house: RunningAima) -> dict[str, datetime.datetime]:
    """Read from the log when jobs were let go that somebody had taken away."""
    lines = (json.loads(line) for line in (house.data / "aima.log").read_text().splitlines() if line.startswith("{"))
    told = (line for line in lines if line["event"] == "lease_lost")
    return {line["job"]: datetime.datetime.fromisoformat(line["timestamp"]) for line in told}


async def what_was_found_is_still_there(client: Client, house: RunningAima, case: str, run: str) -> None:
    shown = await client.wait(case)
    assert shown["state"] == "cancelled"
    assert shown["counts"]["cancelled"] == shown["counts"]["items"] == 1
    jobs = await jobs_of(house, run)
    done = [job for job in jobs if job.state == "done"]
    assert done
    assert len(done) < len(jobs)
    findings = (await client.findings(done[0].body["medium"]))["findings"]
    assert len(findings) == sum(job.body["findings"] for job in done)
    assert findings

    async def written() -> Any:
        dossier = await client.dossier(case)
        return dossier if dossier["complete"] else None

    dossier = await until("the dossier tells of the cancellation", written)
    assert [item["status"] for item in dossier["items"]] == ["cancelled"]
    assert "the wrong film" in dossier["items"][0]["reason"]


async def it_is_analysed_after_all(client: Client, house: RunningAima, film: Path, run: str) -> None:
    done = {job.body["analyzer"] for job in await jobs_of(house, run) if job.state == "done"}
    before = await calls_of_analyzers(client)
    case = (await client.create_case("after all"))["id"]
    other = (await client.create_case("one of two cases"))["id"]
    await client.upload(case, film)
    await client.upload(other, film)
    await client.cancel_case(other)
    shown = await client.wait(case)
    assert shown["counts"]["analysed"] == 1, "another open case waits for the film, so that its work goes on"
    after = await calls_of_analyzers(client)
    for analyzer in done:
        assert after[analyzer] == before[analyzer], "what was found before the cancellation is not computed again"
    assert sum(after.values()) > sum(before.values())
    assert {job.state for job in await jobs_of(house, run)} == {"done"}
    (medium,) = (await client.dossier(case))["media"]
    assert medium["missing"] == []


async def test_a_cancelled_case_takes_no_more_files(talkative: RunningAima, film: Path, tmp_path: Path) -> None:
    async with talkative.client() as client:
        case = (await client.create_case("closed"))["id"]
        await client.cancel_case(case)

        async def closed() -> bool:
            return bool((await client.case(case))["state"] == "cancelled")

        await until("the case is closed", closed)
    told = aima("upload", film, "--case", case)
    assert told.status != 0
    assert "cancelled" in told.err
