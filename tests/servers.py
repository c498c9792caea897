"""Real servers for the tests that ask for them: started once, skipped with a reason where they cannot run."""

import contextlib
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator

import psutil
import pytest
import pytest_asyncio

from aima_servers import MeansMissingError, Served, serving

_started: dict[str, Served] = {}
"""Several tiers import the fixtures below; whoever comes second uses what the first one started."""


async def _shared(name: str) -> AsyncIterator[Served]:
    if name in _started:
        yield _started[name]
        return
    try:
        async with serving(name) as served:
            _started[name] = served[name]
            yield served[name]
            del _started[name]
    except MeansMissingError as error:
        pytest.skip(str(error))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def kafka_server() -> AsyncIterator[Served]:
    async for served in _shared("kafka"):
        yield served


@pytest.fixture(scope="session")
def kafka_address(kafka_server: Served) -> str:
    return kafka_server.address


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def mongod_server() -> AsyncIterator[Served]:
    async for served in _shared("mongod"):
        yield served


@pytest.fixture(scope="session")
def mongod_uri(mongod_server: Served) -> str:
    return mongod_server.address


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def s3_server() -> AsyncIterator[Served]:
    async for served in _shared("s3"):
        yield served


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def minio_server() -> AsyncIterator[Served]:
    async for served in _shared("minio"):
        yield served


@pytest.fixture(params=["s3", pytest.param("minio", marks=pytest.mark.minio)])
def any_s3_server(request: pytest.FixtureRequest) -> Served:
    """Each S3 server in turn; MinIO with --minio only."""
    served: Served = request.getfixturevalue(f"{request.param}_server")
    return served


@contextlib.contextmanager
def standing_still(served: Served) -> Iterator[None]:
    """Let a server hang: it keeps its connections and answers nobody."""
    os.kill(served.process, signal.SIGSTOP)
    while psutil.Process(served.process).status() != psutil.STATUS_STOPPED:
        time.sleep(0.01)  # its threads stop one by one
    try:
        yield
    finally:
        os.kill(served.process, signal.SIGCONT)
