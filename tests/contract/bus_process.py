"""A process of its own on a bus, for tests in which one dies: `receive|publish <address> <topic> <group>`."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from aima_common.adapters.embedded.bus import SqliteBus
from aima_common.adapters.kafka_bus import KafkaBus
from aima_common.adapters.kafka_settings import KafkaSettings
from aima_common.ports.bus import Bus, Record

SESSION_SECONDS = 2.0
"""How soon Kafka gives up a silent member in these tests."""


@contextlib.asynccontextmanager
async def opened(address: str) -> AsyncIterator[Bus]:
    """Open the bus at "sqlite:PATH" or "kafka:HOST:PORT"."""
    kind, _, place = address.partition(":")
    if kind == "sqlite":
        async with SqliteBus.open(Path(place)) as embedded:
            yield embedded
    else:
        async with KafkaBus.open(KafkaSettings(place, session_seconds=SESSION_SECONDS)) as connected:
            yield connected


async def receive(bus: Bus, topic: str, group: str) -> None:
    """Join, receive, commit one record, and then sit there with the rest."""
    async with bus.subscribe(group, [topic]) as member:
        async for batch in member.batches():
            await member.commit(topic, batch[0].partition, batch[0].offset + 1)
            sys.stdout.write("received and committed a part\n")
            sys.stdout.flush()
            await asyncio.Event().wait()


async def publish(bus: Bus, topic: str, group: str) -> None:
    """Die the moment that publishing is done."""
    await bus.publish([Record(topic, group, str(number).encode()) for number in range(3)])
    os.kill(os.getpid(), signal.SIGKILL)


async def main(action: str, address: str, topic: str, group: str) -> None:
    """Do what the command line says."""
    async with opened(address) as bus:
        await {"receive": receive, "publish": publish}[action](bus, topic, group)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
