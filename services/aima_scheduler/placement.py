"""Where a job fits, and why not elsewhere. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Needs:
    """What a job needs: cores, bytes of memory, GPUs."""

    cpus: float = 1.0
    memory_bytes: int = 0
    gpus: int = 0


@dataclass(frozen=True)
class Machine:
    """A machine's whole capacity."""

    id: str
    cpus: float
    memory_bytes: int
    gpus: int = 0


@dataclass
class Room:
    """A machine and what is taken of it; the placement of one pass writes into it."""

    machine: Machine
    taken: Needs = field(default_factory=lambda: Needs(cpus=0.0))

    def take(self, needs: Needs) -> None:
        """Count a job in; it cannot keep more cores busy than there are."""
        taken = self.taken
        cpus = taken.cpus + min(needs.cpus, self.machine.cpus)
        self.taken = Needs(cpus, taken.memory_bytes + needs.memory_bytes, taken.gpus + needs.gpus)


QUEUE_AHEAD = 2
"""Jobs per machine that may be placed beyond its cores, so that a finishing worker finds the next at once."""


def ever_fits(needs: Needs, machines: Sequence[Machine]) -> str | None:
    """Tell why no machine could ever run this, or None when one could.

    CPU is soft: a laptop never refuses a film (model.md, "States"). Memory and GPUs are not.
    """
    if any(m.memory_bytes >= needs.memory_bytes and m.gpus >= needs.gpus for m in machines):
        return None
    largest = max((m.memory_bytes for m in machines), default=0)
    gpus = max((m.gpus for m in machines), default=0)
    return (
        f"it needs {needs.memory_bytes >> 20} MiB of memory and {needs.gpus} GPUs; "
        f"the largest machine here has {largest >> 20} MiB and {gpus}"
    )


def place(needs: Needs, rooms: Sequence[Room], *, interactive: bool) -> Room | None:
    """Choose the machine for a job, or None while all are full; the fullest that still fits comes first.

    Interactive work may exceed the cores by one job: it does not wait behind what runs for minutes.
    """
    fitting = [room for room in rooms if _fits(needs, room, interactive=interactive)]
    # Work without a GPU stays off GPU machines while others fit (spec 4.1).
    return min(
        fitting,
        key=lambda r: (needs.gpus == 0 and r.machine.gpus > 0, r.machine.cpus - r.taken.cpus, r.machine.id),
        default=None,
    )


def _fits(needs: Needs, room: Room, *, interactive: bool) -> bool:
    machine, taken = room.machine, room.taken
    if machine.gpus - taken.gpus < needs.gpus:
        return False
    cores = max(machine.cpus, 1.0) + QUEUE_AHEAD + (1 if interactive else 0)
    # The queue ahead holds no memory yet; what runs at once is bounded by the workers' slots.
    return taken.cpus + min(needs.cpus, machine.cpus) <= cores and machine.memory_bytes >= needs.memory_bytes
