"""The tenant's part of every request: its pace, and its place while it uploads."""

import contextlib
import math
import random
from collections.abc import AsyncIterator

from aima_common.errors import TransientError
from aima_common.ports import Ports
from aima_common.problems import later
from aima_gateway.tenant_limits import Amount, TenantLimits
from aima_gateway.tenant_rates import TenantRates
from aima_gateway.tenants import Tenants
from aima_gateway.upload_room import Place, UploadRoom


class TenantDoor:
    """Keeps every tenant within its limits, in all gateways together.

    While the store that counts is away, uploads are refused, since nobody could tell what they add up to, and reads
    pass by what this gateway alone has seen.
    """

    def __init__(
        self, ports: Ports, usual: TenantLimits, *, shared: bool = True, rng: random.Random | None = None
    ) -> None:
        self.tenants = Tenants(ports.documents, usual, ports.clock.monotonic)
        self.room = UploadRoom(ports, shared=shared, rng=rng)
        self._rates = TenantRates(ports, shared=shared, rng=rng)
        self._usual = usual

    async def admit(self, tenant: str, *, uploading: bool) -> None:
        """Take one request of the tenant's pace; raise `ProblemError` (429), or `TransientError` for an upload."""
        wait = await self._wait_seconds(tenant, uploading=uploading)
        if wait > 0:
            detail = "this tenant's keys together send requests too fast"
            raise later(429, "too_many_requests", detail, math.ceil(wait))

    async def limits(self, tenant: str) -> TenantLimits:
        """Tell the tenant's limits; raise `TransientError` when the store is away."""
        return await self.tenants.limits(tenant)

    @contextlib.asynccontextmanager
    async def place(self, tenant: str, limits: TenantLimits, one: Amount) -> AsyncIterator[Place]:
        """Hold the place of one upload; raise `ProblemError` (429), or `TransientError` when the store is away."""
        if not limits.bounds_uploads:
            yield Place()
            return
        async with self.room.held(tenant, limits, one) as place:
            yield place

    async def _wait_seconds(self, tenant: str, *, uploading: bool) -> float:
        pace = self._usual.pace
        try:
            pace = (await self.tenants.limits(tenant)).pace
            return await self._rates.wait_seconds(tenant, pace) if pace else 0.0
        except TransientError:
            if uploading:
                raise
            return self._rates.wait_alone(tenant, pace) if pace else 0.0
