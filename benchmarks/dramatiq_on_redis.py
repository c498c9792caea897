"""The baseline of `benchmarks.jobs`: dramatiq on a Redis of its own, as its documentation sets it up.

Submitter threads and one `Worker` live in one process; Redis is another. A message counts when it was acknowledged:
then Redis has let go of it. Its append-only file is written before every answer (`appendfsync always`), so that an
accepted message survives a power cut, or once a second (`everysec`, Redis' default with a file).
"""

import contextlib
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

from aima_servers import Served
from aima_servers.means import program
from aima_servers.processes import Server, answers, free_ports, serving_from
from benchmarks.no_op_jobs import LIMIT_SECONDS, Load

QUEUE = "jobs"


@contextlib.asynccontextmanager
async def redis(folder: Path, appendfsync: str) -> AsyncIterator[Served]:
    """Run a Redis with its append-only file in `folder`; raise `MeansMissingError` where there is none."""
    command = [program("redis-server", "on Debian: apt install redis-server")]
    (port,) = free_ports(1)
    command += ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--save", ""]
    command += ["--appendonly", "yes", "--appendfsync", appendfsync]
    folder.mkdir(parents=True)
    server = Server(command, folder, lambda _log: answers(port))
    async with serving_from(server):
        yield Served(f"redis://127.0.0.1:{port}/0", server)


def run(url: str, load: Load) -> float:
    """Submit so many jobs that do nothing, and give the seconds until Redis has forgotten the last of them."""
    import dramatiq
    from dramatiq.brokers.redis import RedisBroker

    broker = RedisBroker(url=url)  # type: ignore[no-untyped-call]
    broker.flush_all()
    executed: list[str] = []
    all_executed = threading.Event()

    def work(job: str) -> None:
        executed.append(job)
        if len(executed) == load.jobs:
            all_executed.set()

    actor = dramatiq.Actor(work, broker=broker, actor_name="work", queue_name=QUEUE, priority=0, options={})
    # With the threads started and the connections made, as on the other side.
    worker = dramatiq.Worker(broker, worker_timeout=100, worker_threads=load.workers)
    worker.start()

    def submit(first: int) -> None:
        for number in range(first, load.jobs, load.submitters):
            actor.send(f"job-{number}")

    threads = [threading.Thread(target=submit, args=(first,)) for first in range(load.submitters)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    if not all_executed.wait(LIMIT_SECONDS):
        raise TimeoutError(f"dramatiq did {len(executed)} of {load.jobs} jobs in {LIMIT_SECONDS:.0f} s")
    broker.join(QUEUE, interval=1, timeout=round(LIMIT_SECONDS * 1000))
    seconds = time.perf_counter() - started
    worker.stop()
    broker.close()
    if len(set(executed)) < load.jobs:
        raise RuntimeError("dramatiq executed some jobs twice and others not at all")
    return seconds
