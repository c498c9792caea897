"""The parent's side of one inference process: start it, give it a job, kill it when it goes wrong."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aima_analysis.inference_protocol import Message, ProtocolError, receive_async
from aima_common.errors import AimaError, PermanentError, TransientError, UnavailableError

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), "1")
QUIET = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "MALLOC_ARENA_MAX": "2"}
PAGE = os.sysconf("SC_PAGE_SIZE")
DATA_HEADROOM = 2
"""Data limit of a process over its memory limit: mapped is more than used; the parent watches what is used."""


@dataclass(frozen=True)
class InferenceSettings:
    """How inference processes are run."""

    registry: str = "aima_analysis.analyzers"
    """Module with the analyzers."""
    memory_limit_bytes: int = 1536 * 2**20
    """Resident memory beyond which a process is killed in the middle of a job."""
    memory_kept_bytes: int = 800 * 2**20
    """Resident memory beyond which a process is replaced after a job."""
    unload_seconds: float = 60.0
    """Silence after which a process drops its models."""
    stop_seconds: float = 120.0
    """Silence after which a process is ended."""
    watch_seconds: float = 0.25
    """How often memory and deadline are looked at during a job."""


class InferenceChild:
    """One process; one job at a time."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        settings: InferenceSettings,
    ) -> None:
        self._process = process
        self._reader = reader
        self._writer = writer
        self._settings = settings
        self._calls = 0
        self._last_words: deque[bytes] = deque(maxlen=20)
        self._listener = asyncio.create_task(self._listen())
        self.analyzers: set[str] = set()
        """What it has run: their models are warm."""

    @classmethod
    async def start(cls, settings: InferenceSettings, nice: int) -> "InferenceChild":
        """Start a process that dies with this one. Raises UnavailableError."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = await asyncio.create_subprocess_exec(
                    *command(settings, theirs.fileno(), nice),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=asyncio.subprocess.PIPE,
                    pass_fds=[theirs.fileno()],
                    env={**os.environ, **ONE_THREAD, **QUIET},
                )
            reader, writer = await asyncio.open_unix_connection(sock=ours)
        except OSError as error:
            ours.close()
            raise UnavailableError(f"no inference process can be started: {error}", code="inference_start") from error
        except BaseException:
            ours.close()  # a process that was started meanwhile reads the end of the stream, and ends
            raise
        return cls(process, reader, writer, settings)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can take a job."""
        return self._process.returncode is None and not self._reader.at_eof()

    def memory_bytes(self) -> int:
        """Its resident memory; 0 when it has ended."""
        try:
            return int(Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1]) * PAGE
        except (OSError, IndexError):
            return 0

    async def call(self, what: str, request: Message, deadline_seconds: float) -> dict[str, Any]:
        """Have a job done and give the answer's header.

        Whatever interrupts it (deadline, memory, death, cancellation) leaves no process behind that still
        works on it. Raises TransientError and PermanentError.
        """
        self._calls += 1
        numbered = Message({"id": self._calls, **request.header}, request.blobs)
        try:
            answer = await self._watched(what, numbered, deadline_seconds)
        except BaseException:
            await self.kill()
            raise
        error = answer.get("error")
        if error is None:
            return answer
        if error["code"] == "out_of_memory":
            await self.kill()
        raise fault_of(what, error)

    async def kill(self) -> None:
        """End the process at once and wait until it is gone."""
        self._writer.close()
        if self._process.returncode is None:
            # Not `self._process.kill()`: it polls first, and then asyncio's watcher loses the exit status to it.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        await self._process.wait()
        await self._listener

    async def _watched(self, what: str, request: Message, deadline_seconds: float) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        end = loop.time() + deadline_seconds
        exchange = asyncio.create_task(self._exchange(request))
        try:
            while not exchange.done():
                left = end - loop.time()
                if left <= 0:
                    raise TransientError(
                        f"{what} took longer than {deadline_seconds:g} s and was stopped", code="deadline_exceeded"
                    )
                self._check_memory(what)
                await asyncio.wait({exchange}, timeout=min(left, self._settings.watch_seconds))
            return exchange.result()
        except (asyncio.IncompleteReadError, ConnectionError, ProtocolError) as error:
            raise await self._died(what) from error
        finally:
            exchange.cancel()

    def _check_memory(self, what: str) -> None:
        used, limit = self.memory_bytes(), self._settings.memory_limit_bytes
        if used > limit:
            raise TransientError(
                f"{what} used {used >> 20} MiB of memory, the limit is {limit >> 20} MiB", code="out_of_memory"
            )

    async def _exchange(self, request: Message) -> dict[str, Any]:
        for buffer in request.encode():
            self._writer.write(buffer)
            await self._writer.drain()
        answer = await receive_async(self._reader)
        if answer.header.get("id") != request.header["id"]:
            raise ProtocolError("an answer to another question")
        return dict(answer.header)

    async def _died(self, what: str) -> TransientError:
        await self.kill()
        words = b" ".join(self._last_words).decode("utf-8", "replace").strip()[-500:]
        manner = manner_of_death(self._process.returncode or 0)
        return TransientError(
            f"the inference process {manner} while running {what}" + (f": {words}" if words else ""),
            code="inference_died",
        )

    async def _listen(self) -> None:
        """Keep the last lines that it prints, so that a death can be explained."""
        stream = self._process.stderr
        if stream is None:
            return
        while True:
            try:
                line = await stream.readline()
            except ValueError:  # a line without an end; it has been dropped
                continue
            if not line:
                return
            self._last_words.append(line.strip())


def command(settings: InferenceSettings, socket_fd: int, nice: int) -> list[str]:
    """Give the command line of an inference process."""
    options = {
        "--socket-fd": socket_fd,
        "--parent": os.getpid(),
        "--nice": nice,
        "--memory-bytes": settings.memory_limit_bytes * DATA_HEADROOM,
        "--idle-seconds": settings.unload_seconds,
        "--registry": settings.registry,
    }
    words = [str(word) for pair in options.items() for word in pair]
    return [sys.executable, "-P", "-m", "aima_analysis.inference", *words]


def manner_of_death(status: int) -> str:
    """Say how a process ended."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"


def fault_of(what: str, error: dict[str, Any]) -> AimaError:
    """Turn a structured error into the exception that says what happens next."""
    message = f"{what}: {error['reason']}"
    if error["transient"]:
        return TransientError(message, code=error["code"])
    return PermanentError(message, code=error["code"], remedy=error["remedy"])
