"""The founding document's scheduler, transcribed: a baseline for benchmarks, faults included.

Every 30 s it sorts all pending jobs and gives each the first resource that has enough of everything; that resource is
then gone for this pass, however much is left of it, and a critical job ends the pass for everybody. Where the document
says nothing, this is assumed: resources that are partly used are offered again at the next pass.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aima_scheduler.deciders.model import Job, Machine
from tests.reference.seed_order import seed_sorted

PASS_SECONDS = 30.0


@dataclass(slots=True)
class Resource:
    """A machine, and what is left of it."""

    id: str
    cpu_milli: int
    memory_mib: int
    gpus: int

    def has_room_for(self, job: Job) -> bool:
        """Tell whether there is enough of everything."""
        shape = job.shape
        enough = self.cpu_milli >= shape.cpu_milli and self.memory_mib >= shape.memory_mib
        return enough and self.gpus >= shape.gpu_count

    def change(self, job: Job, sign: int) -> None:
        """Give to a job, or take back."""
        self.cpu_milli -= sign * job.shape.cpu_milli
        self.memory_mib -= sign * job.shape.memory_mib
        self.gpus -= sign * job.shape.gpu_count


def resources_of(machines: Iterable[Machine]) -> list[Resource]:
    """Make the resources of machines, all free."""
    return [Resource(one.id, one.cpu_milli, one.memory_mib, len(one.gpus)) for one in machines]


def scheduling_pass(pending: Iterable[Job], resources: Sequence[Resource], now: float) -> list[tuple[Job, Resource]]:
    """Do one pass; what it places is taken of the resources."""
    available, placed = list(resources), []
    for job in seed_sorted(pending, now):
        for resource in available:
            if resource.has_room_for(job):
                resource.change(job, 1)
                available.remove(resource)
                placed.append((job, resource))
                break
        else:
            continue
        if job.priority.value == "critical":
            break
    return placed
