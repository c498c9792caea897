"""The rooms in which a shape fits, best first; kept up to date by what became of the fleet since the last question."""

from heapq import heapify, heappop, heappush, heapreplace

from aima_scheduler.deciders.fleet import Fleet
from aima_scheduler.deciders.model import Shape
from aima_scheduler.deciders.rooms import Catalogue, fits
from aima_scheduler.deciders.scoring import Rule, Scored

Entry = tuple[bool, float, int, int]
"""Whether a machine with GPUs would serve a job without, score, position of the first machine, room."""


class Scores:
    """The scores of one shape by room, computed once for each; shared between copies of a fleet."""

    def __init__(self, catalogue: Catalogue, shape: Shape, rule: Rule) -> None:
        self._rooms = catalogue.rooms
        self._shape = shape
        self._rule = rule
        self._known: dict[int, Scored | None] = {}

    def of(self, number: int) -> Scored | None:
        """Score a room, or None where the shape does not fit into it."""
        try:
            return self._known[number]
        except KeyError:
            room = self._rooms[number]
            found = self._known[number] = self._rule(room, self._shape) if fits(room, self._shape) else None
            return found


class Candidates:
    """Where one member of a shape fits in a fleet, by location, best first."""

    def __init__(self, fleet: Fleet, shape: Shape, scores: Scores, per_cost: float, version: int) -> None:
        self.version = version
        """What was typical when the scores were made."""
        self._fleet = fleet
        self._per_cost = per_cost
        self._scores = scores
        self._spare_gpus = shape.gpu_count == 0
        self._heaps: dict[str, list[Entry]] = {}
        self._epoch = -1
        self._read = 0

    def best(self) -> dict[str, Entry]:
        """Give the best entry of every location where the shape fits."""
        self._catch_up()
        return {location: entry for location, heap in self._heaps.items() if (entry := self._top(heap)) is not None}

    def gpus(self, room: int) -> tuple[int, ...]:
        """Give the chosen GPUs of a room, by their numbers there."""
        scored = self._scores.of(room)
        return scored[1] if scored else ()

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
        fleet = self._fleet
        if self._epoch != fleet.epoch:
            self._heaps = {}
            for room in fleet.occupied():
                self._add(room, sort=False)
            for heap in self._heaps.values():
                heapify(heap)
            self._epoch, self._read = fleet.epoch, len(fleet.joined)
            return
        joined, read = fleet.joined, self._read
        if read < len(joined):
            for room in fleet.still_occupied(joined[read:]):
                self._add(room, sort=True)
            self._read = len(joined)

    def _add(self, number: int, *, sort: bool) -> None:
        first = self._fleet.first(number)
        if first is None:
            return
        scored = self._scores.of(number)
        if scored is None:
            return
        kind = self._fleet.catalogue.rooms[number].kind
        heap = self._heaps.get(kind.location)
        if heap is None:
            heap = self._heaps[kind.location] = []
        score = scored[0] + self._per_cost * kind.cost_per_hour
        entry = (self._spare_gpus and bool(kind.gpus), score, first, number)
        if sort:
            heappush(heap, entry)
        else:
            heap.append(entry)
