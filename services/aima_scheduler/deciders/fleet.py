"""The machines, and what is taken of them.

What is free is computed here and nowhere else: capacity less what was taken. Machines are kept by their *rooms*
(`rooms`), and which rooms became occupied, or begin with an earlier machine than before, is written down in
`joined`: who keeps candidates looks at what was added since, and at nothing else.
"""

from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush
from typing import Any

from aima_scheduler.deciders.model import WHOLE_GPU, Machine, Shape, Slot
from aima_scheduler.deciders.rooms import Catalogue, FreeGpu, Kind, Layout, Room, all_free
from aima_scheduler.deciders.workload import Workload

__all__ = ["Fleet", "FreeGpu", "Kind", "Room"]

GONE = -1
"""The room of a machine that was removed."""

AWAY = Layout(GONE, (), ())
"""The layout of such a machine."""

MOST_ROOMS = 200_000
"""So many layouts of rooms, and steps between them, are remembered beyond four for each machine; about 100 MB with what
is known of them."""


class Fleet:
    """Machines by their id, each with what is free of it."""

    def __init__(self, machines: Iterable[Machine] = (), workload: Workload | None = None) -> None:
        self.workload = workload or Workload()
        """What is typical: learned from `saw` where none is given."""
        self.catalogue = Catalogue()
        self.candidates: dict[Any, Any] = {}
        """What placement keeps of this fleet by shape."""
        self.joined: list[tuple[int, int]] = []
        """Rooms that became occupied, or begin with an earlier machine than before, since the epoch began; each with
        the position of that machine."""
        self.epoch = 0
        """Grows when `joined` begins anew."""
        self.occupied: dict[int, int] = {}
        """Room -> how many machines are in it; nothing for empty rooms. For others to read."""
        self._position: dict[str, int] = {}
        self._machines: list[Machine | None] = []
        self._listed: tuple[Machine, ...] | None = None
        """The same without those that have left, until something changes."""
        self._slots: list[dict[tuple[int, ...], Slot]] = []
        """The slots of each machine by their GPUs: the same for every job there, so that each is made once."""
        self.room_at: list[int] = []
        """The number of the room of each machine, by its position. For others to read."""
        self._layouts: list[Layout] = []
        self._occupants: dict[int, list[int]] = {}
        """Room -> heap of the positions of its machines; those that have left are skipped."""
        for machine in machines:
            self.add(machine)

    def __len__(self) -> int:
        return len(self._position)

    def __contains__(self, machine_id: str) -> bool:
        return machine_id in self._position

    @property
    def machines(self) -> Sequence[Machine]:
        """All machines, in the order in which they came."""
        if self._listed is None:
            self._listed = tuple(machine for machine in self._machines if machine is not None)
        return self._listed

    def machine(self, machine_id: str) -> Machine:
        """Give a machine; raise `KeyError` for one that is not here."""
        return self._at(self._position[machine_id])

    def add(self, machine: Machine) -> None:
        """Take a machine in, all of it free; raise `ValueError` where it is here already or an amount is negative."""
        if machine.id in self._position:
            raise ValueError(f"machine {machine.id} is here already; remove it before it comes back")
        if machine.cpu_milli < 0 or machine.memory_mib < 0 or any(gpu.memory_mib < 0 for gpu in machine.gpus):
            raise ValueError(f"machine {machine.id} has less than nothing of something")
        position = len(self._machines)
        self._position[machine.id], self._listed = position, None
        self._machines.append(machine)
        self._slots.append({(): Slot(machine.id)})
        self._layouts.append(AWAY)
        self.room_at.append(GONE)
        free = all_free(machine.gpus)
        self._move(position, self.catalogue.layout(machine, machine.cpu_milli, machine.memory_mib, free))

    def remove(self, machine_id: str) -> None:
        """Let a machine go, with all that is taken of it; raise `KeyError` for one that is not here."""
        position = self._position.pop(machine_id)
        self._leave(position)
        self._listed = None
        self._machines[position], self._layouts[position], self._slots[position] = None, AWAY, {}

    def free(self, machine_id: str) -> Room:
        """Tell what is free on a machine; raise `KeyError` for one that is not here."""
        return self.catalogue.rooms[self.room_at[self._position[machine_id]]]

    def gpus(self, machine_id: str) -> Sequence[FreeGpu]:
        """Tell what is free of each GPU of a machine, by its number."""
        return self._layouts[self._position[machine_id]].gpus

    def take(self, shape: Shape, slots: Sequence[Slot]) -> None:
        """Count a job in, one slot for each member; on `ValueError` nothing has changed."""
        self._change(shape, slots, 1)

    def release(self, shape: Shape, slots: Sequence[Slot]) -> None:
        """Count a job out again; on `ValueError` nothing has changed."""
        self._change(shape, slots, -1)

    def saw(self, shape: Shape, jobs: int = 1) -> None:
        """Count a shape among those that arrive; fgd and our own scoring keep room for what is typical."""
        self.workload.saw(shape, jobs)

    def copy(self) -> "Fleet":
        """Make another fleet of the same machines and takings, for what-if; what is known of rooms is shared."""
        other = Fleet(workload=self.workload)
        other.catalogue = self.catalogue
        other._position, other._machines = dict(self._position), list(self._machines)
        other._slots = list(self._slots)
        other._layouts, other.room_at = list(self._layouts), list(self.room_at)
        other._occupants = {room: list(positions) for room, positions in self._occupants.items()}
        other.occupied = dict(self.occupied)
        return other

    # ------------------------------------------------------------------------------ for who keeps candidates

    def first(self, room: int) -> int | None:
        """Give the position of the machine of a room that came first, or None where it is empty."""
        heap = self._occupants.get(room)
        if heap is None:
            return None
        rooms = self.room_at
        while heap:
            if rooms[heap[0]] == room:
                return heap[0]
            heappop(heap)
        del self._occupants[room]
        return None

    def slot(self, position: int, sorted_gpus: Sequence[int]) -> Slot:
        """Name a machine by its id, and GPUs of its room by their numbers on the machine."""
        slots = self._slots[position]
        if not sorted_gpus:
            return slots[()]
        order = self._layouts[position].order
        numbers = tuple(sorted([order[at] for at in sorted_gpus]))
        found = slots.get(numbers)
        if found is None:
            found = slots[numbers] = Slot(slots[()].machine, numbers)
        return found

    # ------------------------------------------------------------------------------------------ taking

    def _at(self, position: int) -> Machine:
        machine = self._machines[position]
        if machine is None:
            raise KeyError(f"the machine at {position} is gone")
        return machine

    def _change(self, shape: Shape, slots: Sequence[Slot], sign: int) -> None:
        if len(slots) != shape.members:
            raise ValueError(f"{shape.members} members need as many slots, not {len(slots)}")
        if len(slots) == 1:
            self._change_one(shape, slots[0], sign)
            return  # nothing to undo, as with nearly all jobs
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
        position = self._position.get(slot.machine)
        if position is None:
            raise ValueError(f"there is no machine {slot.machine}")
        before, gpus = self._layouts[position], slot.gpus
        amounts = (shape.cpu_milli, shape.memory_mib, shape.gpu_count, shape.gpu_milli, shape.gpu_memory_mib)
        step = (sign, amounts, gpus)
        after = before.after.get(step)
        if after is None:
            after = before.after[step] = self._step(position, before, shape, gpus, sign)
            self.catalogue.steps += 1
        self._move(position, after)

    def _step(self, position: int, before: Layout, shape: Shape, gpus: tuple[int, ...], sign: int) -> Layout:
        """Tell how a machine is laid out after a member was taken in or out; raise `ValueError` where it can't be."""
        machine, room = self._at(position), self.catalogue.rooms[before.room]
        cpu = room.cpu_milli - sign * shape.cpu_milli
        memory = room.memory_mib - sign * shape.memory_mib
        if not (0 <= cpu <= machine.cpu_milli and 0 <= memory <= machine.memory_mib):
            raise ValueError(f"machine {machine.id} would have {cpu} milli-CPU and {memory} MiB free")
        free = before.gpus
        if shape.gpu_count or gpus:
            free = _changed_gpus(machine, free, shape, gpus, sign)
        return self.catalogue.layout(machine, cpu, memory, free)

    def _move(self, position: int, layout: Layout) -> None:
        """Let a machine be in the room of what is free of it now."""
        room, self._layouts[position] = layout.room, layout
        if room == self.room_at[position]:
            return
        self._leave(position)
        self.room_at[position] = room
        count = self.occupied[room] = self.occupied.get(room, 0) + 1
        if count == 1:
            # Whoever was here before has left: nothing in the heap counts any more.
            self._occupants[room] = [position]
            self._note(room, position)
            return
        heap = self._occupants[room]
        heappush(heap, position)
        if len(heap) > 2 * count + 16:
            heap[:] = {each for each in heap if self.room_at[each] == room}
            heapify(heap)
        first = heap[0]
        if first == position or (self.room_at[first] != room and self.first(room) == position):
            self._note(room, position)

    def _leave(self, position: int) -> None:
        room = self.room_at[position]
        if room != GONE:
            self.room_at[position] = GONE
            if self.occupied[room] == 1:
                del self.occupied[room]
            else:
                self.occupied[room] -= 1

    def _note(self, room: int, position: int) -> None:
        self.joined.append((room, position))
        if len(self.joined) > 4 * len(self.occupied) + 1024:
            self.joined = []
            self.epoch += 1
            if len(self.catalogue) > MOST_ROOMS + 4 * len(self._machines):
                self._forget_rooms()

    def _forget_rooms(self) -> None:
        """Begin the catalogue anew with the rooms that machines are in."""
        before, self.catalogue = self.catalogue, Catalogue()
        self.candidates.clear()
        self._occupants, self.occupied = {}, {}
        for position in self._position.values():
            machine, room = self._at(position), before.rooms[self.room_at[position]]
            gpus = self._layouts[position].gpus
            layout = self.catalogue.layout(machine, room.cpu_milli, room.memory_mib, gpus)
            self._layouts[position], self.room_at[position] = layout, layout.room
            number = layout.room
            self.occupied[number] = self.occupied.get(number, 0) + 1
            self._occupants.setdefault(number, []).append(position)
        for heap in self._occupants.values():
            heapify(heap)


def _changed_gpus(
    machine: Machine, gpus: tuple[FreeGpu, ...], shape: Shape, numbers: Sequence[int], sign: int
) -> tuple[FreeGpu, ...]:
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
    return tuple(changed)
