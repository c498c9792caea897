"""A vector process that serves many: `python -m … --folder DIR --socket PATH`.

Each connection has a thread; the engine does one thing at a time for all of them. The folder is this process's alone,
and so is the socket: it lies in a folder that nobody but its owner may enter.
"""

import argparse
import contextlib
import os
import signal
import socket
import stat
import sys
import threading
from pathlib import Path

from aima_common.adapters.embedded.vector_process import Spaces, serve

BACKLOG = 64
LONGEST_PATH = 107
"""Bytes that the kernel keeps of a socket's path."""


def main(arguments: list[str] | None = None) -> None:
    """Serve the folder until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where the vectors lie")
    parser.add_argument("--socket", type=Path, required=True, help="where to listen, in a folder of mode 0700")
    options = parser.parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    if refusal := complaint(options.socket):
        parser.error(refusal)
    listen(options.folder, options.socket)


def listen(folder: Path, path: Path) -> None:
    """Answer everybody who connects; ends with the process."""
    spaces, turn = Spaces(folder), threading.Lock()
    # Nobody serves it (see `complaint`): it was left behind by a process that was killed.
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        # Before anybody can connect: only the owner of this process may.
        before = os.umask(0o177)
        listener.bind(str(path))
        os.umask(before)
        listener.listen(BACKLOG)
        try:
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=_answer, args=(connection, spaces, turn), daemon=True).start()
        finally:
            path.unlink(missing_ok=True)
            # Never given back: what comes now finds no engine any more.
            turn.acquire()
            spaces.close()


def complaint(path: Path) -> str:
    """Tell why this socket cannot be served; the empty text when it can."""
    if len(os.fsencode(path)) > LONGEST_PATH:
        return f"--socket is {path}, and a socket's path has at most {LONGEST_PATH} bytes: take a shorter one"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = path.parent.stat()
    if folder.st_uid != os.geteuid() or stat.S_IMODE(folder.st_mode) & 0o077:
        return (
            f"--socket lies in {path.parent}, which others may enter: whoever reaches it reads every tenant's vectors; "
            f"take a folder that only its owner may enter (chmod 700)"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        if probe.connect_ex(str(path)) == 0:
            return f"somebody serves {path} already: stop that process, or name another socket"
    return ""


def _answer(connection: socket.socket, spaces: Spaces, turn: threading.Lock) -> None:
    with connection, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        try:
            serve(connection, spaces, turn)
        except SystemExit:
            # The engine failed: what it holds in memory is unknown. Whoever supervises this process starts it anew.
            os._exit(1)


if __name__ == "__main__":
    main()
