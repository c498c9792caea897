"""The loop that claims jobs of a kind, keeps their leases and commits what they made."""

import asyncio
import contextlib
import functools
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from aima_common.errors import StaleLeaseError, TransientError
from aima_common.jobs.failure import Failure
from aima_common.jobs.ledger import HEARTBEAT_SECONDS, LEASE_SECONDS, Held, JobKind, Ledger, is_interactive
from aima_common.ports.bus import Record
from aima_common.ports.documents import Document
from aima_common.runtime.telemetry import JOB_SECONDS, JOBS_FINISHED, LEASES_LOST

POLL_SECONDS = 1.0
"""The backstop for a lost hint; a job added in this process wakes the loop at once."""

SELF_FENCE_SECONDS = LEASE_SECONDS * 2 / 3
"""Without a confirmed renewal for this long (monotonic) a holder drops its work by itself."""

log = structlog.get_logger()


@dataclass(frozen=True)
class Done:
    """What an attempt made: fields for the job's document and messages to send with the commit."""

    fields: Mapping[str, Any] = field(default_factory=dict)
    outbox: Sequence[Record] = ()
    state: str = "done"


Work = Callable[[Held], Awaitable[Done]]
OnFailure = Callable[[Held, Failure], Mapping[str, Sequence[Record]]]


class JobRunner:
    """Runs jobs of one kind, a bounded number at a time.

    Besides `slots` there is one interactive slot, which only jobs of priority high and above may use,
    so that the one person waiting does not stand behind a thousand batch jobs.
    """

    def __init__(
        self,
        ledger: Ledger,
        kind: JobKind,
        work: Work,
        *,
        slots: int,
        where: Mapping[str, Any] | None = None,
        on_failure: OnFailure | None = None,
    ) -> None:
        self._ledger = ledger
        self._kind = kind
        self._work = work
        self._slots = slots
        self._where = where or {}
        self._on_failure = on_failure or (lambda _held, _failure: {})
        self._running: dict[str, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Look for work now."""
        self._wake.set()

    def stop(self, job: str) -> None:
        """Stop the work on a job at once: it was cancelled, and the heartbeat need not find out."""
        if task := self._running.get(job):
            task.cancel()

    async def run(self) -> None:
        """Claim and run jobs until cancelled; then give back what is unfinished."""
        try:
            while True:
                self._wake.clear()
                try:
                    await self._fill()
                except TransientError as error:
                    log.warning("claiming_waits", kind=self._kind, reason=str(error))
                # Not `wait_for`: before Python 3.12 it swallows a cancellation that comes together with the answer.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await self._wake.wait()
        finally:
            tasks = list(self._running.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _fill(self) -> None:
        if len(self._running) > self._slots:
            return
        for job in await self._ledger.ready(self._kind, self._where):
            if not self._has_room(job):
                continue
            held = await self._ledger.claim(job)
            if held:
                task = asyncio.create_task(self._attempt(held), name=f"{self._kind} {held.id}")
                self._running[held.id] = task
                task.add_done_callback(functools.partial(self._ended, held.id))

    def _has_room(self, job: Document) -> bool:
        busy = len(self._running)
        return busy < self._slots or (busy == self._slots and is_interactive(job))

    def _ended(self, identity: str, _task: asyncio.Task[None]) -> None:
        self._running.pop(identity, None)
        self._wake.set()

    async def _attempt(self, held: Held) -> None:
        started = time.monotonic()
        outcome = "lost"
        try:
            done = await self._work_while_held(held)
            await self._ledger.finish(held, done.state, done.fields, done.outbox)
            outcome = done.state
        except StaleLeaseError as error:
            LEASES_LOST.labels(self._kind).inc()
            log.info("lease_lost", kind=self._kind, job=held.id, reason=str(error))
        except asyncio.CancelledError:
            outcome = "released"
            with contextlib.suppress(StaleLeaseError, TransientError):
                await asyncio.shield(self._ledger.release(held))
            raise
        except Exception as error:  # noqa: BLE001 - every failure of a job has the same end: its verdict
            outcome = await self._failed(held, error)
        finally:
            JOBS_FINISHED.labels(self._kind, outcome).inc()
            JOB_SECONDS.labels(self._kind).observe(time.monotonic() - started)

    async def _failed(self, held: Held, error: Exception) -> str:
        failure = Failure.of(error)
        if failure.code == "unknown":
            log.error("job_failed", kind=self._kind, job=held.id, exc_info=error)
        with contextlib.suppress(StaleLeaseError, TransientError):
            verdict = await self._ledger.fail(held, failure, self._on_failure(held, failure))
            facts = {"kind": self._kind, "job": held.id, "code": failure.code, "reason": failure.reason}
            log.info("job_attempt_failed", **facts, next=verdict.state)
            return "failed" if verdict.state == "dead" else "retried"
        return "lost"

    async def _work_while_held(self, held: Held) -> Done:
        work = asyncio.ensure_future(self._work(held))
        heart = asyncio.create_task(self._beat(held))
        try:
            await asyncio.wait({work, heart}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                return work.result()
            heart.result()
            raise StaleLeaseError("the heartbeat ended")
        finally:
            for task in (work, heart):
                task.cancel()
            await asyncio.gather(work, heart, return_exceptions=True)

    async def _beat(self, held: Held) -> None:
        """Renew until fenced; a store that is away ends the work before the lease does."""
        confirmed = time.monotonic()
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            # The lease runs from some moment after the question, so the answer's delay is not counted in.
            asked = time.monotonic()
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS * 2):
                    await self._ledger.renew(held)
                confirmed = asked
            except (TransientError, TimeoutError) as error:
                if time.monotonic() - confirmed > SELF_FENCE_SECONDS:
                    raise StaleLeaseError(f"no renewal for {SELF_FENCE_SECONDS:.0f} s: {error}") from error
