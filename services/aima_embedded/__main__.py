"""`python -m aima_embedded`: AIMA on one machine. `aima up` starts this."""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from aima_client import state
from aima_common import settings
from aima_common.errors import SettingsError
from aima_common.runtime import run
from aima_common.runtime.telemetry import configure_logs
from aima_embedded.composition import House, Options, build
from aima_scheduler.rules import rules_of

LOG_LEVEL = "WARNING"
"""From which level on it logs unless told otherwise: whoever works on one machine has nobody who reads the rest."""


def main() -> None:
    """Run until told to stop; exit status 2 for settings that cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m aima_embedded", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder for everything that AIMA keeps")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: a free one)")
    parser.add_argument("--analyzers", help="names, separated by commas; goes before AIMA_ANALYZERS")
    parser.add_argument("--log-level", help="goes before AIMA_LOG_LEVEL")
    arguments = parser.parse_args()
    environment = dict(os.environ)
    try:
        settings.refuse_unknown(environment)
        level = arguments.log_level or environment.get("AIMA_LOG_LEVEL") or LOG_LEVEL
        configure_logs(settings.log_level({"AIMA_LOG_LEVEL": level}))
        asyncio.run(_serve(_options(arguments, environment)))
    except SettingsError as error:
        sys.stderr.write(f"aima: {error}\n")
        sys.exit(2)


def _options(arguments: argparse.Namespace, environment: Mapping[str, str]) -> Options:
    """Read what was chosen, by the same words as the services of a cluster; raise `SettingsError` for any other."""
    return Options(
        arguments.data,
        arguments.host,
        arguments.port,
        arguments.analyzers or environment.get("AIMA_ANALYZERS"),
        rules_of(environment),
        unsandboxed=settings.choice(environment, "AIMA_UNSANDBOXED", ("no", "yes")) == "yes",
    )


async def _serve(options: Options) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        # The first signal drains; a second one ends the process at once.
        loop.add_signal_handler(number, _stop, stopped, number)
    async with build(options) as house:
        running = asyncio.create_task(run(house.ports, *house.services))
        announced = asyncio.create_task(_announce(house, options))
        waiting = asyncio.create_task(stopped.wait())
        try:
            await asyncio.wait({running, waiting, announced}, return_when=asyncio.FIRST_COMPLETED)
            if announced.done():
                # Whom nobody can find need not go on.
                announced.result()
                await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
        finally:
            state.withdraw(os.getpid())
            for task in (announced, waiting, running):
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running


def _stop(stopped: asyncio.Event, number: signal.Signals) -> None:
    stopped.set()
    asyncio.get_running_loop().remove_signal_handler(number)


async def _announce(house: House, options: Options) -> None:
    """Say where AIMA listens: a line of JSON for whoever started it, a private file for other clients.

    Raise `SettingsError` when that file cannot be written: it holds the key, and without it nobody gets in.
    """
    url = await house.gateway.url()
    instance = state.Instance(url, house.key, os.getpid(), str(options.data.resolve()))
    try:
        state.publish(instance)
    except OSError as error:
        raise SettingsError(
            f"nothing can be written to the state folder {state.folder()} ({error.strerror}), and clients find AIMA by "
            "a file there: make it a folder that this user may write to, or set AIMA_STATE to one"
        ) from error
    # The key is not printed here: what is printed ends in logs.
    print(json.dumps({"ready": True, "url": url, "pid": os.getpid(), "data": instance.data}), flush=True)


if __name__ == "__main__":
    main()
