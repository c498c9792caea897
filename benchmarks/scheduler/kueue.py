"""Kueue's published generator, in real time, through our dispatcher, ledger, runners and bus.

15,000 workloads of 30 queues arrive within a minute and ask for 66 seconds of 600 cores: small ones (1 core for
0.2 s), medium (5 for 0.5 s) and large (20 for 1 s), the larger the more urgent. `python -m benchmarks.scheduler.kueue`
submits, places, claims, waits out and commits every one of them as a durable job, in one process on the embedded
stores or, with `--cluster`, on Kafka and MongoDB too. Beside it: what Kueue published for the same generator, and
a scheduler without any overhead (greedy by priority), computed in the same run.

What differs: Kueue admits through an API server with limits on its queries; a cohort is its queues' shared quota there,
and a machine of as many cores here, on which a workload of any queue may run. Admission here is when the work starts.
"""

import argparse
import asyncio
import contextlib
import datetime
import heapq
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import psutil
from rich.console import Console
from rich.progress import Progress

from aima_common import ids
from aima_common.contracts import messages as m
from aima_common.contracts.base import Message
from aima_common.contracts.envelope import Envelope
from aima_common.contracts.media import Confidentiality, MediumType, ObjectReference, Priority
from aima_common.contracts.telling import tell
from aima_common.jobs import Done, Held, JobKind, JobRunner, Ledger, new_job
from aima_common.ports import Ports
from aima_common.ports.documents import Document, Insert
from aima_common.runtime import run
from aima_scheduler.board import QUEUE_AHEAD
from aima_scheduler.dispatch import Dispatcher
from aima_servers import MeansMissingError, serving
from benchmarks import harness
from benchmarks.scheduler.report import draw_bars, write_page

LIMIT_SECONDS = 550.0
"""A run that takes longer has got stuck."""


@dataclass(frozen=True)
class Kind:
    """One kind of workload."""

    name: str
    priority: Priority
    cpus: int
    seconds: float
    every: float
    """Time between two of a queue, s."""
    per_queue: int
    published_seconds: float
    """Kueue's mean time to admission, s."""


KINDS = (
    Kind("small", Priority.BATCH, 1, 0.2, 0.1, 350, 215.468),
    Kind("medium", Priority.LOW, 5, 0.5, 0.5, 100, 76.768),
    Kind("large", Priority.NORMAL, 20, 1.0, 1.2, 50, 6.666),
)
"""The baseline configuration of Kueue's scheduler performance test, and what it published (notes: scheduling, 9).

Its priorities 50, 100 and 200 are classes here, none of them one in which a job may exceed a machine's cores."""

PUBLISHED_WALL_SECONDS, PUBLISHED_USAGE = 351.1, 58.7


@dataclass(frozen=True)
class Plan:
    """How much of it."""

    cohorts: int = 5
    queues_per_cohort: int = 6
    cpus_per_queue: int = 20
    share: float = 1.0
    """So much of each queue's workloads; less than one for a quick look."""

    @property
    def cpus_per_cohort(self) -> int:
        """Cores of a machine."""
        return self.queues_per_cohort * self.cpus_per_queue


@dataclass(frozen=True, order=True)
class Arrival:
    """One workload, as it comes."""

    at: float
    """Seconds after the start."""
    queue: int
    number: int
    kind: Kind


def arrivals(plan: Plan) -> list[Arrival]:
    """List the workloads of all queues, the first first."""
    found = [
        Arrival(number * kind.every, queue, number, kind)
        for queue in range(plan.cohorts * plan.queues_per_cohort)
        for kind in KINDS
        for number in range(round(kind.per_queue * plan.share))
    ]
    return sorted(found, key=lambda one: (one.at, one.queue, one.kind.name))


def figures(waits: Mapping[str, Sequence[float]], wall: float, plan: Plan) -> dict[str, float]:
    """Sum a run up: seconds from the first submission to the last end, mean waits by kind, cores used in per cent."""
    work = sum(kind.cpus * kind.seconds * len(waits[kind.name]) for kind in KINDS)
    cpus = plan.cohorts * plan.cpus_per_cohort
    means = {f"{name}_seconds": round(statistics.fmean(values), 3) for name, values in waits.items() if values}
    return {"wall_seconds": round(wall, 1), **means, "usage": round(100 * work / (cpus * wall), 1)}


def without_overhead(plan: Plan) -> dict[str, float]:
    """Play a scheduler that knows at once and decides in no time: greedy by priority, all cores in one pool."""
    coming = arrivals(plan)
    free, now, number = plan.cohorts * plan.cpus_per_cohort, 0.0, 0
    waiting: dict[str, list[Arrival]] = {kind.name: [] for kind in KINDS}
    served = dict.fromkeys(waiting, 0)
    ends: list[tuple[float, int]] = []
    waits: dict[str, list[float]] = {kind.name: [] for kind in KINDS}
    while number < len(coming) or ends:
        now = min(coming[number].at if number < len(coming) else float("inf"), ends[0][0] if ends else float("inf"))
        while number < len(coming) and coming[number].at <= now:
            waiting[coming[number].kind.name].append(coming[number])
            number += 1
        while ends and ends[0][0] <= now:
            free += heapq.heappop(ends)[1]
        for kind in reversed(KINDS):
            while kind.cpus <= free and served[kind.name] < len(waiting[kind.name]):
                waits[kind.name].append(now - waiting[kind.name][served[kind.name]].at)
                served[kind.name] += 1
                free -= kind.cpus
                heapq.heappush(ends, (now + kind.seconds, kind.cpus))
    return figures(waits, now, plan)


class Machines:
    """All machines' workers in one service: jobs that only take their time."""

    name = "analysis"
    lanes: Sequence[str] = (MediumType.IMAGE.value,)

    def __init__(self, ports: Ports, plan: Plan) -> None:
        self._plan = plan
        self._runners = {name: self._runner(ports, name) for name in machine_names(plan)}
        self._used = dict.fromkeys(self._runners, 0.0)
        self.most_used = 0.0
        """Cores that were in use at a time on one machine, at most."""
        self.began: dict[str, float] = {}
        """Job -> when its work began, on the monotonic clock."""
        self.ended = 0

    def handlers(self) -> Mapping[type[Message], Callable[[Envelope[Any]], Awaitable[None]]]:
        """Listen to hints, as analysis does."""
        return {m.AnalysisRequested: self.on_analysis_requested}

    def background(self) -> Sequence[Callable[[], Awaitable[None]]]:
        """Work until cancelled."""
        return [runner.run for runner in self._runners.values()]

    async def on_analysis_requested(self, envelope: Envelope[m.AnalysisRequested]) -> None:
        """Take the hint."""
        self._runners[envelope.body.machine].wake()

    def _runner(self, ports: Ports, machine: str) -> JobRunner:
        where = {"machine": machine, "lane": list(self.lanes)}
        ledger = Ledger(ports, machine)
        return JobRunner(ledger, JobKind.ANALYSE, self._work, slots=self._plan.cpus_per_cohort, where=where)

    async def _work(self, held: Held) -> Done:
        if held.id in self.began:
            raise RuntimeError(f"a second attempt at {held.id}")
        self.began[held.id] = time.monotonic()
        machine, cpus = str(held.body["machine"]), float(held.body["needs"]["cpus"])
        self._used[machine] += cpus
        self.most_used = max(self.most_used, self._used[machine])
        try:
            await asyncio.sleep(float(held.body["seconds"]))
        finally:
            self._used[machine] -= cpus
        self.ended += 1
        medium = str(held.body["medium"])
        result = ObjectReference(key="results/nothing", sha256="0" * 64, size_bytes=0)
        told = m.AnalysisCompleted(
            medium=medium,
            run=held.body["run"],
            job=held.id,
            analyzer=held.body["analyzer"],
            result=result,
            finding_count=0,
        )
        record = tell(told, tenant=held.tenant, key=medium, cause=held.cause, time=datetime.datetime.now(datetime.UTC))
        return Done({"result": held.id}, [record])


class Scheduling:
    """The scheduler's dispatcher, woken as the scheduler's service wakes it."""

    name = "scheduler"

    def __init__(self, ports: Ports) -> None:
        self._dispatcher = Dispatcher(ports, Ledger(ports, "scheduler"), self._refused)
        self.wake = self._dispatcher.wake

    def handlers(self) -> Mapping[type[Message], Callable[[Envelope[Any]], Awaitable[None]]]:
        """Listen for work that ended."""
        return {m.AnalysisCompleted: self.on_analysis_completed}

    def background(self) -> Sequence[Callable[[], Awaitable[None]]]:
        """Place until cancelled."""
        return [self._dispatcher.run]

    async def on_analysis_completed(self, _envelope: Envelope[m.AnalysisCompleted]) -> None:
        """There is room."""
        self.wake()

    async def _refused(self, job: Document, reason: str) -> None:
        raise RuntimeError(f"{job.id} can never run: {reason}")


def machine_names(plan: Plan) -> list[str]:
    """Name the machines."""
    return [f"cohort-{number}" for number in range(plan.cohorts)]


def job_of(arrival: Arrival, submitted_at: datetime.datetime) -> Insert:
    """Describe a workload as the scheduler describes a job; its tenant is its queue."""
    kind, name = arrival.kind, f"{arrival.queue}-{arrival.kind.name}-{arrival.number}"
    medium = ids.derive("medium", name)
    run_name = ids.derive("run", medium)
    return new_job(
        ids.job_id(run_name, JobKind.ANALYSE, kind.name, name),
        f"queue-{arrival.queue}",
        JobKind.ANALYSE,
        submitted_at=submitted_at,
        priority=kind.priority,
        medium=medium,
        run=run_name,
        lane=MediumType.IMAGE.value,
        analyzer=kind.name,
        seconds=kind.seconds,
        needs={"cpus": kind.cpus, "memory_bytes": 0},
        confidentiality=Confidentiality.INTERNAL.value,
    )


async def replay(ports: Ports, plan: Plan, progress: Callable[[int], None]) -> dict[str, float]:
    """Do all of it once; raise RuntimeError where a workload ran twice or too many cores were in use."""
    for name in machine_names(plan):
        # What may be placed ahead of a machine's cores is taken off, so that no more runs than it has cores.
        body = {"cpus": plan.cpus_per_cohort - QUEUE_AHEAD, "memory_bytes": 1 << 40, "gpus": [], "seen_at": "now"}
        await ports.documents.insert("machines", Insert(name, "", "available", body))
    machines, scheduling = Machines(ports, plan), Scheduling(ports)
    coming = arrivals(plan)
    async with running(ports, machines, scheduling):
        started = time.monotonic()
        late: list[float] = []
        async with asyncio.timeout(LIMIT_SECONDS), asyncio.TaskGroup() as group:
            for queue in range(plan.cohorts * plan.queues_per_cohort):
                own = [one for one in coming if one.queue == queue]
                group.create_task(_submit(ports, own, started, late, scheduling.wake))
            group.create_task(_all_done(ports, machines, len(coming), progress))
        wall = time.monotonic() - started
    if machines.most_used > plan.cpus_per_cohort:
        raise RuntimeError(f"{machines.most_used} of {plan.cpus_per_cohort} cores of a machine were in use")
    waits: dict[str, list[float]] = {kind.name: [] for kind in KINDS}
    for arrival in coming:
        job = job_of(arrival, datetime.datetime.now(datetime.UTC)).id
        waits[arrival.kind.name].append(machines.began[job] - started - arrival.at)
    told = {"latest_submission_seconds": round(max(late), 2), "most_cores_in_use_of_a_machine": machines.most_used}
    return {**figures(waits, wall, plan), **told}


@contextlib.asynccontextmanager
async def running(ports: Ports, machines: Machines, scheduling: Scheduling) -> AsyncIterator[None]:
    """Run both services for a while."""
    running = asyncio.create_task(run(ports, machines, scheduling))
    try:
        yield
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def _submit(
    ports: Ports, own: Sequence[Arrival], started: float, late: list[float], wake: Callable[[], None]
) -> None:
    """Submit one queue's workloads in their time, or as soon after it as the store takes them."""
    ledger = Ledger(ports, "submitter")
    for arrival in own:
        await asyncio.sleep(max(0.0, started + arrival.at - time.monotonic()))
        job = job_of(arrival, datetime.datetime.now(datetime.UTC))
        await ledger.add(job)
        late.append(time.monotonic() - started - arrival.at)
        wake()


async def _all_done(ports: Ports, machines: Machines, jobs: int, progress: Callable[[int], None]) -> None:
    """Wait until every job is committed."""
    while machines.ended < jobs:
        progress(machines.ended)
        await asyncio.sleep(0.05)
    wanted = {"kind": JobKind.ANALYSE.value, "state": "done"}
    while True:
        if await ports.documents.count("jobs", wanted) >= jobs:
            break
        await asyncio.sleep(0.01)
    progress(jobs)


def on_sqlite(folder: str, plan: Plan, quiet: bool) -> dict[str, float]:  # noqa: FBT001
    """Do it on the embedded stores."""
    from aima_common import wiring

    async def once() -> dict[str, float]:
        async with wiring.embedded(Path(folder)) as ports:
            return await _measured(ports, plan, {}, quiet=quiet)

    return asyncio.run(once())


def on_servers(addresses: Sequence[str], pids: Mapping[str, int], plan: Plan, quiet: bool) -> dict[str, float]:  # noqa: FBT001
    """Do it on real servers."""
    from aima_common.adapters.kafka_bus import KafkaBus
    from aima_common.adapters.mongo_documents import MongoDocuments
    from aima_common.adapters.system_clock import SystemClock
    from aima_common.wiring import topic_specifications

    async def once() -> dict[str, float]:
        kafka, mongod = addresses
        nothing = cast("Any", None)  # no step of a job that only waits touches objects, vectors or the search
        async with (
            MongoDocuments.open(mongod, "kueue", leftover_seconds=5.0) as documents,
            KafkaBus.open(kafka) as bus,
        ):
            await bus.ensure_topics(topic_specifications())
            ports = Ports(bus, documents, nothing, nothing, nothing, SystemClock())
            return await _measured(ports, plan, pids, quiet=quiet)

    return asyncio.run(once())


async def _measured(ports: Ports, plan: Plan, pids: Mapping[str, int], *, quiet: bool) -> dict[str, float]:
    """Do it with a bar, and tell what part of a core each process used."""
    processes = {"this_process": psutil.Process(), **{name: psutil.Process(pid) for name, pid in pids.items()}}
    with Progress(console=Console(stderr=True), disable=quiet) as bar:
        task = bar.add_task("workloads", total=len(arrivals(plan)))
        before, started = _cpu_seconds(processes), time.monotonic()
        told = await replay(ports, plan, lambda done: bar.update(task, completed=done))
        seconds = time.monotonic() - started
    after = _cpu_seconds(processes)
    busy = {f"cores_of_{name}": round((after[name] - before[name]) / seconds, 2) for name in processes}
    return {**told, **busy}


def _cpu_seconds(processes: Mapping[str, psutil.Process]) -> dict[str, float]:
    return {name: sum(one.cpu_times()[:2]) for name, one in processes.items()}


async def measure(plan: Plan, *, repeats: int, with_cluster: bool, quiet: bool) -> dict[str, Any]:
    """Run it, each time in a fresh process on fresh stores; the medians of several."""
    told: dict[str, Any] = {"workloads": len(arrivals(plan)), "without_overhead": without_overhead(plan)}
    published = {f"{kind.name}_seconds": kind.published_seconds for kind in KINDS}
    told["kueue_published"] = {"wall_seconds": PUBLISHED_WALL_SECONDS, **published, "usage": PUBLISHED_USAGE}
    runs = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            runs.append(await _in_child(on_sqlite, folder, plan, quiet))
    told["embedded"] = _medians(runs)
    if with_cluster:
        runs = []
        for _ in range(repeats):
            async with serving("kafka", "mongod", report=harness.note) as served:
                addresses = [served[name].address for name in ("kafka", "mongod")]
                pids = {name: one.process for name, one in served.items()}
                runs.append(await _in_child(on_servers, addresses, pids, plan, quiet))
        told["cluster"] = _medians(runs)
    told["ratio"] = round(told["embedded"]["wall_seconds"] / told["without_overhead"]["wall_seconds"], 3)
    return told


async def _in_child(work: Callable[..., dict[str, float]], *arguments: Any) -> dict[str, float]:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return await asyncio.get_running_loop().run_in_executor(pool, work, *arguments)


def _medians(runs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: statistics.median(one[name] for one in runs) for name in runs[0]}


def table(told: Mapping[str, Any]) -> list[str]:
    """Show it in Markdown."""
    names = [name for name in ("embedded", "cluster", "without_overhead", "kueue_published") if name in told]
    rows = {"wall_seconds": "wall, s", **{f"{kind.name}_seconds": f"mean wait, {kind.name}, s" for kind in KINDS}}
    rows |= {"usage": "cores in use, %"}
    lines = ["| | " + " | ".join(name.replace("_", " ") for name in names) + " |", "|---" * (len(names) + 1) + "|"]
    lines += [f"| {row} | " + " | ".join(f"{told[name][key]:g}" for name in names) + " |" for key, row in rows.items()]
    for name in names[:-2]:
        busy = ", ".join(
            f"{key.removeprefix('cores_of_').replace('_', ' ')} {value:g}"
            for key, value in told[name].items()
            if key.startswith("cores_of_")
        )
        lines += ["", f"{name}: cores of this computer that were busy: {busy}."]
    return lines


def write(told: Mapping[str, Any]) -> Path:
    """Write the page."""
    intro = (
        f"{told['workloads']:,} workloads of 30 queues on 600 cores, as Kueue's scheduler performance test makes them, "
        "in real time; waits are from when a workload was due to when its work began. Kueue goes through an API server "
        "with limits on its queries, and a cohort is a shared quota there and a machine here."
    )
    names = [name for name in told if isinstance(told[name], dict) and "wall_seconds" in told[name]]
    groups = {name.replace("_", " "): {"wall": told[name]["wall_seconds"]} for name in names}
    picture = draw_bars("kueue", "Until all workloads have run; the line is the goal on one computer", groups, "s", 90)
    command = "python -m benchmarks.scheduler.kueue --cluster"
    return write_page("kueue", "Kueue's generator", command, intro, table(told), picture)


def main() -> int:
    """Measure, and say what came of it; the exit status is 2 where the means are missing."""
    parser = harness.parser(__doc__, repeats=1)
    parser.prog, parser.formatter_class = "python -m benchmarks.scheduler.kueue", argparse.RawDescriptionHelpFormatter
    parser.add_argument("--cluster", action="store_true", help="do it on Kafka and MongoDB, too")
    parser.add_argument(
        "--share", type=float, default=1.0, help="so much of the workloads, for a quick look (default 1)"
    )
    options = parser.parse_args()
    if not 0 < options.share <= 1 or options.repeats < 1:
        parser.error("--share must be above 0 and at most 1, --repeats at least 1")
    plan = Plan(share=options.share)
    try:
        told = asyncio.run(measure(plan, repeats=options.repeats, with_cluster=options.cluster, quiet=options.json))
    except MeansMissingError as error:
        harness.note(f"kueue: skipped, {error}")
        return 2
    if options.json:
        sys.stdout.write(json.dumps({"name": "scheduler.kueue", "metrics": told}) + "\n")
        return 0
    print("\n".join(table(told)))
    if options.share == 1 and options.cluster:
        print(write(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
