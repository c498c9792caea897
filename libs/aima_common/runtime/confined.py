"""A topic that strangers write to, read by a child process with little memory.

    async with ConfinedConsumer(ports, "ingress", topic, kafka_confined.confined(settings), tenant="acme") as consumer:
        async for delivery in consumer:
            ...
            await consumer.done(delivery)

What arrives here has passed the limits of size and depth; nothing else is promised of it. What does not pass them is
set aside. What kills the child three times is set aside by its coordinates, unread, and the partition goes on.
"""

import asyncio
import contextlib
import os
import socket
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self, TypeVar

import structlog

from aima_common.errors import MalformedMessageError, TransientError, UnavailableError
from aima_common.ports import Ports
from aima_common.ports.bus import Delivery, Record
from aima_common.runtime.confined_frames import Page, frame, receive
from aima_common.runtime.failures import keep_dead
from aima_common.runtime.in_flight import Window
from aima_common.runtime.journal import DEATHS, Journal

LONGEST_BACKOFF_SECONDS = 30.0
END_SECONDS = 5.0
"""How long a child may take to end by itself."""

log = structlog.get_logger()

Result = TypeVar("Result")


@dataclass(frozen=True)
class Confinement:
    """What a stranger's record may be like, and what reading it may take."""

    memory_bytes: int = 96 << 20
    """What the child may take beyond what it has when it begins; a batch unfolds within this."""
    value_bytes: int = 64 << 10
    key_bytes: int = 1 << 10
    headers: int = 32
    header_bytes: int = 8 << 10
    """All headers of a record together."""
    depth: int = 16
    """How deep the JSON of a value may be nested."""
    in_flight: int = 200
    """Records that are handed on and not yet done."""

    def fault(self, record: Record) -> tuple[str, str] | None:
        """Tell what is too much about a record, as a code and a sentence."""
        headers = sum(len(name.encode()) + len(value.encode()) for name, value in record.headers.items())
        for what, found, most in (
            ("value", len(record.value), self.value_bytes),
            ("key", len(record.key.encode()), self.key_bytes),
            ("headers", headers, self.header_bytes),
        ):
            if found > most:
                return "message_too_large", f"its {what} takes {found} bytes, and {most} are allowed"
        if len(record.headers) > self.headers:
            return "message_too_large", f"it has {len(record.headers)} headers, and {self.headers} are allowed"
        return None


@dataclass(frozen=True)
class ConfinedProcess:
    """The plug: which process to start, and what it is told of its cluster."""

    command: Sequence[str]
    kafka: Mapping[str, Any] = field(repr=False)
    """Sent over the socket; a command line can be read by everybody."""


Telling = Callable[[Delivery, str, str], Sequence[Record]]
"""Makes the messages that tell of a record that is set aside, from the record, the reason and the detail."""


def _nobody(_delivery: Delivery, _reason: str, _detail: str) -> Sequence[Record]:
    return ()


class ConfinedConsumer:
    """Deliveries of one topic, at least once, in order per partition; those that are done are committed."""

    def __init__(
        self,
        ports: Ports,
        group: str,
        topic: str,
        process: ConfinedProcess,
        *,
        tenant: str = "",
        limits: Confinement = Confinement(),
        service: str | None = None,
        telling: Telling = _nobody,
    ) -> None:
        """Read as a member of `group`; what is set aside is kept in the name of `service`, the group's by default.

        `telling` gives the messages that are told together with a dead letter.
        """
        self._ports = ports
        self._group = group
        self._service = service or group
        self._telling = telling
        self._topic = topic
        self._process = process
        self._tenant = tenant
        self._limits = limits
        self._journal = Journal(ports.documents, group)
        # The child that follows another takes its place in the group at once.
        self._name = f"{group}-{uuid.uuid4()}"
        self._poison: set[tuple[int, int]] = set()
        self._windows: dict[int, Window] = {}
        self._open: dict[tuple[int, int], Window] = {}
        self._child: _Child | None = None
        self._failures = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._child is not None:
            await self._child.end()
            self._child = None

    @property
    def pid(self) -> int | None:
        """Tell the id of the child, or None while there is none."""
        return self._child.pid if self._child else None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Delivery:
        """Wait for the next record that passed the limits; a child that dies is followed by another."""
        while True:
            if self._child is None:
                self._child = await self._insist(lambda: _Child.start(self._process.command))
                self._child.tell(self._instructions())
            told = await self._child.hear()
            if told is None:
                await self._follow_up(self._child)
                continue
            delivery = await self._heard(*told)
            if delivery is not None:
                self._failures = 0
                return delivery

    async def done(self, delivery: Delivery) -> None:
        """Say that a delivery is handled; it is committed once everything before it in its partition is."""
        window = self._open.pop((delivery.partition, delivery.offset), None)
        if window is None or self._child is None:
            # Its child died, or the partition moved: it will come again, here or elsewhere.
            return
        window.done(delivery.offset)
        if window.next > window.committed:
            window.committed = window.next
            self._child.tell({"done": [delivery.partition, window.next]})

    # --------------------------------------------------------------------------------------------------- hearing

    def _instructions(self) -> dict[str, Any]:
        return {
            "kafka": dict(self._process.kafka),
            "topic": self._topic,
            "group": self._group,
            "name": self._name,
            "limits": asdict(self._limits),
            "poison": sorted(self._poison),
        }

    async def _heard(self, header: Mapping[str, Any], body: bytes) -> Delivery | None:
        kind = header["kind"]
        if kind == "lost":
            for partition in header["partitions"]:
                self._windows.pop(partition, None)
            self._open = {place: w for place, w in self._open.items() if place[0] in self._windows}
            return None
        last = header["next"] - 1 if kind == "skipped" else header["offset"]
        record = Record(self._topic, header.get("key", ""), body, header.get("headers", {}))
        delivery = Delivery(record, header["partition"], last)
        self._take(delivery)
        if kind == "record":
            return delivery
        if kind == "skipped":
            detail = f"{DEATHS} times a process died while it unfolded this batch; it was not looked at again"
            await self._set_aside(delivery, header["offset"], "kills_its_consumer", detail)
        else:
            reason, detail = str(header["reason"]), str(header["detail"])
            await self._set_aside(delivery, header["offset"], reason, detail, header["size"])
        await self.done(delivery)
        return None

    def _take(self, delivery: Delivery) -> None:
        window = self._windows.get(delivery.partition)
        if window is None:
            window = self._windows[delivery.partition] = Window((self._topic, delivery.partition))
        window.take([delivery.offset])
        self._open[delivery.partition, delivery.offset] = window

    async def _set_aside(
        self, delivery: Delivery, first: int, reason: str, detail: str, size: int | None = None
    ) -> None:
        place: dict[str, str | int] = {"topic": self._topic, "partition": delivery.partition, "offset": first}
        if delivery.offset != first:
            place["last_offset"] = delivery.offset
        # The tenant is the topic's, whatever the record says.
        record = Record(self._topic, delivery.record.key, delivery.record.value, {"aima_tenant": self._tenant})
        told = self._telling(Delivery(record, delivery.partition, first), reason, detail)
        await self._insist(
            lambda: keep_dead(self._ports, self._service, record, place, reason, detail, outbox=told, size_bytes=size)
        )

    # ---------------------------------------------------------------------------------------------------- deaths

    async def _follow_up(self, child: "_Child") -> None:
        """Find out what the child died of, before another follows."""
        self._child = None
        self._windows.clear()
        self._open.clear()
        place = child.last_place
        await child.end()
        log.warning("confined_consumer_ended", topic=self._topic, status=child.status, at=place)
        if place is not None:
            deaths = await self._insist(lambda: self._journal.die((self._topic, place[0]), place[1]))
            if deaths >= DEATHS:
                self._poison.add(place)
        await self._back_off()

    async def _insist(self, what: Callable[[], Awaitable[Result]]) -> Result:
        """Do something in the store until it is done."""
        while True:
            try:
                return await what()
            except TransientError as error:
                log.warning("confined_consumer_waits", topic=self._topic, reason=str(error))
            await self._back_off()

    async def _back_off(self) -> None:
        self._failures += 1
        await self._ports.clock.sleep(min(LONGEST_BACKOFF_SECONDS, 0.1 * 2 ** min(self._failures, 10)))


class _Child:
    """One life of the child process."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        connection: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        page: Page,
    ) -> None:
        self._process = process
        self._reader, self._writer = connection
        self._page = page
        self._hearing: asyncio.Task[tuple[dict[str, Any], bytes] | None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self.last_place: tuple[int, int] | None = None
        """What it was unfolding when it ended by itself."""

    @classmethod
    async def start(cls, command: Sequence[str]) -> "_Child":
        """Start a process that dies with this one. Raises `UnavailableError`."""
        ours, theirs = socket.socketpair()
        page = Page.fresh()
        process: asyncio.subprocess.Process | None = None
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    str(os.getpid()),
                    str(theirs.fileno()),
                    str(page.descriptor),
                    pass_fds=(theirs.fileno(), page.descriptor),
                    stdin=asyncio.subprocess.DEVNULL,
                    # One arena: what is mapped and not used counts against the limit, too.
                    env={**os.environ, "MALLOC_ARENA_MAX": "1"},
                )
            return cls(process, await asyncio.open_unix_connection(sock=ours), page)
        except BaseException as error:
            ours.close()
            page.close()
            if process is not None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await _finished(asyncio.create_task(process.wait()))
            if isinstance(error, OSError):
                raise UnavailableError(f"no confined consumer can be started: {error}", code="confined") from error
            raise

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """How it ended."""
        return self._process.returncode

    def tell(self, header: Mapping[str, Any]) -> None:
        """Send a frame, if it is there to read it."""
        with contextlib.suppress(ConnectionError, RuntimeError):
            self._writer.write(frame(header))

    async def hear(self) -> tuple[dict[str, Any], bytes] | None:
        """Wait for a frame; None when it ended, or says what is no frame. Who stops waiting misses nothing."""
        if self._hearing is None:
            self._hearing = asyncio.create_task(receive(self._reader))
        await asyncio.wait({self._hearing})
        hearing, self._hearing = self._hearing, None
        try:
            told = hearing.result()
        except MalformedMessageError:
            log.exception("confined_consumer_talks_nonsense")
            return None
        if told is None:
            self.last_place = self._page.read()
        return told

    async def end(self) -> None:
        """End it, and let go of what belongs to it: whoever is cancelled meanwhile is so afterwards."""
        if self._ending is None:
            self._ending = asyncio.create_task(self._end())
        await _finished(self._ending)

    async def _end(self) -> None:
        if self._hearing is not None:
            self._hearing.cancel()
        self._writer.close()
        try:
            await asyncio.wait_for(self._process.wait(), END_SECONDS)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()
        self._page.close()


async def _finished(task: asyncio.Task[Any]) -> None:
    """Wait for the end of a task, even when cancelled meanwhile: a child that nobody waits for stays behind."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
