"""What the deciders reason about: shapes, jobs, machines, and where a job goes.

Cores are counted in thousandths (a share of a core is possible), memory in MiB, shares of a GPU in thousandths;
whole numbers, so that what was taken and given back sums up to nothing. Times are seconds since the epoch,
durations seconds, both as floats: the caller owns the clock.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from aima_common.contracts.media import Priority

WHOLE_GPU = 1000
"""A GPU that is nobody else's, in thousandths."""


UNKNOWN_SECONDS = 3600.0
"""How long a job is taken to run of which nothing is known."""


class Mode(StrEnum):
    """Whose rule holds where the founding document's is faulty (spec 4)."""

    SEED = "seed"
    CORRECTED = "corrected"


@dataclass(frozen=True, slots=True)
class Shape:
    """What a job needs. Jobs of one shape fit the same machines, so that one question answers for all of them."""

    cpu_milli: int
    memory_mib: int
    gpu_count: int = 0
    """GPUs of one machine; each must be of the type, have the memory free and the share free."""
    gpu_milli: int = WHOLE_GPU
    """Share of each of them; less than a whole only with a single GPU."""
    gpu_memory_mib: int = 0
    gpu_types: tuple[str, ...] = ()
    """Types of GPU that will do; empty: any."""
    locations: tuple[str, ...] = ()
    """Where it may run, such as for what is confidential; empty: anywhere."""
    members: int = 1
    """How many of these must start together (a gang), each on a machine of its own choice."""


@dataclass(frozen=True, slots=True)
class Job:
    """One job, as it waits."""

    id: str
    tenant: str
    priority: Priority
    shape: Shape
    queued_at: float
    deadline: float | None = None
    estimate: float | None = None
    """How long it is expected to run; None: nothing is known."""
    longest: float | None = None
    """How long it may run at most, or does nine times out of ten; reservations rely on it."""
    checkpointable: bool = False
    """Whether it may be stopped and taken up again; what it did since its last checkpoint, or its start, is lost."""
    preempted: int = 0
    """How often it gave way to a more urgent job."""
    data_location: str | None = None
    """Where its input lies."""
    data_bytes: int = 0


def expected_seconds(job: Job) -> float:
    """Tell how long a job is taken to run: what it runs at most, else what is expected, else an hour."""
    if job.longest is not None:
        return job.longest
    return job.estimate if job.estimate is not None else UNKNOWN_SECONDS


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU of a machine."""

    type: str
    memory_mib: int


@dataclass(frozen=True, slots=True)
class Machine:
    """The whole capacity of a machine."""

    id: str
    cpu_milli: int
    memory_mib: int
    gpus: tuple[Gpu, ...] = ()
    location: str = "local"
    cost_per_hour: float = 0.0


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of one member of a job: a machine, and which of its GPUs."""

    machine: str
    gpus: tuple[int, ...] = ()


class Placement(NamedTuple):
    """Where a job goes, with a slot for each of its members; a tuple, as one is made for every job that starts."""

    job: str
    slots: tuple[Slot, ...]


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Why a shape does not fit: the dimension that is missing, and the machine that comes nearest."""

    dimension: str
    """cpu, memory, gpu, gpu_type, gpu_memory, location or members."""
    wanted: str
    """In words, with units, such as "24576 MiB of GPU memory"."""
    nearest: str | None
    """The machine that lacks least, or None where there is none at all."""
    available: str
    """What that machine has of the dimension, in the same words."""
