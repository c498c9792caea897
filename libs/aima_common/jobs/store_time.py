"""The store's time without a question each time."""

import datetime

from aima_common.ports.clock import Clock
from aima_common.ports.documents import Documents

TRUSTED_SECONDS = 5.0
"""How long an answer is carried on; no clock drifts by a noticeable amount in that time."""


class StoreTime:
    """What the store's clock said last, carried on by this process's monotonic clock.

    For stamps that people read and pauses between attempts. Leases are the store's own business: it stamps them itself.
    """

    def __init__(self, documents: Documents, clock: Clock) -> None:
        self._documents = documents
        self._clock = clock
        self._told: tuple[datetime.datetime, float] | None = None

    async def now(self) -> datetime.datetime:
        """Tell the store's time, a moment late at the most by as much as an answer takes."""
        at = self._clock.monotonic()
        if self._told is None or at - self._told[1] > TRUSTED_SECONDS:
            told = await self._documents.now()
            self._told = told, self._clock.monotonic()
            return told
        told, since = self._told
        return told + datetime.timedelta(seconds=at - since)
