"""One SQLite file with a writer that shares its fsync between everybody who waits for one.

A transaction is durable when its caller is answered (`synchronous=FULL`). Writers that arrive while
an fsync is under way are committed together by the next one, so that durability costs one fsync per
batch and not one per change.
"""

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Self, TypeVar, cast

from aima_common.errors import StorageFullError, UnavailableError

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], Any]
_Outcome = tuple[Any, Exception | None]

MAX_GROUP = 256
"""Changes that share one commit at the most; more would only delay the first of them."""

PATIENCE = 0.5
"""Which part of the time that the last commit took the next one waits for as many changes as that had: less than it
costs to make two commits of one."""

BUSY_SECONDS = 10
"""How long another process may hold the file before a write gives up."""


@dataclass(frozen=True, slots=True)
class _Pending:
    work: Work
    answer: "asyncio.Future[Any]"


class Database:
    """A SQLite file in WAL mode: one writing thread, one reading thread, and the loop that both answer."""

    def __init__(self, path: Path, schema: str, loop: asyncio.AbstractEventLoop) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._loop = loop
        self._coming: list[_Pending] = []
        """What was asked for since the loop last went round."""
        self._queue: SimpleQueue[list[_Pending] | None] = SimpleQueue()
        self._write = _connect(path)
        self._write.executescript(schema)
        self._read = _connect(path)
        self._read.execute("PRAGMA query_only=ON")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix=f"{path.stem}-read")
        self._writer = threading.Thread(target=self._serve, name=f"{path.stem}-write", daemon=True)
        self._writer.start()
        self._closed = False

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, path: Path, schema: str) -> AsyncIterator[Self]:
        """Open the file, making it when it does not exist."""
        database = await asyncio.to_thread(cls, path, schema, asyncio.get_running_loop())
        try:
            yield database
        finally:
            await asyncio.shield(database.close())

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in a transaction and return its value when it is durable.

        What `work` raises rolls back its own changes and nobody else's; when somebody else's work raises, it is
        rolled back and runs once more, so it must do nothing but change the store. A caller that is cancelled
        does not undo the change: its outcome is unknown to the caller, as with any store.
        """
        if self._closed:
            raise UnavailableError("the store is closed", code="closed")
        answer: asyncio.Future[T] = self._loop.create_future()
        self._coming.append(_Pending(work, answer))
        if len(self._coming) == 1:
            self._loop.call_soon(self._hand_in)
        return await answer

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run a reading `work` as of the newest acknowledged write."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._reader, work, self._read)
        except RuntimeError as error:
            raise UnavailableError("the store is closed", code="closed") from error

    async def close(self) -> None:
        """Finish what was asked for, then close the file."""
        if self._closed:
            return
        self._closed = True
        self._hand_in()
        await asyncio.to_thread(self._end)

    def _end(self) -> None:
        self._queue.put(None)
        self._writer.join()
        self._reader.shutdown(wait=True)
        self._read.close()
        self._write.close()

    def _hand_in(self) -> None:
        """Give the writer everything at once: each change by itself would wake it, and take turns with it."""
        coming, self._coming = self._coming, []
        for start in range(0, len(coming), MAX_GROUP):
            self._queue.put(coming[start : start + MAX_GROUP])

    def _serve(self) -> None:
        expected, patience, more = 1, 0.0, True
        while more and (first := self._queue.get()) is not None:
            group, more = self._gather(first, expected, patience)
            begun = time.monotonic()
            self._commit(group)
            expected, patience = len(group), (time.monotonic() - begun) * PATIENCE

    def _gather(self, first: list[_Pending], expected: int, patience: float) -> tuple[list[_Pending], bool]:
        """Take what waits, and wait a moment for as many as came last time: who was answered together asks together.

        Also tells whether more will come: the file is not being closed.
        """
        group = list(first)
        deadline = time.monotonic() + patience
        while len(group) < MAX_GROUP:
            left = deadline - time.monotonic() if len(group) < expected else 0.0
            try:
                coming = self._queue.get(timeout=left) if left > 0 else self._queue.get_nowait()
            except Empty:
                break
            if coming is None:
                return group, False
            group += coming
        return group, True

    def _commit(self, waiting: list[_Pending]) -> None:
        # Who is cancelled from here on is not told; whether the change was made is unknown to them.
        group = [pending for pending in waiting if not pending.answer.cancelled()]
        try:
            outcomes = self._together(group)
            if outcomes is None:
                outcomes = self._apart(group)
        except sqlite3.Error as error:
            self._roll_back()
            outcomes = [(None, _translated(error))] * len(group)
        # One call for all: each would wake the loop through a system call of its own.
        with contextlib.suppress(RuntimeError):  # the loop was closed, and nobody waits any more
            self._loop.call_soon_threadsafe(_tell, list(zip(group, outcomes, strict=True)))

    def _together(self, group: list[_Pending]) -> list[_Outcome] | None:
        """Run everything and commit; give None, and leave no trace, when one of them raises something of its own."""
        self._write.execute("BEGIN IMMEDIATE")
        try:
            outcomes: list[_Outcome] = [(pending.work(self._write), None) for pending in group]
        except sqlite3.IntegrityError:
            self._roll_back()
            return None
        except sqlite3.Error:
            raise
        except Exception:  # noqa: BLE001 - it is raised again when each runs by itself
            self._roll_back()
            return None
        self._write.execute("COMMIT")
        return outcomes

    def _apart(self, group: list[_Pending]) -> list[_Outcome]:
        """Run each in a savepoint of its own, so that what one raises undoes nothing of the others."""
        self._write.execute("BEGIN IMMEDIATE")
        outcomes = [self._one(pending) for pending in group]
        self._write.execute("COMMIT")
        return outcomes

    def _roll_back(self) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._write.execute("ROLLBACK")

    def _one(self, pending: _Pending) -> _Outcome:
        self._write.execute("SAVEPOINT one")
        try:
            value = pending.work(self._write)
        except sqlite3.IntegrityError as error:
            self._undo()
            return None, error
        except sqlite3.Error:
            raise
        except Exception as error:  # noqa: BLE001 - handed to the caller, who knows what it means
            self._undo()
            return None, error
        self._write.execute("RELEASE one")
        return value, None

    def _undo(self) -> None:
        self._write.execute("ROLLBACK TO one")
        self._write.execute("RELEASE one")


def _tell(answers: list[tuple[_Pending, _Outcome]]) -> None:
    for pending, (value, failure) in answers:
        if pending.answer.done():
            continue
        if failure is None:
            pending.answer.set_result(value)
        else:
            pending.answer.set_exception(failure)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=BUSY_SECONDS)
    connection.execute("PRAGMA journal_mode=WAL")
    # FULL, not NORMAL: an acknowledged change must survive a power cut (notes: reliability, 1.2).
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    # What is erased on request must not lie on in the file's free pages.
    connection.execute("PRAGMA secure_delete=ON")
    return connection


def _translated(error: sqlite3.Error) -> UnavailableError:
    code = cast("str", getattr(error, "sqlite_errorname", "")) or "SQLITE_ERROR"
    if code in {"SQLITE_FULL", "SQLITE_IOERR_WRITE"}:
        return StorageFullError(
            "the disk is full: free some space, then go on; nothing half-written was kept", code=code
        )
    return UnavailableError(f"the store did not take the change: {error}", code=code)
