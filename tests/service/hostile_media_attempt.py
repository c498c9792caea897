"""Opens a file the careless way, the listed way, or carelessly inside the box; says whether it opened.

Run in a process of its own, because the careless way is what an attacker hopes for.
"""

import io
import os
import sys
import tempfile
from pathlib import Path

import av

from aima_preprocessing import sandbox, sniff, system_calls
from aima_preprocessing.decoding.source import NamelessFile, open_container
from aima_preprocessing.decoding.warm_up import warm_up

SECONDS = 2


class NamedFile(io.BytesIO):
    """A file object with a name, which FFmpeg takes hints from."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name


def careless(content: bytes, name: str) -> None:
    file = NamedFile(content, name) if name else io.BytesIO(content)
    with av.open(file, "r", timeout=SECONDS) as container:
        next(container.demux())


def listed(content: bytes) -> None:
    """Open with every demuxer that AIMA knows, one after the other, without its sniffing in front."""
    kinds = {kind.opener: kind for kind in vars(sniff).values() if isinstance(kind, sniff.Kind)}
    for kind in kinds.values():
        if kind.family == "stream":
            with tempfile.TemporaryFile() as file:
                file.write(content)
                file.flush()
                try:
                    with open_container(NamelessFile(file.fileno()), kind) as container:
                        packet = next(container.demux(), None)
                except Exception:  # noqa: BLE001 - the next demuxer is tried
                    continue
                if packet is not None and packet.size:
                    return
    raise SystemExit(1)


def main() -> None:
    way, path, name = sys.argv[1:4]
    content = Path(path).read_bytes()
    os.write(1, b"ready\n")
    if way == "listed":
        listed(content)
    elif way == "boxed":
        warm_up()
        assert system_calls.find_library()
        sandbox.enter(memory_bytes=2 * 1024**3, cpu_seconds=20)
        careless(content, name)
    else:
        careless(content, name)


if __name__ == "__main__":
    try:
        main()
    except Exception as error:  # noqa: BLE001 - told to the test
        os.write(1, f"refused: {type(error).__name__}\n".encode())
        sys.exit(1)
