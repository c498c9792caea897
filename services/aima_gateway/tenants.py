"""The collection `tenants`: limits that an operator set for single tenants."""

import time
from collections.abc import Callable, Mapping

from aima_common.errors import TransientError
from aima_common.ports.documents import Change, Documents, Expect, Insert
from aima_gateway.tenant_limits import NAMES, TenantLimits

KNOWN_SECONDS = 10.0
"""How late a changed limit is noticed."""

REMEMBERED = 10_000

COLLECTION = "tenants"


class Tenants:
    """Reads the limits of tenants, each at most every few seconds."""

    def __init__(
        self, documents: Documents, usual: TenantLimits, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._documents = documents
        self._usual = usual
        self._monotonic = monotonic
        self._known: dict[str, tuple[float, TenantLimits]] = {}

    async def limits(self, tenant: str) -> TenantLimits:
        """Tell a tenant's limits; while the store is away the last ones known, else raise `TransientError`."""
        now = self._monotonic()
        known = self._known.get(tenant)
        if known and now - known[0] < KNOWN_SECONDS:
            return known[1]
        try:
            found = await self._documents.load(COLLECTION, tenant)
        except TransientError:
            if known:
                return known[1]
            raise
        limits = self._usual.changed_by(found.body["limits"]) if found else self._usual
        self._known.pop(tenant, None)
        self._known[tenant] = now, limits
        if len(self._known) > REMEMBERED:
            self._known.pop(next(iter(self._known)))
        return limits

    async def change(self, tenant: str, chosen: Mapping[str, int | None]) -> TenantLimits:
        """Set some of a tenant's limits; 0 is "no limit", None "as everybody". Returns what holds then."""
        while True:
            found = await self._documents.load(COLLECTION, tenant)
            body = dict(found.body["limits"]) if found else {}
            body = {name: value for name, value in {**body, **chosen}.items() if value is not None and name in NAMES}
            if found is None:
                done = await self._documents.insert(COLLECTION, Insert(tenant, tenant, "open", {"limits": body}))
            else:
                expect, change = Expect(version=found.version), Change(set={"limits": body})
                done = (await self._documents.transition(COLLECTION, tenant, expect=expect, change=change)).applied
            if done:
                return self._usual.changed_by(body)
