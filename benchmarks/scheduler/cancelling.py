"""How soon a large case that is cancelled stops: what is worked on, what begins meanwhile, and all that waits.

`python -m benchmarks.scheduler.cancelling` puts a case with 10,000 media and six jobs each into the embedded stores,
lets workers claim its oldest jobs all the time, and then has the scheduler handle the cancellation. A worker here holds
a job until it is cancelled in the store; a real one notices that at its next heartbeat (2 s) at the latest.
"""

import argparse
import asyncio
import datetime
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aima_common import wiring
from aima_common.abreast import abreast
from aima_common.contracts import messages as m
from aima_common.contracts.codec import decode
from aima_common.contracts.media import MediumType
from aima_common.contracts.telling import tell
from aima_common.jobs import JobKind, Ledger, new_job
from aima_common.ports import Ports
from aima_common.ports.documents import Insert
from aima_scheduler.service import Scheduler

TENANT, CASE = "somebody", "case"

JOBS_OF_A_MEDIUM = 6
"""As a photo has."""

WATCHED_SECONDS = 0.05
"""How often a worker looks whether its job is still its own."""


@dataclass(frozen=True)
class Plan:
    """How much of it."""

    media: int
    workers: int


@dataclass
class Work:
    """A job that was worked on, by the monotonic clock."""

    began: float
    stopped: float = 0.0


class Workers:
    """Workers that always have a job of the case, the oldest that there is."""

    def __init__(self, ports: Ports) -> None:
        self._documents = ports.documents
        self._ledger = Ledger(ports, "workers")
        self.done: list[Work] = []

    async def work(self) -> None:
        """Claim one job after the other, and hold each until it is taken away."""
        while True:
            for job in (await self._ledger.ready(JobKind.ANALYSE))[:3]:
                if await self._ledger.claim(job):
                    await self._hold(job.id)
            await asyncio.sleep(WATCHED_SECONDS)

    async def all_busy(self, count: int) -> None:
        """Wait until so many jobs have begun."""
        while True:
            if len(self.done) >= count:
                return
            await asyncio.sleep(WATCHED_SECONDS)

    async def _hold(self, name: str) -> None:
        one = Work(time.monotonic())
        self.done.append(one)
        while True:
            job = await self._documents.load("jobs", name)
            if job is None or job.state != "leased":
                break
            await asyncio.sleep(WATCHED_SECONDS)
        one.stopped = time.monotonic()


async def _fill(ports: Ports, media: int) -> None:
    """Write a case with media that were uploaded and planned, as their owners would."""
    now, ledger = datetime.datetime.now(datetime.UTC), Ledger(ports, "submitter")
    options = {"priority": "normal", "deadline": None, "confidentiality": "internal"}
    await ports.documents.insert("cases", Insert(CASE, TENANT, "open", {"name": CASE, "options": options}))

    async def one(number: int) -> None:
        medium, run = f"medium-{number}", f"run-{number}"
        at = (now + datetime.timedelta(milliseconds=number)).isoformat()
        item = {"case": CASE, "medium": medium, "ordinal": number, "accepted_at": at}
        await ports.documents.insert("items", Insert(f"item-{number}", TENANT, "accepted", item))
        counted = {"parts_done": 0, "parts_total": JOBS_OF_A_MEDIUM, "reason": None}
        body = {"medium": medium, "accepted_at": at, **counted, **options}
        await ports.documents.insert("runs", Insert(run, TENANT, "analysing", body))
        for part in range(JOBS_OF_A_MEDIUM):
            facts: dict[str, Any] = {
                "run": run,
                "medium": medium,
                "lane": MediumType.IMAGE.value,
                "analyzer": f"analyzer-{part}",
            }
            await ledger.add(
                new_job(f"job-{number}-{part}", TENANT, JobKind.ANALYSE, submitted_at=now, needs={"cpus": 1}, **facts)
            )

    await abreast(one, range(media))


async def measure(folder: Path, plan: Plan) -> dict[str, Any]:
    """Do it once; raise RuntimeError where a job is left."""
    async with wiring.embedded(folder) as ports:
        await _fill(ports, plan.media)
        workers, scheduler = Workers(ports), Scheduler(ports, Ledger(ports, "scheduler"))
        working = [asyncio.create_task(workers.work()) for _ in range(plan.workers)]
        await workers.all_busy(plan.workers)
        asked, computed = time.monotonic(), time.process_time()
        wish = m.CancelRequested(case=CASE)
        now = datetime.datetime.now(datetime.UTC)
        await scheduler.on_cancel_requested(decode(tell(wish, tenant=TENANT, key=CASE, cause="benchmark", time=now)))
        took, computed = time.monotonic() - asked, time.process_time() - computed
        await asyncio.sleep(4 * WATCHED_SECONDS)
        for worker in working:
            worker.cancel()
        await asyncio.gather(*working, return_exceptions=True)
        if await ports.documents.count("jobs", {"state": ["ready", "leased"]}):
            raise RuntimeError("jobs are left")
        return _told(plan, workers.done, asked, took, computed)


def _told(plan: Plan, done: Sequence[Work], asked: float, took: float, computed: float) -> dict[str, Any]:
    before, meanwhile = ([one for one in done if (one.began > asked) is later] for later in (False, True))
    return {
        "media": plan.media,
        "jobs": plan.media * JOBS_OF_A_MEDIUM,
        "workers": plan.workers,
        "begun_before_stopped_after_seconds": round(max(one.stopped - asked for one in before), 3),
        "begun_meanwhile": len(meanwhile),
        "begun_meanwhile_stopped_within_seconds": round(
            max((one.stopped - one.began for one in meanwhile), default=0.0), 3
        ),
        "all_cancelled_after_seconds": round(took, 3),
        "seconds_of_computing": round(computed, 3),
    }


def main() -> None:
    """Measure, and print it as JSON."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--media", type=int, default=10_000)
    options.add_argument("--workers", type=int, default=4)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        told = asyncio.run(measure(Path(folder), Plan(given.media, given.workers)))
    json.dump(told, sys.stdout, indent=2)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
