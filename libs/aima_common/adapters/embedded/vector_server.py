"""A vector process that serves many: `python -m … --folder DIR --socket PATH`.

Each connection has a thread; the engine does one thing at a time for all of them. The folder is this process's alone.
"""

import argparse
import contextlib
import os
import signal
import socket
import sys
import threading
from pathlib import Path

from aima_common.adapters.embedded.vector_process import Spaces, serve

BACKLOG = 64


def main(arguments: list[str] | None = None) -> None:
    """Serve the folder until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where the vectors lie")
    parser.add_argument("--socket", type=Path, required=True, help="where to listen; its folder should be private")
    options = parser.parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    listen(options.folder, options.socket)


def listen(folder: Path, path: Path) -> None:
    """Answer everybody who connects; ends with the process."""
    spaces, turn = Spaces(folder), threading.Lock()
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
            with turn:
                spaces.close()


def _answer(connection: socket.socket, spaces: Spaces, turn: threading.Lock) -> None:
    with connection, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        try:
            serve(connection, spaces, turn)
        except SystemExit:
            # The engine failed: what it holds in memory is unknown. Whoever supervises this process starts it anew.
            os._exit(1)


if __name__ == "__main__":
    main()
