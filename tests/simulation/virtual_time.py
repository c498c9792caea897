"""An event loop on made-up time, and processes on it that can be killed and frozen at any await.

Nothing waits: when no callback is ready, time jumps to the next timer, and a seed decides who runs first among
processes that are ready together. Within a process callbacks run in the order in which they were scheduled, as
asyncio promises. A process is known by the context of its callbacks: whatever its code awaits, the loop sees whose
turn it is.
"""

import asyncio
import contextvars
import heapq
import itertools
import random
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")

MOST_TURNS = 1_000_000
"""A simulation that needs more turns of its loop than this runs in circles."""


class Process:
    """What would be an operating-system process: it runs, stands still, or is dead."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.frozen = False
        self.wall_offset = 0.0
        """How far its wall clock is off, in seconds."""
        self.tasks: dict[asyncio.Task[Any], None] = {}
        self.held_back: list[asyncio.Handle] = []
        """Callbacks that became due while it stood still."""

    def start(self, main: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run `main` as this process: what it starts belongs to the process, too."""
        context = contextvars.copy_context()
        context.run(CURRENT.set, self)
        return context.run(asyncio.get_running_loop().create_task, main)

    def forget(self, task: asyncio.Task[Any]) -> None:
        """Let go of a task that ended."""
        self.tasks.pop(task, None)

    def kill(self) -> None:
        """End it as SIGKILL would: from now on nothing that it still runs has any effect outside.

        Its coroutines are unwound so that nothing is left over; the ports that it was given are cut off before
        (`network.Link`), so what they do on their way out reaches nobody.
        """
        self.alive = False
        self.thaw()
        for task in list(self.tasks):
            task.cancel()

    def freeze(self) -> None:
        """Stop it where it is, as SIGSTOP would; time goes on without it."""
        self.frozen = self.alive

    def thaw(self) -> None:
        """Let it go on, late for everything that became due meanwhile."""
        self.frozen = False
        held, self.held_back = self.held_back, []
        if held:
            loop = asyncio.get_running_loop()
            assert isinstance(loop, VirtualTimeLoop)
            loop.resume(held)


CURRENT: contextvars.ContextVar[Process | None] = contextvars.ContextVar("process", default=None)


class VirtualTimeLoop(asyncio.BaseEventLoop):
    """asyncio without a selector: no sockets, no threads, no waiting.

    It uses what `BaseEventLoop` keeps to itself, `_ready` and `_run_once`, and `_context` of a handle; tried on
    Python 3.11, 3.12 and 3.13, where these are the same.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._rng = random.Random(seed)
        self._now = 0.0
        self._numbers = itertools.count()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._turns = 0
        self.set_task_factory(_task_factory())

    def time(self) -> float:
        """Tell the made-up time, in seconds."""
        return self._now

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), timer))
        return timer

    def resume(self, handles: list[asyncio.Handle]) -> None:
        """Run callbacks that were held back."""
        self._ready.extend(handles)  # type: ignore[attr-defined]

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Forget nothing: a cancelled timer is passed over when its time comes."""

    def _run_once(self) -> None:
        ready = self._ready  # type: ignore[attr-defined]
        if not ready:
            self._jump()
        self._turns += 1
        if self._turns > MOST_TURNS:
            raise RuntimeError(f"no end after {MOST_TURNS} turns, at {self._now:.1f} s")
        if len(ready) == 1:
            self._turn(ready.popleft())
            return
        batch = list(ready)
        ready.clear()
        self._shuffle(batch)
        for handle in batch:
            self._turn(handle)

    @staticmethod
    def _turn(handle: asyncio.Handle) -> None:
        if handle.cancelled():
            return
        process = handle._context.get(CURRENT)  # type: ignore[attr-defined]
        if process is not None and process.frozen:
            process.held_back.append(handle)
        else:
            handle._run()

    def _jump(self) -> None:
        """Go to the moment of the next timer, and make all that are due then ready."""
        timers = self._timers
        while timers and timers[0][2].cancelled():
            heapq.heappop(timers)
        if not timers:
            raise RuntimeError(f"everybody waits for ever, at {self._now:.1f} s")
        self._now = max(self._now, timers[0][0])
        while timers and timers[0][0] <= self._now:
            timer = heapq.heappop(timers)[2]
            if not timer.cancelled():
                self._ready.append(timer)  # type: ignore[attr-defined]

    def _shuffle(self, batch: list[asyncio.Handle]) -> None:
        """Let another process go first, and keep the order within each."""
        owners = [handle._context.get(CURRENT) for handle in batch]  # type: ignore[attr-defined]
        ranks = {owner: self._rng.random() for owner in dict.fromkeys(owners)}
        if len(ranks) > 1:
            order = sorted(range(len(batch)), key=lambda place: ranks[owners[place]])
            batch[:] = [batch[place] for place in order]


class _NumberedTask(asyncio.Task[Any]):
    """A task whose place in a set does not depend on its address: asyncio walks through sets of tasks."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], number: int, **options: Any) -> None:
        # First of all: the base class puts the task into a set.
        self._number = number
        super().__init__(coroutine, **options)

    def __hash__(self) -> int:
        return self._number


def _task_factory() -> Any:
    """Make tasks that their process knows of."""
    numbers = itertools.count()

    def make(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]:
        task = _NumberedTask(coroutine, next(numbers), loop=loop, **options)
        if (process := CURRENT.get()) is not None:
            process.tasks[task] = None
            task.add_done_callback(process.forget)
        return task

    return make


def run_virtually(seed: int, main: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """Run `main` on a loop of its own; the same seed gives the same run."""
    loop = VirtualTimeLoop(seed)
    try:
        return loop.run_until_complete(main())
    finally:
        loop.run_until_complete(_unwind(loop))
        loop.close()


async def _unwind(loop: asyncio.AbstractEventLoop) -> None:
    """Leave nothing behind."""
    left = asyncio.all_tasks(loop) - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    await loop.shutdown_asyncgens()
