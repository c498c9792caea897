"""Files that hold copies of objects while somebody on this machine reads them; blocking, for worker threads."""

import contextlib
import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from aima_common.adapters.embedded.durable_files import storage_errors

PREFIX = "aima-lent-"
MAKING = "aima-making-"
LOCK = "lock"


class Scratch:
    """A folder of this process's own below the scratch folder; what dead processes left there goes when one opens.

    Who lives is told by a lock and not by a process id: containers that share a folder share no ids.
    """

    def __init__(self, base: Path | None) -> None:
        self._base = base or Path(tempfile.gettempdir())
        self._name = uuid.uuid4().hex
        self._folder = self._base / f"{PREFIX}{self._name}"
        self._lock: IO[bytes] | None = None

    def __enter__(self) -> Self:
        with storage_errors(f"opening the scratch folder {self._base} (AIMA_SCRATCH)"):
            self._base.mkdir(parents=True, exist_ok=True)
            self._clear_leftovers()
            self._lock = self._make_folder()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._lock is not None:
            self._lock.close()

    def path(self) -> Path:
        """Name a file that is not there yet."""
        return self._folder / uuid.uuid4().hex

    def _make_folder(self) -> IO[bytes]:
        # Locked before it has its name: others take a folder that nobody holds for a dead process's.
        making = self._base / f"{MAKING}{self._name}"
        making.mkdir(mode=0o700)
        lock = (making / LOCK).open("wb")
        fcntl.flock(lock, fcntl.LOCK_EX)
        making.rename(self._folder)
        return lock

    def _clear_leftovers(self) -> None:
        for folder in self._base.glob(f"{PREFIX}*"):
            with contextlib.suppress(OSError), (folder / LOCK).open("ab") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def private_file(path: Path) -> Iterator[IO[bytes]]:
    """Make a file that nobody else may read; it is removed again when writing it fails.

    Raises `StorageFullError` when there is no room, for what is written in context as well.
    """
    try:
        with storage_errors("copying an object into the scratch folder (AIMA_SCRATCH)"):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                yield file
    except BaseException:
        path.unlink(missing_ok=True)
        raise
