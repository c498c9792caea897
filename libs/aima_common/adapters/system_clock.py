"""The real time."""

import asyncio
import datetime
import time


class SystemClock:
    """The plug of `Clock` that everybody but tests uses."""

    def now(self) -> datetime.datetime:
        """Tell the aware UTC time."""
        return datetime.datetime.now(datetime.UTC)

    def monotonic(self) -> float:
        """Tell seconds that never go back."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)
