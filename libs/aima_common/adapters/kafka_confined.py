"""A process that reads one topic which strangers write to, with little memory, and hands on what is harmless.

A record batch of 200 kB may unfold to 200 MiB before anybody can look at it. Here that ends this process, and not
the one that started it (`aima_common.runtime.confined`), which finds on the page it shares with this one where it was.
"""

import asyncio
import contextlib
import ctypes
import os
import resource
import signal
import socket
import sys
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aima_common.adapters.kafka_bus import KafkaBus, KafkaSubscription
from aima_common.adapters.kafka_settings import KafkaSettings
from aima_common.contracts.codec import check_depth, loads
from aima_common.errors import MalformedMessageError
from aima_common.ports.bus import Delivery, Partition
from aima_common.runtime.confined import ConfinedProcess, Confinement
from aima_common.runtime.confined_frames import NOWHERE, Page, frame, receive
from aima_common.runtime.failures import KEPT_BYTES

PR_SET_PDEATHSIG = 1
OUT_OF_MEMORY = 77
"""Exit status of a child that knows why it ends."""


def confined(settings: KafkaSettings) -> ConfinedProcess:
    """Tell how to start the process for topics of this cluster."""
    told = asdict(settings) | {"authority": str(settings.authority) if settings.authority else None}
    return ConfinedProcess((sys.executable, "-m", __name__), told)


class Child:
    """The life of the process: read, look at the size, hand on, commit what is acknowledged."""

    def __init__(self, configuration: Mapping[str, Any], page: Page, writer: asyncio.StreamWriter) -> None:
        self._topic, self._group = configuration["topic"], configuration["group"]
        self._name = configuration["name"]
        self._limits = Confinement(**configuration["limits"])
        self._poison = {(partition, offset) for partition, offset in configuration["poison"]}
        kafka = dict(configuration["kafka"])
        kafka["authority"] = Path(kafka["authority"]) if kafka["authority"] else None
        self._bus = KafkaBus(KafkaSettings(**kafka))
        self._page = page
        self._writer = writer
        self._sent: dict[int, deque[int]] = {}
        self._acknowledged: dict[int, int] = {}
        self._news = asyncio.Event()

    async def run(self, reader: asyncio.StreamReader) -> None:
        """Read until the other side closes."""
        topics = [self._topic]
        async with self._bus.subscribe(self._group, topics, name=self._name, unfolding=self) as member:
            member.on_lost(self._lose)
            confine(self._limits.memory_bytes)
            tasks = [asyncio.create_task(one) for one in (self._read(member), self._commit(member), self._hear(reader))]
            done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)
            for task in done:
                task.result()
            await self._commit_acknowledged(member)

    # ------------------------------------------------------------------------------------------------- unfolding

    async def before(self, partition: Partition, offset: int) -> int:
        """Note what is unfolded next; tell where to read on instead when that has killed too often."""
        number = partition[1]
        if (number, offset) not in self._poison:
            self._page.write(number, offset)
            return offset
        following = await self._bus.behind_batch(partition, offset)
        self._send({"kind": "skipped", "partition": number, "offset": offset, "next": following}, number, following - 1)
        return following

    def after(self) -> None:
        """Note that it is over."""
        self._page.write(*NOWHERE)

    # --------------------------------------------------------------------------------------------------- reading

    async def _read(self, member: KafkaSubscription) -> None:
        try:
            async for batch in member.batches():
                for delivery in batch:
                    self._hand_on(delivery)
                await self._writer.drain()
                if self._outstanding() >= self._limits.in_flight:
                    member.pause(member.partitions)
        except MemoryError:
            # Nothing is put in order: for that there may be no memory either.
            os._exit(OUT_OF_MEMORY)

    def _hand_on(self, delivery: Delivery) -> None:
        record = delivery.record
        header = {"kind": "record", "partition": delivery.partition, "offset": delivery.offset}
        fault = self._limits.fault(record)
        if fault is None:
            try:
                if record.value.count(b"{") + record.value.count(b"[") > self._limits.depth:
                    check_depth(loads(record.value), self._limits.depth)
            except MalformedMessageError as error:
                fault = (error.code, str(error))
        if fault is None:
            header |= {"key": record.key, "headers": dict(record.headers)}
            body = record.value
        else:
            body = record.value[:KEPT_BYTES]
            header |= {"kind": "refused", "reason": fault[0], "detail": fault[1], "size": len(record.value)}
        self._send(header, delivery.partition, delivery.offset, body)

    def _send(self, header: Mapping[str, Any], partition: int, offset: int, body: bytes = b"") -> None:
        self._writer.write(frame(header, body))
        self._sent.setdefault(partition, deque()).append(offset)

    def _outstanding(self) -> int:
        return sum(map(len, self._sent.values()))

    def _lose(self, partitions: Collection[Partition]) -> None:
        for _, number in partitions:
            self._sent.pop(number, None)
            self._acknowledged.pop(number, None)
        self._writer.write(frame({"kind": "lost", "partitions": sorted(number for _, number in partitions)}))

    # ------------------------------------------------------------------------------------------------ committing

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        while (told := await receive(reader)) is not None:
            partition, following = told[0]["done"]
            sent = self._sent.get(partition)
            if sent is None:
                continue
            while sent and sent[0] < following:
                sent.popleft()
            self._acknowledged[partition] = following
            self._news.set()

    async def _commit(self, member: KafkaSubscription) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            await self._commit_acknowledged(member)
            if self._outstanding() <= self._limits.in_flight // 2:
                member.resume(member.partitions)

    async def _commit_acknowledged(self, member: KafkaSubscription) -> None:
        acknowledged, self._acknowledged = self._acknowledged, {}
        if acknowledged:
            await member.commit_all({(self._topic, number): following for number, following in acknowledged.items()})


def confine(more_bytes: int) -> None:
    """Let the process have so much more memory than it has now, and no more."""
    size = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + more_bytes, size + more_bytes))


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent dies; end now if that has happened already."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        sys.exit(1)


async def main(connection: socket.socket, page: Page) -> None:
    """Be told what to read, and read it."""
    reader, writer = await asyncio.open_unix_connection(sock=connection)
    told = await receive(reader)
    if told is not None:
        with contextlib.closing(writer):
            await Child(told[0], page, writer).run(reader)


if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    asyncio.run(main(socket.socket(fileno=int(sys.argv[2])), Page(int(sys.argv[3]))))
