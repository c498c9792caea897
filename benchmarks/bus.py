"""What the runtime costs on Kafka: consume → handle → commit, beside a bare aiokafka loop.

    python -m benchmarks.bus [--json] [--repeats 5] [--messages 40000]

Both read the same topic of 1 kB messages with the same client settings, at most 200 at a time, and commit what is
done: the bare loop waits for a commit after each batch that it got, the runtime goes on while one is under way. The
bare loop does not even look into a message, while the runtime decodes and checks it and calls a handler. `ratio` is
messages per second through the runtime ÷ through the bare loop, of runs that followed each other; `ratio_decoding`
is the same with a bare loop that decodes, too. Each run is a process of its own; Kafka runs beside it.
"""

import argparse
import asyncio
import contextlib
import datetime
import json
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from aiokafka import AIOKafkaConsumer, TopicPartition

from aima_common.adapters.embedded.documents import SqliteDocuments
from aima_common.adapters.kafka_bus import FETCH_BYTES, PARTITION_FETCH_BYTES, POLL_MILLISECONDS, KafkaBus
from aima_common.adapters.kafka_records import delivery_of
from aima_common.adapters.system_clock import SystemClock
from aima_common.contracts import messages as m
from aima_common.contracts.codec import decode
from aima_common.contracts.envelope import Envelope
from aima_common.contracts.telling import tell
from aima_common.contracts.topics import BY_MESSAGE
from aima_common.ports import Ports
from aima_common.ports.bus import Partition, Record, Subscription
from aima_common.runtime.consumer import BATCH, Consumer
from aima_servers import serving
from benchmarks.harness import note, parser, report, spread

TOPIC = BY_MESSAGE[m.PartErased]
MESSAGE_BYTES = 1000
WAYS = ("bare", "bare_decoding", "runtime")


def message(number: int) -> Record:
    """Make a message whose body takes a kilobyte; each is of another medium."""
    medium = f"medium-{number:012}"
    body = len(b'{"medium":"","owner":""}') + len(medium)
    told = m.PartErased(medium=medium, owner="x" * (MESSAGE_BYTES - body))
    return tell(told, tenant="acme", key=medium, cause="benchmark", time=datetime.datetime.now(datetime.UTC))


async def fill(address: str, count: int) -> None:
    """Write the messages."""
    async with KafkaBus.open(address) as bus:
        await bus.ensure_topics({TOPIC.name: TOPIC.partitions})
        for start in range(0, count, 2000):
            await bus.publish([message(number) for number in range(start, min(start + 2000, count))])


async def bare(address: str, group: str, count: int, *, decoding: bool) -> float:
    """Read everything with a loop over aiokafka, and give the seconds from being a member to the last commit."""
    consumer = AIOKafkaConsumer(
        TOPIC.name,
        bootstrap_servers=address,
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        max_partition_fetch_bytes=PARTITION_FETCH_BYTES,
        fetch_max_bytes=FETCH_BYTES,
    )
    await consumer.start()
    started = time.perf_counter()
    seen = 0
    try:
        while seen < count:
            fetched = await consumer.getmany(timeout_ms=POLL_MILLISECONDS, max_records=BATCH)
            positions: dict[TopicPartition, int] = {}
            for place, records in fetched.items():
                if decoding:
                    for record in records:
                        decode(delivery_of(record).record)
                seen += len(records)
                positions[place] = records[-1].offset + 1
            if positions:
                await consumer.commit(positions)
        return time.perf_counter() - started
    finally:
        await consumer.stop()


class TimedBus(KafkaBus):
    """Notes when a member had joined, and how far it has committed."""

    joined = 0.0
    committed: dict[tuple[str, int], int]
    changed: asyncio.Event

    @contextlib.asynccontextmanager
    async def subscribe(self, group: str, topics: Sequence[str], **options: Any) -> AsyncIterator[Any]:
        """Join a group."""
        self.committed, self.changed = {}, asyncio.Event()
        async with super().subscribe(group, topics, **options) as member:
            real = member.commit_all

            async def commit_all(positions: Mapping[Partition, int]) -> Collection[Partition]:
                refused = await real(positions)
                self.committed |= positions
                self.changed.set()
                return refused

            cast("Any", member).commit_all = commit_all
            self.joined = time.perf_counter()
            yield cast("Subscription", member)


async def through_runtime(address: str, group: str, count: int) -> float:
    """Read everything with the runtime's consumer, and give the seconds from being a member to the last commit."""
    with tempfile.TemporaryDirectory() as folder:
        async with TimedBus.open(address) as bus, SqliteDocuments.open(Path(folder) / "documents.db") as documents:
            nothing = cast("Any", None)
            ports = Ports(bus, documents, nothing, nothing, nothing, SystemClock())
            handled = 0

            async def handle(_: Envelope[m.PartErased]) -> None:
                nonlocal handled
                handled += 1

            life = asyncio.create_task(Consumer(ports, group, {m.PartErased: handle}).run())
            while not bus.joined:  # noqa: ASYNC110 - once, before the clock runs
                await asyncio.sleep(0.001)
            while sum(bus.committed.values()) < count:
                bus.changed.clear()
                await bus.changed.wait()
            seconds = time.perf_counter() - bus.joined
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)
            if handled < count:
                raise RuntimeError(f"{handled} of {count} messages were handled")
            return seconds


async def one(way: str, address: str, count: int) -> float:
    """Measure one way."""
    group = f"benchmark-{secrets.token_hex(6)}"
    if way == "runtime":
        return await through_runtime(address, group, count)
    return await bare(address, group, count, decoding=way == "bare_decoding")


async def in_a_process(way: str, address: str, count: int) -> float:
    """Measure one way in a process of its own; give messages per second."""
    arguments = ["-m", "benchmarks.bus", "--one", way, "--address", address, "--messages", str(count)]
    child = await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE)
    output, _ = await child.communicate()
    if child.returncode:
        raise RuntimeError(f"the measurement of {way} failed; its messages are above")
    return count / float(json.loads(output)["seconds"])


async def measure(options: argparse.Namespace) -> None:
    """Measure all ways in turn, and tell."""
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    async with serving("kafka") as servers:
        address = servers["kafka"].address
        note(f"writing {options.messages} messages of {MESSAGE_BYTES} bytes")
        await fill(address, options.messages)
        for turn in range(-1, options.repeats):
            # Who comes first has no advantage: the order turns. The first round warms the broker up.
            for way in WAYS if turn % 2 else reversed(WAYS):
                rate = await in_a_process(way, address, options.messages)
                note(f"{'warming up' if turn < 0 else f'run {turn + 1}'}: {way} {rate:.0f} messages/s")
                if turn >= 0:
                    found[way].append(rate)
    metrics: dict[str, Any] = {}
    for name, way in (("ratio", "bare"), ("ratio_decoding", "bare_decoding")):
        metrics[name] = spread([mine / theirs for mine, theirs in zip(found["runtime"], found[way], strict=True)])
    metrics |= {f"{way}_messages_per_second": spread(values) for way, values in found.items()}
    metrics |= {"messages": options.messages, "message_bytes": MESSAGE_BYTES, "partitions": TOPIC.partitions}
    report("bus", metrics, as_json=options.json)


def main() -> None:
    """Measure."""
    line = parser("Consume, handle and commit through the runtime, beside a bare aiokafka loop.")
    line.add_argument("--messages", type=int, default=40_000, help="messages of a run (default 40000)")
    line.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    line.add_argument("--address", help=argparse.SUPPRESS)
    options = line.parse_args()
    if options.one:
        seconds = asyncio.run(one(options.one, options.address, options.messages))
        print(json.dumps({"seconds": seconds}))
    else:
        asyncio.run(measure(options))


if __name__ == "__main__":
    main()
