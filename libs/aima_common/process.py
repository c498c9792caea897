"""The life of a process that holds one service of a cluster: settings, stores, service, drain.

    python -m aima_fusion        →  serve("fusion", lambda place: Fusion(place.ports, place.ledger))

Settings that cannot be used end it at once, with status 2. A server that is away does not: the process waits, says
for what, and `/readyz` says it, too. SIGTERM drains: no new work, what is under way is given back, what was to
be told is told.
"""

import argparse
import asyncio
import contextlib
import functools
import json
import os
import signal
import socket
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import structlog

from aima_common import cluster_wiring, settings
from aima_common.contracts.topics import TOPICS
from aima_common.errors import SettingsError, TransientError
from aima_common.jobs import Ledger
from aima_common.ports import Ports
from aima_common.runtime import Service, run
from aima_common.runtime.health import DEFAULT_PORT, OK, Check, Health
from aima_common.runtime.relay import relay_once
from aima_common.runtime.telemetry import configure_logs

DRAIN_SECONDS = 25.0
"""How long a stopping process may take; below the 30 s that Kubernetes gives a pod by default."""

FAREWELL_SECONDS = 5.0
"""Of those, for telling what is still to be told; whoever lives longer tells the rest."""

RETRY_SECONDS = 1.0
CHECK_SECONDS = 3.0
"""How long a store may take to answer before it counts as away, and how long an answer counts."""

SETTING_OF = {"mongodb": "AIMA_MONGODB", "kafka": "AIMA_KAFKA", "s3": "AIMA_S3", "vectors": "AIMA_VECTORS"}

SMALL_TOPIC = min(TOPICS, key=lambda topic: topic.partitions).name
"""What the bus is asked about to see whether it answers."""

log = structlog.get_logger()


@dataclass(frozen=True)
class Workplace:
    """What a service's process has to give to its service."""

    ports: Ports
    ledger: Ledger
    machine: str
    """The machine that this process works on; jobs are placed on machines."""
    slots: int
    """Jobs that it may work on at the same time."""
    health: Health
    environment: Mapping[str, str]


Build = Callable[[Workplace], AbstractAsyncContextManager[Service]]


@runtime_checkable
class Addressed(Protocol):
    """A service with an HTTP interface of its own."""

    async def url(self) -> str:
        """Tell where it listens, as soon as it does."""


def alone(make: Callable[[Workplace], Service]) -> Build:
    """Build a service that needs nothing but its workplace."""

    @contextlib.asynccontextmanager
    async def build(place: Workplace) -> AsyncIterator[Service]:
        yield make(place)

    return build


Reads = Callable[[Mapping[str, str]], object]
"""Reads the settings that a service has of its own; raises `SettingsError` for what cannot be used."""

Meanwhile = Callable[[Mapping[str, str], Health], AbstractAsyncContextManager[None]]
"""What a process does while it waits for its stores: it is given its environment and what it waits for."""


def serve(
    name: str,
    build: Build,
    arguments: Sequence[str] | None = None,
    *,
    reads: Reads | None = None,
    meanwhile: Meanwhile | None = None,
) -> None:
    """Be the process of the service `name` until told to stop; exit status 2 for settings that cannot be used.

    `reads` reads the service's own settings: once before any server is waited for, and `build` reads them again.
    """
    parser = argparse.ArgumentParser(
        prog=f"aima-{name.replace('_', '-')}",
        description=f"The process of the service {name}. It is set up by its environment:",
        epilog=_help(name),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args(arguments)

    def work(environment: Mapping[str, str]) -> int:
        if reads:
            # Whoever mistyped a word is told at once, and not when the last of the servers has come up.
            reads(environment)
        return asyncio.run(_life(name, build, environment, meanwhile))

    sys.exit(with_settings(name, work))


def with_settings(name: str, work: Callable[[Mapping[str, str]], int]) -> int:
    """Do something with the environment; say what is wrong with it, and give status 2, when it cannot be used."""
    environment = dict(os.environ)
    try:
        settings.refuse_unknown(environment)
        configure_logs(settings.log_level(environment))
        return work(environment)
    except SettingsError as error:
        sys.stderr.write(f"aima-{name}: {error}\n")
    return 2


async def _life(name: str, build: Build, environment: Mapping[str, str], meanwhile: Meanwhile | None) -> int:
    stores = settings.StoreSettings.from_environment(environment)
    host = environment.get("AIMA_HEALTH_HOST", "127.0.0.1")
    port = settings.number(environment, "AIMA_HEALTH_PORT", DEFAULT_PORT)
    machine = environment.get("AIMA_MACHINE") or socket.gethostname()
    slots = settings.number(environment, "AIMA_SLOTS", len(os.sched_getaffinity(0)), least=1)
    stopped = _stop_signal()
    health = Health()
    async with contextlib.AsyncExitStack() as stack:
        health_url = await stack.enter_async_context(health.served(host, port))
        async with meanwhile(environment, health) if meanwhile else contextlib.nullcontext():
            ports = await _connected(stores, health, stopped, stack)
        if ports is None:
            return 0
        ledger = Ledger(ports, f"{name}@{machine}-{os.getpid()}-{uuid.uuid4().hex[:8]}")
        place = Workplace(ports, ledger, machine, slots, health, environment)
        service = await stack.enter_async_context(build(place))
        for store, check in _checks(ports).items():
            health.add(store, check)
        health.waits_for = ""
        await _work(name, ports, service, health_url, stopped)
    return 0


async def _connected(
    stores: settings.StoreSettings, health: Health, stopped: asyncio.Event, stack: contextlib.AsyncExitStack
) -> Ports | None:
    """Reach the stores, however long they are away; None when told to stop meanwhile."""
    while not stopped.is_set():
        attempt = contextlib.AsyncExitStack()
        try:
            ports = await attempt.enter_async_context(cluster_wiring.cluster(stores))
        except TransientError as error:
            await attempt.aclose()
            health.waits_for = _away(error)
            log.warning("waits_for_a_server", reason=health.waits_for)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RETRY_SECONDS):
                    await stopped.wait()
        else:
            stack.push_async_exit(attempt)
            return ports
    return None


def _away(error: TransientError) -> str:
    setting = SETTING_OF.get(error.code)
    return f"{error} ({setting} says where it is)" if setting else str(error)


async def _work(name: str, ports: Ports, service: Service, health_url: str, stopped: asyncio.Event) -> None:
    running = asyncio.create_task(run(ports, service))
    telling = asyncio.create_task(_tell_ready(name, service, health_url))
    waiting = asyncio.create_task(stopped.wait())
    try:
        await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
    finally:
        log.info("draining", service=name)
        for task in (telling, waiting, running):
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            async with asyncio.timeout(DRAIN_SECONDS - FAREWELL_SECONDS):
                await asyncio.gather(running, return_exceptions=True)
        # What this process wrote last is told by itself rather than by others some seconds later.
        with contextlib.suppress(TransientError, TimeoutError):
            async with asyncio.timeout(FAREWELL_SECONDS):
                await relay_once(ports)


async def _tell_ready(name: str, service: Service, health_url: str) -> None:
    """Say on standard output that work begins: a line of JSON for whoever started the process."""
    told = {"ready": True, "service": name, "pid": os.getpid(), "health": health_url}
    if isinstance(service, Addressed):
        told["url"] = await service.url()
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def _checks(ports: Ports) -> dict[str, Check]:
    """Make the checks of the stores."""
    return {
        "documents": _Remembered(ports.documents.now),
        "bus": _Remembered(functools.partial(ports.bus.lag, "readiness", [SMALL_TOPIC])),
        "objects": _Remembered(functools.partial(ports.objects.info, cluster_wiring.MARKER)),
    }


class _Remembered:
    """A check that asks its store at most every few seconds."""

    def __init__(self, ask: Callable[[], Awaitable[object]]) -> None:
        self._ask = ask
        self._asked_at = -CHECK_SECONDS
        self._state = OK

    async def __call__(self) -> str:
        if time.monotonic() - self._asked_at > CHECK_SECONDS:
            self._state = await self._answer()
            self._asked_at = time.monotonic()
        return self._state

    async def _answer(self) -> str:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                await self._ask()
        except TimeoutError:
            return f"no answer within {CHECK_SECONDS:.0f} s"
        except TransientError as error:
            return _away(error)
        return OK


def _stop_signal() -> asyncio.Event:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        # The first signal drains; a second one ends the process at once.
        stopped.set()
        loop.remove_signal_handler(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, number)
    return stopped


def _help(name: str) -> str:
    rows = [one for one in settings.SETTINGS if one.read_by == settings.EVERY or name in one.read_by.split(", ")]
    width = max(len(one.name) for one in rows)
    return "\n".join(
        f"  {one.name:{width}}  {one.meaning}" + (f" (default: {one.default})" if one.default else "") for one in rows
    )
