"""The side that asks a vector process: the same questions over whatever line leads to it."""

import asyncio
import contextlib
import itertools
import math
import re
import struct
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import orjson

from aima_common.errors import PermanentError, StorageFullError, UnavailableError
from aima_common.ports.vectors import Neighbour, Point

FRAME = struct.Struct(">I")
BATCH = 256
"""Points per request; encoding that many 512-number vectors takes the loop a few milliseconds."""
ANSWER_SECONDS = 60.0
"""Far longer than any request takes; who is silent for so long is stuck."""
ATTEMPTS = 2
"""Every request may be repeated: points replace themselves, questions and erasures change nothing twice."""
LONGEST_VECTOR = 65_536

_SPACE = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class LineGoneError(Exception):
    """The other side ended before it answered."""


class Line:
    """A connection to a vector process, and the requests that it has not answered yet."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._numbers = itertools.count()
        self._listening = asyncio.create_task(self._listen())

    @property
    def alive(self) -> bool:
        """Whether answers can still come."""
        return not self._listening.done()

    async def ask(self, request: Mapping[str, object]) -> dict[str, Any]:
        """Send a request and give its answer; raise `LineGoneError` when none comes."""
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
            raise LineGoneError from None
        except TimeoutError:
            self.give_up()
            raise LineGoneError from None
        finally:
            self._waiting.pop(number, None)

    def give_up(self) -> None:
        """Stop waiting for a side that is stuck."""
        self._writer.close()

    async def end(self) -> None:
        """Close the connection and wait until nothing listens any more."""
        self._writer.close()
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
                waiting.set_exception(LineGoneError())


class Lines(Protocol):
    """Whoever leads to a vector process."""

    async def line(self) -> Line:
        """Give a living line, making one where there is none; raise `UnavailableError` when none can be made."""

    async def require_room(self) -> None:
        """Raise `StorageFullError` when there is no room for more vectors, as far as that can be seen from here."""


class VectorClient:
    """The promise of `Vectors`, kept by a process at the other end of a line."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    async def put(self, space: str, points: Sequence[Point]) -> None:
        """Add points, or replace those with the same id; durable on return.

        The first point decides the length of the space's vectors. Raises `PermanentError` for a
        point that cannot be compared, `StorageFullError` when there is no room.
        """
        require_space(space)
        encoded = [encoded_point(point) for point in points]
        if not encoded:
            return
        for point in encoded:
            if len(point["vector"]) != len(encoded[0]["vector"]):
                raise PermanentError("the vectors of one space have one length", code="vector_length")
        await self._lines.require_room()
        for start in range(0, len(encoded), BATCH):
            await self._ask({"operation": "put", "space": space, "points": encoded[start : start + BATCH]})

    async def nearest(
        self, space: str, vector: Sequence[float], *, where: Mapping[str, str], limit: int = 10
    ) -> Sequence[Neighbour]:
        """Find the nearest points whose payload equals `where`, best first, equally near ones by id."""
        require_space(space)
        require_texts(where)
        numbers = real_numbers(vector)
        if limit < 1:
            return ()
        request = {"operation": "nearest", "space": space, "vector": numbers, "where": dict(where), "limit": limit}
        found = await self._ask(request)
        return tuple(Neighbour(point["id"], point["similarity"], point["payload"]) for point in found["result"])

    async def forget(self, space: str, where: Mapping[str, str]) -> None:
        """Remove all points whose payload equals `where`, and their bytes; `where` must name a field."""
        require_space(space)
        require_texts(where)
        if not where:
            raise PermanentError("forgetting everything must be asked for by name", code="vector_where_empty")
        await self._ask({"operation": "forget", "space": space, "where": dict(where)})

    async def _ask(self, request: Mapping[str, object]) -> dict[str, Any]:
        for _ in range(ATTEMPTS):
            line = await self._lines.line()
            try:
                answer = await line.ask(request)
            except LineGoneError:
                continue
            if "code" in answer:
                raise _error(answer["code"], answer["message"])
            return answer
        await self._lines.require_room()
        raise UnavailableError("the vector process ended twice while it was asked", code="vector_process_gone")


def _error(code: str, message: str) -> Exception:
    if code != "vector_engine":
        return PermanentError(message, code=code)
    if any(words in message for words in ("No space left", "File too large", "Disk quota")):
        return StorageFullError(f"no room left for vectors: {message}", code="storage_full")
    return UnavailableError(f"the vector engine failed: {message}", code=code)


def require_space(space: str) -> None:
    """Raise `PermanentError` for what cannot name a space."""
    if not _SPACE.fullmatch(space):
        raise PermanentError(
            f"{space!r} cannot name a space",
            code="vector_space_refused",
            remedy="use up to 64 small letters, digits, '-' and '_'",
        )


def require_texts(where: Mapping[str, str]) -> None:
    """Raise `PermanentError` for a condition that is no text."""
    if not all(isinstance(value, str) for value in where.values()):
        raise PermanentError("payload fields are compared as texts", code="vector_where_refused")


def real_numbers(vector: Sequence[float]) -> list[float]:
    """Give the numbers of a vector; raise `PermanentError` for one that has no direction."""
    numbers = [float(number) for number in vector]
    if not 0 < len(numbers) <= LONGEST_VECTOR or not all(map(math.isfinite, numbers)) or not any(numbers):
        raise PermanentError(
            "a vector is a list of finite numbers that are not all zero; nothing else has a direction",
            code="vector_refused",
        )
    return numbers


def encoded_point(point: Point) -> dict[str, Any]:
    """Write a point as `{id, vector, payload}`; raise `PermanentError` for one that cannot be stored."""
    try:
        identifier = str(uuid.UUID(point.id))
    except ValueError:
        raise PermanentError(f"{point.id!r} is no UUID", code="vector_id_refused") from None
    if not isinstance(point.payload.get("tenant"), str):
        raise PermanentError("every vector belongs to a tenant", code="vector_tenant_missing")
    return {"id": identifier, "vector": real_numbers(point.vector), "payload": dict(point.payload)}
