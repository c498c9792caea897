"""The servers by name, and several of them running at once."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from aima_servers import kafka, mongod
from aima_servers.means import Report, quiet

FETCHERS = {"kafka": kafka.fetch, "mongod": mongod.fetch}
STARTERS = {"kafka": kafka.kafka, "mongod": mongod.mongod}
NAMES = tuple(STARTERS)


def fetch(*names: str, report: Report = quiet) -> None:
    """Bring the files of these servers onto this machine (all of them when none is named)."""
    for name in names or NAMES:
        FETCHERS[name](report)


@asynccontextmanager
async def running(*names: str, report: Report = quiet) -> AsyncIterator[Mapping[str, str]]:
    """Run these servers (all when none is named) while the block runs; yield their addresses by name.

    Raises `MeansMissingError` when this machine cannot run one, and `ServerDiedError` when one does not serve.
    """
    wanted = names or NAMES
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aima-servers-")))
        for name in wanted:
            (folder / name).mkdir()
        starting = [stack.enter_async_context(STARTERS[name](folder / name, report)) for name in wanted]
        # All are awaited even when one fails, so that the stack knows every server it has to stop.
        started = await asyncio.gather(*starting, return_exceptions=True)
        addresses: dict[str, str] = {}
        for name, outcome in zip(wanted, started, strict=True):
            if isinstance(outcome, BaseException):
                raise outcome
            addresses[name] = outcome
        yield addresses
