"""What each tenant had accepted today: counted from the items themselves.

There is no counter that could differ from the work that it counts: an item is in the store or it is not, however
often its upload was repeated and whatever died meanwhile. A gateway keeps the sum up by reading what is new.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from aima_common.jobs.store_time import StoreTime
from aima_common.ports import Ports
from aima_common.ports.documents import Range
from aima_gateway.tenant_limits import Accepted, Amount, Tally, day_after, day_of

OVERLAP_SECONDS = 60.0
"""How late an item may appear behind the time that is written on it, and still be seen at once: the clocks of upload
processes differ, and writing takes its time."""

RECOUNT_SECONDS = 3600.0
"""How often the whole day is counted anew: what appeared even later is seen then."""

PAGE = 300
"""Items that are read at once: what a page costs, other requests wait for."""

REMEMBERED = 1000


@dataclass
class _Counted:
    tally: Tally
    begun_at: float


class Usage:
    """Sums of accepted items by tenant, for the day of UTC that it is."""

    def __init__(self, ports: Ports, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._documents = ports.documents
        self._time = StoreTime(ports.documents, ports.clock)
        self._monotonic = monotonic
        self._counted: dict[str, _Counted] = {}

    async def today(self, tenant: str) -> Amount:
        """Tell how many items, and how many bytes, are accepted by now; not to be asked twice at once for a tenant."""
        tally = self._tally(tenant, day_of(await self._time.now()))
        while await self._read(tenant, tally):
            tally.forget()
        tally.forget()
        return tally.sum

    async def _read(self, tenant: str, tally: Tally) -> bool:
        """Count the next page; tell whether there may be more."""
        where = {"tenant": tenant, "accepted_at": Range(at_least=tally.reads_from, below=day_after(tally.day))}
        limit = PAGE + tally.remembered
        found = await self._documents.find("items", where, order=["accepted_at"], limit=limit)
        tally.add(Accepted(one.id, str(one.body["accepted_at"]), int(one.body["size_bytes"])) for one in found)
        return len(found) == limit

    def _tally(self, tenant: str, day: str) -> Tally:
        now = self._monotonic()
        counted = self._counted.pop(tenant, None)
        if counted is None or counted.tally.day != day or now - counted.begun_at > RECOUNT_SECONDS:
            counted = _Counted(Tally(day, OVERLAP_SECONDS), now)
        self._counted[tenant] = counted
        if len(self._counted) > REMEMBERED:
            self._counted.pop(next(iter(self._counted)))
        return counted.tally
