"""What is typical of the jobs that arrive, and how much of a machine's free GPUs the typical job can use.

The measure is that of FGD ("Beware of Fragmentation", Weng et al., USENIX ATC'23): a free share of a GPU is worth
something only to jobs that could run there, so what counts is not how much is free but how much is of use.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from aima_scheduler.deciders.model import Shape
from aima_scheduler.deciders.rooms import FreeGpu

COVERED = 0.95
"""The most frequent shapes that make up so much of all jobs are typical, as with FGD."""

FIRST_LOOK = 16
"""Jobs after which something is called typical for the first time."""

LOOK_EVERY = 4096
"""Jobs after which, at the latest, is looked again; what came before counts half from then on."""


class Workload:
    """The shapes that arrive and how often: given once and for all, or learned from what is seen."""

    def __init__(self, shares: Mapping[Shape, float] | None = None) -> None:
        self.version = 0
        """Grows when something else is typical."""
        self._learns = shares is None
        self._seen: Counter[Shape] = Counter()
        self._unread, self._until_look = 0.0, FIRST_LOOK
        for shape, share in (shares or {}).items():
            self._seen[_plain(shape)] += share  # type: ignore[assignment]
        self.typical = _most_frequent(self._seen)
        """The typical shapes and how often each of them comes, summing up to one."""

    def saw(self, shape: Shape, jobs: int = 1) -> None:
        """Count a shape among those that arrive; nothing where what is typical was given."""
        if not self._learns:
            return
        self._seen[_plain(shape)] += jobs * shape.members
        self._unread += jobs
        if self._unread >= self._until_look:
            self._look()

    def _look(self) -> None:
        self.typical = _most_frequent(self._seen)
        self.version += 1
        self._unread = 0
        self._until_look = min(2 * self._until_look, LOOK_EVERY)
        if self._until_look == LOOK_EVERY:
            self._seen = Counter({shape: half for shape, count in self._seen.items() if (half := count // 2)})


def _plain(shape: Shape) -> Shape:
    return replace(shape, members=1) if shape.members != 1 else shape


def _most_frequent(seen: Mapping[Shape, float]) -> tuple[tuple[Shape, float], ...]:
    total = sum(seen.values())
    ordered = sorted(seen.items(), key=lambda item: (-item[1], _order(item[0])))
    found: list[tuple[Shape, float]] = []
    covered = 0.0
    for shape, count in ordered:
        if covered >= COVERED * total:
            break
        found.append((shape, count))
        covered += count
    return tuple((shape, count / covered) for shape, count in found)


def _order(shape: Shape) -> tuple[object, ...]:
    """Order shapes that are equally frequent, the same in every process."""
    requests = (shape.gpu_count, shape.gpu_milli, shape.gpu_memory_mib, shape.cpu_milli, shape.memory_mib)
    return (*requests, shape.gpu_types, shape.locations)


class Usefulness:
    """How much of free GPUs the typical job can use, in thousandths of a GPU."""

    def __init__(self, typical: Sequence[tuple[Shape, float]], *, with_memory: bool) -> None:
        self._with_memory = with_memory
        self._typical = [(shape, share) for shape, share in typical if shape.gpu_count]
        kinds = {_gpu_part(shape): None for shape, _ in self._typical}
        self._parts = {part: number for number, part in enumerate(kinds)}
        self._cpus = sorted({shape.cpu_milli for shape, _ in self._typical})
        self._memories = sorted({self._memory(shape) for shape, _ in self._typical})
        self._tables: dict[str, NDArray[np.float64]] = {}
        self._usable: dict[tuple[FreeGpu, ...], NDArray[np.float64]] = {}
        self._known: dict[tuple[str, int, int, tuple[FreeGpu, ...]], float] = {}

    def of(self, location: str, cpu: int, memory: int, gpus: tuple[FreeGpu, ...]) -> float:
        """Tell how much of these sorted GPUs the typical job can use beside so much free CPU and memory."""
        key = (location, bisect_right(self._cpus, cpu), bisect_right(self._memories, memory), gpus)
        found = self._known.get(key)
        if found is None:
            table = self._table(location)
            found = self._known[key] = float(table[key[1], key[2]] @ self._usable_by_part(gpus))
        return found

    def _memory(self, shape: Shape) -> int:
        return shape.memory_mib if self._with_memory else 0

    def _table(self, location: str) -> NDArray[np.float64]:
        """Share of jobs by CPU and memory that are enough for them, and by what they want of GPUs."""
        found = self._tables.get(location)
        if found is None:
            found = np.zeros((len(self._cpus) + 1, len(self._memories) + 1, max(1, len(self._parts))))
            for shape, share in self._typical:
                if not shape.locations or location in shape.locations:
                    cpu, memory = self._cpus.index(shape.cpu_milli), self._memories.index(self._memory(shape))
                    found[cpu + 1 :, memory + 1 :, self._parts[_gpu_part(shape)]] += share
            self._tables[location] = found
        return found

    def _usable_by_part(self, gpus: tuple[FreeGpu, ...]) -> NDArray[np.float64]:
        found = self._usable.get(gpus)
        if found is None:
            found = np.zeros(max(1, len(self._parts)))
            for (count, milli, memory, types), number in self._parts.items():
                left = [
                    gpu.milli
                    for gpu in gpus
                    if gpu.milli >= milli and gpu.memory_mib >= memory and (not types or gpu.type in types)
                ]
                found[number] = sum(left) if len(left) >= count else 0
            self._usable[gpus] = found
        return found


def _gpu_part(shape: Shape) -> tuple[int, int, int, tuple[str, ...]]:
    return shape.gpu_count, shape.gpu_milli, shape.gpu_memory_mib, shape.gpu_types
