"""What every plug for the bus promises, stated once; a plug's tests inherit it.

They give it `bus`, `heir` (a bus on the same log for which a silent member counts as gone within seconds) and
`address`, under which `bus_process.py` finds the same log from a process of its own.
"""

import asyncio
import contextlib
import secrets
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from aima_common.contracts.codec import MAX_MESSAGE_BYTES
from aima_common.errors import PermanentError, SettingsError
from aima_common.ports.bus import Bus, Delivery, Record, Subscription, TopicSpecification

PATIENCE_SECONDS = 40
PROCESS = Path(__file__).with_name("bus_process.py")

Batch = Sequence[Delivery]


async def batches_of(subscription: Subscription, enough: Callable[[list[Batch]], bool], most: int = 200) -> list[Batch]:
    """Collect batches until there are enough."""
    collected: list[Batch] = []
    generator: Any = subscription.batches(most)
    async with asyncio.timeout(PATIENCE_SECONDS), contextlib.aclosing(generator) as batches:
        async for batch in batches:
            collected.append(batch)
            if enough(collected):
                break
    return collected


async def receive(subscription: Subscription, count: int, most: int = 200) -> list[Delivery]:
    batches = await batches_of(subscription, lambda found: sum(map(len, found)) >= count, most)
    return [delivery for batch in batches for delivery in batch]


async def acknowledge(subscription: Subscription, deliveries: Sequence[Delivery]) -> None:
    ends = {(d.record.topic, d.partition): d.offset + 1 for d in deliveries}
    for (topic, partition), following in ends.items():
        assert await subscription.commit(topic, partition, following)


@contextlib.asynccontextmanager
async def listening(subscription: Subscription, heard: list[Delivery]) -> AsyncIterator[None]:
    """Let a member receive in the background, without committing."""

    async def listen() -> None:
        async for batch in subscription.batches():
            heard.extend(batch)

    task = asyncio.create_task(listen())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.02)


def records(topic: str, count: int, keys: int = 20) -> list[Record]:
    return [Record(topic, f"key-{n % keys}", str(n).encode()) for n in range(count)]


def values(deliveries: Sequence[Delivery]) -> list[str]:
    return [delivery.record.value.decode() for delivery in deliveries]


@contextlib.contextmanager
def another_process(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, str(PROCESS), *arguments], stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


class BusPromise:
    """Tests of the socket `Bus`."""

    @pytest.fixture
    async def topic(self, bus: Bus) -> str:
        name = f"topic-{secrets.token_hex(6)}"
        await bus.ensure_topics({name: 4})
        return name

    @pytest.fixture
    def group(self) -> str:
        return f"group-{secrets.token_hex(6)}"

    # ---------------------------------------------------------------------------------------------- carrying

    @pytest.mark.parametrize(
        ("key", "value", "headers"),
        [
            ("medium-1", bytes(range(256)), {"ce_id": "x", "note": "Füße 脚"}),
            ("", b"", {}),
            ("schlüssel 🔑", b"\x00", {"empty": "", "a.b": "dotted", "Case": "kept"}),
            ("large", b"\xff\x00" * (MAX_MESSAGE_BYTES // 2), {"size": "the largest that a reader accepts"}),
        ],
        ids=["bytes", "nothing", "unicode", "large"],
    )
    async def test_a_record_arrives_as_it_was_published(
        self, bus: Bus, topic: str, group: str, key: str, value: bytes, headers: dict[str, str]
    ) -> None:
        record = Record(topic, key, value, headers)
        await bus.publish([record])
        async with bus.subscribe(group, [topic]) as member:
            (delivery,) = await receive(member, 1)
        assert delivery.record == record
        assert delivery.partition in range(4)
        assert delivery.offset == 0

    async def test_publishing_nothing_is_allowed(self, bus: Bus, topic: str, group: str) -> None:
        await bus.publish([])
        assert await bus.lag(group, [topic]) == 0

    async def test_records_of_a_key_arrive_in_the_order_in_which_they_were_published(
        self, bus: Bus, topic: str, group: str
    ) -> None:
        for start in range(0, 300, 60):
            await bus.publish(records(topic, 300)[start : start + 60])
        async with bus.subscribe(group, [topic]) as member:
            found = await receive(member, 300)
        by_key = defaultdict[str, list[Delivery]](list)
        for delivery in found:
            by_key[delivery.record.key].append(delivery)
        assert len(by_key) == 20
        for key, deliveries in by_key.items():
            assert values(deliveries) == [str(n) for n in range(300) if f"key-{n % 20}" == key]
            assert len({delivery.partition for delivery in deliveries}) == 1
        assert len({delivery.partition for delivery in found}) > 1

    async def test_a_batch_is_a_stretch_of_one_partition_and_not_longer_than_asked(
        self, bus: Bus, topic: str, group: str
    ) -> None:
        await bus.publish(records(topic, 100))
        async with bus.subscribe(group, [topic]) as member:
            batches = await batches_of(member, lambda found: sum(map(len, found)) >= 100, most=7)
        next_offsets = dict.fromkeys(range(4), 0)
        for batch in batches:
            assert 1 <= len(batch) <= 7
            assert len({(delivery.record.topic, delivery.partition) for delivery in batch}) == 1
            for delivery in batch:
                assert delivery.offset == next_offsets[delivery.partition]
                next_offsets[delivery.partition] += 1
        assert sum(next_offsets.values()) == 100

    async def test_a_member_hears_several_topics(self, bus: Bus, topic: str, group: str) -> None:
        other = f"{topic}-other"
        await bus.ensure_topics({other: 1})
        await bus.publish([Record(topic, "k", b"1"), Record(other, "k", b"2"), Record(topic, "k", b"3")])
        async with bus.subscribe(group, [topic, other]) as member:
            found = await receive(member, 3)
        assert {(d.record.topic, d.record.value) for d in found} == {(topic, b"1"), (other, b"2"), (topic, b"3")}

    async def test_a_member_hears_what_is_published_while_it_waits(self, bus: Bus, topic: str, group: str) -> None:
        heard: list[Delivery] = []
        async with bus.subscribe(group, [topic]) as member, listening(member, heard):
            for number in range(3):
                await bus.publish([Record(topic, "k", str(number).encode())])
                await until(lambda count=number: len(heard) > count)  # type: ignore[misc]
        assert values(heard) == ["0", "1", "2"]

    # ------------------------------------------------------------------------------------------------ topics

    async def test_a_topic_is_never_made_by_a_typing_error(self, bus: Bus, topic: str, group: str) -> None:
        wrong = f"{topic}-wrong"
        for _ in range(2):
            with pytest.raises(PermanentError) as refused:
                await bus.publish([Record(topic, "k", b"lost"), Record(wrong, "k", b"lost")])
            assert refused.value.code == "unknown_topic"
            with pytest.raises(PermanentError):
                async with bus.subscribe(group, [topic, wrong]):
                    pytest.fail("joined a group on a topic that does not exist")
        assert await bus.lag(group, [topic]) == 0
        await bus.ensure_topics({wrong: 1})
        await bus.publish([Record(wrong, "k", b"positive control")])
        async with bus.subscribe(group, [wrong]) as member:
            assert values(await receive(member, 1)) == ["positive control"]

    async def test_making_a_topic_again_keeps_what_it_holds(self, bus: Bus, topic: str, group: str) -> None:
        await bus.publish(records(topic, 10))
        await asyncio.gather(*(bus.ensure_topics({topic: 4, f"{topic}-new": 3}) for _ in range(3)))
        async with bus.subscribe(group, [topic]) as member:
            assert sorted(values(await receive(member, 10))) == sorted(map(str, range(10)))

    @pytest.mark.parametrize("wanted", [3, 5], ids=["fewer", "more"])
    async def test_a_topic_with_another_number_of_partitions_is_refused_by_name(
        self, bus: Bus, topic: str, wanted: int
    ) -> None:
        with pytest.raises(SettingsError) as refused:
            await bus.ensure_topics({topic: wanted})
        for word in (topic, "4 partitions", f"must have {wanted}"):
            assert word in str(refused.value)
        await bus.ensure_topics({topic: 4})

    async def test_a_topic_is_made_as_it_is_specified_and_is_then_what_it_must_be(
        self, bus: Bus, topic: str, group: str
    ) -> None:
        specified = [
            TopicSpecification(f"{topic}-a", 2, retention_seconds=3600),
            TopicSpecification(f"{topic}-b", 3, compacted=True),
        ]
        for _ in range(2):
            await bus.ensure_topics(specified)
        await bus.publish([Record(f"{topic}-b", "k", b"1")])
        async with bus.subscribe(group, [f"{topic}-a", f"{topic}-b"]) as member:
            assert values(await receive(member, 1)) == ["1"]
            assert len(member.partitions) == 5

    # ------------------------------------------------------------------------------------- groups and commits

    async def test_every_group_gets_every_record_from_the_oldest_on(self, bus: Bus, topic: str, group: str) -> None:
        await bus.publish(records(topic, 10))
        for name in (f"{group}-1", f"{group}-2"):
            async with bus.subscribe(name, [topic]) as member:
                found = await receive(member, 10)
                await acknowledge(member, found)
            assert sorted(values(found)) == sorted(map(str, range(10)))

    async def test_who_leaves_without_a_commit_leaves_its_records_to_the_next(
        self, bus: Bus, topic: str, group: str
    ) -> None:
        await bus.publish(records(topic, 10))
        for _ in range(2):
            async with bus.subscribe(group, [topic]) as member:
                assert sorted(values(await receive(member, 10))) == sorted(map(str, range(10)))

    async def test_a_commit_names_the_next_offset(self, bus: Bus, topic: str, group: str) -> None:
        await bus.publish([Record(topic, "k", str(n).encode()) for n in range(5)])
        async with bus.subscribe(group, [topic]) as member:
            found = await receive(member, 5)
            assert await member.commit(topic, found[0].partition, found[0].offset + 3)
        async with bus.subscribe(group, [topic]) as member:
            rest = await receive(member, 2)
            assert values(rest) == ["3", "4"]
            await acknowledge(member, rest)
        await bus.publish([Record(topic, "k", b"5")])
        async with bus.subscribe(group, [topic]) as member:
            assert values(await receive(member, 1)) == ["5"]

    async def test_several_partitions_are_committed_in_one_go_but_those_of_others(
        self, bus: Bus, topic: str, group: str
    ) -> None:
        await bus.publish(records(topic, 40))
        async with bus.subscribe(group, [topic]) as member:
            found = await receive(member, 40)
            ends = {(topic, d.partition): d.offset + 1 for d in found}
            assert not await member.commit_all(ends)
            assert await bus.lag(group, [topic]) == 0
            await bus.publish(records(topic, 40))
            more = {(topic, d.partition): d.offset + 1 for d in await receive(member, 40)}
            assert list(await member.commit_all({(topic, 99): 1, **more})) == [(topic, 99)]
            assert await bus.lag(group, [topic]) == 0

    async def test_a_member_goes_on_where_it_was_without_a_commit(self, bus: Bus, topic: str, group: str) -> None:
        await bus.publish(records(topic, 60))
        found: list[Delivery] = []
        async with bus.subscribe(group, [topic]) as member:
            while len(found) < 60:
                found += await receive(member, 1, most=5)
        assert sorted(values(found)) == sorted(map(str, range(60)))

    async def test_the_lag_is_what_a_group_has_not_committed(self, bus: Bus, topic: str, group: str) -> None:
        other = f"{topic}-other"
        await bus.ensure_topics({other: 1})
        assert await bus.lag(group, [topic, other]) == 0
        await bus.publish([Record(topic, "k", str(n).encode()) for n in range(5)])
        await bus.publish([Record(other, "k", b"x")])
        assert await bus.lag(group, [topic]) == 5
        assert await bus.lag(group, [topic, other]) == 6
        async with bus.subscribe(group, [topic]) as member:
            found = await receive(member, 5)
            assert await bus.lag(group, [topic]) == 5
            await member.commit(topic, found[0].partition, found[0].offset + 2)
            assert await bus.lag(group, [topic]) == 3
            await acknowledge(member, found)
        assert await bus.lag(group, [topic]) == 0
        assert await bus.lag(f"{group}-other", [topic]) == 5

    # ----------------------------------------------------------------------------------------------- members

    async def test_members_share_the_partitions_and_take_over_from_who_leaves(
        self, bus: Bus, topic: str, group: str
    ) -> None:
        first: list[Delivery] = []
        second: list[Delivery] = []
        async with bus.subscribe(group, [topic]) as stays, listening(stays, first):
            async with bus.subscribe(group, [topic]) as leaves, listening(leaves, second):
                await self.publish_until(bus, topic, lambda: bool(first) and bool(second))
                first.clear()
                second.clear()
                await bus.publish(records(topic, 40))
                await until(lambda: len(set(values(first + second))) == 40)
                assert {d.partition for d in first} | {d.partition for d in second} == set(range(4))
            first.clear()
            await self.publish_until(bus, topic, lambda: {d.partition for d in first} == set(range(4)))

    async def publish_until(self, bus: Bus, topic: str, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                await bus.publish([Record(topic, f"key-{n}", b"noise") for n in range(20)])
                await asyncio.sleep(0.1)

    async def test_a_commit_for_a_partition_that_moved_is_refused(self, bus: Bus, topic: str, group: str) -> None:
        heard: list[Delivery] = []
        moved: list[Delivery] = []
        await bus.publish(records(topic, 40))
        async with bus.subscribe(group, [topic]) as loses, listening(loses, heard):
            await until(lambda: len(heard) >= 40)
            async with bus.subscribe(group, [topic]) as gains, listening(gains, moved):
                await until(lambda: bool(moved))
                lost = moved[0]
                assert not await loses.commit(topic, lost.partition, lost.offset + 1)
                assert await gains.commit(topic, lost.partition, lost.offset + 1)
            kept = {delivery.partition for delivery in heard} - {delivery.partition for delivery in moved}
            assert kept, "the first member kept nothing"

    async def test_a_commit_for_a_partition_that_was_never_ones_own_is_refused(
        self, bus: Bus, topic: str, group: str
    ) -> None:
        await bus.publish(records(topic, 10))
        async with bus.subscribe(group, [topic]) as member:
            found = await receive(member, 10)
            assert not await member.commit(topic, 99, 1)
            await acknowledge(member, found)

    async def test_the_records_of_a_member_that_died_go_to_another(
        self, bus: Bus, heir: Bus, address: str, topic: str, group: str
    ) -> None:
        await bus.publish(records(topic, 20))
        with another_process("receive", address, topic, group) as process:
            assert process.stdout is not None
            line = await asyncio.to_thread(process.stdout.readline)
            assert line == "received and committed a part\n"
            process.kill()
            assert process.wait() == -signal.SIGKILL
        assert await bus.lag(group, [topic]) == 19
        async with heir.subscribe(group, [topic]) as member:
            assert len(set(values(await receive(member, 19)))) == 19

    async def test_what_was_published_outlives_its_publisher(
        self, bus: Bus, address: str, topic: str, group: str
    ) -> None:
        with another_process("publish", address, topic, group) as process:
            assert process.wait(PATIENCE_SECONDS) == -signal.SIGKILL
        async with bus.subscribe(group, [topic]) as member:
            assert values(await receive(member, 3)) == ["0", "1", "2"]
