"""What the operating system does for a child process: die with the parent, lose rights, be found dead."""

import ctypes
import os
import resource
import signal
import struct
import tempfile
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_CAPABILITY_VERSION = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends; end at once when that has happened already."""
    _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def forbid_inspection() -> None:
    """Keep other processes of the same user from looking into this one's memory."""
    _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def volunteer_for_memory_shortage() -> None:
    """Tell the kernel to end this process first when the machine runs out of memory."""
    try:
        with open("/proc/self/oom_score_adj", "w", encoding="ascii") as score:  # noqa: PTH123 - a kernel file
            score.write("1000")
    except OSError:
        return  # no such knob here; the memory limit still holds


def drop_capabilities() -> None:
    """Give up every capability of root; raise `OSError`. Harmless for other users."""
    header = struct.pack("=Ii", _CAPABILITY_VERSION, 0)
    nothing = bytes(24)
    if int(_libc.capset(header, nothing)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"capset: {os.strerror(number)}")


def used_cpu_seconds() -> float:
    """Tell how much processor time this process has used."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def grant_cpu(seconds: float) -> None:
    """Allow this process so much processor time from now on; beyond it the kernel ends it with SIGXCPU."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    until = int(used_cpu_seconds() + seconds) + 1
    if hard != resource.RLIM_INFINITY:
        until = min(until, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (until, hard))


def limit_resources(memory_bytes: int, cpu_seconds: float, descriptors: int = 16) -> None:
    """Bound memory, processor time, descriptors; forbid writing files and leaving a core."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    grant_cpu(cpu_seconds)


def keep_only(*descriptors: int) -> tuple[int, ...]:
    """Close everything but these descriptors, which move to 3, 4, …; input, output and errors lead nowhere."""
    parked = [os.dup(descriptor) for descriptor in descriptors]
    # Above all targets first, so that no move overwrites one that has still to be made.
    high = [_move_up(descriptor, 64 + place) for place, descriptor in enumerate(parked)]
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nowhere, standard)
    kept = tuple(range(3, 3 + len(high)))
    for source, target in zip(high, kept, strict=True):
        os.dup2(source, target)
    os.closerange(3 + len(high), os.sysconf("SC_OPEN_MAX") if os.sysconf("SC_OPEN_MAX") > 0 else 65536)
    return kept


def _move_up(descriptor: int, place: int) -> int:
    os.dup2(descriptor, place, inheritable=False)
    if descriptor != place:
        os.close(descriptor)
    return place


def enter_empty_directory() -> None:
    """Make the working directory one that holds nothing and can hold nothing: a directory already removed."""
    path = Path(tempfile.mkdtemp(prefix="aima-empty-"))
    os.chdir(path)
    path.rmdir()
