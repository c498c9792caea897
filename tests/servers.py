"""Real servers for the tests that ask for them: started once, skipped with a reason where they cannot run."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from aima_servers import MeansMissingError, running

_started: dict[str, str] = {}
"""Several tiers import the fixtures below; whoever comes second uses what the first one started."""


async def _shared(name: str) -> AsyncIterator[str]:
    if name in _started:
        yield _started[name]
        return
    try:
        async with running(name) as addresses:
            _started[name] = addresses[name]
            yield addresses[name]
            del _started[name]
    except MeansMissingError as error:
        pytest.skip(str(error))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def kafka_address() -> AsyncIterator[str]:
    async for address in _shared("kafka"):
        yield address


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def mongod_uri() -> AsyncIterator[str]:
    async for uri in _shared("mongod"):
        yield uri
