"""An inference process: takes one job at a time from a socket, runs an analyzer, answers.

Started by `aima_analysis.inference_pool`, never by hand: `python -m aima_analysis.inference --socket-fd N`.
It ends when the other end of the socket closes, and is killed by the kernel when its parent dies.
"""

import argparse
import ctypes
import importlib
import os
import resource
import select
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from aima_analysis.analyzers.analyzer import Analyzer
from aima_analysis.analyzers.enrichment import embed_text
from aima_analysis.inference_models import LoadedModels
from aima_analysis.inference_protocol import Message, receive, send
from aima_analysis.parts import part_of
from aima_common.contracts.media import MediumType, Segment
from aima_common.errors import PermanentError, TransientError
from aima_models.store import ModelStore

PR_SET_PDEATHSIG = 1
OUT_OF_MEMORY_WORDS = ("bad_alloc", "bad allocation", "failed to allocate", "insufficient memory", "out of memory")
"""How native libraries say it; they have no common error for it."""


class Worker:
    """Runs jobs with the analyzers of a registry; instances and models are kept between jobs."""

    def __init__(self, analyzers: Mapping[str, type[Analyzer]], models: LoadedModels) -> None:
        self._analyzers = analyzers
        self._models = models
        self._made: dict[str, Analyzer] = {}

    def answer(self, request: Message) -> dict[str, Any]:
        """Do what is asked; faults become structured errors, they do not end the process."""
        try:
            return {"id": request.header["id"], **self._do(request)}
        except Exception as error:  # noqa: BLE001 - the boundary of the process: whatever an analyzer raises is an answer
            return {"id": request.header.get("id"), "error": described(error)}

    def unload(self) -> None:
        """Drop models and analyzers."""
        self._made.clear()
        self._models.unload()

    def _do(self, request: Message) -> dict[str, Any]:
        header = request.header
        if header["operation"] == "embed_text":
            return {"vector": embed_text(header["text"], self._models)}
        analyzer = self._analyzer(header["analyzer"])
        segment = None if header["segment"] is None else Segment.model_validate(header["segment"])
        part = part_of(analyzer.manifest.input, MediumType(header["type"]), segment, request.blobs)
        return {"analysis": analyzer.analyse(part).model_dump(mode="json")}

    def _analyzer(self, name: str) -> Analyzer:
        if name not in self._analyzers:
            raise PermanentError(f"there is no analyzer {name!r}", code="analyzer_unknown")
        if name not in self._made:
            self._made[name] = self._analyzers[name](self._models)
        return self._made[name]


def described(error: Exception) -> dict[str, Any]:
    """Turn a fault into what the parent is told: code, reason, remedy, and whether trying again may help."""
    reason = f"{type(error).__name__}: {error}"
    if isinstance(error, MemoryError) or any(word in str(error).lower() for word in OUT_OF_MEMORY_WORDS):
        return {"code": "out_of_memory", "reason": reason, "transient": True, "remedy": ""}
    if isinstance(error, PermanentError):
        return {"code": error.code, "reason": str(error), "transient": False, "remedy": error.remedy}
    if isinstance(error, TransientError):
        return {"code": error.code, "reason": str(error), "transient": True, "remedy": ""}
    return {"code": "unknown", "reason": reason, "transient": True, "remedy": ""}


def serve(connection: socket.socket, worker: Worker, idle_seconds: float) -> None:
    """Answer requests until the other side closes; drop the models after so much silence."""
    while True:
        ready, _, _ = select.select([connection], [], [], idle_seconds)
        if not ready:
            worker.unload()
            select.select([connection], [], [])
        request = receive(connection)
        if request is None:
            return
        send(connection, Message(worker.answer(request)))


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent dies; end now if that has happened already."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        sys.exit(1)


def main(arguments: Sequence[str] | None = None) -> None:
    """Settle in (die with the parent, priority, memory), then serve."""
    parser = argparse.ArgumentParser(prog="aima_analysis.inference", description=__doc__)
    parser.add_argument("--socket-fd", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True, help="process id of the parent")
    parser.add_argument("--nice", type=int, default=0, help="how much to yield to others")
    parser.add_argument("--memory-bytes", type=int, required=True, help="most data memory, in bytes")
    parser.add_argument("--idle-seconds", type=float, required=True, help="silence after which models are dropped")
    parser.add_argument("--registry", required=True, help="module with the mapping ANALYZERS")
    options = parser.parse_args(arguments)
    die_with_parent(options.parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides when work ends
    os.dup2(2, 1)
    os.nice(options.nice)
    resource.setrlimit(resource.RLIMIT_DATA, (options.memory_bytes, options.memory_bytes))
    analyzers = importlib.import_module(options.registry).ANALYZERS
    with socket.socket(fileno=options.socket_fd) as connection:
        serve(connection, Worker(analyzers, LoadedModels(ModelStore())), options.idle_seconds)


if __name__ == "__main__":
    main()
