"""One SQLite file with a writer that shares its fsync between everybody who waits for one.

A transaction is durable when its caller is answered (`synchronous=FULL`). Writers that arrive while
an fsync is under way are committed together by the next one, so that durability costs one fsync per
batch and not one per change.
"""

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Self, TypeVar, cast

from aima_common.errors import StorageFullError, UnavailableError

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], Any]

MAX_GROUP = 256
"""Changes that share one commit at the most; more would only delay the first of them."""

BUSY_SECONDS = 10
"""How long another process may hold the file before a write gives up."""


@dataclass(frozen=True)
class _Pending:
    work: Work
    answer: "Future[Any]"


class Database:
    """A SQLite file in WAL mode: one writing thread, one reading thread."""

    def __init__(self, path: Path, schema: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._queue: SimpleQueue[_Pending | None] = SimpleQueue()
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
        database = await asyncio.to_thread(cls, path, schema)
        try:
            yield database
        finally:
            await asyncio.shield(asyncio.to_thread(database.close))

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in a transaction and return its value when it is durable.

        What `work` raises rolls back its own changes and nobody else's. A caller that is cancelled
        does not undo the change: its outcome is unknown to the caller, as with any store.
        """
        if self._closed:
            raise UnavailableError("the store is closed", code="closed")
        answer: Future[T] = Future()
        self._queue.put(_Pending(work, answer))
        return await asyncio.wrap_future(answer)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run a reading `work` as of the newest acknowledged write."""
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._reader, work, self._read)
        except RuntimeError as error:
            raise UnavailableError("the store is closed", code="closed") from error

    def close(self) -> None:
        """Finish what was handed in, then close the file."""
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        self._writer.join()
        self._reader.shutdown(wait=True)
        self._read.close()
        self._write.close()

    def _serve(self) -> None:
        while (first := self._queue.get()) is not None:
            group = [first]
            stop = False
            while len(group) < MAX_GROUP and not self._queue.empty():
                following = self._queue.get()
                if following is None:
                    stop = True
                    break
                group.append(following)
            self._commit(group)
            if stop:
                return

    def _commit(self, waiting: list[_Pending]) -> None:
        # From here on a caller cannot cancel its answer any more, which would end this thread.
        group = [pending for pending in waiting if pending.answer.set_running_or_notify_cancel()]
        results: list[tuple[_Pending, Any, BaseException | None]] = []
        try:
            self._write.execute("BEGIN IMMEDIATE")
            results.extend((pending, *self._one(pending)) for pending in group)
            self._write.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                self._write.execute("ROLLBACK")
            for pending in group:
                pending.answer.set_exception(_translated(error))
            return
        for pending, value, failure in results:
            if failure is None:
                pending.answer.set_result(value)
            else:
                pending.answer.set_exception(failure)

    def _one(self, pending: _Pending) -> tuple[Any, BaseException | None]:
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
