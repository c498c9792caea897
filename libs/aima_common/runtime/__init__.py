"""The life of a process: consume, handle, tell, stop.

A service is a class with a name, handlers for messages and loops of its own; `run` is its whole life.
"""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from aima_common.cancellation import forever
from aima_common.contracts.base import Message
from aima_common.contracts.envelope import Envelope
from aima_common.contracts.topics import LANES, groups
from aima_common.ports import Ports
from aima_common.runtime.consumer import Consumer
from aima_common.runtime.relay import relay_outbox

Handler = Callable[[Envelope[Any]], Awaitable[None]]
Handlers = Mapping[type[Message], Handler]
Loop = Callable[[], Awaitable[None]]


class Service(Protocol):
    """What a process runs."""

    name: str

    def handlers(self) -> Handlers:
        """Tell which messages this service acts on; everything else it hears is skipped."""

    def background(self) -> Sequence[Loop]:
        """Tell which loops run beside the handlers until the process stops."""


@runtime_checkable
class Laned(Protocol):
    """A service that works in some lanes only."""

    lanes: Sequence[str]


async def run(ports: Ports, *services: Service) -> None:
    """Run services until one of their loops ends or fails; then stop them all.

    The first to end ends all: half a process is harder to notice than none.
    """
    async with asyncio.TaskGroup() as group:
        group.create_task(forever(functools.partial(relay_outbox, ports)), name="outbox")
        for service in services:
            handlers = service.handlers()
            lanes = service.lanes if isinstance(service, Laned) else LANES
            for name, topics in groups(service.name, handlers, lanes).items():
                consumer = Consumer(ports, service.name, handlers, group=name, topics=topics)
                group.create_task(forever(consumer.run), name=f"{name} consumer")
            for loop in service.background():
                group.create_task(forever(loop), name=f"{service.name} {loop.__name__}")
