"""Whose job a worker takes next where many wait and nobody places them: tenants take turns inside a class."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest

from aima_common.ports.documents import Document

REMEMBERED = 10_000
"""So many tenants are remembered for when they were served last."""


class Turns:
    """Remembers which tenant of which class was served when, and puts ready jobs in an order that is fair by that.

    What places analyses shares them by what they take of machines; jobs of the other kinds need about the same, and
    count alike.
    """

    def __init__(self) -> None:
        self._served: dict[tuple[str, str], None] = {}
        """Class and tenant, who was served last at the end."""

    def served(self, job: Document) -> None:
        """Note that a job was taken."""
        key = _class_of(job), job.tenant
        self._served.pop(key, None)
        self._served[key] = None
        if len(self._served) > REMEMBERED:
            del self._served[next(iter(self._served))]

    def order(self, jobs: Sequence[Document], urgency: Callable[[Document], float]) -> list[Document]:
        """Put jobs, the most urgent first, in an order in which each class goes from tenant to tenant.

        Across classes the more urgent goes first, as ever: it is the jobs whose turn it is that are compared.
        """
        classes: dict[str, dict[str, list[Document]]] = {}
        for job in jobs:
            classes.setdefault(_class_of(job), {}).setdefault(job.tenant, []).append(job)
        return list(_merged([self._of_class(name, tenants) for name, tenants in classes.items()], urgency))

    def _of_class(self, name: str, tenants: dict[str, list[Document]]) -> list[Document]:
        last = {key: place for place, key in enumerate(self._served, start=1)} if len(tenants) > 1 else {}
        # Sorting keeps those never served in the order of their most urgent jobs.
        queues = [tenants[tenant] for tenant in sorted(tenants, key=lambda tenant: last.get((name, tenant), 0))]
        return [job for turn in zip_longest(*queues) for job in turn if job is not None]


def _merged(queues: Sequence[list[Document]], urgency: Callable[[Document], float]) -> Iterator[Document]:
    """Merge queues by the urgency of their first jobs, keeping the order of each."""
    left = [deque(queue) for queue in queues]
    while left:
        best = max(left, key=lambda queue: urgency(queue[0]))
        yield best.popleft()
        left = [queue for queue in left if queue]


def _class_of(job: Document) -> str:
    return str(job.body.get("priority"))
