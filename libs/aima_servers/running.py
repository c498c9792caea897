"""The servers by name, and several of them running at once."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from aima_servers import kafka, mongod
from aima_servers.means import Report, quiet
from aima_servers.processes import Served

FETCHERS = {"kafka": kafka.fetch, "mongod": mongod.fetch}
STARTERS = {"kafka": kafka.kafka, "mongod": mongod.mongod}
NAMES = tuple(STARTERS)
PREFIX = "aima-servers-"


def fetch(*names: str, report: Report = quiet) -> None:
    """Bring the files of these servers onto this machine (all of them when none is named)."""
    for name in names or NAMES:
        FETCHERS[name](report)


@asynccontextmanager
async def running(*names: str, report: Report = quiet) -> AsyncIterator[Mapping[str, str]]:
    """Run these servers (all when none is named) while the block runs; yield their addresses by name.

    Raises as `serving` does.
    """
    async with serving(*names, report=report) as served:
        yield {name: one.address for name, one in served.items()}


@asynccontextmanager
async def serving(*names: str, report: Report = quiet) -> AsyncIterator[Mapping[str, Served]]:
    """Run these servers (all when none is named) while the block runs; yield where and as what they run, by name.

    Raises `MeansMissingError` when this machine cannot run one, and `ServerDiedError` when one does not serve.
    """
    wanted = names or NAMES
    async with AsyncExitStack() as stack:
        clear_leftovers()
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-")))
        for name in wanted:
            (folder / name).mkdir()
        starting = [stack.enter_async_context(STARTERS[name](folder / name, report)) for name in wanted]
        # All are awaited even when one fails, so that the stack knows every server it has to stop.
        started = await asyncio.gather(*starting, return_exceptions=True)
        served: dict[str, Served] = {}
        for name, outcome in zip(wanted, started, strict=True):
            if isinstance(outcome, BaseException):
                raise outcome
            served[name] = outcome
        yield served


def clear_leftovers() -> None:
    """Remove the data of servers whose process was killed before it could."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        owner = folder.name.removeprefix(PREFIX).partition("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            shutil.rmtree(folder, ignore_errors=True)
