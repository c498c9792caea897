"""One person who waits does not stand behind a queue of batch work."""

import datetime
from collections.abc import Sequence
from pathlib import Path

import pytest

from aima_common.ports.documents import Document, HistoryLine
from tests.journey.aima_process import RunningAima, aima, all_of, documents_of, until
from tests.unit.aima_preprocessing.made_media import photo, still

QUEUE = 24
"""Photos in the batch case: several for every worker that there may be."""


async def test_an_interactive_photo_overtakes_a_queue_of_batch_work(house: RunningAima, tmp_path: Path) -> None:
    async with house.client() as client:
        batch = (await client.create_case("a thousand old photos", priority="batch"))["id"]
        for number in range(QUEUE):
            path = tmp_path / f"old {number}.png"
            path.write_bytes(still(photo(640, 480, seed=800 + number)))
            await client.upload(batch, path)

        async def begun() -> bool:
            jobs = (await client.jobs(case=batch, kind="analyse", limit=500))["jobs"]
            return any(job["state"] == "leased" for job in jobs)

        await until("the batch work has begun", begun)
        urgent = (await client.create_case("somebody waits", priority="high"))["id"]
        path = tmp_path / "new.png"
        path.write_bytes(still(photo(640, 480, seed=799)))
        uploaded = await client.upload(urgent, path)
        await client.wait(urgent)
        before_it = (await client.case(batch))["counts"]
        await client.wait(batch)
    assert before_it["running"] > 0, "the control: there was a queue to overtake"
    await it_went_first(house, uploaded["medium"], batch)


async def test_how_urgent_and_how_confidential_a_case_is_can_be_said_and_changed_by_command(
    house: RunningAima, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIMA_URL", house.url)
    monkeypatch.setenv("AIMA_KEY", house.key)
    picture = tmp_path / "gate.png"
    picture.write_bytes(still(photo(640, 480, seed=798)))
    said = ("--priority", "batch", "--confidentiality", "internal")
    assert aima("upload", picture, "--case", "Gate", *said).status == 0
    async with house.client() as client:
        case = (await client.find_case("Gate"))["id"]
        first = (await client.case(case))["options"]
        assert (first["priority"], first["confidentiality"], first["deadline"]) == ("batch", "internal", None)
        changed = aima("change", "Gate", "--priority", "critical", "--deadline", "2h", "--confidentiality", "public")
        assert (changed.status, "priority critical" in changed.out) == (0, True), changed.err
        later = (await client.case(case))["options"]
        assert (later["priority"], later["confidentiality"]) == ("critical", "public")
        assert later["deadline"] is not None
    refused = aima("change", "Gate", "--deadline", "2020-01-01T00:00Z")
    assert (refused.status, "lies in the past" in refused.err) == (2, True)
    assert aima("change", "Gate").status == 2


async def it_went_first(house: RunningAima, medium: str, batch: str) -> None:
    async with documents_of(house.data) as documents:
        items = await all_of(documents, "items", case=batch)
        jobs = await all_of(documents, "jobs", kind="analyse")
        history = await documents.history("jobs")
    of_batch = {item.body["medium"] for item in items}
    mine = [job for job in jobs if job.body["medium"] == medium]
    theirs = [job for job in jobs if job.body["medium"] in of_batch]
    assert mine
    assert {job.body["priority"] for job in mine} == {"high"}
    assert {job.body["priority"] for job in theirs} == {"batch"}
    begun = begins(history)
    last = max(begun[job.id] for job in mine)
    waiting = [job for job in theirs if submitted(job) < min(submitted(job) for job in mine)]
    assert waiting, "the control: batch jobs had been waiting for longer"
    overtaken = [job for job in waiting if begun[job.id] > last]
    assert overtaken, "jobs that had waited for longer began after the last of the interactive ones"
    # Of the whole queue, however long, hardly anything may begin while the interactive photo waits.
    first = min(submitted(job) for job in mine)
    between = [job for job in theirs if first < begun[job.id] < last]
    assert len(between) < len(theirs) / 2


def begins(history: Sequence[HistoryLine]) -> dict[str, datetime.datetime]:
    """Tell when each job was first claimed."""
    found: dict[str, datetime.datetime] = {}
    for line in history:
        if line.state_after == "leased" and line.document not in found:
            found[line.document] = line.at
    return found


def submitted(job: Document) -> datetime.datetime:
    return datetime.datetime.fromisoformat(job.body["submitted_at"])
