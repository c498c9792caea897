"""The bus on SQLite and on Kafka against the promise of the socket."""

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aima_common.adapters.embedded.bus import OWNERSHIP_SECONDS, SqliteBus
from aima_common.ports.bus import Bus
from tests.contract.bus_braking_promise import BrakingPromise
from tests.contract.bus_process import opened
from tests.contract.bus_promise import BusPromise


class TestSqliteBus(BusPromise, BrakingPromise):
    @pytest.fixture
    def address(self, tmp_path: Path) -> str:
        return f"sqlite:{tmp_path}/log.db"

    @pytest.fixture
    async def bus(self, address: str) -> AsyncIterator[Bus]:
        async with opened(address) as plug:
            yield plug

    @pytest.fixture
    async def heir(self, tmp_path: Path) -> AsyncIterator[Bus]:
        # A clock that goes ahead stands for the time it takes to give up a silent member.
        async with SqliteBus.open(tmp_path / "log.db", clock=lambda: time.time() + 2 * OWNERSHIP_SECONDS) as plug:
            yield plug


@pytest.mark.connected
class TestKafkaBus(BusPromise, BrakingPromise):
    @pytest.fixture
    def address(self, kafka_address: str) -> str:
        return f"kafka:{kafka_address}"

    @pytest.fixture
    async def bus(self, address: str) -> AsyncIterator[Bus]:
        async with opened(address) as plug:
            yield plug

    @pytest.fixture
    def heir(self, bus: Bus) -> Bus:
        return bus
