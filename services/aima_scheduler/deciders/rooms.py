"""What is free on a machine, as a value: machines with equal values are one *room*.

Whatever is asked of one machine of a room has the same answer for all of them (Borg's equivalence classes), so that
answers are kept by the room and not by the machine.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aima_scheduler.deciders.model import WHOLE_GPU, Gpu, Machine, Shape


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


@dataclass(slots=True, eq=False)
class Layout:
    """What is free on a machine, GPU by GPU as the machine numbers them; a room may be laid out in several ways.

    Machines laid out alike are alike again after the same was taken of them, so that what comes after is kept.
    """

    room: int
    """The number of the room."""
    gpus: tuple[FreeGpu, ...]
    order: tuple[int, ...]
    """The GPUs of the room, by their numbers on the machine."""
    after: dict[Any, "Layout"] = field(default_factory=dict)
    """What comes after what was taken or given back; for the fleet to keep."""


def kind_of(machine: Machine) -> Kind:
    """Forget a machine's name."""
    return Kind(machine.cpu_milli, machine.memory_mib, machine.gpus, machine.location, machine.cost_per_hour)


def all_free(gpus: tuple[Gpu, ...]) -> tuple[FreeGpu, ...]:
    """Give GPUs of which nothing is taken, by their numbers."""
    return tuple(FreeGpu(gpu.type, WHOLE_GPU, gpu.memory_mib) for gpu in gpus)


def could_run(machine: Machine, shape: Shape) -> bool:
    """Tell whether one member would fit on an empty machine."""
    if machine.cpu_milli < shape.cpu_milli or machine.memory_mib < shape.memory_mib:
        return False
    if shape.locations and machine.location not in shape.locations:
        return False
    if not shape.gpu_count:
        return True
    memory, types = shape.gpu_memory_mib, shape.gpu_types
    able = sum(gpu.memory_mib >= memory and (not types or gpu.type in types) for gpu in machine.gpus)
    return able >= shape.gpu_count


def fits(room: Room, shape: Shape) -> bool:
    """Tell whether one member of a shape fits into what is free."""
    return (
        room.cpu_milli >= shape.cpu_milli
        and room.memory_mib >= shape.memory_mib
        and (not shape.locations or room.kind.location in shape.locations)
        and (not shape.gpu_count or len(usable_gpus(room, shape)) >= shape.gpu_count)
    )


def usable_gpus(room: Room, shape: Shape) -> list[int]:
    """Give the numbers of the GPUs of a room that meet type, memory and share together."""
    milli, memory, types = shape.gpu_milli, shape.gpu_memory_mib, shape.gpu_types
    return [
        number
        for number, gpu in enumerate(room.gpus)
        if gpu.milli >= milli and gpu.memory_mib >= memory and (not types or gpu.type in types)
    ]


def tightest_gpus(room: Room, shape: Shape) -> tuple[int, ...]:
    """Choose, of the GPUs of a room that a shape can use, those on which least is left."""
    if not shape.gpu_count:
        return ()
    usable = usable_gpus(room, shape)
    usable.sort(key=lambda number: room.gpus[number][1:])
    return tuple(sorted(usable[: shape.gpu_count]))


class Catalogue:
    """Every room that was met, by a number; the same room always has the same number.

    Fleets that are copies of each other share one, and with it what is known of its rooms.
    """

    def __init__(self) -> None:
        self.rooms: list[Room] = []
        self.known: dict[Any, Any] = {}
        """What others keep by room number; it goes when the catalogue goes."""
        self._kinds: dict[Kind, int] = {}
        self._numbers: dict[tuple[int, int, int, tuple[FreeGpu, ...]], int] = {}
        self._layouts: dict[tuple[int, int, int, tuple[FreeGpu, ...]], Layout] = {}
        self.steps = 0
        """So many steps from one layout to another are kept."""

    def __len__(self) -> int:
        return len(self._layouts) + self.steps

    def layout(self, machine: Machine, cpu: int, memory: int, gpus: tuple[FreeGpu, ...]) -> Layout:
        """Give the layout of what is free on a machine; the GPUs by their numbers there."""
        kind = self._kinds.setdefault(kind_of(machine), len(self._kinds))
        key = (kind, cpu, memory, gpus)
        found = self._layouts.get(key)
        if found is None:
            order = tuple(sorted(range(len(gpus)), key=gpus.__getitem__))
            room = self._number(machine, kind, cpu, memory, tuple([gpus[number] for number in order]))
            found = self._layouts[key] = Layout(room, gpus, order)
        return found

    def _number(self, machine: Machine, kind: int, cpu: int, memory: int, gpus: tuple[FreeGpu, ...]) -> int:
        key = (kind, cpu, memory, gpus)
        found = self._numbers.get(key)
        if found is None:
            found = self._numbers[key] = len(self.rooms)
            self.rooms.append(Room(kind_of(machine), cpu, memory, gpus))
        return found
