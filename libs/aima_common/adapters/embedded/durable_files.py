"""Files that are whole or absent, also after a power cut; blocking, for worker threads.

The order is the one that survives a power cut on POSIX file systems: write beside, sync the file,
link it to its name (which fails when the name is taken), sync the directory.
"""

import contextlib
import errno
import os
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

from aima_common.adapters.object_keys import check_key, key_refused
from aima_common.errors import ObjectExistsError, StorageFullError, UnavailableError

CHUNK_BYTES = 1 << 20
"""How much is read or compared at once: large enough for disks, small enough for memory."""
RETRY_AFTER_SECONDS = 30.0
"""How long a person needs, at best, to make room on a disk."""
REMEMBERED_FOLDERS = 10_000
"""How many folders are known to be durable before they are looked at again; bounds memory only."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextlib.contextmanager
def storage_errors(doing: str) -> Iterator[None]:
    """Turn what the operating system says about a disk into the errors that callers act on."""
    try:
        yield
    except OSError as error:
        raise storage_error(doing, error) from error


def storage_error(doing: str, error: OSError) -> UnavailableError:
    """Name a failure of the disk for what happens next."""
    if error.errno in _FULL:
        message = f"no room left while {doing} ({error.strerror}); nothing half-written was kept; make room, try again"
        return StorageFullError(message, code="storage_full", retry_after_seconds=RETRY_AFTER_SECONDS)
    return UnavailableError(f"the disk failed while {doing}: {error}", code="storage_failed")


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Write every byte; the operating system may take them in several bites."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest[:CHUNK_BYTES]) :]


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def same_content(path: Path, data: bytes) -> bool:
    """Tell whether a file holds exactly these bytes."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size != len(data):
            return False
        view = memoryview(data)
        return all(file.read(CHUNK_BYTES) == view[at : at + CHUNK_BYTES] for at in range(0, len(data), CHUNK_BYTES))


def same_files(one: Path, other: Path) -> bool:
    """Tell whether two files hold the same bytes."""
    with one.open("rb") as left, other.open("rb") as right:
        left_status, right_status = os.fstat(left.fileno()), os.fstat(right.fileno())
        if left_status.st_size != right_status.st_size:
            return False
        if os.path.samestat(left_status, right_status):
            return True
        while chunk := left.read(CHUNK_BYTES):
            if chunk != right.read(CHUNK_BYTES):
                return False
    return True


class Shelf:
    """A folder of files that are named once and never change."""

    def __init__(self, root: Path, incoming: Path) -> None:
        self.root = root
        self._incoming = incoming
        self._names = threading.Lock()
        """Held while folders appear or vanish, so that none vanishes under a file that is being named."""
        self._durable: set[Path] = {root}

    def path(self, key: str) -> Path:
        """Tell where the object of this key lies, or would lie."""
        return self.root / check_key(key)

    def store(self, key: str, data: bytes) -> None:
        """Keep `data` under `key`, durably; raise `ObjectExistsError` when other bytes lie there."""
        target = self.path(key)
        with storage_errors(f"storing {key!r}"):
            if target.is_file():
                self._accept_equal(key, same=same_content(target, data))
                return
            temporary = self._incoming / uuid.uuid4().hex
            try:
                _write_durably(temporary, data)
                if not self.link(key, temporary):
                    self._accept_equal(key, same=same_content(target, data))
            finally:
                temporary.unlink(missing_ok=True)

    def adopt(self, key: str, source: Path) -> None:
        """Make a file whose content is durable the object `key`, or find it there already."""
        with storage_errors(f"storing {key!r}"):
            if not self.link(key, source):
                self._accept_equal(key, same=same_files(source, self.path(key)))

    def link(self, key: str, source: Path) -> bool:
        """Give a durable file its name, durably; False when the name is taken."""
        target = self.path(key)
        with self._names:
            self._make_folders(key, target.parent)
            try:
                os.link(source, target)
            except FileExistsError:
                if target.is_dir():
                    raise key_refused(key, "it is the folder of other keys") from None
                return False
        sync_directory(target.parent)
        return True

    def remove(self, key: str) -> bool:
        """Remove an object, durably, with the folders that it leaves empty; False when there was none."""
        target = self.path(key)
        with storage_errors(f"removing {key!r}"):
            with self._names:
                try:
                    target.unlink()
                except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                    return False
                kept = self._prune(target.parent)
            sync_directory(kept)
            return True

    def _accept_equal(self, key: str, *, same: bool) -> None:
        if not same:
            raise ObjectExistsError(key)
        # Whoever linked it may have died before its name was durable; this call promises that it is.
        with self._names:
            self._make_folders(key, self.path(key).parent)
        sync_directory(self.path(key).parent)

    def _make_folders(self, key: str, folder: Path) -> None:
        if folder in self._durable:
            return
        self._make_folders(key, folder.parent)
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise key_refused(key, "a part of it is an object itself") from None
        sync_directory(folder.parent)
        if len(self._durable) > REMEMBERED_FOLDERS:
            self._durable = {self.root}
        self._durable.add(folder)

    def _prune(self, folder: Path) -> Path:
        """Remove empty folders upwards; return the first that stays."""
        while folder != self.root:
            try:
                folder.rmdir()
            except OSError:
                return folder
            self._durable.discard(folder)
            folder = folder.parent
        return folder


def _write_durably(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
