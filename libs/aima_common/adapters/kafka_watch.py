"""Who watches a member of a group: decisions and promises without a broker."""

from collections.abc import Hashable, Mapping
from typing import Protocol, TypeVar

from aima_common.errors import UnavailableError
from aima_common.ports.bus import Partition

STALL_SECONDS = 60.0
"""A partition that stands still this long while it grows has silently stopped (aiokafka issues 625, 1037)."""

UNASKED_SECONDS = 5.0
"""Who was not asked for so long had no occasion to move."""

Place = TypeVar("Place", bound=Hashable)


class PartitionLostError(UnavailableError):
    """Another member of the group owns the partition now."""


class Unfolding(Protocol):
    """Who is told where in the log a member looks, before and after: a compressed batch may end the process."""

    async def before(self, partition: Partition, offset: int) -> int:
        """Tell from where to read on: from here, or from behind a batch that must not be unfolded."""

    def after(self) -> None:
        """Be told that no harm was done."""


class Standstill:
    """Finds partitions that have not moved for long although their member asked for records all the time."""

    def __init__(self, now: float) -> None:
        self._seen: dict[Hashable, tuple[int, float]] = {}
        self._asked_at = self._looked_at = now

    def due(self, now: float) -> bool:
        """Note that records were asked for; tell whether it is time to look at the positions."""
        if now - self._asked_at > UNASKED_SECONDS:
            self._seen.clear()
        self._asked_at = now
        if now - self._looked_at < STALL_SECONDS / 4:
            return False
        self._looked_at = now
        return True

    def standing(self, positions: Mapping[Place, int], now: float) -> list[Place]:
        """List the partitions that have been at the same position for too long."""
        self._seen = {
            place: seen if (seen := self._seen.get(place)) and seen[0] == position else (position, now)
            for place, position in positions.items()
        }
        return [place for place in positions if now - self._seen[place][1] >= STALL_SECONDS]

    def forget(self) -> None:
        """Begin anew, as the partitions are others now."""
        self._seen.clear()
