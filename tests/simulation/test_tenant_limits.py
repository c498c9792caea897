"""Gateways that share a tenant's limits through the store, over a network that loses and delays, while some die."""

import asyncio
import contextlib
import datetime
import itertools
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aima_common.errors import TransientError, UnavailableError
from aima_common.ports import Ports
from aima_common.ports.documents import Insert
from aima_common.problems import ProblemError
from aima_gateway.pace import PART_SECONDS, Pace
from aima_gateway.tenant_limits import NOTHING, Amount, TenantLimits, day_of
from aima_gateway.tenant_rates import TenantRates
from aima_gateway.upload_room import LEASE_SECONDS, UploadRoom
from aima_gateway.usage import Usage
from tests.simulation.memory_documents import MemoryDocuments
from tests.simulation.memory_store import MemoryStore
from tests.simulation.network import Answer, Direct, Server, Wire
from tests.simulation.virtual_time import Process, run_virtually
from tests.simulation.world import START, ProcessClock

TENANT = "acme"
NOON = START - START % 86_400 + 43_200
"""So that no seed passes midnight: what a quota does then is tested by itself."""

SLOW_CALLS = 0.1
ANSWER_SECONDS = 2.0
"""How old the store's time may be when it arrives."""


class SlowWire(Wire):
    """A way on which a call takes its time now and then: others change meanwhile what was read before."""

    async def ask(self, question: Callable[[], Answer]) -> Answer:
        return await self.change(question)

    async def change(self, step: Callable[[], Answer]) -> Answer:
        await self._stall()
        answer = await super().change(step)
        await self._stall()
        return answer

    async def _stall(self) -> None:
        if self._rng.random() < SLOW_CALLS:
            await asyncio.sleep(self._rng.uniform(0.1, 1.0))


class World:
    """A store, a network, and gateway processes."""

    def __init__(self, seed: int, *, faults: bool, wire: type[Wire] = SlowWire) -> None:
        self._wire = wire
        self.rng = random.Random(seed)
        loop = asyncio.get_running_loop()
        self.store = MemoryStore(lambda: NOON + loop.time())
        self.server = Server("the store")
        if faults:
            self.server.lost_requests, self.server.lost_replies = 0.03, 0.15
        self.direct = MemoryDocuments(self.store, Direct())

    def gateway(self, name: str) -> tuple[Process, Ports]:
        """Make a process with its own clock and its own way to the store."""
        process = Process(name)
        process.wall_offset = self.rng.uniform(-30, 30)
        wire = self._wire(process, self.server, self.rng, lambda dying: dying.kill())
        return process, self._ports(MemoryDocuments(self.store, wire), ProcessClock(process))

    def outside(self) -> Ports:
        """Look at the store as nobody's process."""
        return self._ports(self.direct, ProcessClock(Process("outside")))

    def _ports(self, documents: MemoryDocuments, clock: ProcessClock) -> Ports:
        nothing: Any = None
        return Ports(nothing, documents, nothing, nothing, nothing, clock)


# ------------------------------------------------------------------------------------------------------------ pace


def most_beyond(passed: Sequence[float], pace: Pace) -> float:
    """Tell by how much the requests of any stretch of time exceed the pace and the burst."""
    worst, least = float("-inf"), float("inf")
    for count, at in enumerate(sorted(passed)):
        level = count - pace.per_second * at
        least = min(least, level)
        worst = max(worst, level - least + 1 - pace.burst)
    return worst


async def requests(seed: int, gateways: int, pace: Pace, *, shared: bool, faults: bool) -> list[float]:
    """Have clients ask several gateways for far more than the pace; tell when requests passed."""
    world, loop = World(seed, faults=faults), asyncio.get_running_loop()
    passed: list[float] = []

    async def client(rates: TenantRates, mean_seconds: float) -> None:
        while True:
            await asyncio.sleep(world.rng.expovariate(1 / mean_seconds))
            with contextlib.suppress(TransientError):
                if await rates.wait_seconds(TENANT, pace) == 0:
                    passed.append(loop.time())

    for number in range(gateways):
        process, ports = world.gateway(f"gateway {number}")
        rates = TenantRates(ports, shared=shared, rng=random.Random(world.rng.random()))
        for _ in range(3):
            process.start(client(rates, world.rng.choice([0.02, 0.1, 1.0])))
    await asyncio.sleep(20)
    if faults:
        world.server.go(silent=world.rng.random() < 0.5)
        await asyncio.sleep(8)
        world.server.come_back()
    await asyncio.sleep(20)
    return passed


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 10**6), st.integers(1, 5), st.sampled_from([Pace(1, 3), Pace(10, 40), Pace(40, 20)]), st.booleans()
)
def test_all_gateways_together_keep_a_tenants_pace_whatever_the_network_does(
    seed: int, gateways: int, pace: Pace, faults: bool
) -> None:
    passed = run_virtually(seed, lambda: requests(seed, gateways, pace, shared=True, faults=faults))
    assert most_beyond(passed, pace) <= pace.per_second * (PART_SECONDS + ANSWER_SECONDS)


@pytest.mark.parametrize("seed", range(3))
def test_each_gateway_by_itself_would_pass_a_multiple(seed: int) -> None:
    pace = Pace(10, 40)
    passed = run_virtually(seed, lambda: requests(seed, 5, pace, shared=False, faults=False))
    assert most_beyond(passed, pace) > 2 * pace.per_second * (PART_SECONDS + ANSWER_SECONDS)


@pytest.mark.parametrize("seed", range(3))
def test_a_tenant_that_asks_for_more_gets_what_it_may_have_and_the_store_is_asked_seldom(seed: int) -> None:
    pace = Pace(40, 20)

    async def busy() -> tuple[int, int]:
        world, passed = World(seed, faults=False, wire=Wire), 0

        async def client(rates: TenantRates) -> None:
            nonlocal passed
            while True:
                passed += await rates.wait_seconds(TENANT, pace) == 0
                await asyncio.sleep(0.02)

        for number in range(3):
            process, ports = world.gateway(f"gateway {number}")
            process.start(client(TenantRates(ports, rng=random.Random(number))))
        await asyncio.sleep(60)
        return passed, sum(world.store.outcomes.values())

    passed, writes = run_virtually(seed, busy)
    assert passed >= 0.85 * pace.per_second * 60
    assert writes < passed / 3


# --------------------------------------------------------------------------------------------------------- uploads

MOST = Amount(6, 60, 6000)
LIMITS = TenantLimits(uploads_at_once=MOST.uploads, items_per_day=MOST.items, bytes_per_day=MOST.bytes)
UPLOAD_SECONDS = 3.0
"""The longest upload: shorter than a lease, since a gateway that is cut off lets those go on that it let in."""


@dataclass
class Uploads:
    """What happened to the uploads of a world."""

    world: World
    sum: Amount = NOTHING
    """What is under way, and what was accepted: what the limits are for."""
    most: Amount = NOTHING
    refused: list[str] = field(default_factory=list)
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    async def one(self, room: UploadRoom) -> None:
        """Upload a file, with whatever comes of it."""
        rng = self.world.rng
        # Among many small files a few large ones: those need to ask where small ones still fit.
        size = rng.randint(300, 900) if rng.random() < 0.2 else rng.randint(1, 60)
        try:
            async with room.held(TENANT, LIMITS, Amount(1, 1, size)) as place:
                self._add(Amount(1, 1, size))
                kept = NOTHING
                try:
                    await asyncio.sleep(rng.choice([0.01, 0.1, rng.uniform(0.01, UPLOAD_SECONDS)]))
                    # 201, a refusal, an answer that was lost behind an item, and a repetition of an earlier request.
                    status, item, new = rng.choice(
                        [(201, True, True)] * 5 + [(422, False, False), (503, False, True), (503, False, False)]
                        + [(201, True, False)]
                    )  # fmt: skip
                    if new:
                        self.accept(size)
                        kept = Amount(0, 1, size)
                    place.ended(status, item=item)
                finally:
                    self._add(kept - Amount(1, 1, size))
        except ProblemError as error:
            self.refused.append(error.problem.code)
        except TransientError:
            self.refused.append("away")

    def accept(self, size: int) -> None:
        """Make an item, as an upload process would; its clock may be late."""
        at = self.world.store.now() - datetime.timedelta(seconds=self.world.rng.uniform(0, 5))
        body = {"accepted_at": at.isoformat(), "size_bytes": size}
        item = Insert(f"item-{next(self.numbers):05}", TENANT, "accepted", body)
        assert self.world.store.insert("items", item, (), None)

    def items(self) -> Amount:
        """Count what was accepted, anew."""
        found = self.world.store.find("items", {"tenant": TENANT})
        return Amount(0, len(found), sum(int(one.body["size_bytes"]) for one in found))

    def _add(self, step: Amount) -> None:
        self.sum += step
        now, most = self.sum, self.most
        self.most = Amount(*map(max, (now.uploads, now.items, now.bytes), (most.uploads, most.items, most.bytes)))


async def uploads(seed: int, gateways: int, *, shared: bool, faults: bool) -> tuple[Uploads, Any]:
    """Have clients upload through several gateways as fast as they may; look at the end what is left."""
    world = World(seed, faults=faults)
    seen = Uploads(world)

    async def client(room: UploadRoom, last: float) -> None:
        while asyncio.get_running_loop().time() < last:
            await seen.one(room)
            await asyncio.sleep(world.rng.expovariate(20))

    processes: list[Process] = []
    for number in range(gateways):
        process, ports = world.gateway(f"gateway {number}")
        room = UploadRoom(ports, shared=shared, rng=random.Random(number))
        processes.append(process)
        process.start(room.keep())
        for _ in range(4):
            process.start(client(room, 40.0))
    await asyncio.sleep(10)
    if faults:
        processes[0].kill()
        await asyncio.sleep(2)
        world.server.go(silent=world.rng.random() < 0.5)
        await asyncio.sleep(world.rng.uniform(1, 20))
        world.server.come_back()
    await asyncio.sleep(60 + LEASE_SECONDS)
    world.server.lost_requests = world.server.lost_replies = 0.0
    left = MOST - seen.items()
    if not shared:
        return seen, None
    return seen, (await _fits(world, left.bytes), await _fits(world, left.bytes + 1), left)


async def _fits(world: World, size: int) -> bool:
    room = UploadRoom(world.outside(), rng=random.Random(0))
    with contextlib.suppress(ProblemError):
        async with room.held(TENANT, LIMITS, Amount(1, 1, size)) as place:
            place.ended(422, item=False)
            return True
    return False


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 5), st.booleans())
def test_all_gateways_together_keep_a_tenants_uploads_within_its_limits(seed: int, gateways: int, faults: bool) -> None:
    seen, (rest_fits, more_fits, left) = run_virtually(
        seed, lambda: uploads(seed, gateways, shared=True, faults=faults)
    )
    assert seen.most.within(MOST)
    assert seen.items() == seen.sum
    # Once all is quiet exactly what was accepted counts: nothing is lost of a quota, and nothing is given twice.
    assert rest_fits == (left.items > 0)
    assert not more_fits


@pytest.mark.parametrize("seed", range(3))
def test_gateways_that_do_not_share_exceed_every_limit(seed: int) -> None:
    seen, _ = run_virtually(seed, lambda: uploads(seed, 5, shared=False, faults=False))
    assert seen.most.uploads > MOST.uploads
    assert not seen.items().within(MOST)


@pytest.mark.parametrize("seed", range(5))
def test_a_tenant_can_use_its_quota_up_and_is_told_when_it_ends(seed: int) -> None:
    seen, _ = run_virtually(seed, lambda: uploads(seed, 3, shared=True, faults=False))
    accepted = seen.items()
    assert accepted.items > 50 or accepted.bytes > 2700
    assert {"quota", "too_many_uploads"} >= set(seen.refused) >= {"quota"}


BYTES = TenantLimits(bytes_per_day=6000)


@dataclass
class Sender:
    """One gateway, whose uploads take five seconds and come to nothing."""

    room: UploadRoom
    under_way: int = 0

    async def send(self, size: int) -> bool:
        """Tell whether an upload of this size was let in."""
        try:
            async with self.room.held(TENANT, BYTES, Amount(1, 1, size)) as place:
                self.under_way += size
                await asyncio.sleep(5)
                self.under_way -= size
                place.ended(422, item=False)
        except ProblemError:
            return False
        return True


def _unanswered(ports: Ports) -> Callable[..., Awaitable[Any]]:
    change = ports.documents.transition

    async def done_but_not_told(*arguments: Any, **more: Any) -> Any:
        await change(*arguments, **more)
        raise UnavailableError("no answer came")

    return done_but_not_told


def test_whoever_comes_while_the_store_is_asked_waits_for_its_answer() -> None:
    async def scenario() -> tuple[int, list[bool]]:
        _, ports = World(0, faults=False).gateway("one")
        one = Sender(UploadRoom(ports))
        # What is to spare of the first one would do for the third, but not beside the second.
        assert await one.send(100)
        sending = [asyncio.create_task(one.send(5950))]
        await asyncio.sleep(0.001)
        sending.append(asyncio.create_task(one.send(100)))
        await asyncio.sleep(4)
        return one.under_way, await asyncio.gather(*sending)

    assert run_virtually(0, scenario) == (5950, [True, False])


@pytest.mark.parametrize("lost", [False, True])
def test_a_gateway_does_not_count_on_what_it_may_have_given_back(*, lost: bool) -> None:
    async def scenario() -> tuple[bool, bool]:
        world = World(0, faults=False)
        process, ports = world.gateway("one")
        one, two = Sender(UploadRoom(ports)), Sender(UploadRoom(world.gateway("two")[1]))
        process.start(one.room.keep())
        assert await one.send(1000)
        # Now idle, it gives back what it holds; the answer may get lost on its way.
        with mock.patch.object(
            ports.documents, "transition", _unanswered(ports) if lost else ports.documents.transition
        ):
            await asyncio.sleep(4)
        sending = asyncio.create_task(two.send(5900))
        await asyncio.sleep(0.5)
        assert two.under_way == 5900
        return await one.send(1000), await sending

    assert run_virtually(0, scenario) == (False, True)


# ----------------------------------------------------------------------------------------------------------- usage


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.floats(0, 50), st.integers(0, 1000)), max_size=60), st.integers(0, 10**6))
def test_what_was_used_today_is_the_sum_of_the_items_however_late_they_appear(
    items: list[tuple[float, int]], seed: int
) -> None:
    async def count() -> None:
        world = World(seed, faults=False)
        usage, expected = Usage(world.outside()), 0
        for number, (late, size) in enumerate(items):
            at = world.store.now() - datetime.timedelta(seconds=late)
            body = {"accepted_at": at.isoformat(), "size_bytes": size}
            world.store.insert("items", Insert(f"item-{number}", TENANT, "accepted", body), (), None)
            world.store.insert("items", Insert(f"other-{number}", "other", "accepted", body), (), None)
            expected += size
            await asyncio.sleep(world.rng.uniform(0, 20))
            assert await usage.today(TENANT) == Amount(0, number + 1, expected)
        assert day_of(world.store.now()) == day_of(datetime.datetime.fromtimestamp(NOON, datetime.UTC))

    run_virtually(seed, count)


def test_a_day_ends_at_midnight_and_everything_is_to_be_had_again() -> None:
    async def over_midnight() -> list[Amount]:
        world = World(0, faults=False)
        usage, seen = Usage(world.outside()), Uploads(world)
        seen.accept(10)
        before = await usage.today(TENANT)
        await asyncio.sleep(43_200)
        after = await usage.today(TENANT)
        await asyncio.sleep(10)
        seen.accept(7)
        return [before, after, await usage.today(TENANT)]

    assert run_virtually(0, over_midnight) == [Amount(0, 1, 10), Amount(), Amount(0, 1, 7)]
