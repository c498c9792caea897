"""The process that holds the vectors: the only file that knows `qdrant_edge`.

The engine holds the interpreter for the length of every call, so it lives apart from the event
loop. Requests and answers are JSON behind their length (`u32`, big-endian) on a socket pair that
the parent hands over; the process ends when that socket does, and is killed when the parent is.

Search is exact. A hundred thousand vectors of 512 numbers take about ten milliseconds; an index
would be faster, but building one stalls everybody for a minute, and equal questions should have
equal answers.
"""

import contextlib
import ctypes
import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import orjson
import qdrant_edge

FRAME = struct.Struct(">I")
INDEXED_FIELDS = ("tenant", "medium")
"""Payload fields that questions and erasures usually name."""
SCORE_DIGITS = 6
"""Similarities are single-precision numbers; what differs behind this digit is noise."""
TIES_MARGIN = 16
"""How many points more than asked for are looked at first, to see whether a tie is cut in two."""
PR_SET_PDEATHSIG = 1
LOCK = ".lock"
"""The file that whoever has the folder holds locked; no space has such a name."""
LOCK_SECONDS = 10.0
"""How long to wait for a predecessor that is dying."""

Request = Mapping[str, Any]


class RefusedError(Exception):
    """The request cannot be answered; the store is as it was."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Space:
    """The vectors of one length, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.length = int(json.loads((folder / "space.json").read_text())["length"])
        self._shard = qdrant_edge.EdgeShard.load(str(folder / "shard"))

    @classmethod
    def create(cls, folder: Path, length: int) -> "Space":
        """Make a space that is whole or absent."""
        draft = folder.with_name(f"{folder.name}.new")
        shutil.rmtree(draft, ignore_errors=True)
        (draft / "shard").mkdir(parents=True)
        (draft / "space.json").write_text(json.dumps({"length": length}))
        shard = qdrant_edge.EdgeShard.create(str(draft / "shard"), _configuration(length))
        for field in INDEXED_FIELDS:
            keyword = qdrant_edge.PayloadSchemaType.Keyword
            shard.update(qdrant_edge.UpdateOperation.create_field_index(field, keyword))
        shard.flush()
        shard.close()
        _sync_tree(draft)
        draft.rename(folder)
        _sync(folder.parent)
        return cls(folder)

    def require_length(self, length: int) -> None:
        """Refuse vectors of another length."""
        if length != self.length:
            raise RefusedError("vector_length", f"this space holds vectors of {self.length} numbers, not {length}")

    def put(self, points: list[dict[str, Any]]) -> None:
        """Add or replace points, durably."""
        made = [qdrant_edge.Point(point["id"], point["vector"], point["payload"]) for point in points]
        self._shard.update(qdrant_edge.UpdateOperation.upsert_points(made))
        self._shard.flush()

    def nearest(self, vector: list[float], where: Mapping[str, str], limit: int) -> list[dict[str, Any]]:
        """Find the nearest points; among equally near ones the smaller id comes first."""
        looked_at = limit + TIES_MARGIN
        while True:
            found = self._query(vector, where, looked_at)
            cut_tie = len(found) == looked_at and found[limit - 1]["similarity"] == found[-1]["similarity"]
            if not cut_tie:
                return found[:limit]
            looked_at *= 2

    def forget(self, where: Mapping[str, str]) -> None:
        """Remove points and the bytes they took."""
        self._shard.update(qdrant_edge.UpdateOperation.delete_points_by_filter(_filter(where)))
        self._shard.flush()
        self._shard.optimize()
        self._shard.flush()

    def close(self) -> None:
        """Let go of the folder."""
        self._shard.close()

    def _query(self, vector: list[float], where: Mapping[str, str], limit: int) -> list[dict[str, Any]]:
        request = qdrant_edge.QueryRequest(
            limit=limit,
            query=qdrant_edge.Query.Nearest(vector),
            filter=_filter(where) if where else None,
            with_payload=True,
            params=qdrant_edge.SearchParams(exact=True),
        )
        found = [
            {
                "id": str(point.id),
                "similarity": max(-1.0, min(1.0, round(point.score, SCORE_DIGITS))),
                "payload": point.payload or {},
            }
            for point in self._shard.query(request)
        ]
        return sorted(found, key=lambda point: (-point["similarity"], point["id"]))


class Spaces:
    """Every space below a folder, opened when first asked for."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._open: dict[str, Space] = {}
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = _locked(root / LOCK)

    def put(self, request: Request) -> None:
        """Add points; the first ones decide how long a space's vectors are."""
        points = request["points"]
        length = len(points[0]["vector"])
        space = self._find(request["space"])
        if space is None:
            space = self._open[request["space"]] = Space.create(self._root / request["space"], length)
        for point in points:
            space.require_length(len(point["vector"]))
        space.put(points)

    def nearest(self, request: Request) -> list[dict[str, Any]]:
        """Find points; there are none in a space that was never filled."""
        space = self._find(request["space"])
        if space is None:
            return []
        space.require_length(len(request["vector"]))
        return space.nearest(request["vector"], request["where"], request["limit"])

    def forget(self, request: Request) -> None:
        """Remove points."""
        space = self._find(request["space"])
        if space is not None:
            space.forget(request["where"])

    def close(self) -> None:
        """Let go of every folder."""
        for space in self._open.values():
            space.close()
        os.close(self._lock)

    def _find(self, name: str) -> Space | None:
        if name not in self._open and (self._root / name).is_dir():
            self._open[name] = Space(self._root / name)
        return self._open.get(name)


def serve(connection: socket.socket, spaces: Spaces, turn: AbstractContextManager[object]) -> None:
    """Answer requests in their order until the other side is gone; `turn` is held while the engine works."""
    operations: dict[str, Callable[[Request], object]] = {
        "put": spaces.put,
        "nearest": spaces.nearest,
        "forget": spaces.forget,
    }
    with connection.makefile("rwb") as stream:
        while header := stream.read(FRAME.size):
            request = orjson.loads(stream.read(FRAME.unpack(header)[0]))
            answer: dict[str, object] = {"number": request["number"]}
            failed = False
            try:
                with turn:
                    answer["result"] = operations[request["operation"]](request)
            except RefusedError as refused:
                answer |= {"code": refused.code, "message": str(refused)}
            except Exception as error:  # noqa: BLE001 - the engine raises bare exceptions
                answer |= {"code": "vector_engine", "message": str(error)}
                failed = True
            body = orjson.dumps(answer)
            stream.write(FRAME.pack(len(body)) + body)
            stream.flush()
            if failed:
                # What the engine holds in memory after a failure is unknown; what lies on disk is not.
                sys.exit(1)


def die_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process when its parent is gone."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(0)


def main(arguments: list[str]) -> None:
    """Serve the folder on the inherited socket."""
    descriptor, parent, root = int(arguments[0]), int(arguments[1]), Path(arguments[2])
    die_with_parent(parent)
    # Whoever interrupts the terminal interrupts the parent; it still needs the vectors to end in order.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with socket.socket(fileno=descriptor) as connection:
        spaces = Spaces(root)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            serve(connection, spaces, contextlib.nullcontext())
        spaces.close()


def _configuration(length: int) -> qdrant_edge.EdgeConfig:
    """One thread, no index, no log: every answer waits for a flush, and what is erased is gone at once."""
    return qdrant_edge.EdgeConfig(
        vectors={"": qdrant_edge.EdgeVectorParams(size=length, distance=qdrant_edge.Distance.Cosine)},
        optimizers=qdrant_edge.EdgeOptimizersConfig(
            indexing_threshold=0, deleted_threshold=1e-6, vacuum_min_vector_number=1
        ),
        max_search_threads=1,
        wal_enabled=False,
    )


def _filter(where: Mapping[str, str]) -> qdrant_edge.Filter:
    return qdrant_edge.Filter(
        must=[
            qdrant_edge.FieldCondition(key=field, match=qdrant_edge.MatchValue(value)) for field, value in where.items()
        ]
    )


def _locked(path: Path) -> int:
    """Lock a file for as long as this process lives, for two engines on one folder would destroy it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                sys.exit(f"another process has the vectors in {path.parent}: stop it, or name another folder")
            time.sleep(0.02)
        else:
            return descriptor


def _sync_tree(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    main(sys.argv[1:])
