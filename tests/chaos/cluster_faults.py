"""What is done to a cluster while it works. Each fault proves that it happened: its positive control."""

import asyncio
import contextlib
import itertools
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import aiohttp

from aima_cluster import GRACE_SECONDS, Ended
from aima_common.contracts import messages as m
from aima_common.contracts.topics import BY_MESSAGE, TOPICS, all_groups
from aima_common.ports import Ports
from aima_common.ports.bus import Delivery, Record
from tests.chaos.cluster_ground import TAKEN, TURNED_AWAY, Ground
from tests.chaos.damages import (
    AT_REST,
    DONE_TWICE,
    HELD_TWICE,
    LETTER_EMPTIED,
    OF_SERVERS,
    TWICE,
    UNENDED,
    UNREAD,
    UNTOLD,
    Damage,
    of_service,
)

STORE_SECONDS = 30.0
"""How long a server is away (issue 4, "Faults")."""

NEEDED_BY_UPLOADS = ("mongod", "s3")
"""Without these no file can be taken in."""

NOTICE_SECONDS = 30.0
"""How long it may take until a process that was killed is seen to be dead: until then it still counts as ready."""

GARBAGE = (b"", b"{", b"\xff\xfe", b"null", b"[" * 5000, b'{"medium": 1e999}')


class NotInflictedError(AssertionError):
    """The fault left no trace: whatever the cluster did then proves nothing."""


@dataclass(frozen=True)
class Fault:
    """Something to be done, and what it has to show for it."""

    name: str
    inflict: Callable[[Ground, random.Random], Awaitable[str]]
    """Does it while the case is being worked on; returns the evidence, or raises `NotInflictedError`."""
    allowed_dead_letters: bool = False
    """Whether it makes dead letters on purpose."""
    prepare: Callable[[Ground], Awaitable[str]] | None = None
    """What is done before anything is sent."""
    lasting: bool = False
    """Whether media are sent for as long as it is inflicted: it has to happen under load to its end."""
    threatens: tuple[Damage, ...] = (UNENDED, UNTOLD)
    """What it could do: the controls of its round."""


def kill(kind: str) -> Fault:
    """SIGKILL one process of a service, and have it started anew."""

    async def inflict(ground: Ground, rng: random.Random) -> str:
        process = rng.choice(ground.cluster.of(kind))
        before, died = process.pid, process.deaths
        process.signal(signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(NOTICE_SECONDS):
                while process.deaths == died:
                    await asyncio.sleep(0.05)
        await process.until_ready()
        require(process.deaths == died + 1 and process.pid != before, f"{process.member.name} did not die")
        return f"{process.member.name} died and came back as another process"

    return Fault(f"kill -9 {kind}", inflict, threatens=of_service(kind))


def stop_server(name: str, seconds: float = STORE_SECONDS) -> Fault:
    """Kill a server, and start it again with its data."""

    async def inflict(ground: Ground, rng: random.Random) -> str:
        served = ground.cluster.servers[name]
        before = served.process
        async with served.stopped():
            cases, uploads = await _asked_meanwhile(ground, seconds, rng)
        require(served.process != before, f"{name} was not started anew")
        # Whoever was turned away comes back, as told.
        await ground.send_waiting()
        told = f"of new cases meanwhile: {_counted(cases)}; of uploads: {_counted(uploads)}"
        require(set(cases) | set(uploads) <= {TAKEN, TURNED_AWAY}, f"new work was refused in another way: {told}")
        # A short while is waited out by the gateway itself.
        patient = seconds < STORE_SECONDS
        require(patient or name != "mongod" or cases[TURNED_AWAY] > 0, f"nobody was told: {told}")
        require(patient or name not in NEEDED_BY_UPLOADS or uploads[TURNED_AWAY] > 0, f"nobody was told: {told}")
        return f"{name} was away for {seconds:.0f} s; {told}"

    return Fault(f"{name} away", inflict, threatens=OF_SERVERS[name])


async def _asked_meanwhile(ground: Ground, seconds: float, rng: random.Random) -> tuple[Counter[str], Counter[str]]:
    """Ask for new cases and for uploads, again and again, for so long; tell how often each was answered how."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds

    async def asked(once: Callable[[int], Awaitable[str]]) -> Counter[str]:
        answers: Counter[str] = Counter()
        for number in itertools.count():
            left = until - loop.time()
            if left <= 0:
                break
            answers[await once(number)] += 1
            await asyncio.sleep(min(1.0, max(0.0, left)))
        return answers

    return await asyncio.gather(asked(ground.ask_once), asked(lambda number: ground.upload_once(number, rng)))


def _counted(answers: Counter[str]) -> str:
    return ", ".join(f"{count} {how}" for how, count in sorted(answers.items()))


def rolling_restart() -> Fault:
    """SIGTERM every process in turn under load, as a deployment does; each must end in good order, and soon."""

    async def inflict(ground: Ground, rng: random.Random) -> str:
        ends: dict[str, Ended] = {}
        async with ground.stores() as ports:
            for name, process in ground.cluster.processes.items():
                before = process.pid
                async with asyncio.timeout(NOTICE_SECONDS):
                    while not await ports.documents.count("jobs", {"state": ["ready", "leased"]}):
                        await asyncio.sleep(0.1)
                ends[name] = await process.restart()
                require(process.pid != before, f"{name} was not restarted")
        bad = {name: end for name, end in ends.items() if end.status or end.seconds > GRACE_SECONDS}
        require(not bad, f"not in good order: {bad}")
        longest = max(ends, key=lambda name: ends[name].seconds)
        return (
            f"{len(ends)} processes were restarted one after the other, each while jobs were open; all ended with"
            f" status 0, {longest} last, after {ends[longest].seconds:.1f} s"
        )

    return Fault("rolling restart", inflict, lasting=True, threatens=(UNENDED, HELD_TWICE, UNREAD))


def together(*faults: Fault) -> Fault:
    """Inflict several faults at once."""

    async def inflict(ground: Ground, rng: random.Random) -> str:
        return "; ".join(await asyncio.gather(*(fault.inflict(ground, rng) for fault in faults)))

    return _combined(faults, inflict, " and ")


def in_turn(*faults: Fault) -> Fault:
    """Inflict several faults, one after the other, on one case."""

    async def inflict(ground: Ground, rng: random.Random) -> str:
        return "; ".join([await fault.inflict(ground, rng) for fault in faults])

    return _combined(faults, inflict, ", then ")


def _combined(faults: Sequence[Fault], inflict: Callable[[Ground, random.Random], Awaitable[str]], word: str) -> Fault:
    steps = [fault.prepare for fault in faults if fault.prepare]

    async def prepare(ground: Ground) -> str:
        return "; ".join(await asyncio.gather(*(step(ground) for step in steps)))

    allowed = any(fault.allowed_dead_letters for fault in faults)
    lasting = any(fault.lasting for fault in faults)
    threatens = tuple(dict.fromkeys(damage for fault in faults for damage in fault.threatens))
    name = word.join(fault.name for fault in faults)
    return Fault(name, inflict, allowed, prepare if steps else None, lasting, threatens)


async def _garbage(ground: Ground, rng: random.Random) -> str:
    async with ground.stores() as ports:
        before = await ports.documents.count("dead_letters", {"state": "open"})
        # Where nobody listens, as on the lanes that this cluster has not, garbage would only lie.
        silent = {name for group, names in all_groups().items() if _is_away(ground, group) for name in names}
        topics = [name for topic in TOPICS for name in topic.names if topic.consumers and name not in silent]
        records = [Record(rng.choice(topics), f"garbage-{n}", rng.choice(GARBAGE)) for n in range(20)]
        await ports.bus.publish(records)
        async with asyncio.timeout(60):
            while await ports.documents.count("dead_letters", {"state": "open"}) < before + len(records):
                await asyncio.sleep(0.2)
    return f"{len(records)} records of garbage became dead letters, and their partitions went on"


def _is_away(ground: Ground, group: str) -> bool:
    return group.startswith("analysis-") and not ground.cluster.of(group)


async def _again(ground: Ground, rng: random.Random, *, shuffled: bool) -> str:
    async with ground.stores() as ports:
        heard = [delivery.record for delivery in await _log(ports, _told())]
        require(bool(heard), "nothing had been told yet")
        if shuffled:
            rng.shuffle(heard)
        for start in range(0, len(heard), 200):
            await ports.bus.publish(heard[start : start + 200])
    return f"{len(heard)} messages were told again" + (", in another order" if shuffled else "")


async def _duplicates(ground: Ground, rng: random.Random) -> str:
    await asyncio.sleep(3)  # so that there is something to repeat
    return await _again(ground, rng, shuffled=True)


async def _replay(ground: Ground, rng: random.Random) -> str:
    await asyncio.sleep(3)
    return await _again(ground, rng, shuffled=False)


async def _nothing(ground: Ground, rng: random.Random) -> str:
    return "nothing was done"


NOTHING = Fault("nothing", _nothing, threatens=AT_REST)
GARBAGE_MESSAGES = Fault(
    "garbage messages", _garbage, allowed_dead_letters=True, threatens=(LETTER_EMPTIED, UNREAD, UNENDED)
)
DUPLICATES = Fault("duplicate and reordered messages", _duplicates, threatens=(DONE_TWICE, TWICE, HELD_TWICE))
REPLAY = Fault("every topic again from its first message", _replay, threatens=(DONE_TWICE, TWICE, HELD_TWICE))


def _told() -> list[str]:
    beside = {m.CapacityRequested, m.CapacityChanged, m.ScalingAdvised, m.ViolationFound}
    return [name for topic in BY_MESSAGE.values() if topic.message not in beside for name in topic.names]


async def _log(ports: Ports, topics: Sequence[str]) -> list[Delivery]:
    """Read topics from their first record to their last, in a group that nobody else is in."""
    group = f"chaos-{random.SystemRandom().getrandbits(64):x}"
    waiting = await ports.bus.lag(group, topics)
    found: list[Delivery] = []
    if waiting:
        async with asyncio.timeout(60), ports.bus.subscribe(group, topics) as subscription:
            async for batch in subscription.batches():
                found += batch
                if len(found) >= waiting:
                    break
    return found


async def alive(url: str) -> bool:
    """Tell whether a process answers at its health address."""
    try:
        timeout = aiohttp.ClientTimeout(total=1)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(f"{url}/livez") as answer:
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


def require(held: bool, otherwise: str) -> None:
    """Raise `NotInflictedError` unless something is so that has to be."""
    if not held:
        raise NotInflictedError(otherwise)
