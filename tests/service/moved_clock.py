"""Time that only the test moves."""

import datetime
from dataclasses import dataclass


@dataclass
class MovedClock:
    """A clock for ports and, called, for a store."""

    seconds: float = 1_800_000_000.0

    def __call__(self) -> float:
        """Tell seconds since 1970, as a store asks."""
        return self.seconds

    def now(self) -> datetime.datetime:
        """Tell the aware UTC time."""
        return datetime.datetime.fromtimestamp(self.seconds, datetime.UTC)

    def monotonic(self) -> float:
        """Tell seconds that never go back, unless the test moves them so."""
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        """Be there at once."""
        self.seconds += seconds
