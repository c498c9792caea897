"""The same for many, several at a time: a store makes many changes durable for the price of one."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from aima_common.errors import TransientError

AT_A_TIME = 32
"""So many are under way at once: more wait for one another in the store, and keep others from it."""

Subject = TypeVar("Subject")


async def abreast(work: Callable[[Subject], Awaitable[object]], of: Iterable[Subject]) -> None:
    """Do something with each. Raise the first `TransientError` when the others are done, and anything else at once."""
    ahead, errors = iter(of), list[TransientError]()

    async def some() -> None:
        for one in ahead:
            try:
                await work(one)
            except TransientError as error:
                errors.append(error)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_A_TIME):
                group.create_task(some())
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from failed
    if errors:
        raise errors[0]
