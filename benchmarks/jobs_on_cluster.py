"""The jobs of `benchmarks.jobs` on Kafka and MongoDB: how fast, and what they wait for.

One process submits, relays, consumes and works, as all services of a cluster together would; Kafka and mongod are
started as `aima_servers` starts them, a replica set of one that acknowledges what is journaled.
"""

import asyncio
import itertools
import os
import statistics
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import psutil

from aima_servers import Served
from benchmarks.no_op_jobs import Load, NoOps, Watched, working

IDLE_SECONDS = 5.0
"""How long an idle runner is watched: several of its polls."""


@dataclass(frozen=True)
class Outcome:
    """What one run took."""

    seconds: float
    calls: Mapping[str, list[float]]
    """Call of the store -> how long each took, in seconds."""
    cpu_seconds: Mapping[str, float]
    """Process -> processor time of the run."""
    idle_calls: Mapping[str, int]
    """What the runner asked while it had nothing to do."""


def on_servers(kafka: str, mongod: str, database: str, servers: Mapping[str, int], load: Load, hinted: bool) -> Outcome:  # noqa: FBT001
    """Do the load on real servers."""
    from aima_common.adapters.kafka_bus import KafkaBus
    from aima_common.adapters.mongo_documents import MongoDocuments
    from aima_common.adapters.system_clock import SystemClock
    from aima_common.ports import Ports
    from aima_common.wiring import topic_specifications

    async def main() -> Outcome:
        nothing = cast("Any", None)  # no step of a job that does nothing touches objects, vectors or the search
        async with (
            MongoDocuments.open(mongod, database, leftover_seconds=5.0) as documents,
            KafkaBus.open(kafka) as bus,
        ):
            if hinted:
                await bus.ensure_topics(topic_specifications())
            watched = Watched(documents)
            ports = Ports(bus, cast("Any", watched), nothing, nothing, nothing, SystemClock())
            service = NoOps(ports, load)
            async with working(ports, service, hinted=hinted):
                watched.calls.clear()
                before = _cpu_seconds(servers)
                seconds = await service.measure(hinted=hinted)
                used = {name: total - before[name] for name, total in _cpu_seconds(servers).items()}
                calls, watched.calls = watched.calls, {}
                await asyncio.sleep(0 if hinted else IDLE_SECONDS)
                idle = {name: len(times) for name, times in watched.calls.items()}
            return Outcome(seconds, calls, used, idle)

    return asyncio.run(main())


def _cpu_seconds(servers: Mapping[str, int]) -> dict[str, float]:
    processes = {"this_process": psutil.Process(), **{name: psutil.Process(pid) for name, pid in servers.items()}}
    times = {name: process.cpu_times() for name, process in processes.items()}
    return {name: float(one.user + one.system) for name, one in times.items()}


class Cluster:
    """The servers, and what was seen of their runs."""

    def __init__(self, in_child: Callable[..., Awaitable[Any]]) -> None:
        self._in_child = in_child
        self._numbers = itertools.count()
        self._hinted: list[Outcome] = []
        self._bare: list[Outcome] = []
        self.served: Mapping[str, Served] = {}

    async def once(self, load: Load) -> float:
        """Do the load with hints through outbox and Kafka."""
        self._hinted.append(await self._run(load, hinted=True))
        return self._hinted[-1].seconds

    async def once_without_hints(self, load: Load) -> float:
        """Do the load on MongoDB alone."""
        self._bare.append(await self._run(load, hinted=False))
        return self._bare[-1].seconds

    async def _run(self, load: Load, *, hinted: bool) -> Outcome:
        addresses = [self.served[name].address for name in ("kafka", "mongod")]
        pids = {name: one.process for name, one in self.served.items()}
        database = f"run-{next(self._numbers)}"
        outcome: Outcome = await self._in_child(on_servers, *addresses, database, pids, load, hinted)
        return outcome

    def explanation(self, load: Load) -> dict[str, Any]:
        """Tell what a job costs: calls of the store, how long they take, processor time."""
        idle = [sum(one.idle_calls.values()) / IDLE_SECONDS for one in self._bare]
        return {
            **_explained("cluster", self._hinted, load),
            **_explained("cluster_without_hints", self._bare, load),
            "idle_runner_queries_per_second": round(statistics.median(idle), 2),
        }


def _explained(name: str, outcomes: list[Outcome], load: Load) -> dict[str, Any]:
    cores = len(os.sched_getaffinity(0))
    names = sorted({call for one in outcomes for call in one.calls})
    per_job = {call: _median([len(one.calls.get(call, [])) / load.jobs for one in outcomes]) for call in names}
    took = {call: [1000 * seconds for one in outcomes for seconds in one.calls.get(call, [])] for call in names}
    processes = sorted({process for one in outcomes for process in one.cpu_seconds})
    return {
        f"{name}_store_calls_per_job": per_job,
        f"{name}_store_call_p50_milliseconds": {call: _median(times) for call, times in took.items()},
        f"{name}_cpu_milliseconds_per_job": {
            process: _median([1000 * one.cpu_seconds[process] / load.jobs for one in outcomes]) for process in processes
        },
        f"{name}_share_of_all_cores": _median(
            [sum(one.cpu_seconds.values()) / (one.seconds * cores) for one in outcomes]
        ),
    }


def _median(values: list[float]) -> float:
    return round(statistics.median(values), 3)
