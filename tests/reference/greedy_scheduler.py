"""A whole scheduler in fifty lines: it looks at everything there is for every decision."""

from collections.abc import Mapping

from aima_common.contracts.media import Priority
from aima_scheduler.deciders.model import Job, Machine, Placement, Shape, Slot
from tests.reference.seed_order import seed_score


class GreedyScheduler:
    """First fit, in the document's order across classes and by weighted dominant shares inside a class."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        self.weights, self.machines, self.waiting = weights, dict[str, Machine](), dict[str, Job]()
        self.running = dict[str, tuple[Job, tuple[Slot, ...]]]()

    def decide(self, now: float, most: int | None) -> list[Placement]:
        """Let the first go that fits, again and again."""
        placed, full = list[Placement](), set[Shape]()
        while len(placed) != most and (job := self._first(now, full)) is not None:
            if (slots := self._slots(job.shape)) is None:
                full.add(job.shape)
            else:
                self.running[job.id] = self.waiting.pop(job.id), slots
                placed.append(Placement(job.id, slots))
        return placed

    def _first(self, now: float, full: set[Shape]) -> Job | None:
        bids = list[Job]()
        for kind in Priority:
            jobs = [job for job in self.waiting.values() if job.priority is kind and job.shape not in full]
            shares = {job.tenant: (self._share(kind, job.tenant), job.tenant) for job in jobs}
            bids += [job for job in jobs if shares[job.tenant] == min(shares.values())]
        return min(bids, key=lambda job: (-seed_score(job, now), job.queued_at, job.id), default=None)

    def _share(self, *whose: str) -> float:
        mine = [(job.shape, slots) for job, slots in self.running.values() if (job.priority, job.tenant) == whose]
        taken = [[one.cpu_milli, one.memory_mib, one.gpu_count * one.gpu_milli] for one, slots in mine for _ in slots]
        whole = [[one.cpu_milli, one.memory_mib, 1000 * len(one.gpus)] for one in self.machines.values()]
        shares = [sum(one[at] for one in taken) / sum(one[at] for one in whole) for at in range(3)]
        return max(shares) / self.weights.get(whose[1], 1.0)

    def _slots(self, shape: Shape) -> tuple[Slot, ...] | None:
        taken = [(slot, job.shape) for job, slots in self.running.values() for slot in slots]
        chosen = sorted(self.machines.values(), key=lambda one: bool(one.gpus) and not shape.gpu_count)
        for _ in range(shape.members):
            fitting = [slot for one in chosen if (slot := self._slot(one, shape, taken)) is not None]
            if not fitting:
                return None
            taken.append((fitting[0], shape))
        return tuple(slot for slot, _ in taken[-shape.members :])

    def _slot(self, machine: Machine, shape: Shape, taken: list[tuple[Slot, Shape]]) -> Slot | None:
        here = [(slot, one) for slot, one in taken if slot.machine == machine.id]
        cpu = machine.cpu_milli - sum(one.cpu_milli for _, one in here)
        memory = machine.memory_mib - sum(one.memory_mib for _, one in here)
        usable = []
        for number, gpu in enumerate(machine.gpus):
            on_it = [one for slot, one in here if number in slot.gpus]
            left = 1000 - sum(one.gpu_milli for one in on_it), gpu.memory_mib - sum(one.gpu_memory_mib for one in on_it)
            named = gpu.type in (shape.gpu_types or (gpu.type,))
            if left[0] >= shape.gpu_milli and left[1] >= shape.gpu_memory_mib and named:
                usable.append((*left, gpu.type, number))
        if cpu < shape.cpu_milli or memory < shape.memory_mib or len(usable) < shape.gpu_count:
            return None
        return Slot(machine.id, tuple(sorted(number for *_, number in sorted(usable)[: shape.gpu_count])))
