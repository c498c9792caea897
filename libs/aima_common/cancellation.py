"""Whether a cancellation was meant."""

import asyncio
from collections.abc import Awaitable, Callable


class LoopEndedError(RuntimeError):
    """A loop that only its cancellation ends has ended without one."""


def is_cancelled() -> bool:
    """Tell whether somebody cancelled the task that asks, rather than something that it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def forever(loop: Callable[[], Awaitable[None]]) -> None:
    """Run a loop that only its cancellation ends.

    Raises `LoopEndedError` when it returns, or when it ends by a cancellation that nobody asked for: a task group
    takes either for an end in order and would go on without it.
    """
    try:
        await loop()
    except asyncio.CancelledError as error:
        if is_cancelled():
            raise
        raise LoopEndedError("a loop was cancelled from within") from error
    raise LoopEndedError("a loop came to its end")
