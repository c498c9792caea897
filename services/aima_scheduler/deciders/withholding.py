"""What is free on the machines of a reservation is kept from everybody else: taken, by nobody."""

from collections.abc import Iterable

from aima_scheduler.deciders.fleet import Fleet
from aima_scheduler.deciders.model import Shape, Slot


class Withholding:
    """What is withheld, by the name of whom it is withheld for."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._held: dict[str, dict[str, list[tuple[Shape, Slot]]]] = {}
        """Name -> machine -> what was taken there."""

    def withhold(self, name: str, machines: Iterable[str]) -> None:
        """Take all that is free on these machines."""
        held = self._held.setdefault(name, {})
        for machine in machines:
            held[machine] = list(self._all_free(machine))
            for shape, slot in held[machine]:
                self._fleet.take(shape, (slot,))

    def release(self, name: str) -> None:
        """Give back what is withheld for somebody."""
        for taken in self._held.pop(name, {}).values():
            self._give_back(taken)

    def release_machines(self, machines: set[str]) -> None:
        """Give back what is withheld on these machines, whomever for: something changes there."""
        for held in self._held.values():
            for machine in machines & held.keys():
                self._give_back(held.pop(machine))

    def covers(self, name: str, machines: Iterable[str]) -> bool:
        """Tell whether all of these machines are still withheld for somebody."""
        return set(machines) <= self._held.get(name, {}).keys()

    def fleet_without(self) -> Fleet:
        """Make a fleet in which nothing is withheld, for what-if."""
        copy = self._fleet.copy()
        for held in self._held.values():
            for taken in held.values():
                for shape, slot in taken:
                    copy.release(shape, (slot,))
        return copy

    def _give_back(self, taken: Iterable[tuple[Shape, Slot]]) -> None:
        for shape, slot in taken:
            self._fleet.release(shape, (slot,))

    def _all_free(self, machine: str) -> Iterable[tuple[Shape, Slot]]:
        free = self._fleet.free(machine)
        yield Shape(free.cpu_milli, free.memory_mib), Slot(machine)
        for number, gpu in enumerate(self._fleet.gpus(machine)):
            if gpu.milli or gpu.memory_mib:
                share = Shape(0, 0, gpu_count=1, gpu_milli=gpu.milli, gpu_memory_mib=gpu.memory_mib)
                yield share, Slot(machine, (number,))
