"""What a consumer has in hand: bounded, in order per key, and committed no further than it is done."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from aima_common.ports.bus import Delivery, Partition, Subscription
from aima_common.runtime.journal import Beginning

PATIENCE_SECONDS = 0.2
"""How long a full consumer waits for room before it pauses its partitions: what was fetched ahead is then let go."""

TURN_SECONDS = 0.01
"""How long a worker whose handlers wait for nothing goes on before others on the event loop have their turn."""


@dataclass(frozen=True)
class Bounds:
    """How much a consumer takes into its hands; the rest waits on the bus."""

    handlers: int = 64
    """Records that are handled at the same time."""
    records: int = 2000
    bytes: int = 32 << 20
    """Records, and the bytes of their bodies, that wait or are handled; one batch may go beyond."""
    partition_records: int = 500
    """From the first record of a partition that is not done, to the last that was taken."""


class Window:
    """The stretch of one partition from its first record that is not done to the last that was taken."""

    def __init__(self, partition: Partition) -> None:
        self.partition = partition
        self.first = self.committed = -1
        self.beginning: Beginning | None = None
        """What is known of the partition; None until that was looked up."""
        self.alone_until = 0
        """Records below this offset are handled while nothing else is."""
        self._open: deque[int] = deque()
        self._done: set[int] = set()
        self._end = -1

    def __len__(self) -> int:
        return len(self._open)

    def take(self, offsets: Sequence[int]) -> None:
        """Append what was delivered."""
        if self.first < 0:
            self.first = self.committed = offsets[0]
        self._open.extend(offsets)
        self._end = offsets[-1] + 1

    def done(self, offset: int) -> int:
        """Note that a record is done, in whatever order; give the offset below which everything is."""
        waiting, done = self._open, self._done
        if offset != waiting[0]:
            done.add(offset)
            return waiting[0]
        waiting.popleft()
        while done and waiting and waiting[0] in done:
            done.remove(waiting.popleft())
        return waiting[0] if waiting else self._end

    def deaths(self, offset: int) -> int:
        """Tell how many deaths of its consumer a record witnessed."""
        return self.beginning.deaths.get(offset, 0) if self.beginning else 0

    @property
    def next(self) -> int:
        """The offset below which everything is done."""
        return self._open[0] if self._open else self._end


Lane = list[tuple[Window, Delivery]]
"""The records of one key, in their order; seldom more than one."""

Lanes = dict[str | None, Lane]
"""The lanes of one partition. What is handled alone has the lane None."""


class Work(Protocol):
    """What is done with records in hand. None of it raises for what is the matter with a record."""

    async def begin(self, partition: Partition, first: int, end: int) -> Beginning:
        """Look up what is known of a partition before its first batch is handled."""

    async def release(self, partition: Partition) -> None:
        """Note that a partition was given up by who was alive."""

    async def handle(self, delivery: Delivery) -> None:
        """Handle a record until it is done."""

    async def handle_alone(self, delivery: Delivery, deaths: int) -> None:
        """Handle a record under suspicion, which witnessed so many deaths."""


class InFlight:
    """The records that were taken and are not done.

    Workers handle the records of a key one after the other and different keys side by side. A partition that has too
    much in hand is paused; when the process has, all are. While records under suspicion are in hand, one record is
    handled at a time.
    """

    def __init__(self, tasks: asyncio.TaskGroup, bounds: Bounds, work: Work) -> None:
        self._tasks = tasks
        self._bounds = bounds
        self._doing = work
        self._subscription: Subscription | None = None
        self._windows: dict[Partition, Window] = {}
        self._lanes: dict[Partition, Lanes] = {}
        self._ready: deque[tuple[Lanes, str | None]] = deque()
        self._workers = self._alone = 0
        self._coming = False
        """Whether a worker was made that has not begun: handlers that wait for nothing need no other."""
        self.records = self.bytes = 0
        self._held: set[Partition] = set()
        self._all_held = False
        self._room = asyncio.Event()
        self.progress = asyncio.Event()
        """Set when there is something to commit at once."""

    # ---------------------------------------------------------------------------------------- taking and losing

    def follow(self, subscription: Subscription) -> None:
        """Take from this member from now on, with empty hands."""
        self._subscription = subscription
        self._all_held = False
        subscription.on_lost(self.lose)

    def take(self, batch: Sequence[Delivery]) -> None:
        """Take a batch in hand."""
        partition = (batch[0].record.topic, batch[0].partition)
        self._count(batch, 1)
        window = self._windows.get(partition)
        if window is None:
            window = self._windows[partition] = Window(partition)
            self._hold({partition})
            self._tasks.create_task(self._begin(window, batch))
        else:
            self._line_up(window, batch)

    async def _begin(self, window: Window, batch: Sequence[Delivery]) -> None:
        beginning = await self._doing.begin(window.partition, batch[0].offset, batch[-1].offset + 1)
        if self._windows.get(window.partition) is window:
            window.beginning, window.alone_until = beginning, beginning.alone_until
            self._line_up(window, batch)
        else:
            self._count(batch, -1)
        self._relieve()

    def _line_up(self, window: Window, batch: Sequence[Delivery]) -> None:
        window.take([delivery.offset for delivery in batch])
        lanes = self._lanes.setdefault(window.partition, {})
        for delivery in batch:
            alone = delivery.offset < window.alone_until
            self._alone += alone
            # What is handled alone is handled one after the other, and so is what follows before it is done.
            key = None if alone or None in lanes else delivery.record.key
            lane = lanes.get(key)
            if lane is None:
                lanes[key] = [(window, delivery)]
                self._ready.append((lanes, key))
            else:
                lane.append((window, delivery))
        self._staff()

    def _count(self, batch: Sequence[Delivery], sign: int) -> None:
        self.records += sign * len(batch)
        for delivery in batch:
            self.bytes += sign * len(delivery.record.value)

    def lose(self, partitions: Collection[Partition]) -> None:
        """Drop what waits of these partitions; what is being handled is finished, and not committed."""
        lost = {window for one in partitions if (window := self._windows.pop(one, None)) is not None}
        for partition in _suspicious(lost):
            self._tasks.create_task(self._doing.release(partition))
        for lane in [lane for window in lost for lane in self._lanes.get(window.partition, {}).values()]:
            for window, delivery in lane:
                self._let_go(window, delivery)
            lane.clear()
        self._held -= set(partitions)
        if self._subscription is not None:
            self._subscription.resume(partitions)
        self._relieve()

    async def lose_all(self) -> None:
        """Drop what waits of all partitions: the membership ends."""
        try:
            for partition in _suspicious(self._windows.values()):
                await self._doing.release(partition)
        finally:
            for window in self._windows.values():
                window.beginning = None
            self.lose(list(self._windows))
            self._subscription = None

    def _let_go(self, window: Window, delivery: Delivery) -> None:
        self.records -= 1
        self.bytes -= len(delivery.record.value)
        self._alone -= delivery.offset < window.alone_until

    # -------------------------------------------------------------------------------------------------- working

    def _staff(self) -> None:
        if self._ready and not self._coming and self._workers < self._most:
            self._workers += 1
            self._coming = True
            self._tasks.create_task(self._work())

    @property
    def _most(self) -> int:
        return 1 if self._alone else self._bounds.handlers

    async def _work(self) -> None:
        self._coming = False
        now = asyncio.get_running_loop().time
        turn = now() + TURN_SECONDS
        try:
            # With records under suspicion in hand all workers but the last leave; it then is alone.
            while self._ready and self._workers <= self._most:
                lanes, key = self._ready.popleft()
                lane = lanes[key]
                self._staff()
                while lane:
                    window, delivery = lane.pop(0)
                    if delivery.offset < window.alone_until:
                        await self._doing.handle_alone(delivery, window.deaths(delivery.offset))
                    else:
                        await self._doing.handle(delivery)
                    self._done(window, delivery)
                    if now() >= turn:
                        await asyncio.sleep(0)
                        turn = now() + TURN_SECONDS
                del lanes[key]
        finally:
            self._workers -= 1
        self._staff()

    def _done(self, window: Window, delivery: Delivery) -> None:
        self.records -= 1
        self.bytes -= len(delivery.record.value)
        alone = delivery.offset < window.alone_until
        self._alone -= alone
        if self._windows.get(window.partition) is window:
            following = window.done(delivery.offset)
            # What was done alone is not to be looked at again when the next record turns out to be the one that kills.
            if alone or not window or following - window.committed >= self._bounds.partition_records // 2:
                self.progress.set()
        if self._held or self._all_held or not self._room.is_set():
            self._relieve()

    # ------------------------------------------------------------------------------------------------ braking

    async def brake(self) -> None:
        """Let workers work, and wait or pause as long as there is too much in hand."""
        await asyncio.sleep(0)
        if self._crowded():
            self._room.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await self._room.wait()
        if self._subscription is None:
            return
        if self._crowded():
            self._all_held = True
            self._subscription.pause(self._subscription.partitions)
        self._hold({one for one, window in self._windows.items() if len(window) >= self._bounds.partition_records})

    def _hold(self, partitions: set[Partition]) -> None:
        fresh = partitions - self._held
        if fresh and self._subscription is not None:
            self._held |= fresh
            self._subscription.pause(fresh)

    def _crowded(self, share: float = 1.0) -> bool:
        return self.records >= self._bounds.records * share or self.bytes >= self._bounds.bytes * share

    def _relieve(self) -> None:
        if self._subscription is None:
            return
        if not self._crowded(0.5):
            self._room.set()
            if self._all_held:
                self._all_held = False
                self._subscription.resume(set(self._subscription.partitions) - self._held)
        relieved = {one for one in self._held if self._is_relieved(one)}
        if relieved:
            self._held -= relieved
            if not self._all_held:
                self._subscription.resume(relieved)

    def _is_relieved(self, partition: Partition) -> bool:
        window = self._windows.get(partition)
        if window is None:
            return True
        return window.beginning is not None and len(window) <= self._bounds.partition_records // 2

    # --------------------------------------------------------------------------------------------- committing

    def committable(self) -> list[tuple[Window, int]]:
        """List the windows whose records are done further than they are committed, with the next offset."""
        return [(window, window.next) for window in self._windows.values() if window.next > window.committed]


def _suspicious(windows: Iterable[Window]) -> list[Partition]:
    """List the partitions whose next owner would think that somebody died over them."""
    return [
        window.partition
        for window in windows
        if window.beginning is not None and (window.committed == window.first or window.next < window.alone_until)
    ]
