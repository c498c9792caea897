"""Reads what the documents of jobs and machines say, strictly: what cannot be meant is named by its field. Pure.

A document may come from another version of AIMA, or from whoever can write into the store. One that says nonsense is
set aside with its reason; it must neither stop the look at all the others nor promise room that is not there.
"""

from collections.abc import Mapping
from typing import Any

from aima_common.contracts.media import MediumType, Priority
from aima_common.urgency import readable_time
from aima_scheduler.deciders.model import Gpu, Machine, Shape

MIB = 1 << 20

MOST_CPUS = 100_000
MOST_BYTES = 1 << 50
MOST_GPUS = 1024
"""What one machine has at most, or one job wants: some ten times more than the largest computers that are one machine
(about 10,000 threads, 64 TiB, some dozens of GPUs). Beyond it a unit was mistaken, or a number made up."""

MOST_COST = 1_000_000
"""Per hour, in whatever currency."""

MOST_TIMES = 1_000_000
"""Nothing happens to one job more often."""

Body = Mapping[str, Any]


class NonsenseError(ValueError):
    """A field says what cannot be meant; the message names the field, what it says, and what it could say."""

    def __init__(self, field: str, said: object, could: str) -> None:
        super().__init__(f"{field} is {_shown(said)}, {could}")
        self.field = field


def machine(identity: str, body: Body, ahead: int) -> Machine:
    """Read a machine's document, with so many cores more than it has; raise `NonsenseError`.

    What it says to have free counts for nothing: what is free is what the jobs that run there leave of the whole.
    """
    gpus = body.get("gpus") or []
    if not isinstance(gpus, list) or len(gpus) > MOST_GPUS:
        raise NonsenseError("gpus", gpus, f"not a list of at most {MOST_GPUS} GPUs")
    cores = max(_number(body, "cpus", most=MOST_CPUS), 1.0) + ahead
    return Machine(
        identity,
        round(1000 * cores),
        _mib(_number(body, "memory_bytes", most=MOST_BYTES)),
        tuple(_gpu(one, f"gpus.{index}") for index, one in enumerate(gpus)),
        str(body.get("location", "local")),
        _number(body, "cost_per_hour", most=MOST_COST, absent=0.0),
    )


def _gpu(said: object, field: str) -> Gpu:
    if not isinstance(said, Mapping):
        raise NonsenseError(field, said, "not a GPU")
    memory = _number(said, "memory_bytes", field=f"{field}.memory_bytes", most=MOST_BYTES, absent=0.0)
    return Gpu(str(said.get("name", "")), _mib(memory))


def shape(body: Body, most_cpu_milli: int | None, locations: tuple[str, ...]) -> Shape:
    """Read what a job needs, of cores at most so many thousandths; raise `NonsenseError`."""
    needs = body.get("needs")
    if not isinstance(needs, Mapping):
        raise NonsenseError("needs", needs, "not a list of what the job needs")
    cpu = round(1000 * _need(needs, "cpus", most=MOST_CPUS, absent=1.0))
    gpus = _need(needs, "gpus", most=MOST_GPUS, absent=0.0)
    if gpus != int(gpus):
        raise NonsenseError("needs.gpus", gpus, "not a whole number")
    if (members := _need(needs, "members", most=MOST_CPUS, absent=1.0)) != 1:
        raise NonsenseError("needs.members", members, "but jobs of this kind start one by one")
    return Shape(
        cpu_milli=cpu if most_cpu_milli is None else min(cpu, most_cpu_milli),
        memory_mib=_mib(_need(needs, "memory_bytes", most=MOST_BYTES, absent=0.0)),
        gpu_count=int(gpus),
        gpu_memory_mib=_mib(_need(needs, "gpu_memory_bytes", most=MOST_BYTES, absent=0.0)),
        gpu_types=_types(needs.get("gpu_types") or ()),
        locations=locations,
    )


def priority(body: Body) -> Priority:
    """Read a job's class; raise `NonsenseError`."""
    try:
        return Priority(str(body.get("priority")))
    except ValueError as error:
        known = ", ".join(one.value for one in Priority)
        raise NonsenseError("priority", body.get("priority"), f"not one of {known}") from error


def seconds(body: Body, field: str) -> float | None:
    """Read a time, as seconds since the epoch; None where there is none; raise `NonsenseError`."""
    said = body.get(field)
    if said is None or said == "":
        return None
    time = readable_time(said)
    if time is None:
        raise NonsenseError(field, said, "not an ISO 8601 time with its offset")
    return time.timestamp()


def count(body: Body, field: str) -> int:
    """Read how often something happened; raise `NonsenseError`. What is not there never happened."""
    return int(_number(body, field, most=MOST_TIMES, absent=0.0))


def check_addressee(body: Body) -> None:
    """Check that a job says to whom its hint goes: its medium and its lane; raise `NonsenseError`."""
    medium, lane = body.get("medium"), body.get("lane")
    if not isinstance(medium, str) or not medium:
        raise NonsenseError("medium", medium, "not the name of a medium")
    if lane not in {one.value for one in MediumType}:
        raise NonsenseError("lane", lane, f"not one of {', '.join(one.value for one in MediumType)}")


def _types(said: object) -> tuple[str, ...]:
    if not isinstance(said, list | tuple) or not all(isinstance(one, str) for one in said):
        raise NonsenseError("needs.gpu_types", said, "not a list of names")
    return tuple(said)


def _need(needs: Body, name: str, *, most: float, absent: float) -> float:
    return _number(needs, name, field=f"needs.{name}", most=most, absent=absent)


def _number(body: Body, name: str, *, most: float, field: str = "", absent: float | None = None) -> float:
    """Read a number from 0 to `most`; `absent` stands for one that is not there."""
    said = body.get(name, absent)
    if isinstance(said, bool) or not isinstance(said, int | float):
        raise NonsenseError(field or name, said, "not a number")
    if not 0 <= said <= most:
        raise NonsenseError(field or name, said, f"not from 0 to {most:,}")
    return said


def _mib(size_bytes: float) -> int:
    return -(-int(size_bytes) // MIB)


def _shown(said: object) -> str:
    """Show what a document says, but not all of it where it is long."""
    text = repr(said)
    return text if len(text) <= 100 else f"{text[:100]}…"


def input_bytes(body: Body) -> int:
    """Read how large a job's input is; nothing where it does not say, as that only guides where the job goes."""
    said = body.get("input")
    size = said.get("size_bytes") if isinstance(said, Mapping) else None
    return size if isinstance(size, int) and not isinstance(size, bool) and 0 <= size <= MOST_BYTES else 0
