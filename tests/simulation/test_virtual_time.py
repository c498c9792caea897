"""The loop on made-up time: it jumps, it freezes and kills processes at any await, and it repeats itself."""

import asyncio
import random

import pytest

from aima_common.errors import UnavailableError
from tests.simulation.network import Server, Wire
from tests.simulation.virtual_time import Process, run_virtually

Log = list[tuple[str, float]]


async def tick(log: Log, name: str, pause: float = 1.0) -> None:
    try:
        while True:
            await asyncio.sleep(pause)
            log.append((name, asyncio.get_running_loop().time()))
    finally:
        log.append((f"{name} unwound", asyncio.get_running_loop().time()))


def test_an_hour_passes_at_once() -> None:
    async def sleep() -> float:
        async with asyncio.timeout(7200):
            await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    assert run_virtually(1, sleep) == 3600.0


def test_a_timeout_fires_when_its_time_has_come() -> None:
    async def wait() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert run_virtually(1, wait) == 5.0


def test_who_waits_for_ever_is_told() -> None:
    async def wait() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="everybody waits for ever"):
        run_virtually(1, wait)


def test_a_frozen_process_misses_time_and_goes_on_late() -> None:
    async def main() -> Log:
        log: Log = []
        frozen, other = Process("frozen"), Process("other")
        frozen.start(tick(log, "frozen"))
        other.start(tick(log, "other"))
        await asyncio.sleep(1.5)
        frozen.freeze()
        await asyncio.sleep(3)
        frozen.thaw()
        await asyncio.sleep(1.2)
        return list(log)

    log = run_virtually(1, main)
    assert [at for name, at in log if name == "frozen"] == [1.0, 4.5, 5.5]
    assert [at for name, at in log if name == "other"] == [1.0, 2.0, 3.0, 4.0, 5.0]


def test_a_killed_process_ends_with_everything_it_started_and_reaches_nobody() -> None:
    async def main() -> tuple[Log, list[str]]:
        log: Log = []
        reached: list[str] = []
        killed = Process("killed")
        wire = Wire(killed, Server("the store"), random.Random(1), lambda _: None)

        async def work() -> None:
            await wire.change(lambda: reached.append("alive"))
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(tick(log, "child"))
            finally:
                await asyncio.shield(wire.change(lambda: reached.append("dead")))

        killed.start(work())
        await asyncio.sleep(2.5)
        killed.kill()
        await asyncio.sleep(10)
        return log, reached

    log, reached = run_virtually(1, main)
    assert [name for name, _ in log] == ["child", "child", "child unwound"]
    assert reached == ["alive"]


@pytest.mark.parametrize("lost", ["request", "reply"])
def test_an_answer_that_never_came_leaves_open_what_happened(lost: str) -> None:
    async def main() -> list[str]:
        done: list[str] = []
        server = Server("the store")
        server.lost_requests, server.lost_replies = (1.0, 0.0) if lost == "request" else (0.0, 1.0)
        wire = Wire(Process("p"), server, random.Random(1), lambda _: None)
        with pytest.raises(UnavailableError):
            await wire.change(lambda: done.append("done"))
        server.lost_requests = server.lost_replies = 0.0
        await wire.change(lambda: done.append("positive control"))
        return done

    assert run_virtually(1, main) == (["positive control"] if lost == "request" else ["done", "positive control"])


def test_a_seed_decides_who_goes_first_and_a_process_keeps_its_order() -> None:
    async def race() -> str:
        said: list[str] = []

        async def say(word: str) -> None:
            said.append(word)

        async def speak(name: str) -> None:
            await asyncio.sleep(1)
            await asyncio.gather(say(f"{name}1"), say(f"{name}2"))

        for name in "ab":
            Process(name).start(speak(name))
        await asyncio.sleep(2)
        return "".join(said)

    orders = [run_virtually(seed, race) for seed in range(20)]
    assert orders == [run_virtually(seed, race) for seed in range(20)]
    assert len(set(orders)) > 1
    for order in orders:
        assert order.index("a1") < order.index("a2")
        assert order.index("b1") < order.index("b2")
