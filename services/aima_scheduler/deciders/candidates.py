"""The rooms in which a shape fits, best first; kept up to date by what became of the fleet since the last question."""

from heapq import heapify, heappop, heappush, heapreplace
from typing import NamedTuple

from aima_scheduler.deciders.fleet import Fleet
from aima_scheduler.deciders.model import Shape
from aima_scheduler.deciders.rooms import fits
from aima_scheduler.deciders.scoring import Rule

Entry = tuple[bool, float, int, int]
"""Whether a machine with GPUs would serve a job without, score, position of the first machine, room."""


class _Fit(NamedTuple):
    """How a shape fits into a room."""

    location: str
    spares_gpus: bool
    """Whether the room has GPUs that the shape has no use for."""
    score: float
    """With what the machine costs; lower is better."""
    gpus: tuple[int, ...]
    """The chosen GPUs, by their numbers in the room."""


UNKNOWN = _Fit("", spares_gpus=False, score=0.0, gpus=())
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
        while heap:
            entry = heap[0]
            first = self._fleet.first(entry[3])
            if first == entry[2]:
                return entry
            if first is None:
                heappop(heap)
            else:
                heapreplace(heap, (entry[0], entry[1], first, entry[3]))
        return None

    def _catch_up(self) -> None:
        fleet, joined = self._fleet, self._fleet.joined
        if self._epoch != fleet.epoch:
            self._begin_anew()
        elif self._read < len(joined):
            fits_in = self._fits.get  # most rooms are none of this shape's business: these are passed by at once
            for room in dict.fromkeys(joined[self._read :]):
                if fits_in(room, UNKNOWN) is not None and (found := self._entry(room)) is not None:
                    heappush(self._heaps.setdefault(found[0], []), found[1])
        self._epoch, self._read = fleet.epoch, len(joined)

    def _begin_anew(self) -> None:
        self._heaps = {}
        for room in list(self._fleet.occupied()):
            if (found := self._entry(room)) is not None:
                self._heaps.setdefault(found[0], []).append(found[1])
        for heap in self._heaps.values():
            heapify(heap)

    def _entry(self, room: int) -> tuple[str, Entry] | None:
        """Give the location and the entry of a room, or None where it is empty or the shape does not fit."""
        fit = self._fits.get(room, UNKNOWN)
        if fit is None or (first := self._fleet.first(room)) is None:
            return None
        if fit is UNKNOWN and (fit := self._look(room)) is None:
            return None
        return fit.location, (fit.spares_gpus, fit.score, first, room)

    def _look(self, number: int) -> _Fit | None:
        room, shape = self._fleet.catalogue.rooms[number], self._shape
        fit = None
        if fits(room, shape):
            score, gpus = self._rule(room, shape)
            kind = room.kind
            spares_gpus = not shape.gpu_count and bool(kind.gpus)
            fit = _Fit(kind.location, spares_gpus, score + self._per_cost * kind.cost_per_hour, gpus)
        self._fits[number] = fit
        return fit
