"""The rooms in which a shape fits, best first; kept up to date by what became of the fleet since the last question."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heappop, heappush, heapreplace

from aima_scheduler.deciders.fleet import Fleet
from aima_scheduler.deciders.model import Shape
from aima_scheduler.deciders.rooms import fits
from aima_scheduler.deciders.scoring import Rule

Entry = tuple[bool, float, int, int]
"""Whether a machine with GPUs would serve a job without, score, position of the first machine, room."""


@dataclass(slots=True)
class _Fit:
    """How a shape fits into a room."""

    heap: list[Entry]
    """The entries of its location."""
    spares_gpus: bool
    """Whether the room has GPUs that the shape has no use for."""
    score: float
    """With what the machine costs; lower is better."""
    gpus: tuple[int, ...]
    """The chosen GPUs, by their numbers in the room."""
    entered: float = math.inf
    """The position in the room's first entry; infinite where it has none."""


UNKNOWN = _Fit([], spares_gpus=False, score=0.0, gpus=())
"""Stands for a room that nobody has looked at."""


class Candidates:
    """Where one member of a shape fits in a fleet, by location, best first."""

    def __init__(self, fleet: Fleet, shape: Shape, rule: Rule, per_cost: float, version: int) -> None:
        self.version = version
        """What was typical when the scores were made."""
        self._fleet = fleet
        self._shape = shape
        self._rule = rule
        self._per_cost = per_cost
        self._fits: dict[int, _Fit | None] = {}
        """By room, computed once for each; None where the shape does not fit."""
        self._heaps: dict[str, list[Entry]] = {}
        self._epoch = -1
        self._read = 0

    def best(self) -> Entry | None:
        """Give the best entry, or None where the shape fits nowhere."""
        self._catch_up()
        best: Entry | None = None
        for heap in self._heaps.values():
            entry = self._top(heap)
            if entry is not None and (best is None or entry < best):
                best = entry
        return best

    def best_by_location(self) -> dict[str, Entry]:
        """Give the best entry of every location where the shape fits."""
        self._catch_up()
        return {location: entry for location, heap in self._heaps.items() if (entry := self._top(heap)) is not None}

    def gpus(self, room: int) -> tuple[int, ...]:
        """Give the chosen GPUs of a room, by their numbers there."""
        fit = self._fits[room]
        return fit.gpus if fit else ()

    def _top(self, heap: list[Entry]) -> Entry | None:
        fleet = self._fleet
        room_at = fleet.room_at
        while heap:
            entry = heap[0]
            spares_gpus, score, first, room = entry
            if room_at[first] == room:
                return entry  # were an earlier machine in the room now, it would have joined with an entry of its own
            now_first, fit = fleet.first(room), self._fits[room]
            if now_first is None:
                heappop(heap)
            else:
                heapreplace(heap, (spares_gpus, score, now_first, room))
            if fit is not None:
                fit.entered = math.inf if now_first is None else now_first
        return None

    def _catch_up(self) -> None:
        fleet, joined = self._fleet, self._fleet.joined
        if self._epoch == fleet.epoch and self._read == len(joined):
            return
        if self._epoch != fleet.epoch:
            self._forget()
            self._add([(room, first) for room in list(fleet.occupied) if (first := fleet.first(room)) is not None])
        else:
            self._add(joined[self._read :])
        self._epoch, self._read = fleet.epoch, len(joined)

    def _forget(self) -> None:
        """Let no room have an entry."""
        for heap in self._heaps.values():
            for _, _, _, room in heap:
                if (fit := self._fits[room]) is not None:
                    fit.entered = math.inf
            heap.clear()

    def _add(self, joined: Iterable[tuple[int, int]]) -> None:
        """Add the entries of those rooms that the shape fits into and that a machine is in.

        A room may begin with a later machine by now: what it began with is found to be gone when its entry is the best.
        """
        known, occupied = self._fits.get, self._fleet.occupied
        for room, first in joined:
            if room not in occupied:
                continue
            fit = known(room, UNKNOWN)
            if fit is None or fit.entered <= first:
                continue
            if fit is UNKNOWN and (fit := self._look(room)) is None:
                continue
            heappush(fit.heap, (fit.spares_gpus, fit.score, first, room))
            fit.entered = first

    def _look(self, number: int) -> _Fit | None:
        room, shape = self._fleet.catalogue.rooms[number], self._shape
        fit = None
        if fits(room, shape):
            score, gpus = self._rule(room, shape)
            kind = room.kind
            spares_gpus = not shape.gpu_count and bool(kind.gpus)
            heap = self._heaps.setdefault(kind.location, [])
            fit = _Fit(heap, spares_gpus, score + self._per_cost * kind.cost_per_hour, gpus)
        self._fits[number] = fit
        return fit
