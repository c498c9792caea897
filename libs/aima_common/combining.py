"""Does for many at once what costs as much for one: what is asked for while a batch is under way is the next batch."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from aima_common.errors import PermanentError

Item = TypeVar("Item")
Result = TypeVar("Result")


class Combining(Generic[Item, Result]):
    """Combines what is asked for under one key, in the order in which it was asked for."""

    def __init__(self, work: Callable[[str, Sequence[Item]], Awaitable[Sequence[Result]]], most: int) -> None:
        """Have `work` done for `most` items of a key at a time, at most; it gives a result for each."""
        self._work = work
        self._most = most
        self._waiting: dict[str, deque[tuple[Item, asyncio.Future[Result]]]] = {}
        self._working: dict[str, asyncio.Task[None]] = {}

    async def do(self, key: str, item: Item) -> Result:
        """Give the result for an item, or raise what its batch failed with.

        It is done, or not, whether or not whoever asks is cancelled meanwhile.
        """
        result: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, deque()).append((item, result))
        if key not in self._working:
            self._working[key] = asyncio.create_task(self._work_off(key))
        return await result

    async def settle(self) -> None:
        """Wait until everything that was asked for is done."""
        while self._working:
            await asyncio.wait(self._working.values())

    async def _work_off(self, key: str) -> None:
        try:
            while waiting := self._waiting.get(key):
                batch = [waiting[place] for place in range(min(self._most, len(waiting)))]
                await self._one_batch(key, batch)
                for _ in batch:
                    waiting.popleft()
        finally:
            del self._working[key]
            for _, waits in self._waiting.pop(key, ()):
                waits.cancel()

    async def _one_batch(self, key: str, batch: Sequence[tuple[Item, "asyncio.Future[Result]"]]) -> None:
        results: Sequence[Result | Exception]
        try:
            results = await self._work(key, [item for item, _ in batch])
        except PermanentError as error:
            if len(batch) > 1:
                # One that cannot be done is no reason for the others to fail.
                for one in batch:
                    await self._one_batch(key, [one])
                return
            results = [error]
        except Exception as error:  # noqa: BLE001 - whoever asked is told, whatever it was
            results = [error] * len(batch)
        for (_, waits), result in zip(batch, results, strict=True):
            _answer(waits, result)


def _answer(waits: "asyncio.Future[Result]", result: Result | Exception) -> None:
    if waits.done():
        return  # whoever asked waits no more
    if isinstance(result, Exception):
        waits.set_exception(result)
    else:
        waits.set_result(result)
