"""The machines, and what is taken of them.

What is free is computed here and nowhere else: capacity less what was taken. Machines of one kind with the same free
resources are one *room*: whatever is asked of one of them has the same answer for all (Borg's equivalence classes).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from aima_scheduler.deciders.model import WHOLE_GPU, Gpu, Machine, Shape, Slot


class FreeGpu(NamedTuple):
    """What is free of one GPU."""

    type: str
    milli: int
    memory_mib: int


@dataclass(frozen=True, slots=True)
class Kind:
    """What machines have in common that are as good as each other while nothing runs on them."""

    cpu_milli: int
    memory_mib: int
    gpus: tuple[Gpu, ...]
    location: str
    cost_per_hour: float


@dataclass(frozen=True, slots=True)
class Room:
    """What is free on a machine, or on several that are the same; the GPUs are sorted, so that order does not tell."""

    kind: Kind
    cpu_milli: int
    memory_mib: int
    gpus: tuple[FreeGpu, ...]


class Fleet:
    """Machines by their id, each with what is free of it."""

    def __init__(self, machines: Iterable[Machine] = ()) -> None:
        self._machines: dict[str, Machine] = {}
        self._cpu: dict[str, int] = {}
        self._memory: dict[str, int] = {}
        self._gpus: dict[str, list[FreeGpu]] = {}
        self._seen: Counter[Shape] = Counter()
        for machine in machines:
            self.add(machine)

    def __len__(self) -> int:
        return len(self._machines)

    def __contains__(self, machine_id: str) -> bool:
        return machine_id in self._machines

    @property
    def machines(self) -> Sequence[Machine]:
        """All machines, in the order in which they came."""
        return tuple(self._machines.values())

    def machine(self, machine_id: str) -> Machine:
        """Give a machine; raise `KeyError` for one that is not here."""
        return self._machines[machine_id]

    def add(self, machine: Machine) -> None:
        """Take a machine in, all of it free; raise `ValueError` where it is here already or an amount is negative."""
        if machine.id in self._machines:
            raise ValueError(f"machine {machine.id} is here already; remove it before it comes back")
        if machine.cpu_milli < 0 or machine.memory_mib < 0 or any(gpu.memory_mib < 0 for gpu in machine.gpus):
            raise ValueError(f"machine {machine.id} has less than nothing of something")
        self._machines[machine.id] = machine
        self._cpu[machine.id] = machine.cpu_milli
        self._memory[machine.id] = machine.memory_mib
        self._gpus[machine.id] = [FreeGpu(gpu.type, WHOLE_GPU, gpu.memory_mib) for gpu in machine.gpus]

    def remove(self, machine_id: str) -> None:
        """Let a machine go, with all that is taken of it; raise `KeyError` for one that is not here."""
        del self._machines[machine_id], self._cpu[machine_id], self._memory[machine_id], self._gpus[machine_id]

    def free(self, machine_id: str) -> Room:
        """Tell what is free on a machine; raise `KeyError` for one that is not here."""
        machine = self._machines[machine_id]
        kind = Kind(machine.cpu_milli, machine.memory_mib, machine.gpus, machine.location, machine.cost_per_hour)
        gpus = tuple(sorted(self._gpus[machine_id]))
        return Room(kind, self._cpu[machine_id], self._memory[machine_id], gpus)

    def gpus(self, machine_id: str) -> Sequence[FreeGpu]:
        """Tell what is free of each GPU of a machine, by its number."""
        return tuple(self._gpus[machine_id])

    def take(self, shape: Shape, slots: Sequence[Slot]) -> None:
        """Count a job in, one slot for each member; on `ValueError` nothing has changed."""
        self._change(shape, slots, 1)

    def release(self, shape: Shape, slots: Sequence[Slot]) -> None:
        """Count a job out again; on `ValueError` nothing has changed."""
        self._change(shape, slots, -1)

    def saw(self, shape: Shape, jobs: int = 1) -> None:
        """Count a shape among those that arrive; fgd and our own scoring keep room for what is typical."""
        self._seen[shape] += jobs

    def copy(self) -> "Fleet":
        """Make another fleet of the same machines and takings, for what-if."""
        other = Fleet()
        other._machines, other._cpu, other._memory = dict(self._machines), dict(self._cpu), dict(self._memory)
        other._gpus = {machine_id: list(gpus) for machine_id, gpus in self._gpus.items()}
        other._seen = self._seen
        return other

    def _change(self, shape: Shape, slots: Sequence[Slot], sign: int) -> None:
        if len(slots) != shape.members:
            raise ValueError(f"{shape.members} members need as many slots, not {len(slots)}")
        done = 0
        try:
            for slot in slots:
                self._change_one(shape, slot, sign)
                done += 1
        except ValueError:
            for slot in slots[:done]:
                self._change_one(shape, slot, -sign)
            raise

    def _change_one(self, shape: Shape, slot: Slot, sign: int) -> None:
        machine = self._machines.get(slot.machine)
        if machine is None:
            raise ValueError(f"there is no machine {slot.machine}")
        cpu = self._cpu[machine.id] - sign * shape.cpu_milli
        memory = self._memory[machine.id] - sign * shape.memory_mib
        if not (0 <= cpu <= machine.cpu_milli and 0 <= memory <= machine.memory_mib):
            raise ValueError(f"machine {machine.id} would have {cpu} milli-CPU and {memory} MiB free")
        self._gpus[machine.id] = _changed_gpus(machine, self._gpus[machine.id], shape, slot.gpus, sign)
        self._cpu[machine.id], self._memory[machine.id] = cpu, memory


def _changed_gpus(
    machine: Machine, gpus: list[FreeGpu], shape: Shape, numbers: Sequence[int], sign: int
) -> list[FreeGpu]:
    if len(numbers) != shape.gpu_count or len(set(numbers)) != len(numbers):
        raise ValueError(f"{shape.gpu_count} GPUs are asked for, not the numbers {list(numbers)}")
    changed = list(gpus)
    for number in numbers:
        if not 0 <= number < len(gpus):
            raise ValueError(f"machine {machine.id} has no GPU {number}")
        free = gpus[number]
        milli, memory = free.milli - sign * shape.gpu_milli, free.memory_mib - sign * shape.gpu_memory_mib
        if not (0 <= milli <= WHOLE_GPU and 0 <= memory <= machine.gpus[number].memory_mib):
            raise ValueError(f"GPU {number} of machine {machine.id} would have {milli} milli and {memory} MiB free")
        changed[number] = FreeGpu(free.type, milli, memory)
    return changed
