"""Which of the ready jobs are looked at: all of them where they are few, and never many, however many are ready.

Of a class that is crowded four views are taken, each the beginning of an index: who has waited for longest, whose
deadline is nearest, the oldest of every tenant, and those of every analyzer. So a tenant with a million jobs hides
neither another tenant nor a deadline, and those that wait for a GPU do not hide those that need none: jobs of one
analyzer need the same. Jobs that rest, because they failed and are tried again later, come behind all others, whose
rest ends first before the others: a thousand that wait for a server hide nobody who can start.
"""

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aima_common.contracts.media import Priority
from aima_common.ports.documents import Document, Documents, Range

NEAREST = 50
"""So many jobs of a crowded class are looked at for their deadlines."""

OF_EACH = 20
"""So many jobs of each tenant, and of each analyzer, in a crowded class are looked at, the oldest; the others have
their turn after them."""

QUESTIONS = 20
"""So often the store is asked in a look for the tenants of a crowded class, and for the analyzers. One answer holds one
with many jobs, or several with few; where there are more, the next scan goes on with them."""

SCAN_SECONDS = 1.0
"""So often it is looked which tenants and analyzers a crowded class has. In between those are asked for that were found
then and have no job among the oldest. Who is new behind a crowd is seen after a second, or later where a scan cannot
ask for all at once."""

STRANGE_EVERY = 50
"""Every so many looks at a crowd jobs of no known class are looked for, which no other view would show."""

AFTER_EVERYTHING = "\0"
"""A name followed by this comes right after it in the order of names."""

GROUPED_BY = ("tenant", "analyzer")
"""Fields of whose every value some jobs are looked at."""


Find = Callable[[Mapping[str, Any], Sequence[str], int], Awaitable[Sequence[Document]]]
"""Reads some jobs: which, in what order, and how many at most."""


class Window:
    """Looks at the ready jobs of a kind that have no machine."""

    def __init__(self, documents: Documents, kind: str, most: int, monotonic: Callable[[], float]) -> None:
        self._documents = documents
        self._wanted = {"kind": kind, "state": "ready", "machine": None}
        self._most = most
        self._groups = [Groups(self._find, field, monotonic) for field in GROUPED_BY]
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
        grouped = [job for groups in self._groups for job in await groups.look(priority, awake, oldest)]
        return [*oldest, *nearest, *grouped]

    async def _of_no_known_class(self) -> list[Document]:
        """Read some jobs whose class lies between those that there are: whoever places jobs sets them aside."""
        names = sorted(Priority)
        found = list(await self._find({**self._wanted, "priority": None}, ["submitted_at"], OF_EACH))
        for name, following in zip(("", *names), (*names, None), strict=True):
            between = Range(at_least=name + AFTER_EVERYTHING if name else "", below=following)
            found += await self._find({**self._wanted, "priority": between}, ["priority"], OF_EACH)
        return found

    async def _find(self, where: Mapping[str, Any], order: Sequence[str], most: int) -> Sequence[Document]:
        return await self._documents.find("jobs", where, order=order, limit=most)


class Groups:
    """Looks at the oldest ready jobs of every tenant, or of every analyzer, in classes that are crowded."""

    def __init__(self, find: Find, field: str, monotonic: Callable[[], float]) -> None:
        self._find = find
        self._field = field
        self._monotonic = monotonic
        self._turns: dict[Priority, str] = {}
        """At which name the next scan of a class begins."""
        self._scanned: dict[Priority, tuple[float, Sequence[str]]] = {}
        """When a class was scanned last, and whose jobs were found."""

    async def look(
        self, priority: Priority, of_class: Mapping[str, Any], oldest: Sequence[Document]
    ) -> Sequence[Document]:
        """Read the oldest jobs of each; where all were read lately, of those that have none among the `oldest`."""
        now = self._monotonic()
        at, known = self._scanned.get(priority, (-math.inf, ()))
        if now - at >= SCAN_SECONDS:
            shown = await self._of_every_one(priority, of_class)
            self._scanned[priority] = now, list(dict.fromkeys(self._name(job) for job in shown))
            return shown
        seen = {self._name(job) for job in oldest}
        hidden = [name for name in known if name not in seen][:QUESTIONS]
        return [
            job
            for name in hidden
            for job in await self._find({**of_class, self._field: name}, ["submitted_at"], OF_EACH)
        ]

    async def _of_every_one(self, priority: Priority, of_class: Mapping[str, Any]) -> list[Document]:
        """Read the oldest jobs of each, name by name; begin where the last scan had to stop, and wrap round."""
        begin, shown, left = self._turns.pop(priority, ""), list[Document](), QUESTIONS
        for name, below in ((begin, None), ("", begin)) if begin else (("", None),):
            after = name
            while left:
                left -= 1
                where = {**of_class, self._field: Range(at_least=after, below=below)}
                some = await self._find(where, [self._field, "submitted_at"], OF_EACH)
                shown += some
                if len(some) < OF_EACH:
                    break
                after = self._name(some[-1]) + AFTER_EVERYTHING
            else:
                self._turns[priority] = after
                break
        return shown

    def _name(self, job: Document) -> str:
        return job.tenant if self._field == "tenant" else str(job.body.get(self._field))
