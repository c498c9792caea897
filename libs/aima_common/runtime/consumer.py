"""Fetch, decode, handle, commit: the short loop of every service."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

import structlog

from aima_common.contracts.base import Message
from aima_common.contracts.codec import decode
from aima_common.contracts.envelope import Envelope
from aima_common.contracts.topics import BY_MESSAGE
from aima_common.errors import MalformedMessageError, PermanentError, TransientError
from aima_common.ports import Ports
from aima_common.ports.bus import Delivery, Partition, Subscription
from aima_common.runtime.failures import set_aside
from aima_common.runtime.in_flight import Bounds, InFlight
from aima_common.runtime.journal import DEATHS, Beginning, Journal
from aima_common.runtime.telemetry import MESSAGES_HANDLED, MESSAGES_IN_FLIGHT, MESSAGES_RETRIED

BATCH = 200
"""Records that are taken from a partition at a time."""

BUG_ATTEMPTS = 3
"""How often a handler that fails in an unforeseen way is tried before its message is set aside."""

LONGEST_BACKOFF_SECONDS = 30.0

REJOIN_SECONDS = 1.0
"""Pause before a group that broke off is joined again."""

COMMIT_SECONDS = 1.0
"""How long what is done may stay uncommitted while more of its batch is under way."""

FAREWELL_SECONDS = 2.0
"""How long the last commit of a membership may take."""

log = structlog.get_logger()

Handler = Callable[[Envelope[Any]], Awaitable[None]]
Survived = Callable[[], Awaitable[None]]
Result = TypeVar("Result")


class Consumer:
    """Feeds a service's handlers: in order per key, side by side across keys, at least once, with bounded hands.

    While a handler waits for a store that is away, its partition waits, and the membership of the group goes on.
    Without `group` and `topics` it is the group of the service's name, on all topics of the messages.
    """

    def __init__(
        self,
        ports: Ports,
        service: str,
        handlers: Mapping[type[Message], Handler],
        *,
        group: str | None = None,
        topics: Sequence[str] | None = None,
        bounds: Bounds = Bounds(),  # noqa: B008 - frozen
        journal: Journal | None = None,
    ) -> None:
        self._ports = ports
        self._service = service
        self._handlers = handlers
        self._group = group or service
        self._topics = list(topics or [name for message in handlers for name in BY_MESSAGE[message].names])
        self._bounds = bounds
        self._journal = journal or Journal(ports.documents, self._group)
        self._handled = dict.fromkeys(handlers, 0)
        """Counted here and told to the metrics now and then, as they take a lock for each."""

    async def run(self) -> None:
        """Consume until cancelled; while the bus is away, wait for it."""
        async with asyncio.TaskGroup() as tasks:
            in_flight = InFlight(tasks, self._bounds, self)
            MESSAGES_IN_FLIGHT.labels(self._group).set_function(lambda: in_flight.records)
            while True:
                try:
                    async with self._ports.bus.subscribe(self._group, self._topics) as subscription:
                        await self._consume(subscription, in_flight)
                except* TransientError as errors:
                    reasons = [str(error) for error in errors.exceptions]
                    log.warning("consuming_waits", service=self._service, reason="; ".join(reasons))
                await self._ports.clock.sleep(REJOIN_SECONDS)

    async def _consume(self, subscription: Subscription, in_flight: InFlight) -> None:
        in_flight.follow(subscription)
        try:
            async with asyncio.TaskGroup() as membership:
                membership.create_task(self._commit(subscription, in_flight))
                async for batch in subscription.batches(BATCH):
                    in_flight.take(batch)
                    await in_flight.brake()
        finally:
            with contextlib.suppress(TransientError, TimeoutError):
                async with asyncio.timeout(FAREWELL_SECONDS):
                    await self._commit_done(subscription, in_flight)
            with contextlib.suppress(TransientError, TimeoutError):
                async with asyncio.timeout(FAREWELL_SECONDS):
                    await in_flight.lose_all()

    async def _commit(self, subscription: Subscription, in_flight: InFlight) -> None:
        """Commit what is done, soon after it is: a lost commit repeats, a lost message would not."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(COMMIT_SECONDS):
                    await in_flight.progress.wait()
            in_flight.progress.clear()
            await self._commit_done(subscription, in_flight)

    async def _commit_done(self, subscription: Subscription, in_flight: InFlight) -> None:
        for message, count in self._handled.items():
            if count:
                MESSAGES_HANDLED.labels(self._service, message.__name__).inc(count)
                self._handled[message] = 0
        done = in_flight.committable()
        if not done:
            return
        refused = await subscription.commit_all({window.partition: offset for window, offset in done})
        for window, offset in done:
            # Who may not commit is being told that the partition is lost, or has been: nothing to do about it here.
            if window.partition not in refused:
                window.committed = offset

    # ------------------------------------------------------------------------------------------------- handling

    async def begin(self, partition: Partition, first: int, end: int) -> Beginning:
        """Look up whether a process died with these records in its hands."""
        return await self._insist(lambda: self._journal.begin(partition, first, end), "beginning_waits")

    async def release(self, partition: Partition) -> None:
        """Write down that a partition was given up alive, if the store is there."""
        with contextlib.suppress(TransientError):
            await self._journal.release(partition)

    async def handle_alone(self, delivery: Delivery, deaths: int) -> None:
        """Handle a record that may have killed a process: written down before it is looked at, or not at all."""
        partition = (delivery.record.topic, delivery.partition)
        if deaths >= DEATHS:
            detail = f"{deaths} times a process died with this record in its hands; it was not looked at again"
            await self._set_aside(delivery, "kills_its_consumer", detail)
            return
        await self._insist(lambda: self._journal.alone(partition, delivery.offset), "writing_down_waits")
        await self.handle(delivery, lambda: self._journal.survived(partition))
        # Whatever became of it, it did no harm; its commit may come too late to say so, as other records are next.
        await self._insist(lambda: self._journal.survived(partition), "writing_down_waits")

    async def handle(self, delivery: Delivery, survived: Survived | None = None) -> None:
        """Decode a record and have it handled, or set it aside."""
        try:
            envelope = decode(delivery.record)
        except MalformedMessageError as error:
            await self._set_aside(delivery, error.code, str(error))
            return
        message = type(envelope.body)
        handler = self._handlers.get(message)
        if handler is None:
            await self._set_aside(delivery, "wrong_topic", f"{envelope.type} does not belong here")
            return
        try:
            await handler(envelope)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - sorted out where there is time for it
            if survived:
                await self._insist(survived, "writing_down_waits")
            await self._persist(handler, envelope, delivery, error)
        else:
            self._handled[message] += 1

    async def _persist(self, handler: Handler, envelope: Envelope[Any], delivery: Delivery, error: Exception) -> None:
        """Try again what failed, for as long as that may help."""
        failures = bugs = 0
        while True:
            failures += 1
            if isinstance(error, TransientError):
                log.info("message_retried", service=self._service, message=envelope.type, reason=str(error))
            elif isinstance(error, PermanentError):
                await self._set_aside(delivery, error.code, str(error))
                return
            else:
                bugs += 1
                log.error("handler_failed", service=self._service, message=envelope.type, attempt=bugs, exc_info=error)
                if bugs >= BUG_ATTEMPTS:
                    await self._set_aside(delivery, "bug", repr(error))
                    return
            MESSAGES_RETRIED.labels(self._service).inc()
            await self._back_off(failures)
            try:
                await handler(envelope)
            except Exception as again:  # noqa: BLE001 - sorted out above
                error = again
            else:
                self._handled[type(envelope.body)] += 1
                return

    async def _set_aside(self, delivery: Delivery, reason: str, detail: str) -> None:
        """Keep a message that cannot be handled; while there is no room for it, its partition waits."""
        await self._insist(
            lambda: set_aside(self._ports, self._service, delivery, reason, detail), "setting_aside_waits"
        )

    async def _insist(self, what: Callable[[], Awaitable[Result]], event: str) -> Result:
        """Do something in the store until it is done."""
        failures = 0
        while True:
            try:
                return await what()
            except TransientError as error:
                failures += 1
                log.warning(event, service=self._service, reason=str(error))
            await self._back_off(failures)

    async def _back_off(self, failures: int) -> None:
        await self._ports.clock.sleep(min(LONGEST_BACKOFF_SECONDS, 0.1 * 2 ** min(failures, 10)))
