"""The servers by name, and several of them running at once."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from aima_servers import kafka, mongod, s3, vectors
from aima_servers.means import Report, quiet
from aima_servers.processes import Served

FETCHERS: Mapping[str, Callable[[Report], Path]] = {
    "kafka": kafka.fetch,
    "mongod": mongod.fetch,
    "s3": partial(s3.fetch, s3.VERSITYGW),
    "minio": partial(s3.fetch, s3.MINIO),
    "vectors": vectors.fetch,
}
Starter = Callable[[Path, Report], AbstractAsyncContextManager[Served]]

STARTERS: Mapping[str, Starter] = {
    "kafka": kafka.kafka,
    "mongod": mongod.mongod,
    "s3": s3.starter(s3.VERSITYGW),
    "minio": s3.starter(s3.MINIO),
    "vectors": vectors.vectors,
}
NAMES = tuple(STARTERS)
USUAL = ("kafka", "mongod", "s3", "vectors")
"""Those that run when none is named; MinIO would be a second S3 server."""

PREFIX = "aima-servers-"


def fetch(*names: str, report: Report = quiet) -> None:
    """Bring the files of these servers onto this machine (the usual ones when none is named)."""
    for name in names or USUAL:
        FETCHERS[name](report)


@asynccontextmanager
async def serving(
    *names: str, report: Report = quiet, kafka_behind: kafka.Behind | None = None
) -> AsyncIterator[Mapping[str, Served]]:
    """Run these servers (the usual ones when none is named) while the block runs; yield what runs, by name.

    With `kafka_behind`, Kafka can also be reached through something that stands before it.

    Raises `MeansMissingError` when this machine cannot run one, and `ServerDiedError` when one does not serve.
    """
    wanted = names or USUAL
    starters: Mapping[str, Starter] = {**STARTERS, "kafka": partial(kafka.kafka, behind=kafka_behind)}
    async with AsyncExitStack() as stack:
        clear_leftovers()
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"{PREFIX}{os.getpid()}-")))
        for name in wanted:
            (folder / name).mkdir()
        starting = [stack.enter_async_context(starters[name](folder / name, report)) for name in wanted]
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
