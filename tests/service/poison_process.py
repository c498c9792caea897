"""A process that consumes until nothing is left, and that one record kills.

`<folder> <medium that kills> [forgetful] [slow] [uncommitted]`; a slow one tells each record that it has handled, and
none of the commits of an uncommitted one arrives.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from aima_common import wiring
from aima_common.contracts import messages as m
from aima_common.contracts.envelope import Envelope
from aima_common.contracts.topics import BY_MESSAGE
from aima_common.ports.bus import Partition, Subscription
from aima_common.ports.documents import Insert
from aima_common.runtime.consumer import Consumer
from aima_common.runtime.in_flight import InFlight
from aima_common.runtime.journal import Beginning, Journal

SERVICE = "tester"
TOPIC = BY_MESSAGE[m.MediumErased].name


class Forgetful(Journal):
    """Writes everything down and remembers nothing."""

    async def begin(self, partition: Partition, first: int, end: int) -> Beginning:
        await super().begin(partition, first, end)
        return Beginning()


class Uncommitted(Consumer):
    """Dies before the first of its commits arrives."""

    async def _commit_done(self, subscription: Subscription, in_flight: InFlight) -> None:
        pass


async def main(folder: str, poison: str, *options: str) -> None:
    """Handle everything that is there; end with status 0 when all is committed."""
    async with wiring.embedded(Path(folder)) as ports:

        async def handle(envelope: Envelope[Any]) -> None:
            if envelope.key == poison:
                os.kill(os.getpid(), signal.SIGKILL)
            await ports.documents.insert("counters", Insert(envelope.key, "t", "open", {}))
            if "slow" in options:
                await asyncio.sleep(0.05)
                sys.stdout.write(f"{envelope.key}\n")
                sys.stdout.flush()

        journal = Forgetful(ports.documents, SERVICE) if "forgetful" in options else None
        kind = Uncommitted if "uncommitted" in options else Consumer
        life = asyncio.create_task(kind(ports, SERVICE, {m.MediumErased: handle}, journal=journal).run())
        while await ports.bus.lag(SERVICE, [TOPIC]):
            await asyncio.sleep(0.02)
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
