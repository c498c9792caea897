"""The life of the forked process that decodes one medium: lock itself in, decode, tell, end."""

import os
from dataclasses import dataclass

from aima_preprocessing import limits as bounds
from aima_preprocessing import processes, sandbox, sniff
from aima_preprocessing.decoding.content import label_of
from aima_preprocessing.decoding.medium import DecodePlan, decode_medium
from aima_preprocessing.decoding.source import NamelessFile
from aima_preprocessing.events import pack, pack_refusal
from aima_preprocessing.refusals import LimitExceededError, MediumRefusedError

_DONE = 0
_LISTENER_GONE = 3


@dataclass(frozen=True)
class Assignment:
    """What a child is forked for."""

    source: int
    """Descriptor of the medium."""
    answer: int
    """Descriptor of the pipe that takes the events."""
    plan: DecodePlan
    unsandboxed: bool
    nice: int = 0
    """How much this process yields to others."""


def live(assignment: Assignment, parent: int) -> int:
    """Decode the medium and give the exit status. The process is good for nothing else afterwards."""
    processes.die_with_parent(parent)
    os.nice(assignment.nice)
    processes.volunteer_for_memory_shortage()
    processes.forbid_inspection()
    source, answer = processes.keep_only(assignment.source, assignment.answer)
    try:
        return _decode(source, answer, assignment)
    except MediumRefusedError as refusal:
        return _write(answer, pack_refusal(refusal))
    except MemoryError:
        return _write(answer, pack_refusal(_too_much_memory(assignment.plan.limits)))
    except BrokenPipeError:
        return _LISTENER_GONE
    except Exception as error:  # noqa: BLE001 - whatever a file provokes is that file's refusal
        return _write(answer, pack_refusal(_fault(error)))


def _decode(source: int, answer: int, assignment: Assignment) -> int:
    plan = assignment.plan
    file = NamelessFile(source)
    bounds.check_upload_size(plan.limits, file.size_bytes)
    # Comparing a few bytes in Python needs no box; everything that parses comes after it is closed.
    kind = sniff.sniff(file.read_at(sniff.HEAD_BYTES, 0), file.size_bytes) or sniff.kind_of_label(*label_of(file))
    starting = bounds.starting_allowance(plan.limits).cpu_seconds
    try:
        sandbox.enter(memory_bytes=plan.limits.memory_bytes, cpu_seconds=starting, forgive=assignment.unsandboxed)
    except OSError:
        return sandbox.STATUS_NOT_LOCKED_IN

    def grant(media_seconds: float, pixels_per_second: float) -> None:
        processes.grant_cpu(bounds.allowance(plan.limits, media_seconds, pixels_per_second).cpu_seconds)

    for event in decode_medium(file, kind, plan, grant):
        _write(answer, pack(event))
    return _DONE


def _write(answer: int, buffers: list[bytes]) -> int:
    """Write buffers whole; blocks while the listener does not read, and so paces the decoding."""
    for buffer in buffers:
        rest = memoryview(buffer)
        while rest:
            rest = rest[os.write(answer, rest) :]
    return _DONE


def _fault(error: Exception) -> MediumRefusedError:
    return MediumRefusedError(
        "decoder_failed",
        f"decoding stopped with an error that is not foreseen ({type(error).__name__}: {error})",
        "Convert the file to MP4 (H.264 and AAC), JPEG or FLAC and send it again, and report this message.",
    )


def _too_much_memory(limits: bounds.Limits) -> MediumRefusedError:
    return LimitExceededError(
        "memory_bytes", f"decoding the medium takes more than {limits.memory_bytes / 1024**3:.1f} GiB of memory"
    )
