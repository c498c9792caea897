"""Delivering what is owed to webhooks: by lease, with patience, and never to an address inside."""

import asyncio
import contextlib
import datetime
import functools
import random
import uuid
from collections import Counter
from typing import Any

import aiohttp
import structlog

from aima_common.egress import Egress
from aima_common.errors import PermanentError, TransientError
from aima_common.ports import Ports
from aima_common.ports.documents import Change, Document, Expect, Lease, Range
from aima_gateway import webhook_rules as rules
from aima_gateway.telemetry import DELIVERIES as COUNTED
from aima_gateway.webhooks import DELIVERIES, WEBHOOKS, Webhooks

POLL_SECONDS = 1.0
"""How late a delivery that another gateway owes, or that is due again, is noticed."""

ATTEMPT_SECONDS = 15.0
LEASE_SECONDS = 4 * ATTEMPT_SECONDS
AT_ONCE = 16
AT_ONCE_PER_WEBHOOK = 4
"""One receiver that is slow shall not hold up the others."""

TAKEN = 100
GONE = 410

log = structlog.get_logger()


class WebhookDelivery:
    """Sends what is owed, from whichever gateway comes first."""

    def __init__(self, ports: Ports, webhooks: Webhooks, egress: Egress, rng: random.Random | None = None) -> None:
        self._documents = ports.documents
        self._clock = ports.clock
        self._egress = egress
        self._rng = rng or random.Random()
        self._holder = f"webhooks-{uuid.uuid4().hex[:8]}"
        self._running: dict[str, asyncio.Task[None]] = {}
        self._per_webhook: Counter[str] = Counter()
        self._wake = asyncio.Event()
        webhooks.on_delivery(self._wake.set)

    async def deliver(self) -> None:
        """Deliver until cancelled."""
        timeout = aiohttp.ClientTimeout(total=ATTEMPT_SECONDS)
        async with self._egress.session(timeout) as session, asyncio.TaskGroup() as group:
            while True:
                self._wake.clear()
                try:
                    await self._fill(session, group)
                except TransientError as error:
                    log.warning("webhooks_wait", reason=str(error))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await self._wake.wait()

    async def _fill(self, session: aiohttp.ClientSession, group: asyncio.TaskGroup) -> None:
        if len(self._running) >= AT_ONCE:
            return
        now = await self._documents.now()
        due = {"state": "waiting", "due_at": Range(below=self._later(0.001))}
        for delivery in await self._documents.find(DELIVERIES, due, order=["due_at"], limit=TAKEN):
            hook = str(delivery.body["webhook"])
            leased = delivery.lease_until is not None and delivery.lease_until > now
            if leased or delivery.id in self._running or self._per_webhook[hook] >= AT_ONCE_PER_WEBHOOK:
                continue
            if len(self._running) >= AT_ONCE:
                return
            self._per_webhook[hook] += 1
            task = group.create_task(self._attempt(session, delivery), name=f"delivery {delivery.id}")
            self._running[delivery.id] = task
            task.add_done_callback(functools.partial(self._ended, delivery.id, hook))

    def _ended(self, delivery: str, hook: str, _task: asyncio.Task[None]) -> None:
        self._running.pop(delivery, None)
        self._per_webhook[hook] -= 1
        if not self._per_webhook[hook]:
            del self._per_webhook[hook]
        self._wake.set()

    # --------------------------------------------------------------------------------------------------- a delivery

    async def _attempt(self, session: aiohttp.ClientSession, delivery: Document) -> None:
        try:
            hook = await self._documents.load(WEBHOOKS, delivery.body["webhook"])
            if (held := await self._claim(delivery)) is None:
                return
            if hook is None or hook.state != "active":
                await self._finish(held, "given_up", "the webhook was disabled or deleted")
            elif (hook.body["retry_at"] or "") > self._later(0):
                # It fails just now: one delivery finds out whether it is back, the others wait.
                await self._postpone(held, hook.body["retry_at"])
            else:
                await self._send(session, hook, held)
        except TransientError as error:
            # The lease runs out, and the delivery comes again: under the same id, so the receiver knows it.
            log.warning("webhooks_wait", reason=str(error))

    async def _claim(self, delivery: Document) -> Document | None:
        done = await self._documents.transition(
            DELIVERIES,
            delivery.id,
            expect=Expect(state="waiting", version=delivery.version, lease_expired=delivery.holder is not None),
            lease=Lease(self._holder, LEASE_SECONDS),
        )
        return done.document if done.applied else None

    async def _send(self, session: aiohttp.ClientSession, hook: Document, held: Document) -> None:
        body = str(held.body["payload"]).encode()
        stamp = int(self._clock.now().timestamp())
        headers = rules.headers(hook.body["secret"], held.id, stamp, body)
        error, gone = "", False
        try:
            url = self._egress.check(hook.body["url"])
            # The answer's body is of no interest, and is not read.
            async with session.post(url, data=body, headers=headers, allow_redirects=False) as answer:
                gone = answer.status == GONE
                if not 200 <= answer.status < 300:
                    error = f"the receiver answered with status {answer.status}"
        except PermanentError as refused:
            error = str(refused)
        except (aiohttp.ClientError, TimeoutError, OSError) as failed:
            error = f"the receiver cannot be reached: {failed!r}"[:500]
        COUNTED.labels("failed" if error else "delivered").inc()
        if error:
            await self._failed(hook, held, error, gone=gone)
        else:
            await self._finish(held, "delivered", None)
            await self._succeeded(hook)

    async def _failed(self, hook: Document, held: Document, error: str, *, gone: bool) -> None:
        now = self._clock.now()
        fresh = await self._documents.load(WEBHOOKS, hook.id)
        if fresh is None:
            await self._finish(held, "given_up", error)
            return
        failures = int(fresh.body["failures"]) + 1
        since = datetime.datetime.fromisoformat(fresh.body["failing_since"] or now.isoformat())
        lasting = gone or (now - since).total_seconds() > rules.GIVEN_UP_SECONDS
        again = self._later(rules.retry_seconds(failures, self._rng.random()))
        facts = {"failures": failures, "failing_since": since.isoformat(), "retry_at": again, "last_error": error}
        change = Change("disabled" if lasting else None, facts)
        # Who else fails with it at the same moment notes the same; one note is enough.
        expect = Expect(state="active", version=fresh.version)
        await self._documents.transition(WEBHOOKS, hook.id, expect=expect, change=change)
        if lasting:
            log.error("webhook_disabled", webhook=hook.id, tenant=hook.tenant, reason=error)
        begun = datetime.datetime.fromisoformat(held.body["begun_at"])
        if lasting or (now - begun).total_seconds() > rules.GIVEN_UP_SECONDS:
            await self._finish(held, "given_up", error)
        else:
            await self._postpone(held, again, error)

    async def _succeeded(self, hook: Document) -> None:
        well = {"failures": 0, "failing_since": None, "retry_at": None, "last_error": None}
        facts: dict[str, Any] = {"delivered_at": self._clock.now().isoformat(), **well}
        await self._documents.transition(WEBHOOKS, hook.id, expect=Expect(state="active"), change=Change(set=facts))

    async def _postpone(self, held: Document, due_at: str, error: str | None = None) -> None:
        facts = {"due_at": due_at, **({"last_error": error} if error else {})}
        change = Change(set=facts, add={"attempts": 1} if error else {})
        expect = Expect(state="waiting", epoch=held.epoch)
        await self._documents.transition(DELIVERIES, held.id, expect=expect, change=change, release=True)

    async def _finish(self, held: Document, state: str, error: str | None) -> None:
        facts = {"ended_at": self._clock.now().isoformat(), "last_error": error}
        change = Change(state, facts, add={"attempts": 1})
        expect = Expect(state="waiting", epoch=held.epoch)
        await self._documents.transition(DELIVERIES, held.id, expect=expect, change=change, release=True)

    def _later(self, seconds: float) -> str:
        return (self._clock.now() + datetime.timedelta(seconds=seconds)).isoformat()
