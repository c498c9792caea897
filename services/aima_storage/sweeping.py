"""Finds objects that nobody refers to, a part at a time: what is held of them stays small however many there are."""

from collections.abc import AsyncIterator, Iterable, Sequence

import structlog

from aima_common import erasures
from aima_common.object_keys import is_result, medium_of
from aima_common.pages import every
from aima_common.ports import Ports
from aima_common.ports.objects import ObjectInfo
from aima_common.references import REFERRING, references
from aima_storage import domain

EVERY_SECONDS = 3600.0
"""Pause between two sweeps."""

AT_A_TIME = 200
"""Objects of a part: what refers to them is asked for together."""

log = structlog.get_logger()


class Sweeper:
    """Removes what a crash left behind, and what was made of a medium while it was erased."""

    def __init__(self, ports: Ports) -> None:
        self._documents = ports.documents
        self._objects = ports.objects
        self._clock = ports.clock

    async def sweep(self) -> None:
        """Remove what is litter now."""
        async for key in self.litter():
            log.info("object_swept", key=key)
            await self._objects.delete(key)

    async def litter(self) -> AsyncIterator[str]:
        """Name the objects that are litter, each of them in the moment in which it is certain.

        An object whose name does not say which medium or case it is about is nobody's to remove.
        """
        now = self._clock.now().timestamp()
        async for part in self._parts(now - domain.LATE_SECONDS):
            for key in await self._too_late(part):
                if (medium := medium_of(key)) is not None and await erasures.is_erased(self._documents, medium):
                    yield key
            old = [info.key for info in part if now - info.modified_at > domain.ORPHAN_SECONDS]
            suspects = [key for key in old if domain.is_named(key) and not is_result(key)]
            for key in await self._unreferred(suspects):
                # Once more: meanwhile the same bytes may have been made again, and somebody refer to them.
                if await self._unreferred([key]):
                    yield key

    async def _parts(self, before: float) -> AsyncIterator[Sequence[ObjectInfo]]:
        """Walk the objects that were written before a time, in the order of their keys."""
        part: list[ObjectInfo] = []
        async for info in self._objects.list("t/"):
            if info.modified_at < before:
                part.append(info)
            if len(part) == AT_A_TIME:
                yield part
                part = []
        if part:
            yield part

    async def _too_late(self, part: Sequence[ObjectInfo]) -> Sequence[str]:
        """Name what was made of media that have been erased."""
        about = {info.key: medium for info in part if (medium := medium_of(info.key)) is not None}
        where = {"id": sorted(set(about.values())), "state": "erased"}
        erased = {medium.id async for medium in every(self._documents, "media", where)} if about else set()
        return [key for key, medium in about.items() if medium in erased]

    async def _unreferred(self, keys: Iterable[str]) -> Sequence[str]:
        """Choose the objects that no document about their medium or case refers to."""
        left = dict.fromkeys(keys)
        for collection in REFERRING:
            if where := domain.where_referred(collection, left):
                async for document in every(self._documents, collection, where):
                    for key in references({collection: [document]}):
                        left.pop(key, None)
        return list(left)
