"""Which cases wait for which media, and what they want of them; read for many media at a time."""

import itertools
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence

from aima_common.pages import every
from aima_common.ports.documents import Document, Documents
from aima_scheduler import domain

MANY = 400
"""So many media are looked at together: stores have limits on the values in one query."""


class Waiting:
    """Reads what upload owns: cases, and their items."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    async def media_of(
        self, case: str, tenant: str, medium: str | None = None, state: str | None = None
    ) -> AsyncIterator[list[str]]:
        """Walk the media of a case, or one of them, many at a time; of all items, or of those in a state."""
        where = {"case": case, "tenant": tenant}
        where |= {"medium": medium} if medium is not None else {}
        where |= {"state": state} if state is not None else {}
        media: dict[str, None] = {}
        async for item in every(self._documents, "items", where):
            media[str(item.body["medium"])] = None
            if len(media) == MANY:
                yield list(media)
                media.clear()
        if media:
            yield list(media)

    async def cases(self, media: Iterable[str]) -> Mapping[str, Sequence[Document]]:
        """Read for each of these media the open cases that wait for it."""
        names: dict[str, set[str]] = {medium: set() for medium in media}
        for some in chunks(names):
            async for item in every(self._documents, "items", {"medium": some, "state": "accepted"}):
                names[str(item.body["medium"])].add(str(item.body["case"]))
        found = await by_id(self._documents, "cases", set().union(*names.values()))
        return {
            medium: [found[name] for name in sorted(of_it) if name in found and found[name].state == "open"]
            for medium, of_it in names.items()
        }

    async def demands(self, media: Iterable[str]) -> Mapping[str, domain.Demand]:
        """Tell what is wanted of each of these media now; nothing of those for which no case says anything."""
        return demands_of(await self.cases(media))


def demands_of(waited_for: Mapping[str, Sequence[Document]]) -> dict[str, domain.Demand]:
    """Tell what cases want of their media; nothing of those for which no case says anything."""
    said = {
        medium: [case.body["options"] for case in cases if "options" in case.body]
        for medium, cases in waited_for.items()
    }
    return {medium: domain.demand(options) for medium, options in said.items() if options}


async def by_id(documents: Documents, collection: str, names: Iterable[str]) -> dict[str, Document]:
    """Read documents by their ids; those that are not there are left out."""
    found: dict[str, Document] = {}
    for some in chunks(names):
        found |= {one.id: one for one in await documents.find(collection, {"id": some}, limit=MANY)}
    return found


def chunks(values: Iterable[str]) -> Iterator[list[str]]:
    """Divide values into lists that fit into one query."""
    ahead = iter(values)
    while some := list(itertools.islice(ahead, MANY)):
        yield some
