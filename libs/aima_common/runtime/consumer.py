"""Fetch, decode, handle, commit: the short loop of every service."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import structlog

from aima_common.contracts.base import Message
from aima_common.contracts.codec import decode
from aima_common.contracts.envelope import Envelope
from aima_common.contracts.topics import BY_MESSAGE
from aima_common.errors import MalformedMessageError, PermanentError, TransientError
from aima_common.ports import Ports
from aima_common.ports.bus import Delivery, Subscription
from aima_common.runtime.failures import set_aside
from aima_common.runtime.telemetry import MESSAGES_HANDLED, MESSAGES_RETRIED

BUG_ATTEMPTS = 3
"""How often a handler that fails in an unforeseen way is tried before its message is set aside."""

LONGEST_BACKOFF_SECONDS = 30.0

REJOIN_SECONDS = 1.0
"""Pause before a group that broke off is joined again."""

log = structlog.get_logger()


class Consumer:
    """Feeds a service's handlers, in order per key and side by side across keys."""

    def __init__(
        self,
        ports: Ports,
        service: str,
        handlers: Mapping[type[Message], Callable[[Envelope[Any]], Awaitable[None]]],
    ) -> None:
        self._ports = ports
        self._service = service
        self._handlers = handlers
        self._topics = [BY_MESSAGE[message].name for message in handlers]

    async def run(self) -> None:
        """Consume until cancelled; while the bus is away, wait for it."""
        while True:
            try:
                async with self._ports.bus.subscribe(self._service, self._topics) as subscription:
                    async for batch in subscription.batches():
                        await self._take(subscription, batch)
            except TransientError as error:
                log.warning("consuming_waits", service=self._service, reason=str(error))
                await self._ports.clock.sleep(REJOIN_SECONDS)

    async def _take(self, subscription: Subscription, batch: Sequence[Delivery]) -> None:
        by_key: dict[str, list[Delivery]] = {}
        for delivery in batch:
            by_key.setdefault(delivery.record.key, []).append(delivery)
        async with asyncio.TaskGroup() as group:
            for deliveries in by_key.values():
                group.create_task(self._in_order(deliveries))
        # Committed after all of the batch is handled: a lost commit repeats, a lost message would not.
        last = batch[-1]
        await subscription.commit(last.record.topic, last.partition, last.offset + 1)

    async def _in_order(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            await self._handle(delivery)

    async def _handle(self, delivery: Delivery) -> None:
        try:
            envelope = decode(delivery.record)
        except MalformedMessageError as error:
            await self._set_aside(delivery, error.code, str(error))
            return
        handler = self._handlers.get(type(envelope.body))
        if handler is None:
            await self._set_aside(delivery, "wrong_topic", f"{envelope.type} does not belong here")
            return
        await self._persist(handler, envelope, delivery)

    async def _persist(
        self, handler: Callable[[Envelope[Any]], Awaitable[None]], envelope: Envelope[Any], delivery: Delivery
    ) -> None:
        failures = bugs = 0
        while True:
            try:
                await handler(envelope)
            except TransientError as error:
                failures += 1
                log.info("message_retried", service=self._service, message=envelope.type, reason=str(error))
            except PermanentError as error:
                await self._set_aside(delivery, error.code, str(error))
                return
            except Exception as error:
                failures, bugs = failures + 1, bugs + 1
                log.exception("handler_failed", service=self._service, message=envelope.type, attempt=bugs)
                if bugs >= BUG_ATTEMPTS:
                    await self._set_aside(delivery, "bug", repr(error))
                    return
            else:
                MESSAGES_HANDLED.labels(self._service, envelope.type).inc()
                return
            MESSAGES_RETRIED.labels(self._service).inc()
            await self._back_off(failures)

    async def _set_aside(self, delivery: Delivery, reason: str, detail: str) -> None:
        """Keep a message that cannot be handled; while there is no room for it, its partition waits."""
        failures = 0
        while True:
            try:
                await set_aside(self._ports, self._service, delivery, reason, detail)
            except TransientError as error:
                failures += 1
                log.warning("setting_aside_waits", service=self._service, reason=str(error))
                await self._back_off(failures)
            else:
                return

    async def _back_off(self, failures: int) -> None:
        await self._ports.clock.sleep(min(LONGEST_BACKOFF_SECONDS, 0.1 * 2 ** min(failures, 10)))
