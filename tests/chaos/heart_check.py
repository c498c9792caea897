"""What must be so of jobs and machines, whatever happened: looked at while nobody changes anything."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from aima_common.contracts import messages as m
from aima_common.contracts.codec import decode
from aima_common.contracts.topics import BY_MESSAGE
from aima_common.ports import Ports
from aima_common.ports.documents import Document
from aima_common.runtime.relay import relay_once
from aima_scheduler.board import QUEUE_AHEAD
from aima_scheduler.dispatch import Dispatcher
from aima_scheduler.reading import MIB

ENDED = ("done", "dead", "cancelled", "unschedulable")
HUNG, DOUBLED = "had not ended", "was told"
"""What is said of a job that waits for ever, and of one whose end was told otherwise than once."""

INTERACTIVE = frozenset({"critical", "high"})


async def as_left(ports: Ports, accepted: Iterable[str]) -> list[str]:
    """Look at the store as a process left it that was killed."""
    jobs = await ports.documents.find("jobs", {}, limit=100_000)
    machines = await ports.documents.find("machines", {})
    return [*lost(jobs, accepted), *beyond_capacity(jobs, machines)]


async def in_the_end(ports: Ports, jobs: int) -> list[str]:
    """Look at the store when all jobs have ended: each exactly once, and told exactly once."""
    found = await ports.documents.find("jobs", {}, limit=100_000)
    wrong = [
        f"{job.id} {HUNG}: it is {job.state} on {job.body['machine']}, held by {job.holder}"
        for job in found
        if job.holder or job.state not in ENDED
    ]
    wrong += [f"{job.id} was refused: {job.body['reason']}" for job in found if job.state == "unschedulable"]
    if len(found) != jobs:
        wrong.append(f"{len(found)} jobs of {jobs}")
    await relay_once(ports)
    return wrong + doubled(found, await _completions(ports))


async def allocation(ports: Ports, dispatcher: Dispatcher) -> list[str]:
    """Let one scheduler place while nobody works, and compare what it believes with what the store says."""
    await dispatcher.place_all()
    machines = await ports.documents.find("machines", {"state": "available"})
    names = [one.id for one in machines]
    placed = await ports.documents.find("jobs", {"machine": names, "state": ["ready", "leased"]}, limit=100_000)
    engine = dispatcher._board.engine
    if not len(engine.fleet):
        return []  # nothing waits, or there is no machine: it did not look at what runs
    wrong = []
    if (known := set(engine.running)) != (stored := {job.id for job in placed}):
        wrong.append(f"the scheduler counts {sorted(known - stored)} as running, and not {sorted(stored - known)}")
    held = {name for kept in engine.reservations for name in kept.machines}
    for machine in machines:
        if machine.id in engine.fleet and machine.id not in held:
            taken = sum(one.job.shape.cpu_milli for one in engine.runs_on(machine.id))
            free = engine.fleet.free(machine.id).cpu_milli
            whole = 1000 * (machine.body["cpus"] + QUEUE_AHEAD)
            if free < 0 or free + taken != whole:
                wrong.append(f"{machine.id} has {free} free and {taken} taken of {whole}")
            taken = sum(one.job.shape.memory_mib for one in engine.runs_on(machine.id))
            free, whole = engine.fleet.free(machine.id).memory_mib, machine.body["memory_bytes"] // MIB
            if free < 0 or free + taken != whole:
                wrong.append(f"{machine.id} has {free} MiB free and {taken} MiB taken of {whole} MiB")
            here = [job for job in placed if job.body["machine"] == machine.id]
            if (needed := sum(job.body["needs"]["memory_bytes"] for job in here) // MIB) != taken:
                wrong.append(f"{machine.id} counts {taken} MiB as taken, and jobs that need {needed} MiB are there")
    return wrong


def lost(jobs: Sequence[Document], accepted: Iterable[str]) -> list[str]:
    """Name the jobs that were accepted and are not there."""
    missing = set(accepted) - {job.id for job in jobs}
    return [f"{name} was accepted, and is lost" for name in sorted(missing)]


def beyond_capacity(jobs: Sequence[Document], machines: Sequence[Document]) -> list[str]:
    """Name the machines on which more is placed than they have; one who cannot wait may exceed the cores."""
    on: dict[str, list[Document]] = defaultdict(list)
    for job in jobs:
        if job.body["machine"] and job.state in {"ready", "leased"}:
            on[job.body["machine"]].append(job)
    wrong = []
    for machine in machines:
        here = on[machine.id]
        # CPU is soft: no job counts as wanting more cores than the machine has.
        most = float(machine.body["cpus"])
        wanted = {job.id: min(most, float(job.body["needs"]["cpus"])) for job in here}
        cpus = sum(wanted.values()) - max((wanted[job.id] for job in here if _may_exceed(job)), default=0)
        gpus = sum(job.body["needs"]["gpus"] for job in here)
        memory = sum(job.body["needs"]["memory_bytes"] for job in here)
        too_much = memory > machine.body["memory_bytes"] or gpus > len(machine.body["gpus"])
        if too_much or cpus > machine.body["cpus"] + QUEUE_AHEAD:
            names = sorted(job.id for job in here)
            wrong.append(f"{machine.id} has {cpus} cores, {gpus} GPUs and {memory} bytes in use, by {names}")
    return wrong


def doubled(jobs: Sequence[Document], completions: Iterable[tuple[str, str]]) -> list[str]:
    """Name the jobs whose end was told by another number of messages than one, repetitions not counted."""
    told = Counter(job for job, _ in set(completions))
    return [f"the end of {job.id} {DOUBLED} {told[job.id]} times" for job in jobs if told[job.id] != _ends(job)]


def _ends(job: Document) -> int:
    return int(job.state == "done")


def _may_exceed(job: Document) -> bool:
    urgent = job.body["priority"] in INTERACTIVE or job.body.get("changed")  # it was urgent when it was placed
    return bool(urgent) and not job.body["needs"]["gpus"]


async def _completions(ports: Ports) -> list[tuple[str, str]]:
    """Read every end that was told: job and message."""
    found: list[tuple[str, str]] = []
    topics = list(BY_MESSAGE[m.AnalysisCompleted].names)
    waiting = await ports.bus.lag("the checker", topics)
    async with ports.bus.subscribe("the checker", topics) as subscription:
        batches = subscription.batches()
        while len(found) < waiting:
            envelopes = [decode(delivery.record) for delivery in await anext(batches)]
            found += [(envelope.body.job, envelope.id) for envelope in envelopes]
    return found
