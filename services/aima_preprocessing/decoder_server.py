"""The process that decoding children are forked from: libraries loaded, single-threaded, near idle.

Started by `DecoderClient` with one end of a socket pair; takes assignments with their descriptors,
forks a child for each, and reports how each child ended. Ends with its parent, and takes all
children with it.
"""

import argparse
import contextlib
import gc
import os
import selectors
import signal
import socket
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from aima_preprocessing import processes, sandbox, system_calls
from aima_preprocessing.decoder_child import Assignment, live
from aima_preprocessing.decoding.medium import DecodePlan
from aima_preprocessing.limits import Limits
from aima_preprocessing.sandbox import Layer
from aima_preprocessing.segmentation import SegmentPlan

MOST_MESSAGE_BYTES = 64 * 1024
_DESCRIPTORS_PER_ASSIGNMENT = 2

PATCHED_SINCE = (8, 1, 2)
"""FFmpeg 8.1.2 closes CVE-2026-8461, a heap write in a decoder; PyAV's wheel carries its own copy."""


@dataclass
class _Child:
    number: int
    process: int
    watch: int
    """Descriptor that becomes readable when the process ends."""


class Server:
    """Forks, watches, reports. One instance per process."""

    def __init__(self, control: socket.socket, *, unsandboxed: bool) -> None:
        self._control = control
        self._unsandboxed = unsandboxed
        self._children: dict[int, _Child] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)

    def run(self) -> None:
        """Serve until the other end of the control socket is gone."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is not self._control:
                    self._bury(key.data)
                elif not self._serve():
                    self._kill_all()
                    return

    def _serve(self) -> bool:
        """Take one message; False when the other end is gone."""
        message, descriptors, _, _ = socket.recv_fds(self._control, MOST_MESSAGE_BYTES, _DESCRIPTORS_PER_ASSIGNMENT)
        if not message:
            return False
        request = orjson.loads(message)
        if request["request"] == "decode" and len(descriptors) == _DESCRIPTORS_PER_ASSIGNMENT:
            self._start(request, *descriptors)
        elif request["request"] == "kill":
            child = self._children.get(request["number"])
            if child is not None:
                _kill(child)
        for descriptor in descriptors:
            os.close(descriptor)
        return True

    def _start(self, request: dict[str, Any], source: int, answer: int) -> None:
        plan = DecodePlan(
            Limits.from_dict(request["limits"]),
            SegmentPlan(**request["segments"]),
            start_segment=request["start_segment"],
            threads=request["threads"],
        )
        assignment = Assignment(source, answer, plan, self._unsandboxed, request["nice"])
        parent = os.getpid()
        process = os.fork()
        if process == 0:
            status = 1
            try:
                status = live(assignment, parent)
            finally:
                os._exit(status)
        child = _Child(request["number"], process, os.pidfd_open(process))
        self._children[child.number] = child
        self._selector.register(child.watch, selectors.EVENT_READ, child)

    def _bury(self, child: _Child) -> None:
        self._selector.unregister(child.watch)
        os.close(child.watch)
        del self._children[child.number]
        _, status, usage = os.wait4(child.process, 0)
        ended = {
            "report": "ended",
            "number": child.number,
            "exit_status": os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
            "signal": os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
            "cpu_seconds": usage.ru_utime + usage.ru_stime,
            "peak_memory_bytes": usage.ru_maxrss * 1024,
        }
        self.tell(ended)

    def tell(self, report: dict[str, Any]) -> None:
        """Send a report; when nobody listens any more, the next read will say so."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._control.send(orjson.dumps(report))

    def _kill_all(self) -> None:
        for child in self._children.values():
            _kill(child)


def _kill(child: _Child) -> None:
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(child.watch, signal.SIGKILL)


def inspect_layers() -> tuple[Layer, ...]:
    """Tell which layers of the box this process could put up for its children."""
    layers = sandbox.try_layers()
    try:
        processes.enter_empty_directory()
        empty = Layer(sandbox.EMPTY_DIRECTORY, active=True)
    except OSError as error:
        empty = Layer(sandbox.EMPTY_DIRECTORY, active=False, detail=str(error))
    return (*layers, empty, _decoder_layer())


def _decoder_layer() -> Layer:
    import av

    version = str(av.ffmpeg_version_info)
    numbers = tuple(int(part) for part in version.lstrip("n").split("-")[0].split(".") if part.isdigit())
    patched = numbers >= PATCHED_SINCE
    wanted = ".".join(map(str, PATCHED_SINCE))
    detail = f"FFmpeg {version}" if patched else f"FFmpeg {version} is older than {wanted}; install a newer PyAV"
    return Layer(sandbox.PATCHED_DECODER, active=patched, detail=detail)


def main() -> None:
    arguments = _arguments()
    processes.die_with_parent(arguments.parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    control = socket.socket(fileno=arguments.control)
    server = Server(control, unsandboxed=arguments.unsandboxed)
    system_calls.find_library()
    from aima_preprocessing.decoding.warm_up import count_threads, warm_up

    warm_up()
    layers = inspect_layers()
    gc.collect()
    gc.freeze()
    if count_threads() != 1:
        raise SystemExit("the decoder server must not have threads: a fork would not copy them")
    server.tell({"report": "ready", "layers": [asdict(layer) for layer in layers]})
    server.run()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Decode media in locked-up child processes.")
    parser.add_argument("--control", type=int, required=True, help="descriptor of the control socket")
    parser.add_argument("--parent", type=int, required=True, help="process that this one must not outlive")
    parser.add_argument("--unsandboxed", action="store_true", help="go on without layers that this machine lacks")
    return parser.parse_args()


if __name__ == "__main__":
    main()
