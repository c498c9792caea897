"""Reading and writing model files so that a name never stands for half a file."""

import hashlib
import os
import tempfile
from pathlib import Path


def sha256_of(path: Path) -> str:
    """Hash the file's content; lower-case hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def holds(path: Path, *, sha256: str, size_bytes: int) -> bool:
    """Tell whether exactly this content lies at the path."""
    try:
        if path.stat().st_size != size_bytes:
            return False
        return sha256_of(path) == sha256
    except OSError:
        return False


def write_atomically(path: Path, content: bytes) -> None:
    """Make the file appear whole and durable, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".partial-")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
