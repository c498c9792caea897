"""A loop that a process lives from does not end unseen."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from aima_common.cancellation import LoopEndedError, forever


async def waits_for_what_is_cancelled() -> None:
    other = asyncio.create_task(asyncio.sleep(3600))
    asyncio.get_running_loop().call_soon(other.cancel)
    await other


async def returns() -> None:
    await asyncio.sleep(0)


async def beside_another(loop: Callable[[], Coroutine[Any, Any, None]], seconds: float) -> None:
    async with asyncio.timeout(seconds), asyncio.TaskGroup() as group:
        group.create_task(loop())
        group.create_task(asyncio.sleep(3600))


@pytest.mark.parametrize("loop", [waits_for_what_is_cancelled, returns])
async def test_a_loop_that_ends_by_itself_ends_its_group(loop: Callable[[], Awaitable[None]]) -> None:
    with pytest.raises(ExceptionGroup) as failed:
        await beside_another(lambda: forever(loop), 10)
    assert failed.group_contains(LoopEndedError)


async def test_without_it_a_group_goes_on_without_the_loop() -> None:
    with pytest.raises(TimeoutError):
        await beside_another(waits_for_what_is_cancelled, 0.3)


async def test_a_loop_that_is_cancelled_ends_in_order() -> None:
    task = asyncio.create_task(forever(lambda: asyncio.sleep(3600)))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
