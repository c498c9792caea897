"""Reading a tenant's topic: with the ordinary bus where nothing on it can unfold, else in a confined child."""

from collections.abc import AsyncIterator, Collection, Sequence
from types import TracebackType
from typing import Self

import structlog

from aima_common.errors import TransientError
from aima_common.ports import Ports
from aima_common.ports.bus import Delivery, Partition, Subscription
from aima_common.runtime.confined import ConfinedConsumer, ConfinedProcess
from aima_common.runtime.in_flight import Window
from aima_upload.ingress import INGRESS, Readers, group_of, telling

REJOIN_SECONDS = 1.0
BATCH = 50

log = structlog.get_logger()


def plain_readers(ports: Ports) -> Readers:
    """Read every topic with the ordinary bus."""
    return lambda tenant, topic: PlainReader(ports, group_of(tenant), topic)


def confined_readers(ports: Ports, process: ConfinedProcess) -> Readers:
    """Read every topic in a child of its own."""
    return lambda tenant, topic: ConfinedConsumer(
        ports,
        group_of(tenant),
        topic,
        process,
        tenant=tenant,
        service=INGRESS,
        telling=telling(ports, tenant),
    )


class PlainReader:
    """Deliveries of one topic, at least once; those that are done are committed in the order of their partition."""

    def __init__(self, ports: Ports, group: str, topic: str) -> None:
        self._bus = ports.bus
        self._clock = ports.clock
        self._group = group
        self._topic = topic
        self._member: Subscription | None = None
        self._windows: dict[Partition, Window] = {}
        self._open: dict[tuple[Partition, int], Window] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._member = None

    async def __aiter__(self) -> AsyncIterator[Delivery]:
        """Yield what is on the topic; while the bus is away, wait for it."""
        while True:
            try:
                async with self._bus.subscribe(self._group, [self._topic]) as member:
                    self._member = member
                    member.on_lost(self._lose)
                    async for batch in member.batches(BATCH):
                        self._take(batch)
                        for delivery in batch:
                            yield delivery
            except TransientError as error:
                log.warning("ingress_waits", topic=self._topic, reason=str(error))
            finally:
                self._member = None
                self._windows.clear()
                self._open.clear()
            await self._clock.sleep(REJOIN_SECONDS)

    async def done(self, delivery: Delivery) -> None:
        """Note that a delivery is handled, and commit what is done without a gap."""
        partition = (delivery.record.topic, delivery.partition)
        window = self._open.pop((partition, delivery.offset), None)
        if window is None or self._member is None:
            # The partition moved meanwhile: whoever has it now sees the record again.
            return
        window.done(delivery.offset)
        offset = window.next
        if offset > window.committed:
            try:
                if await self._member.commit(*partition, offset):
                    window.committed = max(window.committed, offset)
            except TransientError as error:
                log.warning("ingress_waits", topic=self._topic, reason=str(error))

    def _take(self, batch: Sequence[Delivery]) -> None:
        partition = (batch[0].record.topic, batch[0].partition)
        window = self._windows.setdefault(partition, Window(partition))
        window.take([delivery.offset for delivery in batch])
        for delivery in batch:
            self._open[partition, delivery.offset] = window

    def _lose(self, partitions: Collection[Partition]) -> None:
        for partition in partitions:
            self._windows.pop(partition, None)
        self._open = {place: window for place, window in self._open.items() if place[0] in self._windows}
