"""The plugs of the simulation against the promises of their sockets: what it proves on them holds for the others."""

import contextlib
import time
from collections.abc import AsyncIterator

import pytest

from aima_common.ports.bus import Bus
from aima_common.ports.documents import Documents
from tests.contract.bus_braking_promise import BrakingPromise
from tests.contract.bus_promise import BusPromise
from tests.contract.documents_promise import DocumentsPromise, Reopen
from tests.simulation.memory_bus import MemoryBus, MemoryLog
from tests.simulation.memory_documents import MemoryDocuments
from tests.simulation.memory_store import MemoryStore
from tests.simulation.network import Direct

ONE_PROCESS = "the log lies in the memory of one process; in the simulation processes are made up, too"


class TestMemoryDocuments(DocumentsPromise):
    @pytest.fixture
    def reopen(self) -> Reopen:
        store = MemoryStore(time.time)

        @contextlib.asynccontextmanager
        async def opened() -> AsyncIterator[Documents]:
            yield MemoryDocuments(store, Direct())

        return opened

    @pytest.fixture
    async def documents(self, reopen: Reopen) -> AsyncIterator[Documents]:
        async with reopen() as plug:
            yield plug


class TestMemoryBus(BusPromise, BrakingPromise):
    @pytest.fixture
    def bus(self) -> Bus:
        return MemoryBus(MemoryLog(), Direct())

    @pytest.fixture
    def heir(self, bus: Bus) -> Bus:
        return bus

    @pytest.fixture
    def address(self) -> str:
        return "memory:of one process"

    @pytest.mark.xfail(reason=ONE_PROCESS, raises=AssertionError, strict=True)
    async def test_the_records_of_a_member_that_died_go_to_another(
        self, bus: Bus, heir: Bus, address: str, topic: str, group: str
    ) -> None:
        await super().test_the_records_of_a_member_that_died_go_to_another(bus, heir, address, topic, group)

    @pytest.mark.xfail(reason=ONE_PROCESS, raises=AssertionError, strict=True)
    async def test_what_was_published_outlives_its_publisher(
        self, bus: Bus, address: str, topic: str, group: str
    ) -> None:
        await super().test_what_was_published_outlives_its_publisher(bus, address, topic, group)
