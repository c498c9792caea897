"""The pace of each tenant's requests, kept by all gateways together.

The store holds one number per tenant (GCRA, `aima_gateway.pace`), and a gateway takes parts of the budget from it, each
by one compare-and-set and to be spent within `PART_SECONDS`; requests are then counted in memory. So however many
gateways there are, and however their clocks are set, all of them together pass in any `T` seconds at most

    burst + rate × (T + PART_SECONDS)

requests of a tenant, give or take what comes due while the store answers: all that passes was taken from the one
budget, at most `PART_SECONDS` before. A busy gateway asks the store a few times a second and tenant at the most, a
quiet one every few seconds.
"""

import asyncio
import random
from dataclasses import dataclass, field

from aima_common.errors import UnavailableError
from aima_common.jobs.store_time import StoreTime
from aima_common.ports import Ports
from aima_common.ports.documents import Change, Document, Expect, Insert
from aima_gateway.limits import Rate
from aima_gateway.pace import Pace, Part, Spent, least_part, spend

COLLECTION = "counters"

ATTEMPTS = 20
"""Compare-and-sets that other gateways may win before the store counts as away."""

REMEMBERED = 10_000


@dataclass
class _Share:
    """What this gateway knows of one tenant's budget."""

    part: Part = field(default_factory=Part)
    closed_until: float = float("-inf")
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)


class TenantRates:
    """Lets each tenant's requests pass at its pace. With `shared` off every process counts for itself alone."""

    def __init__(self, ports: Ports, *, shared: bool = True, rng: random.Random | None = None) -> None:
        self._documents = ports.documents
        self._clock = ports.clock
        self._time = StoreTime(ports.documents, ports.clock)
        self._shared = shared
        self._rng = rng or random.Random()
        self._shares: dict[str, _Share] = {}
        self._alone = Rate(REMEMBERED)

    async def wait_seconds(self, tenant: str, pace: Pace) -> float:
        """Take one request; 0.0 when it may pass, else the seconds until one may.

        Raises `TransientError` when the store is away and nothing is left of this gateway's part.
        """
        if not self._shared:
            return self.wait_alone(tenant, pace)
        share = self._share(tenant)
        if (wait := self._at_once(share)) is not None:
            return wait
        async with share.asking:
            # Those who waited meanwhile find what the first of them got.
            if (wait := self._at_once(share)) is None:
                await self._ask(tenant, pace, share)
                wait = self._at_once(share)
        if wait is None:
            raise UnavailableError("the store answers too late to count by it", code="counter_slow")
        return wait

    def wait_alone(self, tenant: str, pace: Pace) -> float:
        """Take one request by what this gateway alone has seen."""
        return self._alone.wait_seconds(tenant, self._clock.monotonic(), pace)

    def _at_once(self, share: _Share) -> float | None:
        now = self._clock.monotonic()
        if share.part.take(now):
            return 0.0
        return share.closed_until - now if now < share.closed_until else None

    async def _ask(self, tenant: str, pace: Pace, share: _Share) -> None:
        asked_at = self._clock.monotonic()
        spent = await self._take(tenant, pace, share.part.next_size(pace, asked_at))
        if spent.count:
            share.part.receive(spent.count, asked_at)
        else:
            # Refusing costs nothing from here on: whoever sends too fast does not reach the store.
            share.closed_until = self._clock.monotonic() + spent.wait_seconds

    async def _take(self, tenant: str, pace: Pace, wanted: int) -> Spent:
        identity = f"pace/{tenant}"
        known = await self._documents.load(COLLECTION, identity)
        for _ in range(ATTEMPTS):
            now = (await self._time.now()).timestamp()
            if known is None:
                await self._documents.insert(COLLECTION, Insert(identity, tenant, "open", {"due": 0.0}))
                known = await self._documents.load(COLLECTION, identity)
                continue
            spent = spend(pace, float(known.body["due"]), now, wanted, least_part(pace, wanted))
            if not spent.count:
                return spent
            done = await self._documents.transition(
                COLLECTION, identity, expect=Expect(version=known.version), change=Change(set={"due": spent.due})
            )
            if done.applied:
                return spent
            known = await self._after_defeat(done.document)
        raise UnavailableError("other gateways changed the counter every time", code="counter_contended")

    async def _after_defeat(self, seen: Document | None) -> Document | None:
        await self._clock.sleep(self._rng.uniform(0.0, 0.005))
        return seen

    def _share(self, tenant: str) -> _Share:
        share = self._shares.pop(tenant, None) or _Share()
        self._shares[tenant] = share
        if len(self._shares) > REMEMBERED:
            self._shares.pop(next(iter(self._shares)))
        return share
