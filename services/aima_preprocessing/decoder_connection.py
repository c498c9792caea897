"""The conversation between the main process and the decoder server: one socket, messages with descriptors."""

import asyncio
import contextlib
import os
import socket
import sys
from dataclasses import dataclass
from typing import Any

import orjson

from aima_common.errors import TransientError, UnavailableError
from aima_preprocessing.sandbox import Layer

_MOST_REPORT_BYTES = 64 * 1024
_STARTING_SECONDS = 60.0
_ENVIRONMENT = {
    # Number crunching libraries start threads on import, and a forking process must have none.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    # Pictures come and go between thousands of small blocks that stay: on one heap they leave holes
    # (400 MiB instead of 180 for an hour of 720p), in mappings of their own they do not.
    "MALLOC_MMAP_THRESHOLD_": "262144",
}


@dataclass(frozen=True)
class Ended:
    """How a decoding process ended."""

    exit_status: int | None
    signal: int | None
    cpu_seconds: float
    peak_memory_bytes: int


class Connection:
    """The server process and the conversation with it."""

    def __init__(self, control: socket.socket, child: asyncio.subprocess.Process) -> None:
        self._control = control
        self._child = child
        self._endings: dict[int, asyncio.Future[Ended]] = {}
        self._ready: asyncio.Future[tuple[Layer, ...]] = asyncio.get_running_loop().create_future()
        self._sending = asyncio.Lock()
        self.alive = True
        self.layers: tuple[Layer, ...] = ()
        self._listening = asyncio.create_task(self._listen(), name="decoder reports")

    @property
    def process(self) -> int:
        return self._child.pid

    @classmethod
    async def launch(cls, *, unsandboxed: bool) -> "Connection":
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        with theirs:
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "aima_preprocessing.decoder_server",
                "--control",
                str(theirs.fileno()),
                "--parent",
                str(os.getpid()),
                *(["--unsandboxed"] if unsandboxed else []),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={**os.environ, **_ENVIRONMENT},
            )
        server = cls(ours, child)
        try:
            server.layers = await asyncio.wait_for(asyncio.shield(server._ready), _STARTING_SECONDS)
        except (TimeoutError, TransientError) as error:
            await server.stop()
            raise UnavailableError(
                "the decoder did not start; its own messages say why", code="decoder_down"
            ) from error
        except asyncio.CancelledError:
            await server.stop()
            raise
        return server

    async def _listen(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while report := await loop.sock_recv(self._control, _MOST_REPORT_BYTES):
                self._take(orjson.loads(report))
        except OSError:
            pass  # reset: it died
        finally:
            self._lost()

    def _take(self, report: dict[str, Any]) -> None:
        if report["report"] == "ready":
            self._ready.set_result(tuple(Layer(**layer) for layer in report["layers"]))
            return
        ending = self._endings.pop(report["number"], None)
        if ending is not None and not ending.done():
            ending.set_result(
                Ended(report["exit_status"], report["signal"], report["cpu_seconds"], report["peak_memory_bytes"])
            )

    def _lost(self) -> None:
        self.alive = False
        error = TransientError("the decoder process ended", code="decoder_down", retry_after_seconds=1.0)
        _fail(self._ready, error)
        for ending in self._endings.values():
            _fail(ending, error)
        self._endings.clear()

    async def send(self, message: dict[str, Any], descriptors: tuple[int, ...] = ()) -> None:
        """Send a message with descriptors; raise `TransientError` when the server is gone."""
        data = orjson.dumps(message)
        async with self._sending:
            while True:
                try:
                    socket.send_fds(self._control, [data], descriptors)
                    return
                except BlockingIOError:
                    await _until_writable(self._control)
                except OSError as error:
                    raise TransientError(
                        "the decoder process ended", code="decoder_down", retry_after_seconds=1.0
                    ) from error

    def expect_end(self, number: int) -> "asyncio.Future[Ended]":
        """Give what will tell how a child ended."""
        ending: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self._endings[number] = ending
        return ending

    async def stop(self) -> None:
        self.alive = False
        self._listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._listening
        self._control.close()
        # It ends when the socket closes; should it hang, it is killed.
        try:
            await asyncio.wait_for(self._child.wait(), 2)
        except TimeoutError:
            self._child.kill()
            await self._child.wait()


async def _until_writable(control: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    writable: asyncio.Future[None] = loop.create_future()
    loop.add_writer(control, writable.cancel)
    try:
        await asyncio.wait([writable])
    finally:
        loop.remove_writer(control)


def _fail(waiting: asyncio.Future[Any], error: Exception) -> None:
    if not waiting.done():
        waiting.set_exception(error)
        waiting.exception()  # seen: nobody may be waiting
