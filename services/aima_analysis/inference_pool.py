"""The inference processes of a service: a lane for batch work, and one process that interactive work has for itself.

Batch processes run at a lower priority, so that the one photo somebody waits for goes first even while
films keep every core busy.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Self

from aima_analysis.analyzers.analyzer import Analysis
from aima_analysis.inference_child import InferenceChild, InferenceSettings
from aima_analysis.inference_protocol import Message
from aima_common.contracts.media import MediumType, Segment
from aima_common.errors import UnavailableError

BATCH_NICE = 10
"""About a tenth of a core's time when an interactive process wants it too."""
EMBEDDING = "embed_text"
LONGEST_INTERACTIVE_QUEUE = 2
"""Interactive jobs that wait for their own process before the next takes a free batch process: a photo has three
analyzers, and one process with warm models is done with them before a second one has loaded any."""


class Lane:
    """A bounded number of processes of one priority, started on demand and ended when idle."""

    def __init__(self, size: int, nice: int, settings: InferenceSettings) -> None:
        self._slots = asyncio.Semaphore(size)
        self._nice = nice
        self._settings = settings
        self._idle: list[InferenceChild] = []
        self._busy: set[InferenceChild] = set()
        self._retiring: dict[InferenceChild, asyncio.TimerHandle] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False
        self.waiting = 0
        """Jobs that wait for a process."""

    @property
    def full(self) -> bool:
        """Whether the next job would wait."""
        return self._slots.locked()

    @property
    def processes(self) -> list[InferenceChild]:
        """The processes that are running."""
        return [*self._idle, *self._busy]

    @contextlib.asynccontextmanager
    async def process_for(self, analyzer: str) -> AsyncIterator[InferenceChild]:
        """Lend a process, one that has the analyzer's models loaded if it can be; wait while all are busy."""
        async with self._slot():
            child = self._take(analyzer) or await self._start()
            self._busy.add(child)
            try:
                yield child
            finally:
                self._busy.discard(child)
                self._give_back(child)

    async def close(self) -> None:
        """End every process; jobs that are running fail."""
        self._closed = True
        for timer in self._retiring.values():
            timer.cancel()
        await asyncio.gather(*(child.kill() for child in self.processes), *self._ending)
        self._idle.clear()

    @contextlib.asynccontextmanager
    async def _slot(self) -> AsyncIterator[None]:
        self.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.waiting -= 1
        try:
            yield
        finally:
            self._slots.release()

    def _take(self, analyzer: str) -> InferenceChild | None:
        if self._closed:
            raise UnavailableError("the inference processes are being stopped", code="stopping")
        self._idle = [child for child in self._idle if child.alive]
        if not self._idle:
            return None
        child = next((child for child in self._idle if analyzer in child.analyzers), self._idle[-1])
        self._idle.remove(child)
        self._retiring.pop(child).cancel()
        return child

    async def _start(self) -> InferenceChild:
        child = await InferenceChild.start(self._settings, self._nice)
        if self._closed:
            await child.kill()
            raise UnavailableError("the inference processes are being stopped", code="stopping")
        return child

    def _give_back(self, child: InferenceChild) -> None:
        if not child.alive:
            return
        if self._closed or child.memory_bytes() > self._settings.memory_kept_bytes:
            self._end(child)
            return
        self._idle.append(child)
        loop = asyncio.get_running_loop()
        self._retiring[child] = loop.call_later(self._settings.stop_seconds, self._retire, child)

    def _retire(self, child: InferenceChild) -> None:
        self._retiring.pop(child, None)
        if child in self._idle:
            self._idle.remove(child)
            self._end(child)

    def _end(self, child: InferenceChild) -> None:
        task = asyncio.create_task(child.kill())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)


class InferencePool:
    """Runs analyzers in processes of their own. Use it as `async with InferencePool(...) as pool`."""

    def __init__(self, batch_processes: int, settings: InferenceSettings | None = None) -> None:
        self._settings = settings or InferenceSettings()
        self._batch = Lane(batch_processes, BATCH_NICE, self._settings)
        self._interactive = Lane(1, 0, self._settings)
        self.calls: Counter[str] = Counter()
        """How often each analyzer was asked since the start; `embed_text` for searches."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def processes(self) -> list[InferenceChild]:
        """The processes that are running, of both lanes."""
        return [*self._batch.processes, *self._interactive.processes]

    async def analyse(
        self,
        analyzer: str,
        type: MediumType,  # noqa: A002 - the word of the contract
        segment: Segment | None,
        blobs: Sequence[bytes],
        deadline_seconds: float,
        *,
        interactive: bool = False,
    ) -> Analysis:
        """Run an analyzer over one part; `blobs` holds the derivative that its manifest's `input` names, or nothing.

        The deadline counts from when the job starts, not while it waits for a process. Cancelling the call
        stops the work. Raises TransientError (deadline_exceeded, out_of_memory, inference_died, unknown) and
        PermanentError (model_missing, derivative_unreadable, analyzer_unknown).
        """
        header = {
            "operation": "analyse",
            "analyzer": analyzer,
            "type": type.value,
            "segment": None if segment is None else segment.model_dump(),
        }
        async with self._lane(interactive=interactive).process_for(analyzer) as child:
            self.calls[analyzer] += 1
            child.analyzers.add(analyzer)
            answer = await child.call(f"analyzer {analyzer!r}", Message(header, blobs), deadline_seconds)
        return Analysis.model_validate(answer["analysis"])

    async def embed_text(self, text: str, deadline_seconds: float = 20.0) -> list[float]:
        """Give the vector of a search's words, in the space of texts. Raises as `analyse` does."""
        request = Message({"operation": EMBEDDING, "text": text})
        async with self._lane(interactive=True).process_for(EMBEDDING) as child:
            self.calls[EMBEDDING] += 1
            child.analyzers.add(EMBEDDING)
            answer = await child.call("embedding a text", request, deadline_seconds)
        return [float(value) for value in answer["vector"]]

    async def close(self) -> None:
        """End every process and wait until they are gone; may be called twice."""
        await asyncio.gather(self._batch.close(), self._interactive.close())

    def _lane(self, *, interactive: bool) -> Lane:
        """Choose a lane: interactive work takes a free batch process rather than wait long for its own."""
        patient = self._interactive.waiting < LONGEST_INTERACTIVE_QUEUE or self._batch.full
        return self._interactive if interactive and patient else self._batch
