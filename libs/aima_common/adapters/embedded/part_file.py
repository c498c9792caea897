"""A file that grows until it becomes an object; blocking, for worker threads."""

import contextlib
import os
import threading
import weakref
from pathlib import Path

from aima_common.adapters.embedded.durable_files import Shelf, storage_error, storage_errors, write_all
from aima_common.errors import PermanentError, UnavailableError


class PartFile:
    """The bytes of one upload, on one descriptor, whoever holds it.

    After a failed sync the operating system may have dropped what it could not write, so the
    descriptor is never trusted again: the file goes back to what is known to be durable, and
    whoever goes on must begin a new `PartFile` there.
    """

    def __init__(self, path: Path, shelf: Shelf) -> None:
        self.path = path
        self._shelf = shelf
        self._turn = threading.Lock()
        self._state = "open"
        with storage_errors(f"opening upload {path.name!r}"):
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._close = weakref.finalize(self, os.close, self._descriptor)
        self._durable_bytes: int | None = None
        """None until the first sync of this descriptor."""

    @property
    def usable(self) -> bool:
        """Whether bytes may still be added."""
        return self._state == "open"

    def size(self) -> int:
        """Make everything durable and tell how much it is."""
        with self._turn:
            self._require_open()
            return self._sync()

    def append(self, chunk: bytes) -> None:
        """Add a chunk whole, or not at all."""
        with self._turn:
            self._require_open()
            status = os.fstat(self._descriptor)
            if status.st_nlink > 1:
                raise PermanentError(
                    f"upload {self.path.name!r} is an object already and cannot grow",
                    code="upload_finished",
                    remedy="finish it again, or begin a new upload",
                )
            try:
                write_all(self._descriptor, chunk)
            except OSError as error:
                self._cut(status.st_size)
                raise storage_error(f"writing upload {self.path.name!r}", error) from error

    def flush(self) -> None:
        """Make everything durable."""
        with self._turn:
            self._require_open()
            self._sync()

    def read(self, start: int, length: int) -> bytes:
        """Read what was written."""
        with self._turn, storage_errors(f"reading upload {self.path.name!r}"):
            self._require_open()
            return os.pread(self._descriptor, length, start)

    def finish(self, key: str) -> None:
        """Become the object `key`; the upload is over even when an equal object was there before."""
        with self._turn:
            self._require_open()
            self._sync()
            self._shelf.adopt(key, self.path)
            self._end("finished")

    def abort(self) -> None:
        """Vanish."""
        with self._turn:
            if self._state != "finished":
                self._end("aborted")

    def _end(self, state: str) -> None:
        self._state = state
        with storage_errors(f"ending upload {self.path.name!r}"):
            self.path.unlink(missing_ok=True)
        self._close()

    def _sync(self) -> int:
        size = os.fstat(self._descriptor).st_size
        if size == self._durable_bytes:
            return size
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            self._state = "broken"
            if self._durable_bytes is not None:
                self._cut(self._durable_bytes)
            self._close()
            raise storage_error(f"making upload {self.path.name!r} durable", error) from error
        self._durable_bytes = size
        return size

    def _cut(self, size: int) -> None:
        # Best effort: the failure that led here is the one to tell, and the content hash guards the rest.
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, size)

    def _require_open(self) -> None:
        if self._state == "broken":
            raise UnavailableError(
                f"upload {self.path.name!r} could not be made durable; begin again where it is durable",
                code="upload_broken",
            )
        if self._state != "open":
            raise PermanentError(f"upload {self.path.name!r} was {self._state} already", code="upload_closed")
