"""The outbox relay on embedded plugs."""

import asyncio
import contextlib
from pathlib import Path

from aima_common.ports.bus import Record
from aima_common.ports.documents import Insert
from aima_common.runtime.relay import relay_outbox
from aima_common.wiring import embedded

TOPIC = "aima.medium.uploaded"


async def test_a_record_that_no_bus_takes_is_set_aside_and_the_others_go_on(tmp_path: Path) -> None:
    async with embedded(tmp_path) as ports:
        good = [Record(TOPIC, "k", b"one"), Record(TOPIC, "k", b"two")]
        lost = Record("aima.misspelt", "k", b"three", {"aima_tenant": "t"})
        await ports.documents.insert("cases", Insert("c", "t", "open", {"name": "c"}), outbox=[good[0], lost, good[1]])
        relay = asyncio.create_task(relay_outbox(ports))
        try:
            while await ports.documents.outbox():
                await asyncio.sleep(0.01)
        finally:
            relay.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await relay
        (dead,) = await ports.documents.find("dead_letters", {"service": "outbox"})

        assert dead.tenant == "t"
        assert dead.body["reason"] == "unknown_topic"
        assert await ports.bus.lag("anybody", [TOPIC]) == len(good)
