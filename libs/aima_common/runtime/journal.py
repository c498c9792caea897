"""Who was in whose hands when a process died: what kills its consumer is found, and its partition goes on.

A record that ends the process cannot be caught by a handler. So a consumer writes down with which offset it begins a
partition; whoever begins there again without anything having been committed is warned, and handles what was in
hand then record by record, alone, each written down before it is looked at. What was in hand at three deaths, alone
at the last two, is set aside unread. While all goes well this costs one write per partition and assignment.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aima_common.ids import derive
from aima_common.ports.bus import Partition
from aima_common.ports.documents import Change, Documents, Insert

COLLECTION = "attempts"

DEATHS = 3
"""How many deaths of its consumer a record may witness."""


@dataclass(frozen=True)
class Beginning:
    """What is known of a partition when a consumer begins with it."""

    alone_until: int = 0
    """Records below this offset are under suspicion."""
    deaths: Mapping[int, int] = field(default_factory=dict)
    """How many deaths each of them witnessed."""


def judge(entry: Mapping[str, Any] | None, reader: str, first: int, end: int) -> Beginning:
    """Decide what to think of a partition that begins at `first`, with a batch up to `end`, after what was written."""
    if entry is None:
        return Beginning()
    deaths = {int(offset): count for offset, count in entry["deaths"].items() if int(offset) >= first}
    if entry["reader"] != reader:
        alone = entry["alone"]
        blamed = alone is not None and alone >= first
        if blamed:
            # The first death is the one that led to suspicion.
            deaths[alone] = deaths.get(alone, 1) + 1
        if blamed or entry["begun"] == first:
            return Beginning(max([end, *(offset + 1 for offset in deaths)]), deaths)
    return Beginning(max([0, *(offset + 1 for offset in deaths)]), deaths)


class Journal:
    """What a service has in hand, written down in the store."""

    def __init__(self, documents: Documents, service: str) -> None:
        self._documents = documents
        self._service = service
        self._reader = str(uuid.uuid4())

    async def begin(self, partition: Partition, first: int, end: int) -> Beginning:
        """Write down that a partition is begun; tell what is known of it."""
        found = await self._documents.load(COLLECTION, self._name(partition))
        beginning = judge(found.body if found else None, self._reader, first, end)
        await self._write(partition, begun=first, alone=None, deaths=beginning.deaths)
        return beginning

    async def alone(self, partition: Partition, offset: int) -> None:
        """Write down that this record alone is handled now."""
        await self._write(partition, alone=offset)

    async def survived(self, partition: Partition) -> None:
        """Write down that it did no harm, whatever else is the matter with it."""
        await self._write(partition, alone=None)

    async def release(self, partition: Partition) -> None:
        """Write down that a partition was given up by who lived: nothing that was in hand is to blame."""
        await self._write(partition, begun=-1, alone=None)

    async def die(self, partition: Partition, offset: int) -> int:
        """Write down a death that this process watched; tell how many there were at this offset."""
        found = await self._documents.load(COLLECTION, self._name(partition))
        before = found.body["deaths"].get(str(offset), 0) if found else 0
        await self._write(partition, begun=offset, alone=None, deaths={offset: before + 1})
        return int(before) + 1

    async def _write(self, partition: Partition, **values: Any) -> None:
        name, (topic, number) = self._name(partition), partition
        if "deaths" in values:
            values["deaths"] = {str(offset): count for offset, count in values["deaths"].items()}
        change = Change(set={"reader": self._reader, **values})
        if (await self._documents.transition(COLLECTION, name, change=change)).document is None:
            body = {"service": self._service, "topic": topic, "partition": number, "begun": -1, "alone": None}
            await self._documents.insert(
                COLLECTION, Insert(name, "", "open", body | {"deaths": {}, "reader": self._reader} | values)
            )

    def _name(self, partition: Partition) -> str:
        return derive("attempt", self._service, *partition)
