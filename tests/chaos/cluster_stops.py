"""Processes that are met with a job in hand: they stand still for longer than its lease and come back, or they die."""

import asyncio
import contextlib
import datetime
import random
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace

import aiohttp

from aima_cluster import Process
from aima_common.jobs import LEASE_SECONDS, leadership, ledger
from aima_common.ports import Ports
from aima_common.ports.documents import Document
from tests.chaos.cluster_faults import Fault, NotInflictedError, alive, require
from tests.chaos.cluster_ground import Ground
from tests.chaos.damages import HELD_TWICE, LATE_WRITE, UNENDED, of_service

CAUGHT_SECONDS = 90.0
"""How long it may take until a process is met while it holds a lease."""

SETTLED_SECONDS = 0.5
"""What a process had asked of the store when it was stopped is done by then."""

LATER_SECONDS = 60.0
"""How much longer than twice a lease it may take on a busy machine until somebody else has what it held."""

REFUSED_SECONDS = 30.0
"""How long it may take until a process that goes on is refused what it commits."""

FENCED = "aima_fence_rejected_total"


def stop_all(kind: str, seconds: float = 2 * LEASE_SECONDS) -> Fault:
    """Stop every process of a service: nobody is there who could take over, and all come back at once."""

    async def inflict(ground: Ground, rng: random.Random) -> str:
        processes = ground.cluster.of(kind)
        async with _stopped(*processes):
            await asyncio.sleep(0.2)
            silent = not await alive(processes[0].health)
            await asyncio.sleep(seconds)
        require(silent, f"{kind} answered while it was stopped")
        return f"{len(processes)} processes of {kind} stood still for {seconds:.0f} s"

    return Fault(f"SIGSTOP every {kind}", inflict, threatens=(*of_service(kind), LATE_WRITE))


def stop_holder(kind: str, seconds: float = 2 * LEASE_SECONDS) -> Fault:
    """Stop the one process of a service that holds a job, until another has taken the job over."""

    async def inflict(ground: Ground, rng: random.Random) -> str:
        process = ground.cluster.of(kind)[0]
        try:
            return await _outlived(ground, process, seconds, rng)
        finally:
            await process.restart()

    return Fault(
        f"SIGSTOP one {kind} that holds a job",
        inflict,
        prepare=_commits_late(kind),
        threatens=(LATE_WRITE, HELD_TWICE),
    )


def kill_holder(kind: str) -> Fault:
    """SIGKILL the one process of a service that holds a job: somebody has to begin the job again."""

    async def inflict(ground: Ground, rng: random.Random) -> str:
        process = ground.cluster.of(kind)[0]
        died = process.deaths
        try:
            return await _survived(ground, process, rng)
        finally:
            if process.deaths == died:
                await process.restart()

    return Fault(
        f"kill -9 {kind} that holds a job",
        inflict,
        prepare=_commits_late(kind),
        lasting=True,
        threatens=(HELD_TWICE, UNENDED),
    )


def _commits_late(kind: str) -> Callable[[Ground], Awaitable[str]]:
    async def prepare(ground: Ground) -> str:
        process = ground.cluster.of(kind)[0]
        member = process.member
        await process.restart(replace(member, arguments=("-m", "tests.chaos.lingering", member.module)))
        return f"{member.name} commits late"

    return prepare


def stop_leader(seconds: float = 2 * LEASE_SECONDS) -> Fault:
    """Stop the scheduler that places; another has to, and the first must notice when it goes on."""

    async def inflict(ground: Ground, rng: random.Random) -> str:
        async with ground.stores() as ports:
            process, before = await _leader(ground, ports)
            began = time.monotonic()
            async with _stopped(process):
                await asyncio.sleep(SETTLED_SECONDS)
                silent = not await alive(process.health)
                after = await _next_leader(ports, before)
                took, done = time.monotonic() - began, await _done(ports)
                await asyncio.sleep(max(0.0, seconds - took))
                more = await _done(ports) - done
                # Nobody leads while there is nothing to do: it has to come back to one that does.
                await _next_leader(ports, before, left_seconds=leadership.TRUSTED_SECONDS + 1)
            await asyncio.sleep(leadership.TRUSTED_SECONDS)
            now = await ports.documents.load(leadership.COLLECTION, before.id)
        require(silent, f"{process.member.name} answered while it was stopped")
        require(more > 0, "nothing was done under the next one")
        require(now is not None and now.holder != before.holder, f"{process.member.name} led at once when it went on")
        names = f"{process.member.name} led and stood still; {_name_of(ground, after)}"
        return f"{names} led after {took:.0f} s, {more} jobs were done under it, and the first one led no more"

    return Fault("SIGSTOP the scheduler that leads", inflict, lasting=True, threatens=(HELD_TWICE, UNENDED))


async def _outlived(ground: Ground, process: Process, seconds: float, rng: random.Random) -> str:
    """Stop a process with a job, let another finish the job, and let the first one try to."""
    async with ground.stores() as ports, asyncio.timeout(2 * CAUGHT_SECONDS + seconds + LATER_SECONDS):
        refused = await _refusals(process)
        async with contextlib.AsyncExitStack() as stopped:
            held = await _caught(ports, process, stopped, rng)
            silent = not await alive(process.health)
            await asyncio.sleep(seconds)
            until = time.monotonic() + LATER_SECONDS
            while not (taken := await _taken_over(ports, held)) and time.monotonic() < until:
                await asyncio.sleep(0.5)
        require(silent, f"{process.member.name} answered while it was stopped")
        require(bool(taken), f"nobody took over any of {len(held)} jobs of {process.member.name}")
        until = time.monotonic() + REFUSED_SECONDS
        while (late := await _refusals(process) - refused) < len(taken) and time.monotonic() < until:
            await asyncio.sleep(0.2)
        require(late > 0, f"no late commit of {process.member.name} was refused")
    return (
        f"{process.member.name} stood still for {seconds:.0f} s or more with {len(held)} jobs; {len(taken)} were taken"
        f" over before it went on ({_names(ground, taken)}); {late:.0f} late commits were refused"
    )


async def _survived(ground: Ground, process: Process, rng: random.Random) -> str:
    """Kill a process with a job, and see the job begun again."""
    async with ground.stores() as ports:
        async with contextlib.AsyncExitStack() as stopped:
            held = await _caught(ports, process, stopped, rng)
            died = process.deaths
            process.signal(signal.SIGKILL)
            until = time.monotonic() + LEASE_SECONDS + LATER_SECONDS
            while len(taken := await _taken_over(ports, held)) < len(held) and time.monotonic() < until:
                await asyncio.sleep(0.5)
        require(process.deaths > died, f"{process.member.name} did not die")
        await process.until_ready()
        require(len(taken) == len(held), f"only {len(taken)} of {len(held)} jobs were begun again")
    began = _names(ground, taken)
    return f"{process.member.name} died with {len(held)} jobs in hand; all of them were begun again ({began})"


async def _caught(
    ports: Ports, process: Process, stopped: contextlib.AsyncExitStack, rng: random.Random
) -> Sequence[Document]:
    """Stop a process again and again, until it is at a moment when it holds jobs; it stays stopped then."""
    until = time.monotonic() + CAUGHT_SECONDS
    while time.monotonic() < until:
        if await _held_by(ports, process):
            async with contextlib.AsyncExitStack() as attempt:
                await attempt.enter_async_context(_stopped(process))
                await asyncio.sleep(SETTLED_SECONDS)
                if held := await _held_by(ports, process):
                    stopped.push_async_exit(attempt.pop_all())
                    return held
        await asyncio.sleep(rng.uniform(0.02, 0.2))
    raise NotInflictedError(f"{process.member.name} held no job in {CAUGHT_SECONDS:.0f} s")


async def _held_by(ports: Ports, process: Process) -> list[Document]:
    leased = await ports.documents.find(ledger.COLLECTION, {"state": "leased"})
    return [job for job in leased if _is(process, job)]


async def _taken_over(ports: Ports, held: Sequence[Document]) -> list[Document]:
    """List the jobs that were begun again: a newer epoch than the one that was held."""
    now = [(job, await ports.documents.load(ledger.COLLECTION, job.id)) for job in held]
    return [later for job, later in now if later is not None and later.epoch > job.epoch]


async def _done(ports: Ports) -> int:
    return await ports.documents.count(ledger.COLLECTION, {"state": "done"})


async def _leader(ground: Ground, ports: Ports) -> tuple[Process, Document]:
    async with asyncio.timeout(CAUGHT_SECONDS):
        while True:
            known = await ports.documents.load(leadership.COLLECTION, "placing")
            for process in ground.cluster.of("scheduler"):
                if known is not None and _is(process, known):
                    return process, known
            await asyncio.sleep(0.2)


async def _next_leader(ports: Ports, before: Document, left_seconds: float = 0.0) -> Document:
    """Wait until another leads, for so long at least from now."""
    async with asyncio.timeout(CAUGHT_SECONDS):
        while True:
            known, now = await ports.documents.load(leadership.COLLECTION, before.id), await ports.documents.now()
            until = now + datetime.timedelta(seconds=left_seconds)
            if known and known.holder not in {None, before.holder} and known.lease_until and known.lease_until > until:
                return known
            await asyncio.sleep(0.2)


def _is(process: Process, held: Document) -> bool:
    """Tell whether a process holds something; a holder is `service@machine-pid-random`."""
    return process.pid > 0 and f"-{process.pid}-" in (held.holder or "")


def _name_of(ground: Ground, held: Document) -> str:
    names = [name for name, process in ground.cluster.processes.items() if _is(process, held)]
    return names[0] if names else "another one"


def _names(ground: Ground, held: Sequence[Document]) -> str:
    return ", ".join(sorted({_name_of(ground, job) for job in held if job.holder})) or "done by then"


@contextlib.asynccontextmanager
async def _stopped(*processes: Process) -> AsyncIterator[None]:
    for process in processes:
        process.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            process.signal(signal.SIGCONT)


async def _refusals(process: Process) -> float:
    """Read from a process's metrics how many commits were refused because somebody else had the job."""
    timeout = aiohttp.ClientTimeout(total=30)
    async with (
        aiohttp.ClientSession(timeout=timeout) as session,
        session.get(f"{process.health}/metrics") as answer,
    ):
        lines = (await answer.text()).splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{FENCED}{{"))
