"""`python -m aima_cluster up`: servers and every service on this machine; `demo` also analyses the demo case."""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

from aima_cluster.running import Cluster, cluster
from aima_servers import MeansMissingError, ServerDiedError

CASE = "The AIMA demo case"


def main() -> int:
    """Do what the command line says; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m aima_cluster", description=__doc__)
    parser.add_argument("action", choices=("up", "demo"))
    parser.add_argument("--out", type=Path, default=Path("cluster-demo"), help="folder for logs and results")
    arguments = parser.parse_args()
    work = _demo if arguments.action == "demo" else _up
    try:
        return asyncio.run(work(arguments.out))
    except (MeansMissingError, ServerDiedError) as error:
        _say(str(error))
        return 1


async def _up(folder: Path) -> int:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with cluster(folder / "logs", extra={"AIMA_SLOTS": "1"}, report=_say) as running:
        print(f"AIMA_URL={running.urls[0]} AIMA_KEY={await running.key()}", flush=True)
        await stopped.wait()
        _say("stopping")
    return 0


async def _demo(folder: Path) -> int:
    from aima_demo import make_demo_case

    made = await asyncio.to_thread(make_demo_case, folder)
    _say(f"demo case of {len(made.files)} files in {made.media_folder}")
    async with cluster(folder / "logs", extra={"AIMA_SLOTS": "1"}, report=_say) as running:
        status = await analyse(running, made.media_folder, folder)
        _say("stopping")
    return 0 if status == 3 else status  # some files of the case are broken on purpose


async def analyse(running: Cluster, media: Path, folder: Path, case: str = CASE) -> int:
    """Have a folder analysed through the cluster's gateway by the `aima` command; return its exit status."""
    environment = {**os.environ, "AIMA_URL": running.urls[0], "AIMA_KEY": await running.key()}
    command = (sys.executable, "-m", "aima_client", "analyze", str(media), "--out", str(folder), "--case", case)
    return await (await asyncio.create_subprocess_exec(*command, env=environment)).wait()


def _say(line: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
