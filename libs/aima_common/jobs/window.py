"""Which of the ready jobs are looked at: all of them where they are few, and never many, however many are ready.

Of a class that is crowded three views are taken, each the beginning of an index: who has waited for longest, whose
deadline is nearest, and the oldest of every tenant. So a tenant with a million jobs hides neither another tenant nor a
deadline. Jobs that rest, because they failed and are tried again later, come behind all others, whose rest ends first
before the others: a thousand that wait for a server hide nobody who can start.
"""

import math
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any

from aima_common.contracts.media import Priority
from aima_common.ports.documents import Document, Documents, Range

NEAREST = 50
"""So many jobs of a crowded class are looked at for their deadlines."""

OF_A_TENANT = 20
"""So many jobs of each tenant in a crowded class are looked at, its oldest; the others have their turn after them."""

QUESTIONS = 20
"""So often the store is asked in a look for the tenants of a crowded class. One answer holds a tenant with many jobs,
or several with few; where there are more tenants, the next scan goes on with them."""

SCAN_SECONDS = 1.0
"""So often it is looked which tenants a crowded class has. In between those are asked for that were found then and have
no job among the oldest. Who is new behind a crowd is seen after a second, or later where a scan cannot ask for
all tenants at once."""

STRANGE_EVERY = 50
"""Every so many looks at a crowd jobs of no known class are looked for, which no other view would show."""

AFTER_EVERYTHING = "\0"
"""A tenant's name followed by this comes right after it in the order of names."""


class Window:
    """Looks at the ready jobs of a kind that have no machine."""

    def __init__(self, documents: Documents, kind: str, most: int, monotonic: Callable[[], float]) -> None:
        self._documents = documents
        self._monotonic = monotonic
        self._wanted = {"kind": kind, "state": "ready", "machine": None}
        self._most = most
        self._turns: dict[Priority, str] = {}
        """At which tenant's name the next scan of a class begins."""
        self._scanned: dict[Priority, tuple[float, Sequence[str]]] = {}
        """When the tenants of a class were looked for last, and who was found."""
        self._looks = 0
        """So many looks found a crowd."""
        self.crowded = False
        """Whether there were more than so many at the last look."""

    async def look(self) -> Sequence[Document]:
        """Read jobs, in no order: all there are, or of each class so many and those of the other views."""
        found = await self._find(self._wanted, ["priority", "resting_until", "submitted_at"], self._most + 1)
        self.crowded = len(found) > self._most
        if not self.crowded:
            return found
        # Class by class: a thousand old batch jobs must not hide one new critical job.
        some = {job.id: job for priority in Priority for job in await self._of_class(priority)}
        if self._looks % STRANGE_EVERY == 0:
            some |= {job.id: job for job in await self._of_no_known_class()}
        self._looks += 1
        return list(some.values())

    async def _of_class(self, priority: Priority) -> Sequence[Document]:
        of_class = {**self._wanted, "priority": priority.value}
        oldest = await self._find(of_class, ["resting_until", "submitted_at"], self._most)
        if len(oldest) < self._most:
            return oldest
        # Some of these rest only where all others of the class are among them.
        awake = {**of_class, "resting_until": None}
        nearest = await self._find({**awake, "deadline": Range(at_least="")}, ["deadline"], NEAREST)
        return [*oldest, *nearest, *await self._of_tenants(priority, awake, {job.tenant for job in oldest})]

    async def _of_tenants(
        self, priority: Priority, of_class: Mapping[str, Any], seen: Container[str]
    ) -> Sequence[Document]:
        """Read the oldest jobs of each tenant, or of those alone that are not `seen` where all were read lately."""
        now = self._monotonic()
        at, known = self._scanned.get(priority, (-math.inf, ()))
        if now - at >= SCAN_SECONDS:
            shown = await self._of_every_tenant(priority, of_class)
            self._scanned[priority] = now, list(dict.fromkeys(job.tenant for job in shown))
            return shown
        hidden = [tenant for tenant in known if tenant not in seen][:QUESTIONS]
        return [
            job
            for tenant in hidden
            for job in await self._find({**of_class, "tenant": tenant}, ["submitted_at"], OF_A_TENANT)
        ]

    async def _of_no_known_class(self) -> list[Document]:
        """Read some jobs whose class lies between those that there are: whoever places jobs sets them aside."""
        names = sorted(Priority)
        found = list(await self._find({**self._wanted, "priority": None}, ["submitted_at"], OF_A_TENANT))
        for name, following in zip(("", *names), (*names, None), strict=True):
            between = Range(at_least=name + AFTER_EVERYTHING if name else "", below=following)
            found += await self._find({**self._wanted, "priority": between}, ["priority"], OF_A_TENANT)
        return found

    async def _of_every_tenant(self, priority: Priority, of_class: Mapping[str, Any]) -> list[Document]:
        """Read the oldest jobs of each tenant, name by name; begin where the last scan had to stop, and wrap round."""
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
