"""Finds objects that nobody refers to, a part at a time: what is held of them stays small however many there are."""

from collections.abc import AsyncIterator, Collection, Sequence

import structlog

from aima_common.ids import derive
from aima_common.object_keys import is_result, medium_of, medium_of_original
from aima_common.pages import PAGE, every
from aima_common.ports import Ports
from aima_common.ports.objects import ObjectInfo
from aima_common.references import LETTING_GO, REFERRING, references
from aima_storage import domain

EVERY_SECONDS = 3600.0
"""Pause between two sweeps."""

MOST_SUSPECTS = 20_000
"""About so many objects that are not registered are looked for among all documents in one sweep, 5 MB of their keys;
the next sweep goes on behind them."""

log = structlog.get_logger()


class Sweeper:
    """Removes what a crash left behind, and what was made of a medium while it was erased."""

    def __init__(self, ports: Ports) -> None:
        self._documents = ports.documents
        self._objects = ports.objects
        self._clock = ports.clock
        self._looked_for = ""
        """Up to this key the last sweep has looked for who refers to an object."""

    async def sweep(self) -> None:
        """Remove what is litter now."""
        async for key in self.litter():
            log.info("object_swept", key=key)
            await self._objects.delete(key)

    async def litter(self) -> AsyncIterator[str]:
        """Name the objects that are litter; where very many are not registered, those of the next part of them."""
        now = self._clock.now().timestamp()
        suspects: list[str] = []
        async for part in self._parts(now - domain.LATE_SECONDS):
            late = await self._too_late(part)
            for key in late:
                yield key
            old = [info.key for info in part if now - info.modified_at > domain.ORPHAN_SECONDS]
            asked = [key for key in old if key > self._looked_for and key not in late and not is_result(key)]
            if asked and len(suspects) < MOST_SUSPECTS:
                suspects += await self._unregistered(asked)
        self._looked_for = suspects[-1] if len(suspects) >= MOST_SUSPECTS else ""
        for key in await self._unreferred(suspects):
            if not await self._is_taken_up(key):
                yield key

    async def _parts(self, before: float) -> AsyncIterator[Sequence[ObjectInfo]]:
        """Walk the objects that were written before a time, in the order of their keys."""
        part: list[ObjectInfo] = []
        async for info in self._objects.list("t/"):
            if info.modified_at < before:
                part.append(info)
            if len(part) == PAGE:
                yield part
                part = []
        if part:
            yield part

    async def _too_late(self, part: Sequence[ObjectInfo]) -> Collection[str]:
        """Name what was made of media that have been erased."""
        about = {info.key: medium for info in part if (medium := medium_of(info.key)) is not None}
        media = sorted(set(about.values()))
        found = await self._documents.find("media", {"id": media, "state": "erased"}, limit=PAGE) if media else ()
        erased = {medium.id for medium in found}
        return {key for key, medium in about.items() if medium in erased}

    async def _unregistered(self, keys: Sequence[str]) -> list[str]:
        """Choose the objects that the register does not know: most are known, and need not be looked for."""
        ids = [derive("location", key) for key in keys]
        found = await self._documents.find("locations", {"id": ids}, limit=len(ids))
        known = {location.body["key"] for location in found if location.state not in LETTING_GO}
        return [key for key in keys if key not in known]

    async def _unreferred(self, suspects: Sequence[str]) -> Collection[str]:
        """Choose those that no document refers to. They were there before anybody looks at the documents."""
        left = dict.fromkeys(suspects)
        for name in REFERRING:
            if left:
                async for document in every(self._documents, name):
                    for key in references({name: [document]}):
                        left.pop(key, None)
        return left

    async def _is_taken_up(self, key: str) -> bool:
        """Tell whether the same bytes were uploaded again while everything was looked at."""
        medium = medium_of_original(key)
        found = await self._documents.find("media", {"id": medium}, limit=1) if medium else ()
        return key in references({"media": found})
