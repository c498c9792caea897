"""The loop that claims jobs of a kind, keeps their leases and commits what they made."""

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from aima_common.errors import StaleLeaseError, TransientError
from aima_common.jobs.candidates import Candidates, Room
from aima_common.jobs.failure import Failure
from aima_common.jobs.ledger import HEARTBEAT_SECONDS, LEASE_SECONDS, Held, JobKind, Ledger
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
    so that the one person waiting does not stand behind a thousand batch jobs. A slot is taken from the claim to
    the end of the work; while the store makes a result durable, the next job is claimed.
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
        self._on_failure = on_failure or (lambda _held, _failure: {})
        self._candidates = Candidates(lambda: ledger.ready(kind, where), _now)
        self._running: dict[str, asyncio.Task[None]] = {}
        self._claiming: set[str] = set()
        self._committing: set[str] = set()
        self._stopping = False
        self._broken: Exception | None = None
        """What made claiming impossible and is not going to pass."""
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Look for work now."""
        self._candidates.outdate()
        self._wake.set()

    def stop(self, job: str) -> None:
        """Stop the work on a job at once: it was cancelled, and the heartbeat need not find out."""
        if task := self._running.get(job):
            task.cancel()

    async def run(self) -> None:
        """Claim and run jobs until cancelled; then give back what is unfinished."""
        self._stopping = False
        try:
            while True:
                self._wake.clear()
                pause = await self._fill()
                if self._broken:
                    raise self._broken
                # Not `wait_for`: before Python 3.12 it swallows a cancellation that comes together with the answer.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._wake.wait()
        finally:
            self._stopping = True
            tasks = dict(self._running)
            for job, task in tasks.items():
                # Who is claiming gives back by itself what it gets; cut off, it would not know what it got.
                if job not in self._claiming:
                    task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)

    async def _fill(self) -> float:
        """Start what there is room for; return for how many seconds there is nothing to look for."""
        if self._room() is Room.NONE:
            return POLL_SECONDS
        try:
            await self._candidates.refresh(POLL_SECONDS)
        except TransientError as error:
            self._wait_for_store(error)
        for job in self._candidates.take(self._room):
            if job.id in self._running:
                # It ended here a moment ago; what is known of it is older than that.
                continue
            self._claiming.add(job.id)
            task = asyncio.create_task(self._attempt(job), name=f"{self._kind} {job.id}")
            self._running[job.id] = task
            task.add_done_callback(functools.partial(self._ended, job.id))
        return max(0.0, self._candidates.due_in(POLL_SECONDS))

    @property
    def _busy(self) -> int:
        return len(self._running) - len(self._committing)

    def _room(self) -> Room:
        if self._busy > self._slots or len(self._committing) > self._slots:
            return Room.NONE
        return Room.ANY if self._busy < self._slots else Room.INTERACTIVE

    def _wait_for_store(self, error: TransientError) -> None:
        log.warning("claiming_waits", kind=self._kind, reason=str(error))
        self._candidates.hold_off(POLL_SECONDS)

    def _ended(self, identity: str, _task: asyncio.Task[None]) -> None:
        self._running.pop(identity, None)
        if identity not in self._committing or len(self._committing) > self._slots:
            # Otherwise its slot was free when its commit began, and that was looked at then.
            self._wake.set()
        self._committing.discard(identity)

    async def _attempt(self, job: Document) -> None:
        started = _now()
        held = await self._claim(job)
        if held is None:
            return
        outcome = "lost"
        try:
            done = await self._work_while_held(held, started)
            self._committing.add(held.id)
            self._wake.set()
            await self._ledger.finish(held, done.state, done.fields, done.outbox)
            outcome = done.state
        except StaleLeaseError as error:
            LEASES_LOST.labels(self._kind).inc()
            log.info("lease_lost", kind=self._kind, job=held.id, reason=str(error))
        except asyncio.CancelledError:
            outcome = "released"
            await asyncio.shield(self._give_back(held))
            raise
        except Exception as error:  # noqa: BLE001 - every failure of a job has the same end: its verdict
            outcome = await self._failed(held, error)
        finally:
            JOBS_FINISHED.labels(self._kind, outcome).inc()
            JOB_SECONDS.labels(self._kind).observe(_now() - started)

    async def _claim(self, job: Document) -> Held | None:
        try:
            held = await self._ledger.claim(job)
        except TransientError as error:
            self._wait_for_store(error)
            return None
        except Exception as error:  # noqa: BLE001 - the loop ends with it, and not this one attempt
            self._broken = error
            return None
        finally:
            self._claiming.discard(job.id)
        if held is None:
            self._candidates.outdate()
        elif self._stopping:
            await self._give_back(held)
            return None
        return held

    async def _give_back(self, held: Held) -> None:
        with contextlib.suppress(StaleLeaseError, TransientError):
            await self._ledger.release(held)

    async def _failed(self, held: Held, error: Exception) -> str:
        failure = held.judge(error)
        if failure.code == "unknown":
            log.error("job_failed", kind=self._kind, job=held.id, exc_info=error)
        with contextlib.suppress(StaleLeaseError, TransientError):
            verdict = await self._ledger.fail(held, failure, self._on_failure(held, failure))
            facts = {"kind": self._kind, "job": held.id, "code": failure.code, "reason": failure.reason}
            log.info("job_attempt_failed", **facts, next=verdict.state)
            return "failed" if verdict.state == "dead" else "retried"
        return "lost"

    async def _work_while_held(self, held: Held, claimed_at: float) -> Done:
        work = asyncio.ensure_future(self._work(held))
        try:
            # Most jobs are over before they need a heart.
            await asyncio.wait({work}, timeout=HEARTBEAT_SECONDS)
            if not work.done():
                await self._beside_heart(work, held, claimed_at)
            return work.result()
        finally:
            if not work.done():
                work.cancel()
                await asyncio.gather(work, return_exceptions=True)

    async def _beside_heart(self, work: "asyncio.Future[Done]", held: Held, claimed_at: float) -> None:
        """Wait for the work while the lease is renewed; raise `StaleLeaseError` when it is lost first."""
        heart = asyncio.create_task(self._beat(held, claimed_at))
        try:
            either: set[asyncio.Future[Any]] = {work, heart}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                heart.result()
                raise StaleLeaseError("the heartbeat ended")
        finally:
            heart.cancel()
            await asyncio.gather(heart, return_exceptions=True)

    async def _beat(self, held: Held, confirmed: float) -> None:
        """Renew until fenced; a store that is away ends the work before the lease does."""
        while True:
            # The lease runs from some moment after the question, so the answer's delay is not counted in.
            asked = _now()
            try:
                async with asyncio.timeout(HEARTBEAT_SECONDS * 2):
                    await self._ledger.renew(held)
                confirmed = asked
            except (TransientError, TimeoutError) as error:
                if _now() - confirmed > SELF_FENCE_SECONDS:
                    raise StaleLeaseError(f"no renewal for {SELF_FENCE_SECONDS:.0f} s: {error}") from error
            await asyncio.sleep(HEARTBEAT_SECONDS)


def _now() -> float:
    """Tell the loop's monotonic time, which is what `asyncio.sleep` waits by."""
    return asyncio.get_running_loop().time()
