"""What a member of a group has fetched and not delivered yet."""

from collections import deque
from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

Place = TypeVar("Place", bound=Hashable)
Item = TypeVar("Item")


class Fetched(Generic[Place, Item]):
    """Records in the order in which they came; those of a partition that is paused wait, and hold up no others."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Place, Sequence[Item]]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, found: Mapping[Place, Sequence[Item]]) -> None:
        """Put records behind those that wait."""
        self._waiting.extend(found.items())

    def take(self, paused: Collection[Place]) -> Sequence[Item] | None:
        """Take out the oldest records of one partition that is not paused; None where there are none."""
        for number, (place, records) in enumerate(self._waiting):
            if place not in paused:
                del self._waiting[number]
                return records
        return None

    def clear(self) -> None:
        """Forget them all."""
        self._waiting.clear()
