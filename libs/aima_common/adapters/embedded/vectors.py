"""Vectors in a process of their own, started when the first vector is put or asked for."""

import asyncio
import contextlib
import itertools
import math
import os
import re
import shutil
import socket
import struct
import sys
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from aima_common.errors import PermanentError, StorageFullError, UnavailableError
from aima_common.ports.vectors import Neighbour, Point

FRAME = struct.Struct(">I")
BATCH = 256
"""Points per request; encoding that many 512-number vectors takes the loop a few milliseconds."""
ANSWER_SECONDS = 60.0
"""Far longer than any request takes; who is silent for so long is stuck."""
END_SECONDS = 5.0
ATTEMPTS = 2
"""Every request may be repeated: points replace themselves, questions and erasures change nothing twice."""
ROOM_BYTES = 64 << 20
"""Room that must be left on the disk: the engine writes through mapped memory, where a full disk is fatal."""
LONGEST_VECTOR = 65_536

_SPACE = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class _ChildGoneError(Exception):
    """The process ended before it answered."""


class _Child:
    """A running vector process and the requests it has not answered yet."""

    def __init__(self, process: asyncio.subprocess.Process, connection: "_Connection") -> None:
        self._process = process
        self._reader, self._writer = connection
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._numbers = itertools.count()
        self._listening = asyncio.create_task(self._listen())

    @classmethod
    async def start(cls, root: Path) -> "_Child":
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "aima_common.adapters.embedded.vector_process",
                str(theirs.fileno()),
                str(os.getpid()),
                str(root),
                pass_fds=(theirs.fileno(),),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
            )
        return cls(process, await asyncio.open_connection(sock=ours))

    @property
    def alive(self) -> bool:
        return not self._listening.done()

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ask(self, request: Mapping[str, object]) -> dict[str, Any]:
        number = next(self._numbers)
        body = orjson.dumps({**request, "number": number})
        answer = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            self._writer.write(FRAME.pack(len(body)) + body)
            await self._writer.drain()
            async with asyncio.timeout(ANSWER_SECONDS):
                result: dict[str, Any] = await answer
                return result
        except ConnectionError:
            raise _ChildGoneError from None
        except TimeoutError:
            self.kill()
            raise _ChildGoneError from None
        finally:
            self._waiting.pop(number, None)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def end(self) -> None:
        self._writer.close()
        try:
            await asyncio.wait_for(self._process.wait(), END_SECONDS)
        except TimeoutError:
            self.kill()
            await self._process.wait()
        await self._listening

    async def _listen(self) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                (length,) = FRAME.unpack(await self._reader.readexactly(FRAME.size))
                answer = orjson.loads(await self._reader.readexactly(length))
                waiting = self._waiting.pop(answer["number"], None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(answer)
        self._writer.close()
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(_ChildGoneError())


_Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class EdgeVectors:
    """Vectors below a folder, held by one child process.

    The child starts with the first use, dies with this process, and is started again when it dies
    alone; what it was asked meanwhile is asked once more. One process at a time may open a folder.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._child: _Child | None = None
        self._starting = asyncio.Lock()
        self._closed = False

    @classmethod
    def open(cls, root: Path | str) -> "EdgeVectors":
        """Use a folder; costs nothing until something is put or asked."""
        return cls(Path(root))

    @property
    def pid(self) -> int | None:
        """Tell the id of the child, or None while there is none."""
        return self._child.pid if self._child is not None and self._child.alive else None

    async def close(self) -> None:
        """End the child; the vectors stay."""
        self._closed = True
        async with self._starting:
            if self._child is not None:
                await self._child.end()
                self._child = None

    async def put(self, space: str, points: Sequence[Point]) -> None:
        """Add points, or replace those with the same id; durable on return.

        The first point decides the length of the space's vectors. Raises `PermanentError` for a
        point that cannot be compared, `StorageFullError` when there is no room.
        """
        _require_space(space)
        encoded = [_encode(point) for point in points]
        if not encoded:
            return
        for point in encoded:
            if len(point["vector"]) != len(encoded[0]["vector"]):
                raise PermanentError("the vectors of one space have one length", code="vector_length")
        await asyncio.to_thread(self._require_room)
        for start in range(0, len(encoded), BATCH):
            await self._ask({"operation": "put", "space": space, "points": encoded[start : start + BATCH]})

    async def nearest(
        self, space: str, vector: Sequence[float], *, where: Mapping[str, str], limit: int = 10
    ) -> Sequence[Neighbour]:
        """Find the nearest points whose payload equals `where`, best first, equally near ones by id."""
        _require_space(space)
        _require_texts(where)
        numbers = _numbers(vector)
        if limit < 1:
            return ()
        request = {"operation": "nearest", "space": space, "vector": numbers, "where": dict(where), "limit": limit}
        found = await self._ask(request)
        return tuple(Neighbour(point["id"], point["similarity"], point["payload"]) for point in found["result"])

    async def forget(self, space: str, where: Mapping[str, str]) -> None:
        """Remove all points whose payload equals `where`, and their bytes; `where` must name a field."""
        _require_space(space)
        _require_texts(where)
        if not where:
            raise PermanentError("forgetting everything must be asked for by name", code="vector_where_empty")
        await self._ask({"operation": "forget", "space": space, "where": dict(where)})

    async def _ask(self, request: Mapping[str, object]) -> dict[str, Any]:
        for _ in range(ATTEMPTS):
            child = await self._living_child()
            try:
                answer = await child.ask(request)
            except _ChildGoneError:
                continue
            if "code" in answer:
                raise _error(answer["code"], answer["message"])
            return answer
        await asyncio.to_thread(self._require_room)
        raise UnavailableError("the vector process ended twice while it was asked", code="vector_process_gone")

    async def _living_child(self) -> _Child:
        async with self._starting:
            if self._closed:
                raise UnavailableError("the vectors are closed", code="vectors_closed")
            if self._child is not None and not self._child.alive:
                await self._child.end()
                self._child = None
            if self._child is None:
                self._child = await _Child.start(self._root)
            return self._child

    def _require_room(self) -> None:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        free = shutil.disk_usage(self._root).free
        if free < ROOM_BYTES:
            raise StorageFullError(
                f"only {free >> 20} MiB are left for vectors; make room and try again", code="storage_full"
            )


def _error(code: str, message: str) -> Exception:
    if code != "vector_engine":
        return PermanentError(message, code=code)
    if any(words in message for words in ("No space left", "File too large", "Disk quota")):
        return StorageFullError(f"no room left for vectors: {message}", code="storage_full")
    return UnavailableError(f"the vector engine failed: {message}", code=code)


def _require_space(space: str) -> None:
    if not _SPACE.fullmatch(space):
        raise PermanentError(
            f"{space!r} cannot name a space",
            code="vector_space_refused",
            remedy="use up to 64 small letters, digits, '-' and '_'",
        )


def _require_texts(where: Mapping[str, str]) -> None:
    if not all(isinstance(value, str) for value in where.values()):
        raise PermanentError("payload fields are compared as texts", code="vector_where_refused")


def _numbers(vector: Sequence[float]) -> list[float]:
    numbers = [float(number) for number in vector]
    if not 0 < len(numbers) <= LONGEST_VECTOR or not all(map(math.isfinite, numbers)) or not any(numbers):
        raise PermanentError(
            "a vector is a list of finite numbers that are not all zero; nothing else has a direction",
            code="vector_refused",
        )
    return numbers


def _encode(point: Point) -> dict[str, Any]:
    try:
        identifier = str(uuid.UUID(point.id))
    except ValueError:
        raise PermanentError(f"{point.id!r} is no UUID", code="vector_id_refused") from None
    if not isinstance(point.payload.get("tenant"), str):
        raise PermanentError("every vector belongs to a tenant", code="vector_tenant_missing")
    return {"id": identifier, "vector": _numbers(point.vector), "payload": dict(point.payload)}
