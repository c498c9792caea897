"""What every plug for the bus promises to who has too much in hand: pausing, resuming, and being told of losses."""

import asyncio
import contextlib
from collections.abc import Collection

from aima_common.ports.bus import Bus, Delivery, Partition
from tests.contract.bus_promise import acknowledge, listening, records, until, values

SILENCE_SECONDS = 1.0
"""Long enough to hear what would come."""


def partitions_of(deliveries: Collection[Delivery]) -> set[Partition]:
    return {(delivery.record.topic, delivery.partition) for delivery in deliveries}


class BrakingPromise:
    """Tests of `Subscription`; the fixtures are those of `BusPromise`."""

    async def test_a_member_knows_its_partitions(self, bus: Bus, topic: str, group: str) -> None:
        heard: list[Delivery] = []
        await bus.publish(records(topic, 40))
        async with bus.subscribe(group, [topic]) as member, listening(member, heard):
            await until(lambda: len(heard) == 40)
            assert set(member.partitions) == {(topic, number) for number in range(4)}

    async def test_a_paused_partition_is_silent_while_the_others_go_on(self, bus: Bus, topic: str, group: str) -> None:
        heard: list[Delivery] = []
        await bus.publish(records(topic, 40))
        async with bus.subscribe(group, [topic]) as member, listening(member, heard):
            await until(lambda: len(heard) == 40)
            paused = {(topic, 0), (topic, 2)}
            member.pause(paused)
            heard.clear()
            await bus.publish(records(topic, 40))
            await until(lambda: partitions_of(heard) == {(topic, 1), (topic, 3)})
            await asyncio.sleep(SILENCE_SECONDS)
            assert partitions_of(heard).isdisjoint(paused)
            member.resume(paused)
            await until(lambda: len(heard) == 40)
            await asyncio.sleep(0.2)
        assert sorted(values(heard)) == sorted(map(str, range(40)))

    async def test_what_was_fetched_ahead_of_a_pause_comes_after_it_once_and_in_order(
        self, bus: Bus, topic: str, group: str
    ) -> None:
        await bus.publish(records(topic, 400))
        found: list[Delivery] = []
        async with bus.subscribe(group, [topic]) as member:
            # Of all that lies ready, a few records at a time are taken, and their partition is paused at once.
            async with contextlib.aclosing(member.batches(10)) as batches:  # type: ignore[type-var]
                async for batch in batches:
                    found += batch
                    member.pause(partitions_of(batch))
                    if len(partitions_of(found)) == 4:
                        break
            taken = len(found)
            assert taken < 400, "positive control: there was more to take"
            async with listening(member, found):
                await asyncio.sleep(SILENCE_SECONDS)
                assert len(found) == taken
                member.resume(member.partitions)
                await until(lambda: len(found) >= 400)
        assert sorted(map(int, values(found))) == list(range(400))
        for number in range(4):
            offsets = [delivery.offset for delivery in found if delivery.partition == number]
            assert offsets == sorted(offsets)

    async def test_who_pauses_everything_for_long_remains_a_member(self, bus: Bus, topic: str, group: str) -> None:
        heard: list[Delivery] = []
        await bus.publish(records(topic, 40))
        async with bus.subscribe(group, [topic]) as member, listening(member, heard):
            await until(lambda: len(heard) == 40)
            lost: list[Partition] = []
            member.on_lost(lost.extend)
            member.pause(member.partitions)
            await asyncio.sleep(3)
            assert not lost
            assert len(member.partitions) == 4
            await acknowledge(member, heard)
        assert await bus.lag(group, [topic]) == 0

    async def test_a_pause_outlasts_a_rebalance_where_the_partition_stays(
        self, bus: Bus, topic: str, group: str
    ) -> None:
        first: list[Delivery] = []
        second: list[Delivery] = []
        async with bus.subscribe(group, [topic]) as stays, listening(stays, first):
            await bus.publish(records(topic, 40))
            await until(lambda: len(first) == 40)
            await acknowledge(stays, first)
            stays.pause(stays.partitions)
            first.clear()
            async with bus.subscribe(group, [topic]) as comes, listening(comes, second):
                await until(lambda: len(stays.partitions) == 2 and len(comes.partitions) == 2)
                await bus.publish(records(topic, 40))
                await until(lambda: len(partitions_of(second)) == 2)
                await asyncio.sleep(SILENCE_SECONDS)
                assert not first
                kept = set(stays.partitions)
                stays.resume(kept)
                await until(lambda: partitions_of(first) == kept)

    async def test_who_loses_partitions_is_told_and_their_uncommitted_records_go_to_the_new_owner(
        self, bus: Bus, topic: str, group: str
    ) -> None:
        first: list[Delivery] = []
        second: list[Delivery] = []
        lost: set[Partition] = set()
        await bus.publish(records(topic, 40))
        async with bus.subscribe(group, [topic]) as loses, listening(loses, first):
            await until(lambda: len(first) == 40)
            loses.on_lost(lost.update)
            kept = [delivery for delivery in first if delivery.partition == 0]
            await acknowledge(loses, kept[:3])
            async with bus.subscribe(group, [topic]) as gains, listening(gains, second):
                await until(lambda: len(gains.partitions) == 2 and len(partitions_of(second)) == 2)
                moved = set(gains.partitions)
                assert moved <= lost
                expected = [d for d in first if (topic, d.partition) in moved]
                for delivery in kept[:3]:
                    if delivery in expected:
                        expected.remove(delivery)
                await until(lambda: len({(d.partition, d.offset) for d in second}) == len(set(map(_place, expected))))
                assert {_place(d) for d in second} == set(map(_place, expected))


def _place(delivery: Delivery) -> tuple[int, int]:
    return delivery.partition, delivery.offset
