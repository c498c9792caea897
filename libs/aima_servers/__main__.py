"""`python -m aima_servers up [server…]`: run real servers until Ctrl-C; `fetch` only brings their files.

Prints a line for each: its name, its address and, where it asks who is there, access key and secret key.
"""

import argparse
import asyncio
import contextlib
import signal
import sys

from aima_servers.means import MeansMissingError
from aima_servers.processes import ServerDiedError
from aima_servers.running import NAMES, USUAL, fetch, serving


def main() -> int:
    """Do what the command line says; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m aima_servers", description=__doc__)
    parser.add_argument("action", choices=("up", "fetch"))
    parser.add_argument(
        "names", nargs="*", metavar="server", help=f"{', '.join(NAMES)}; without a name: {', '.join(USUAL)}"
    )
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(NAMES))
    if unknown:
        parser.error(f"unknown server: {', '.join(unknown)} (known: {', '.join(NAMES)})")
    try:
        if arguments.action == "fetch":
            fetch(*arguments.names, report=_say)
        else:
            asyncio.run(_up(*arguments.names))
    except (MeansMissingError, ServerDiedError) as error:
        _say(str(error))
        return 1
    return 0


async def _up(*names: str) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with serving(*names, report=_say) as served:
        for name, one in served.items():
            print(*filter(None, (name, one.address, one.access_key, one.secret_key)), sep="\t", flush=True)
        await stopped.wait()
        _say("stopping")


def _say(line: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
