"""What a server is made of: fetched once, checked against a pinned hash, kept in the user's cache folder."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

Report = Callable[[str], None]
"""Receives one line of progress at a time."""


class MeansMissingError(Exception):
    """This machine lacks something a server needs; the message says what, and what to do about it."""


def quiet(_line: str) -> None:
    """Report nothing."""


def cache_folder() -> Path:
    """Tell where fetched servers are kept: `$XDG_CACHE_HOME/aima/servers`, else below `~/.cache`."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "aima" / "servers"


def program(name: str, remedy: str) -> str:
    """Find a program on the path; raise `MeansMissingError` with the remedy when it is not there."""
    found = shutil.which(name)
    if found is None:
        raise MeansMissingError(f"{name} is not on this machine's path; {remedy}")
    return found


def kept(name: str, version: str, pin: str, build: Callable[[Path], None]) -> Path:
    """Return the folder of a server's files, building it first where it is not there yet.

    `pin` is the hash that the files must have; it is part of the folder's name, so a new pin never meets old
    files. A folder appears whole or not at all, and two processes that want the same one build it once.
    """
    folder = cache_folder() / f"{name}-{version}-{pin[:12]}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.is_dir():
            return folder
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as workshop:
            made = Path(workshop) / "made"
            made.mkdir()
            build(made)
            made.rename(folder)
    return folder


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> str:
    """Run a fetching command to its end; return what it said, or raise `MeansMissingError` with the end of that."""
    added = {**os.environ, **(environment or {})}
    done = subprocess.run(command, cwd=folder, env=added, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stdout + done.stderr)[-1500:]
        raise MeansMissingError(f"{command[0]} could not fetch what is needed (exit status {done.returncode}):\n{said}")
    return done.stdout


def digest_of(files: Iterable[Path]) -> str:
    """Hash files by name and content: the SHA-256 of their sorted `sha256sum` lines."""
    lines = sorted((path.name, hashlib.sha256(path.read_bytes()).hexdigest()) for path in files)
    return hashlib.sha256("".join(f"{digest}  {name}\n" for name, digest in lines).encode()).hexdigest()
