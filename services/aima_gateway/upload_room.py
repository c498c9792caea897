"""How many uploads of a tenant are under way, and what they may add to its quota, in all gateways together.

The store holds one document per tenant that says what each gateway holds of the tenant's limits, by lease. A gateway
that needs more asks by one compare-and-set, gets some more than it needs, and then counts in memory. What it holds and
what was accepted today (`usage`) never exceed a limit together, because

- a gateway reads what the others hold before it reads what was accepted: what they let go of has become an item
  by then, or never will;
- it lets go of what became an item only after it has read that item.

So the bound is the limit itself, with two exceptions that are named here: a gateway that is cut off from the store
loses its lease and goes on with uploads that it had let in; and an upload whose connection broke may still be accepted
when it is counted no more. Both exceed a limit by no more than those uploads.
"""

import asyncio
import contextlib
import math
import random
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import structlog

from aima_common.errors import TransientError, UnavailableError
from aima_common.jobs.store_time import StoreTime
from aima_common.ports import Ports
from aima_common.ports.documents import Change, Expect, Insert
from aima_common.problems import Problem, ProblemError, later
from aima_gateway.tenant_limits import (
    NOTHING,
    Amount,
    Holders,
    Shortage,
    TenantLimits,
    grant,
    held_by_others,
    holders_with,
    seconds_left,
)
from aima_gateway.usage import Usage

COLLECTION = "counters"

LEASE_SECONDS = 15.0
"""How long what a gateway held stays taken after it died."""

TRUSTED_SECONDS = 10.0
"""How long a gateway relies on its lease."""

RENEWED_SECONDS = 5.0
"""It is renewed when it is trusted for less than this."""

KEEP_SECONDS = 1.0
"""How long other gateways count too much at the most: what has ended here, and what has become an item."""

ATTEMPTS = 20
REFUSED_SECONDS = 1.0
"""How long a refusal is repeated without asking the store again: who sends on does no harm."""

log = structlog.get_logger()


@dataclass
class Place:
    """The place of one upload."""

    may_count: bool = True
    """Whether an item may have come of it, as far as anybody knows."""

    def ended(self, status: int, *, item: bool) -> None:
        """Note how it ended: with an item, or refused; after a failure (5xx) nobody knows."""
        self.may_count = item or status >= 500


@dataclass
class _Holding:
    """What this gateway holds for one tenant."""

    limits: TenantLimits
    granted: Amount = NOTHING
    trusted_until: float = float("-inf")
    under_way: Amount = NOTHING
    spent: Amount = NOTHING
    """What has become items, as far as they have not been read."""
    touched: bool = True
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)
    refusal: tuple[float, Amount, Problem] | None = None

    def fits(self, one: Amount, now: float) -> bool:
        """Tell whether one more upload can begin without asking the store."""
        return now < self.trusted_until and (self.under_way + self.spent + one).within(self.granted)


class UploadRoom:
    """Gives each upload its place. With `shared` off every process counts for itself alone."""

    def __init__(self, ports: Ports, *, shared: bool = True, rng: random.Random | None = None) -> None:
        self._documents = ports.documents
        self._clock = ports.clock
        self._time = StoreTime(ports.documents, ports.clock)
        self._usage = Usage(ports, ports.clock.monotonic)
        self._shared = shared
        self._rng = rng or random.Random()
        self._me = uuid.uuid4().hex
        self._holdings: dict[str, _Holding] = {}

    @contextlib.asynccontextmanager
    async def held(self, tenant: str, limits: TenantLimits, one: Amount) -> AsyncIterator[Place]:
        """Hold a place while an upload is under way.

        Raises `ProblemError` (429) when a limit of the tenant is reached, and `TransientError` when the store is away.
        """
        holding = self._holdings.setdefault(tenant, _Holding(limits))
        if holding.limits != limits:
            # What was granted, was granted by other limits.
            holding.limits, holding.trusted_until = limits, float("-inf")
        holding.touched = True
        await self._enter(tenant, holding, one)
        place = Place()
        try:
            yield place
        finally:
            holding.under_way -= one
            if place.may_count:
                holding.spent += Amount(0, one.items, one.bytes)

    async def keep(self) -> None:
        """Renew what is held while it is needed, and let go of the rest, until cancelled."""
        try:
            while True:
                await self._clock.sleep(KEEP_SECONDS)
                for tenant, holding in list(self._holdings.items()):
                    await self._keep_one(tenant, holding)
        finally:
            with contextlib.suppress(TransientError, TimeoutError):
                async with asyncio.timeout(1.0):
                    for tenant, holding in list(self._holdings.items()):
                        await self._write(tenant, holding, NOTHING, ending=True)

    async def _keep_one(self, tenant: str, holding: _Holding) -> None:
        idle = holding.under_way == NOTHING and not holding.touched
        if idle and holding.granted == NOTHING and not holding.asking.locked():
            self._holdings.pop(tenant, None)
            return
        holding.touched = False
        late = holding.trusted_until - self._clock.monotonic() < RENEWED_SECONDS
        settles = holding.limits.has_quota and holding.spent != NOTHING
        if not (idle or late or settles):
            return
        try:
            async with holding.asking:
                await self._write(tenant, holding, NOTHING, ending=idle)
        except TransientError as error:
            log.warning("limits_not_renewed", tenant=tenant, reason=str(error))

    async def _enter(self, tenant: str, holding: _Holding, one: Amount) -> None:
        # While the store is asked nobody enters by what was granted before: the answer may be less.
        if not holding.asking.locked() and holding.fits(one, self._clock.monotonic()):
            holding.under_way += one
            return
        async with holding.asking:
            if not holding.fits(one, self._clock.monotonic()):
                self._refuse_again(holding, one)
                await self._write(tenant, holding, one)
            if not holding.fits(one, self._clock.monotonic()):
                raise UnavailableError("the store answers too late to count by it", code="counter_slow")
            holding.under_way += one

    def _refuse_again(self, holding: _Holding, one: Amount) -> None:
        if holding.refusal is None:
            return
        until, refused, problem = holding.refusal
        if self._clock.monotonic() < until and refused.within(one):
            raise ProblemError(problem)
        holding.refusal = None

    async def _write(self, tenant: str, holding: _Holding, one: Amount, *, ending: bool = False) -> None:
        """Have the store say what this gateway holds: what is under way, `one` more, and some to spare."""
        identity = f"room/{tenant}"
        for _ in range(ATTEMPTS):
            asked_at = self._clock.monotonic()
            known = await self._documents.load(COLLECTION, identity) if self._shared else None
            holders: Holders = known.body["holders"] if known else {}
            settled = holding.spent
            now = (await self._time.now()).timestamp()
            accepted = await self._usage.today(tenant) if holding.limits.has_quota else NOTHING
            needed = holding.under_way + (holding.spent - settled) + one
            wanted = self._wanted(holding, accepted, held_by_others(holders, self._me, now), needed, one)
            wanted = NOTHING if ending and needed == NOTHING else wanted
            # Should the answer be lost, this gateway must not count on more than the store may say.
            holding.granted = _smaller(holding.granted, wanted + settled)
            mine = holders_with(holders, self._me, wanted, now + LEASE_SECONDS, now)
            if await self._replace(identity, tenant, known.version if known else None, mine):
                holding.granted, holding.spent = wanted, holding.spent - settled
                holding.trusted_until = asked_at + TRUSTED_SECONDS
                return
            await self._clock.sleep(self._rng.uniform(0.0, 0.005))
        raise UnavailableError("other gateways changed the counter every time", code="counter_contended")

    def _wanted(self, holding: _Holding, accepted: Amount, others: Amount, needed: Amount, one: Amount) -> Amount:
        decided = grant(holding.limits, accepted, others, needed)
        if isinstance(decided, Amount):
            return decided
        if one == NOTHING:
            # A limit may have been lowered; what is under way is held all the same.
            return needed
        refusal = self._problem(decided)
        holding.refusal = self._clock.monotonic() + REFUSED_SECONDS, one, refusal.problem
        raise refusal

    async def _replace(self, identity: str, tenant: str, version: int | None, holders: Holders) -> bool:
        if not self._shared:
            return True
        if version is None:
            if not holders:
                return True
            return await self._documents.insert(
                COLLECTION, Insert(identity, tenant, "open", {"holders": dict(holders)})
            )
        change = Change(set={"holders": dict(holders)})
        return (
            await self._documents.transition(COLLECTION, identity, expect=Expect(version=version), change=change)
        ).applied

    def _problem(self, shortage: Shortage) -> ProblemError:
        if shortage.of == "uploads_at_once":
            detail = f"{shortage.limit} uploads of this tenant are under way, and that is its limit"
            return later(429, "too_many_uploads", detail, self._rng.randint(1, 3))
        unit = "items" if shortage.of == "items_per_day" else "bytes"
        detail = f"{shortage.accepted} of the {shortage.limit} {unit} that this tenant may upload a day are used"
        if shortage.under_way:
            return later(429, "quota", f"{detail}, and uploads under way may use the rest", self._rng.randint(2, 5))
        return later(429, "quota", f"{detail}, and this upload is more than the rest", self._until_tomorrow())

    def _until_tomorrow(self) -> int:
        return math.ceil(seconds_left(self._clock.now())) + self._rng.randint(0, 60)


def _smaller(one: Amount, other: Amount) -> Amount:
    return Amount(min(one.uploads, other.uploads), min(one.items, other.items), min(one.bytes, other.bytes))
