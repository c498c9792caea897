"""Two replicas of analysis against one: ten media, one slot each, a stage that waits instead of computing.

Goals: 1.9 times the throughput, and neither replica does less than 40 % of the jobs. Replicas are processes with the
real `AnalysisService` on a real Kafka, MongoDB and S3 store: leases, hints, inputs and results are what they are in a
cluster; only who computes is replaced by somebody who sleeps, so that the machine's cores do not bound it.
"""

import argparse
import asyncio
import contextlib
import datetime
import multiprocessing
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from typing import Any, cast

from aima_analysis.analyzers.analyzer import Analysis
from aima_analysis.service import AnalysisService
from aima_common import ids
from aima_common.adapters.kafka_bus import KafkaBus
from aima_common.adapters.mongo_documents import MongoDocuments
from aima_common.adapters.s3.settings import S3Settings
from aima_common.adapters.s3_objects import S3Objects
from aima_common.adapters.system_clock import SystemClock
from aima_common.contracts import messages as m
from aima_common.contracts.envelope import Envelope
from aima_common.contracts.media import MediumType, Segment
from aima_common.contracts.telling import tell
from aima_common.jobs import JobKind, Ledger, new_job
from aima_common.ports import Ports
from aima_common.ports.documents import Insert
from aima_common.runtime import run
from aima_common.runtime.relay import relay_outbox
from aima_common.wiring import topic_specifications
from aima_servers import MeansMissingError, Served, serving
from benchmarks import harness

TENANT = "default"
MACHINE = "this machine"
LIMIT_SECONDS = 300.0
"""A run that takes longer has got stuck."""

WARM_UP_MEDIA = 12
WARM_UP_SECONDS = 0.05

Addresses = Mapping[str, tuple[str, str, str]]
"""Server -> address, access key, secret key."""


class Sleeping:
    """Whoever computes, asleep for as many seconds as the input says."""

    async def analyse(
        self,
        analyzer: str,
        type: MediumType,  # noqa: A002 - the field's word
        segment: Segment | None,
        blobs: Sequence[bytes],
        deadline_seconds: float,
        *,
        interactive: bool = False,
    ) -> Analysis:
        """Wait, and find nothing."""
        await asyncio.sleep(float(blobs[0]))
        return Analysis()


@contextlib.asynccontextmanager
async def stores(addresses: Addresses) -> AsyncIterator[Ports]:
    """Plug in the servers."""
    endpoint, access_key, secret_key = addresses["s3"]
    nothing = cast("Any", None)  # a result without vectors touches neither these nor the search
    async with (
        MongoDocuments.open(addresses["mongod"][0], "replicas", leftover_seconds=5.0) as documents,
        S3Objects.at(S3Settings(endpoint, access_key, secret_key)) as objects,
        KafkaBus.open(addresses["kafka"][0]) as bus,
    ):
        yield Ports(bus, documents, objects, nothing, nothing, SystemClock())


def replica(name: str, addresses: Addresses, heard: Event) -> None:
    """Be a replica until told to stop; say when a hint was heard."""

    class Listening(AnalysisService):
        async def on_analysis_requested(self, envelope: Envelope[m.AnalysisRequested]) -> None:
            heard.set()
            await super().on_analysis_requested(envelope)

    async def main() -> None:
        working = asyncio.current_task()
        assert working is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, working.cancel)
        async with stores(addresses) as ports:
            lanes = (MediumType.IMAGE,)
            service = Listening(ports, Ledger(ports, name), Sleeping(), [], machine=MACHINE, slots=1, lanes=lanes)
            await run(ports, service)

    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(main())


@contextlib.contextmanager
def started(name: str, addresses: Addresses) -> Iterator[Event]:
    """Run a replica in a process of its own; yield what it sets when it hears a hint."""
    context = multiprocessing.get_context("spawn")
    heard = context.Event()
    process = context.Process(target=replica, args=(name, addresses, heard))
    process.start()
    try:
        yield heard
    finally:
        process.terminate()
        process.join()


@dataclass(frozen=True)
class Outcome:
    """What a round took, and who did how much of it."""

    seconds: float
    jobs: Counter[str]

    @property
    def shares(self) -> dict[str, float]:
        """Tell each replica's share of the jobs."""
        return {name: round(count / self.jobs.total(), 3) for name, count in sorted(self.jobs.items())}


class House:
    """Whoever uploads, schedules and waits."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._ledger = Ledger(ports, "the scheduler")
        self._rounds = 0

    async def until_heard(self, *replicas: Event) -> None:
        """Give short jobs until every replica has heard of one: joining a group takes seconds."""
        for heard in replicas:
            heard.clear()
        async with asyncio.timeout(LIMIT_SECONDS):
            while True:
                await self.round(WARM_UP_MEDIA, WARM_UP_SECONDS)
                if all(heard.is_set() for heard in replicas):
                    return

    async def round(self, media: int, stage_seconds: float) -> Outcome:
        """Hand in so many media at once, each with one job that waits, and wait until all are analysed."""
        self._rounds += 1
        names = [ids.derive("medium", self._rounds, number) for number in range(media)]
        for name in names:
            await self._ports.objects.put(f"t/{TENANT}/derivatives/{name}", str(stage_seconds).encode())
        started = time.perf_counter()
        jobs = await asyncio.gather(*(self._place(name) for name in names))
        async with asyncio.timeout(LIMIT_SECONDS):
            while True:
                if (
                    await self._ports.documents.count("jobs", {"run": f"round-{self._rounds}", "state": "done"})
                    == media
                ):
                    break
                await asyncio.sleep(0.01)
        seconds = time.perf_counter() - started
        return Outcome(seconds, Counter([await self._holder(job) for job in jobs]))

    async def _until_done(self, media: int) -> None:
        done = {"run": f"round-{self._rounds}", "state": "done"}
        while True:
            if await self._ports.documents.count("jobs", done) == media:
                return
            await asyncio.sleep(0.01)

    async def _place(self, medium: str) -> str:
        """Add a job and tell of it as the scheduler does."""
        job, now = ids.job_id(medium, JobKind.ANALYSE, "sleeping"), datetime.datetime.now(datetime.UTC)
        body: dict[str, Any] = {
            "medium": medium,
            "run": f"round-{self._rounds}",
            "lane": MediumType.IMAGE.value,
            "analyzer": "sleeping",
            "analyzer_version": "1",
            "result_key": medium,
            "segment": None,
            "input": {"key": f"t/{TENANT}/derivatives/{medium}"},
        }
        described = new_job(job, TENANT, JobKind.ANALYSE, submitted_at=now, **body)
        added = Insert(described.id, TENANT, described.state, {**described.body, "machine": MACHINE})
        hint = m.AnalysisRequested(medium=medium, job=job, lane=MediumType.IMAGE, machine=MACHINE)
        await self._ledger.add(added, [tell(hint, tenant=TENANT, key=medium, cause=job, time=now)])
        return job

    async def _holder(self, job: str) -> str:
        """Tell who did a job; raise RuntimeError when it was done more than once."""
        lines = await self._ports.documents.history("jobs", job)
        if max(line.epoch for line in lines) != 1:
            raise RuntimeError(f"job {job} was leased more than once")
        return next(str(line.holder) for line in lines if line.state_after == "done")


async def measure(repeats: int, media: int, stage_seconds: float) -> dict[str, Any]:
    """Measure one replica, then two, in turn."""
    async with serving("kafka", "mongod", "s3", report=harness.note) as served, contextlib.AsyncExitStack() as stack:
        addresses = {name: _reached(one) for name, one in served.items()}
        ports = await stack.enter_async_context(stores(addresses))
        await ports.bus.ensure_topics(topic_specifications())
        relaying = asyncio.create_task(relay_outbox(ports))
        stack.callback(relaying.cancel)
        house = House(ports)
        alone, both = [], []
        with started("replica-1", addresses) as first:
            for number in range(repeats):
                await house.until_heard(first)
                alone.append(await house.round(media, stage_seconds))
                with started("replica-2", addresses) as second:
                    await house.until_heard(first, second)
                    both.append(await house.round(media, stage_seconds))
                told = f"one {alone[-1].seconds:.2f} s, two {both[-1].seconds:.2f} s, shares {both[-1].shares}"
                harness.note(f"{number + 1}/{repeats}: {told}")
    ratios = [one.seconds / two.seconds for one, two in zip(alone, both, strict=True)]
    return {
        "throughput_ratio": round(statistics.median(ratios), 4),
        "throughput_ratios": harness.spread(ratios),
        "least_share": min(min(one.shares.values()) for one in both),
        "shares": [one.shares for one in both],
        "one_replica_seconds": harness.spread([one.seconds for one in alone]),
        "two_replicas_seconds": harness.spread([one.seconds for one in both]),
        "media": media,
        "stage_seconds": stage_seconds,
    }


def _reached(served: Served) -> tuple[str, str, str]:
    return served.address, served.access_key, served.secret_key


def _options() -> argparse.Namespace:
    made = harness.parser(__doc__)
    made.add_argument("--media", type=int, default=10, help="media of one run (default 10)")
    made.add_argument("--stage-seconds", type=float, default=1.0, help="how long a job waits (default 1)")
    return made.parse_args()


def main() -> int:
    """Measure and tell; the exit status is 2 where the means are missing."""
    options = _options()
    try:
        metrics = asyncio.run(measure(options.repeats, options.media, options.stage_seconds))
    except MeansMissingError as error:
        harness.note(f"replicas: skipped, {error}")
        return 2
    harness.report("replicas", metrics, as_json=options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
