"""Time, passed in."""

import datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time for people, monotonic time for self-fencing; leases use the store's time."""

    def now(self) -> datetime.datetime:
        """Tell the aware UTC time."""

    def monotonic(self) -> float:
        """Tell seconds that never go back; only differences mean something."""

    async def sleep(self, seconds: float) -> None:
        """Wait."""
