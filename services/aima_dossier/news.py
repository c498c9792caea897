"""What a case was told of that no version covers yet, medium by medium.

A case is told of as often as it has media. Were it noted in the case's own document, every message would change that
one document, and MongoDB keep all their ids in it: 400 kB after 2,000 of them, written anew with each.
"""

import asyncio
import itertools
from collections.abc import Iterable, Sequence

from aima_common.ids import derive
from aima_common.pages import every
from aima_common.ports.documents import Change, Document, Documents, Expect, Insert, Outcome

COLLECTION = "news"
OPEN, COVERED = "open", "covered"

AT_A_TIME = 32
"""So many notes are changed at a time."""


class News:
    """Keeps the notes: one for each medium of a case."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    async def tell(self, case: str, tenant: str, medium: str, message: str) -> bool:
        """Note that a message told of a medium; False where it did so before and a version covers it."""
        identity, change = derive("news", case, medium), Change(state=OPEN)
        told = await self._documents.transition(COLLECTION, identity, change=change, inbox=message)
        if told.outcome is Outcome.MISSING:
            note = Insert(identity, tenant, OPEN, {"case": case, "medium": medium})
            if await self._documents.insert(COLLECTION, note, inbox=message):
                return True
            # Whoever was told something else of this medium has made it a moment ago.
            told = await self._documents.transition(COLLECTION, identity, change=change, inbox=message)
        return told.document is None or told.document.state == OPEN

    async def of(self, case: str) -> Sequence[Document]:
        """Read what no version of a case covers."""
        return [note async for note in every(self._documents, COLLECTION, {"case": case, "state": OPEN})]

    async def cover(self, notes: Iterable[Document]) -> None:
        """Say that a version covers what was noted; what was told of since then stays open."""
        change, waiting = Change(state=COVERED), iter(notes)
        while some := list(itertools.islice(waiting, AT_A_TIME)):
            await asyncio.gather(
                *(
                    self._documents.transition(
                        COLLECTION, note.id, expect=Expect(state=OPEN, version=note.version), change=change
                    )
                    for note in some
                )
            )

    async def cases(self) -> set[tuple[str, str]]:
        """Tell of which cases, and of which tenants, something is open."""
        return {(note.body["case"], note.tenant) async for note in every(self._documents, COLLECTION, {"state": OPEN})}
