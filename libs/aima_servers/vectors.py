"""One vector process for many: Qdrant's engine behind a socket of this machine, in the place of a Qdrant server.

No package registry carries the server itself; its engine comes as a library, which AIMA installs anyway.
"""

import importlib.util
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aima_servers.means import MeansMissingError, Report, quiet
from aima_servers.processes import Served, Server, serving_from

MODULE = "aima_common.adapters.embedded.vector_server"
SOCKET = "socket"


def fetch(_report: Report = quiet) -> Path:
    """Return where the engine lies; raise `MeansMissingError` when it is not installed."""
    engine = importlib.util.find_spec("qdrant_edge")
    if engine is None or engine.origin is None:
        raise MeansMissingError("qdrant-edge-py is not installed; `make setup-dev` installs it")
    return Path(engine.origin).parent


@asynccontextmanager
async def vectors(folder: Path, report: Report = quiet) -> AsyncIterator[Served]:
    """Run a vector process with its data in `folder` while the block runs; its address is the path of its socket."""
    fetch(report)
    folder.chmod(0o700)
    path = folder / SOCKET
    command = [sys.executable, "-m", MODULE, "--folder", str(folder / "data"), "--socket", str(path)]
    server = Server(command, folder, lambda _log: _answers(path))
    async with serving_from(server):
        report(f"vectors: ready at {path}")
        yield Served(str(path), server)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0
