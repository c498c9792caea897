"""What a file without a telling beginning is, by a small model over its first and last bytes (magika)."""

import io
import os
from collections.abc import Callable

from aima_preprocessing import processes, system_calls
from aima_preprocessing.decoding.source import NamelessFile

_MEMORY_BYTES = 2 * 1024**3
_CPU_SECONDS = 20
_MOST_ANSWER_BYTES = 4096
_END_BYTES = 64 * 1024


def label_of(file: NamelessFile) -> tuple[str, str]:
    """Give the model's label and a description for people; ("unknown", "") when it has no answer.

    The model runs in a process of its own that ends with the answer, because its run-time keeps
    threads, which the box of the decoder must not have when it is closed.
    """
    reading, writing = os.pipe()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _answer(lambda: processes.die_with_parent(parent), file, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read(_MOST_ANSWER_BYTES).decode(errors="replace")
    os.waitpid(child, 0)
    label, _, description = answer.partition("\t")
    return label or "unknown", description


def _answer(prepare: Callable[[], None], file: NamelessFile, writing: int) -> None:
    try:
        prepare()
        processes.limit_resources(_MEMORY_BYTES, _CPU_SECONDS, descriptors=64)
        from magika import Magika

        model = Magika()
        system_calls.allow_only_decoding()
        found = model.identify_bytes(_ends(file)).output
        os.write(writing, f"{found.label}\t{found.description}"[:_MOST_ANSWER_BYTES].encode())
    finally:
        os._exit(0)


def _ends(file: NamelessFile) -> bytes:
    """Give the beginning and the end of a file: all that the model looks at."""
    beginning = file.read_at(_END_BYTES, 0)
    behind = max(len(beginning), file.size_bytes - _END_BYTES)
    joined = io.BytesIO(beginning)
    joined.seek(0, os.SEEK_END)
    joined.write(file.read_at(_END_BYTES, behind))
    return joined.getvalue()
