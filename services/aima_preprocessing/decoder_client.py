"""The main process's side of decoding: nothing heavy is imported here, and no byte of a medium is read.

    client = DecoderClient()
    await client.start()
    async with contextlib.aclosing(client.prepare(path, plan)) as events:
        async for event in events:
            ...

Reading slowly slows the decoder down; leaving the loop ends it.
"""

import asyncio
import contextlib
import fcntl
import itertools
import os
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from aima_common.errors import TransientError, UnavailableError
from aima_preprocessing import sandbox
from aima_preprocessing.decoder_connection import Connection, Ended
from aima_preprocessing.events import Event, EventReader, Finished, Probed
from aima_preprocessing.limits import Allowance, Limits, allowance, starting_allowance
from aima_preprocessing.refusals import LimitExceededError, MediumRefusedError, SandboxMissingError
from aima_preprocessing.sandbox import Layer
from aima_preprocessing.segmentation import DEFAULT_SEGMENT_PLAN, MICROSECONDS, SegmentPlan

_PIPE_BYTES = 1024 * 1024
_BUSY = 0.5
"""A child that used this share of the time it was waited for was working, not waiting."""


@dataclass(frozen=True)
class PreparationPlan:
    """How media are cut and bounded; the same plan gives the same bytes."""

    limits: Limits = field(default_factory=Limits)
    segments: SegmentPlan = DEFAULT_SEGMENT_PLAN
    threads: int = 1
    nice: int = 0
    """How much the decoder yields to others; says nothing about what it makes."""


class DecoderClient:
    """Decodes media in locked-up processes; starts the server, and starts it again when it dies."""

    def __init__(self, *, unsandboxed: bool = False, on_ended: Callable[[Ended], None] | None = None) -> None:
        """With `unsandboxed`, the operator accepts in writing that layers which this machine lacks are left out.

        `on_ended` is told how every decoding process ended, and what it took.
        """
        self._unsandboxed = unsandboxed
        self._on_ended = on_ended
        self._numbers = itertools.count(1)
        self._server: Connection | None = None
        self._starting = asyncio.Lock()
        self._closed = False
        self._layers: tuple[Layer, ...] = ()

    async def start(self) -> None:
        """Start the server and wait until it is ready; raise `UnavailableError` when it does not come up."""
        await self._running()

    async def close(self) -> None:
        """End the server and everything it decodes."""
        self._closed = True
        if self._server is not None:
            await self._server.stop()

    def layers(self) -> tuple[Layer, ...]:
        """Tell which layers of the sandbox hold on this machine; empty before the first start."""
        return self._layers

    @property
    def refuses_media(self) -> str:
        """Name the missing layers because of which media wait; empty when they are decoded."""
        return "" if self._unsandboxed else sandbox.missing(self._layers)

    @property
    def process(self) -> int | None:
        """Give the process id of the server, None while there is none."""
        return self._server.process if self._server is not None and self._server.alive else None

    async def prepare(self, source: int | str, plan: PreparationPlan, start_segment: int = 0) -> AsyncGenerator[Event]:
        """Decode a medium, given as a path or an open descriptor (which stays the caller's).

        Yields `Probed`, then a `SegmentDecoded` for every segment from `start_segment` on as soon as it
        is decoded, then `Finished`. Wrap in `contextlib.aclosing` when the loop may be left early.

        Raises `MediumRefusedError` when the content is at fault, `SandboxMissingError` when this machine
        may not decode, and `TransientError` when trying again may help.
        """
        server = await self._running()
        if self.refuses_media:
            raise SandboxMissingError(self.refuses_media)
        descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC) if isinstance(source, str) else os.dup(source)
        try:
            decoding = await _Decoding.begin(server, next(self._numbers), descriptor, plan, start_segment)
        finally:
            os.close(descriptor)
        try:
            async for event in decoding.events():
                yield event
        finally:
            ended = await decoding.end()
            if ended is not None and self._on_ended is not None:
                self._on_ended(ended)

    async def _running(self) -> Connection:
        async with self._starting:
            if self._closed:
                raise UnavailableError("the decoder is closed", code="decoder_closed")
            if self._server is None or not self._server.alive:
                if self._server is not None:
                    await self._server.stop()
                self._server = await Connection.launch(unsandboxed=self._unsandboxed)
                self._layers = self._server.layers
            return self._server


class _Decoding:
    """One medium being decoded."""

    def __init__(self, server: Connection, number: int, plan: PreparationPlan, start_segment: int) -> None:
        self._server = server
        self._number = number
        self._plan = plan
        self._next_segments = start_segment + 1
        self._ending = server.expect_end(number)
        self._allowance = starting_allowance(plan.limits)
        self._pixels_per_second = 0.0
        self._finished = False
        self._transport: asyncio.ReadTransport | None = None
        self._reader = asyncio.StreamReader(limit=_PIPE_BYTES)

    @classmethod
    async def begin(
        cls, server: Connection, number: int, descriptor: int, plan: PreparationPlan, start_segment: int
    ) -> "_Decoding":
        decoding = cls(server, number, plan, start_segment)
        reading, writing = os.pipe2(os.O_CLOEXEC)
        pipe = os.fdopen(reading, "rb", buffering=0)
        try:
            with contextlib.suppress(OSError):  # the system may allow no more than the usual 64 KiB
                fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
            await server.send(decoding._request(start_segment), (descriptor, writing))
            protocol = asyncio.StreamReaderProtocol(decoding._reader)
            decoding._transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, pipe)
        except BaseException:
            pipe.close()  # the child, if there is one, ends at its first word
            raise
        finally:
            os.close(writing)
        return decoding

    def _request(self, start_segment: int) -> dict[str, Any]:
        return {
            "request": "decode",
            "number": self._number,
            "limits": self._plan.limits.as_dict(),
            "segments": asdict(self._plan.segments),
            "start_segment": start_segment,
            "threads": self._plan.threads,
            "nice": self._plan.nice,
        }

    async def events(self) -> AsyncGenerator[Event]:
        messages = EventReader(self._reader.readexactly, self._plan.limits)
        while not self._finished:
            event = await self._in_time(messages.next)
            self._take_note(event)
            yield event

    def _take_note(self, event: Event) -> None:
        """Grant time for what comes next."""
        if isinstance(event, Probed):
            probe = event.probe
            self._pixels_per_second = (probe.width or 0) * (probe.height or 0) * (probe.frames_per_second or 25.0)
        self._finished = isinstance(event, Finished)
        stretch = self._next_segments * (self._plan.segments.core + self._plan.segments.sound_context) / MICROSECONDS
        self._next_segments = 1
        self._allowance = allowance(self._plan.limits, stretch, self._pixels_per_second)

    async def _in_time(self, read: Callable[[], Awaitable[Event]]) -> Event:
        """Read one event within the time granted; only the time spent waiting for the decoder counts."""
        try:
            async with asyncio.timeout(self._allowance.wall_seconds):
                return await read()
        except TimeoutError:
            await self._kill()
            raise self._too_slow(self._allowance, await self._ended()) from None
        except asyncio.IncompleteReadError:
            raise _why_it_ended(await self._ended()) from None

    def _too_slow(self, granted: Allowance, ended: Ended) -> Exception:
        if ended.cpu_seconds >= granted.wall_seconds * _BUSY:
            return _too_expensive("wall_seconds_per_media_minute")
        return TransientError(
            f"decoding stood still for {granted.wall_seconds:.0f} s", code="decoder_stalled", retry_after_seconds=30.0
        )

    async def _kill(self) -> None:
        with contextlib.suppress(TransientError):
            await self._server.send({"request": "kill", "number": self._number})

    async def _ended(self) -> Ended:
        return await self._ending

    async def end(self) -> Ended | None:
        """See the process off: it is gone when this returns. None when the server was lost."""
        if self._transport is not None:
            self._transport.close()
        if not self._ending.done() and not self._finished:
            await asyncio.shield(self._kill())
        try:
            return await asyncio.shield(self._ending)
        except TransientError:
            return None


def _why_it_ended(ended: Ended) -> Exception:
    """Explain a decoder that ended without a last word."""
    if ended.exit_status == sandbox.STATUS_NOT_LOCKED_IN:
        return SandboxMissingError("a layer that could be put up before")
    if ended.signal == signal.SIGXCPU:
        return _too_expensive("cpu_seconds_per_media_minute")
    if ended.signal is None or ended.signal in {signal.SIGKILL, signal.SIGTERM}:
        return TransientError(
            "the decoding process was ended from outside", code="decoder_killed", retry_after_seconds=1.0
        )
    name = signal.Signals(ended.signal).name
    return MediumRefusedError(
        "decoder_crashed",
        f"the file brings the decoder down ({name}); it is damaged, or an attack",
        "Convert it on a machine that does not matter, and send the result.",
    )


def _too_expensive(limit: str) -> LimitExceededError:
    return LimitExceededError(limit, "decoding the medium takes more time than its length justifies")
