"""Which of the jobs that wait are looked at: all of them where they are few, and never many, however many wait.

Of a class that is crowded three views are taken, each the beginning of an index: who has waited for longest, whose
deadline is nearest, and the oldest of every tenant. So a tenant with a million jobs hides neither another tenant nor a
deadline.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from aima_common.contracts.media import Priority
from aima_common.jobs import JobKind, Ledger
from aima_common.ports.documents import Document, Documents, Range

WINDOW = 200
"""So many waiting jobs are looked at as they are, and of each class, where there are more, the oldest of them."""

NEAREST = 50
"""So many jobs of a crowded class are looked at for their deadlines."""

OF_A_TENANT = 20
"""So many jobs of each tenant in a crowded class are looked at, its oldest; the others have their turn after them."""

QUESTIONS = 20
"""So often the store is asked in a look for the tenants of a crowded class. One answer holds a tenant with many jobs,
or several with few; where there are more tenants, the next look goes on with them."""

AFTER_EVERYTHING = "\0"
"""A tenant's name followed by this comes right after it in the order of names."""


class Window:
    """Looks at the analysis jobs that have no machine yet."""

    def __init__(self, documents: Documents, ledger: Ledger) -> None:
        self._documents = documents
        self._ledger = ledger
        self._turns: dict[Priority, str] = {}
        """At which tenant's name the next look at a class begins."""

    async def look(self) -> list[Document]:
        """Read jobs that may start now, the most urgent first; ties go by age, then id."""
        wanted = {"kind": JobKind.ANALYSE.value, "state": "ready", "machine": None}
        found = await self._find(wanted, ["priority", "submitted_at"], WINDOW + 1)
        if not found:
            # The usual answer, and it is asked for twice a second.
            return []
        if len(found) > WINDOW:
            # Class by class: a thousand old batch jobs must not hide one new critical job.
            some = {job.id: job for priority in Priority for job in await self._of_class(priority, wanted)}
            found = list(some.values())
        return await self._ledger.due(found)

    async def _of_class(self, priority: Priority, wanted: Mapping[str, Any]) -> Sequence[Document]:
        of_class = {**wanted, "priority": priority.value}
        oldest = await self._find(of_class, ["submitted_at"], WINDOW)
        if len(oldest) < WINDOW:
            return oldest
        nearest = await self._find({**of_class, "deadline": Range(at_least="")}, ["deadline"], NEAREST)
        return [*oldest, *nearest, *await self._of_every_tenant(priority, of_class)]

    async def _of_every_tenant(self, priority: Priority, of_class: Mapping[str, Any]) -> list[Document]:
        """Read the oldest jobs of each tenant, name by name; begin where the last look had to stop, and wrap round."""
        begin, shown, left = self._turns.pop(priority, ""), list[Document](), QUESTIONS
        for name, below in ((begin, None), ("", begin)) if begin else (("", None),):
            after = name
            while left:
                left -= 1
                where = {**of_class, "tenant": Range(at_least=after, below=below)}
                some = await self._find(where, ["tenant", "submitted_at"], OF_A_TENANT)
                shown += some
                if len(some) < OF_A_TENANT:
                    break
                after = some[-1].tenant + AFTER_EVERYTHING
            else:
                self._turns[priority] = after
                break
        return shown

    async def _find(self, where: Mapping[str, Any], order: Sequence[str], most: int) -> Sequence[Document]:
        return await self._documents.find("jobs", where, order=order, limit=most)
