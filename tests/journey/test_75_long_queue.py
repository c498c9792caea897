"""One photo that somebody waits for beside ten thousand batch jobs: hardly any of them begins before it."""

import asyncio
import datetime
from pathlib import Path

from aima_common.ids import derive
from aima_common.jobs import AFRESH
from aima_common.ports.documents import Document, Insert
from tests.journey.aima_process import RunningAima, all_of, documents_of, until
from tests.journey.test_70_priorities import begins, submitted
from tests.unit.aima_preprocessing.made_media import photo, still

QUEUE = 10_000
AT_A_TIME = 500


async def test_a_photo_overtakes_ten_thousand_batch_jobs(house: RunningAima, tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / f"{name}.png").write_bytes(still(photo(640, 480, seed=len(name) + ord(name[0]))))
    async with house.client() as client, documents_of(house.data) as documents:
        archive = (await client.create_case("ten thousand old photos", priority="batch"))["id"]
        await client.upload(archive, tmp_path / "old.png")
        await client.wait(archive)
        done = await all_of(documents, "jobs", kind="analyse", state="done")
        queue = [_once_more(done[number % len(done)], number) for number in range(QUEUE)]
        for first in range(0, QUEUE, AT_A_TIME):
            some = queue[first : first + AT_A_TIME]
            await asyncio.gather(*(documents.insert("jobs", job) for job in some))

        async def begun() -> bool:
            return await documents.count("jobs", {"kind": "analyse", "state": "leased"}) > 0

        await until("the batch work has begun", begun)
        urgent = (await client.create_case("somebody waits", priority="high"))["id"]
        uploaded = await client.upload(urgent, tmp_path / "new.png")
        await client.wait(urgent)
        left = await documents.count("jobs", {"kind": "analyse", "state": "ready"})
        assert left > QUEUE / 2, "the control: there was a queue to overtake"
        jobs = {job.id: job for job in await all_of(documents, "jobs", kind="analyse")}
        history = await documents.history("jobs")
    mine = [job for job in jobs.values() if job.body["medium"] == uploaded["medium"]]
    assert mine
    assert {(job.state, job.body["priority"]) for job in mine} == {("done", "high")}
    began = begins(history)
    came, last = min(submitted(job) for job in mine), max(began[job.id] for job in mine)
    between = [job.id for job in queue if job.id in began and came < began[job.id] < last]
    assert len(between) < QUEUE / 100


def _once_more(job: Document, number: int) -> Insert:
    """Let an analysis that was done wait to be done again, for longer than anything else."""
    longer_ago = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=QUEUE - number)
    body = {**job.body, **AFRESH, "claimed_at": None, "finished_at": None, "machine": None, "result": None}
    again = {**body, "priority": "batch", "submitted_at": longer_ago.isoformat()}
    return Insert(derive("job", job.id, str(number)), job.tenant, "ready", again)
