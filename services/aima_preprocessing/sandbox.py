"""The box that untrusted media are decoded in, layer by layer, and the proof that each layer holds.

A layer that cannot be put up is reported, never skipped in silence. The proof is made by trying: a
forked process puts the layers up and attempts what they forbid, after the same attempts have
succeeded outside.
"""

import mmap
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass

from aima_preprocessing import landlock, processes, system_calls

EMPTY_DIRECTORY = "empty_directory"
RESOURCE_LIMITS = "resource_limits"
NO_NEW_PRIVILEGES = "no_new_privileges"
CAPABILITIES = "capabilities"
LANDLOCK = "landlock"
SYSTEM_CALLS = "seccomp"
PATCHED_DECODER = "patched_decoder"

STATUS_NOT_LOCKED_IN = 4
"""Exit status of a process that ended because a layer could not be put up."""


@dataclass(frozen=True)
class Layer:
    """One layer of the box on this machine."""

    name: str
    active: bool
    detail: str = ""


def missing(layers: tuple[Layer, ...]) -> str:
    """Name the layers that are not there, with the reason; empty when all are."""
    return ", ".join(f"{layer.name} ({layer.detail})" for layer in layers if not layer.active)


def enter(*, memory_bytes: int, cpu_seconds: float, forgive: bool = False) -> None:
    """Lock this process in, for good. Raises `OSError` when a layer cannot be put up.

    `system_calls.find_library` must have been called before: the box is too tight to look for it.

    With `forgive`, for operators who accepted it, layers that this machine lacks are left out.
    """
    for name, put_up in _steps(memory_bytes, cpu_seconds):
        fault = _fault(put_up)
        if fault and not forgive:
            raise OSError(f"sandbox layer {name}: {fault}")


def try_layers() -> tuple[Layer, ...]:
    """Put the layers up in a process of its own, attempt what they forbid, and tell what held."""
    system_calls.find_library()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            # As in a decoder: what the parent holds open must not use up the few descriptors that are allowed.
            (report,) = processes.keep_only(writing)
            os.write(report, "\n".join(f"{name}\t{fault}" for name, fault in _try_each()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        lines = told.read().decode().splitlines()
    os.waitpid(child, 0)
    faults = {name: fault for name, _, fault in (line.partition("\t") for line in lines)}
    names = [name for name, _ in _steps(_TRIAL_MEMORY_BYTES, 0)]
    detail = {name: faults.get(name, "the process that tried it died") for name in names}
    return tuple(Layer(name, active=not detail[name], detail=detail[name]) for name in names)


_Step = Callable[[], None]
_TRIAL_MEMORY_BYTES = 1024**3


def _steps(memory_bytes: int, cpu_seconds: float) -> list[tuple[str, _Step]]:
    # Seccomp last: it forbids what the other layers need to be put up.
    return [
        (RESOURCE_LIMITS, lambda: processes.limit_resources(memory_bytes, cpu_seconds)),
        (CAPABILITIES, processes.drop_capabilities),
        (NO_NEW_PRIVILEGES, landlock.forbid_new_privileges),
        (LANDLOCK, landlock.give_up_files),
        (SYSTEM_CALLS, system_calls.allow_only_decoding),
    ]


def _fault(put_up: _Step) -> str:
    """Put a layer up; tell why not, or nothing."""
    try:
        put_up()
    except (OSError, RuntimeError, ValueError, ImportError) as error:
        return str(error) or type(error).__name__
    return ""


def _try_each() -> list[tuple[str, str]]:
    """Run in the trial process: name each layer with what is wrong with it, if anything."""
    outside = {name for name, attempts in _FORBIDDEN.items() if all(attempt() for attempt in attempts)}
    outcome = []
    for name, put_up in _steps(_TRIAL_MEMORY_BYTES, cpu_seconds=30):
        fault = _fault(put_up)
        if not fault and name in _FORBIDDEN:
            if name not in outside:
                fault = "what it forbids fails without it too, so it proves nothing"
            elif any(attempt() for attempt in _FORBIDDEN[name]):
                fault = "it does not hold"
        outcome.append((name, fault))
    return outcome


def _allocate() -> bool:
    try:
        mmap.mmap(-1, _TRIAL_MEMORY_BYTES + 1).close()
    except (OSError, MemoryError):
        return False
    return True


def _open_a_file() -> bool:
    try:
        os.close(os.open(sys.executable, os.O_RDONLY))
    except OSError:
        return False
    return True


def _make_a_socket() -> bool:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()
    except OSError:
        return False
    return True


def _start_a_process() -> bool:
    try:
        child = os.fork()
    except OSError:
        return False
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return True


_FORBIDDEN: dict[str, tuple[Callable[[], bool], ...]] = {
    RESOURCE_LIMITS: (_allocate,),
    LANDLOCK: (_open_a_file,),
    SYSTEM_CALLS: (_make_a_socket, _start_a_process),
}
"""Attempts that succeed outside and fail once the layer is up; each is made before and after."""
