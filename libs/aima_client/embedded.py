"""An AIMA of our own, as a child process on a data folder."""

import contextlib
import ctypes
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from aima_client import state
from aima_client.errors import ClientError
from aima_client.state import Instance

READY_SECONDS = 90.0
"""A cold start on a busy disk; a warm one takes two to five seconds."""

STOP_SECONDS = 20.0
LOG_NAME = "aima.log"
LOG_TAIL_BYTES = 3000

_PR_SET_PDEATHSIG = 1


class StartError(ClientError):
    """AIMA did not come up."""


def default_data() -> Path:
    """Tell where AIMA keeps things unless told otherwise: `AIMA_DATA`, else the user's data folder (XDG)."""
    chosen = os.environ.get("AIMA_DATA")
    if chosen:
        return Path(chosen)
    home = os.environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path.home() / ".local" / "share") / "aima"


@contextlib.contextmanager
def started(data: Path, arguments: Sequence[str] = ()) -> Iterator[tuple[Instance, "subprocess.Popen[str]"]]:
    """Run AIMA on the folder `data` while in context; raise `StartError` with the reason when it does not come up.

    Call it before any thread is started: the child is told to end when the thread that started it does.
    """
    data.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "aima_embedded", "--data", str(data), *arguments]
    with (data / LOG_NAME).open("a", encoding="utf-8") as log:
        begin = log.tell()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            preexec_fn=_end_with_parent,  # noqa: PLW1509 - called before any thread is started, see above
        )
        try:
            yield _ready(process, data, begin), process
        finally:
            stop(process)


def stop(process: "subprocess.Popen[str]") -> None:
    """Let AIMA finish what it holds, and end it when it does not."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout:
        process.stdout.close()


def _ready(process: "subprocess.Popen[str]", data: Path, begin: int) -> Instance:
    deadline = time.monotonic() + READY_SECONDS
    if process.stdout is None:
        raise StartError("the output of AIMA is not captured")
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while time.monotonic() < deadline:
            if not selector.select(timeout=0.5):
                continue
            line = process.stdout.readline()
            if not line:
                raise _failed(process, data, begin)
            instance = _announced(line, process.pid)
            if instance is not None:
                return instance
    raise StartError(
        f"AIMA was not ready within {READY_SECONDS:.0f} seconds", remedy=f"See {data / LOG_NAME}, then try again."
    )


def _announced(line: str, pid: int) -> Instance | None:
    try:
        ready = json.loads(line)
    except ValueError:
        return None
    if not (isinstance(ready, dict) and ready.get("ready")):
        return None
    return next((instance for instance in state.running() if instance.pid == pid), None)


def _failed(process: "subprocess.Popen[str]", data: Path, begin: int) -> StartError:
    status = process.wait()
    with (data / LOG_NAME).open(encoding="utf-8", errors="replace") as log:
        log.seek(begin)
        said = log.read()[-LOG_TAIL_BYTES:].strip()
    reason = said.splitlines()[-1] if said else f"it ended with status {status}"
    return StartError(f"AIMA did not start: {reason}", remedy=f"The whole story is in {data / LOG_NAME}.")


def _end_with_parent() -> None:
    # SIGTERM, not SIGKILL: AIMA ends its own children in good order.
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
