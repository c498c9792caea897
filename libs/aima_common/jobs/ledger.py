"""The transitions of a job: every one a compare-and-set on (id, state, epoch) by the store's clock."""

import asyncio
import datetime
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from aima_common.collections import JOB_TERMINAL
from aima_common.contracts.media import Priority
from aima_common.errors import StaleLeaseError
from aima_common.jobs.failure import KEPT_ERRORS, MAX_ATTEMPTS, MAX_INTERRUPTIONS, Failure, Verdict, after_failure
from aima_common.jobs.store_time import StoreTime
from aima_common.jobs.turns import Turns
from aima_common.jobs.window import Window
from aima_common.ports import Ports
from aima_common.ports.bus import Record
from aima_common.ports.documents import Change, Document, Expect, Insert, Lease, Range
from aima_common.urgency import readable_time, urgency_of

LEASE_SECONDS = 30.0
"""How long a job stays with a holder that says nothing (notes: reliability, 6.2)."""

HEARTBEAT_SECONDS = 2.0
"""How often a holder renews. Also the longest time until it notices a cancellation (spec: 5 s)."""

COLLECTION = "jobs"

AT_ONCE = "1970-01-01T00:00:00+00:00"
"""A new job may start at once. The time of its submission would not say so: a process whose clock is ahead of the
store's would hold the job up by as much."""

LONGEST_PAUSE_SECONDS = 600.0
"""No failed job waits for longer before it is tried again: ten times the longest pause that is planned (spec 4.4). A
pause that ends later than so from now was planned before the store's clock was set back, and counts for nothing: else
the job would wait for as long as the clock was set back by."""

INHERITED_AT_A_TIME = 1000
"""So many jobs of earlier processes are read at a time when they are freed; all of them are, however many there are."""

OVERDUE_SECONDS = 1.0
"""A job that may start for this long, and that nobody has taken, is told to rest no more: there is a crowd. As a rule
it has begun by then, and nothing has to be written."""

ROUSED_AT_A_TIME = 500
"""So many jobs are told to rest no more in one go."""

AFRESH: Mapping[str, Any] = {"attempts": 0, "interruptions": 0, "away_since": None, "resting_until": None}
"""What is set when a job that had ended is begun again: nothing of what went before counts against it."""


class JobKind(StrEnum):
    """Everything that takes time is a job of one of these kinds."""

    TAKE_IN = "take_in"
    PREPARE = "prepare"
    ANALYSE = "analyse"
    FUSE = "fuse"
    WRITE = "write"


def new_job(
    identity: str,
    tenant: str,
    kind: JobKind,
    *,
    submitted_at: datetime.datetime,
    priority: Priority = Priority.NORMAL,
    deadline: str | None = None,
    state: str = "ready",
    **body: Any,
) -> Insert:
    """Describe a job that does not exist yet; further fields are the business of its kind."""
    common: dict[str, Any] = {
        "kind": kind.value,
        "priority": priority.value,
        "deadline": deadline,
        "submitted_at": submitted_at.isoformat(),
        "not_before": AT_ONCE,
        "claimed_at": None,
        "finished_at": None,
        **AFRESH,
        "errors": [],
        "machine": None,
        "result": None,
    }
    return Insert(identity, tenant, state, {**common, **body})


def rest_until(start: datetime.datetime) -> Mapping[str, Any]:
    """Give the fields of a job that may not start before a time of the store, at most `LONGEST_PAUSE_SECONDS` from now.

    `not_before` decides whether it may start; as long as it says `resting_until` it stands behind all that may.
    """
    return {"not_before": start.isoformat(), "resting_until": start.isoformat()}


@dataclass
class Held:
    """A job that this process holds, as it was when it was claimed."""

    document: Document
    epoch: int

    @property
    def id(self) -> str:
        """The job's id."""
        return self.document.id

    @property
    def tenant(self) -> str:
        """Whose job it is."""
        return self.document.tenant

    @property
    def body(self) -> Mapping[str, Any]:
        """The job's own fields."""
        return self.document.body

    @property
    def cause(self) -> str:
        """Name this attempt, as the cause of what is told of it."""
        return attempt(self.document)

    @property
    def interactive(self) -> bool:
        """Whether somebody waits for it: priority high and above."""
        return is_interactive(self.document)

    def judge(self, error: BaseException) -> Failure:
        """Judge the error that ended this attempt, and for how long it has been so."""
        failure, since = Failure.of(error), self.body.get("away_since")
        if since is None:
            return failure
        # From one time of the store to another: when this attempt began is close enough for days.
        waited = datetime.datetime.fromisoformat(self.body["claimed_at"]) - datetime.datetime.fromisoformat(since)
        return failure.lasting(waited.total_seconds())


def attempt(job: Document) -> str:
    """Name the newest attempt at a job.

    An erased job that is made again has the same id and counts its epochs from 1; when it was submitted tells the two
    apart, else what the second one tells would be taken for a repetition.
    """
    return f"{job.id}-{job.epoch}-{job.body.get('submitted_at')}"


def errors_of(job: Document) -> Sequence[Mapping[str, Any]]:
    """List the errors that a job had; none where its document, of another version, has no such list."""
    errors = job.body.get("errors")
    return errors if isinstance(errors, list) else []


def is_interactive(job: Document) -> bool:
    """Tell whether a job may use the interactive lane (model.md, "Processes of `aima up`")."""
    return job.body.get("priority") in (Priority.HIGH.value, Priority.CRITICAL.value)


def is_due(job: Document, now: datetime.datetime) -> bool:
    """Tell whether a ready job may start, by the store's time; one that does not say from when on may."""
    start = readable_time(job.body.get("not_before"))
    return start is None or start <= now or (start - now).total_seconds() > LONGEST_PAUSE_SECONDS


class Ledger:
    """The only code that moves jobs from state to state."""

    def __init__(self, ports: Ports, holder: str, rng: random.Random | None = None) -> None:
        self._documents = ports.documents
        self._time = StoreTime(ports.documents, ports.clock)
        self._monotonic = ports.clock.monotonic
        self._holder = holder
        self._rng = rng or random.Random()
        self._turns = Turns()
        self._windows: dict[tuple[JobKind, int], Window] = {}

    @property
    def holder(self) -> str:
        """The name under which this process holds jobs."""
        return self._holder

    async def add(self, job: Insert, outbox: Sequence[Record] = (), *, inbox: str | None = None) -> bool:
        """Add a job once; False when it exists. `inbox` names the message that asks for it."""
        return await self._documents.insert(COLLECTION, job, outbox=outbox, inbox=inbox)

    async def ready(self, kind: JobKind, where: Mapping[str, Any] | None = None, limit: int = 100) -> list[Document]:
        """Read jobs that may start now, the most urgent first; ties go by age, then id.

        Without `where` those that have no machine: where there are more than `limit`, a window on them (see `Window`),
        in which the tenants of a class take turns.
        """
        window = self._windows.setdefault((kind, limit), Window(self._documents, kind.value, limit, self._monotonic))
        found = await window.look() if where is None else await self._among(kind, where, limit)
        if not found:
            # The usual answer, and many processes ask every second.
            return []
        now = await self._time.now()
        due = [job for job in found if is_due(job, now)]
        urgency = {job.id: urgency_of(job.body, now) for job in due}
        due.sort(key=lambda job: (-urgency[job.id], str(job.body.get("submitted_at")), job.id))
        crowded = where is None and window.crowded
        return self._turns.order(due, lambda job: urgency[job.id]) if crowded else due

    async def _among(self, kind: JobKind, where: Mapping[str, Any], limit: int) -> Sequence[Document]:
        wanted = {"kind": kind.value, "state": "ready", **where}
        order = ["priority", "resting_until", "submitted_at"]
        found = await self._documents.find(COLLECTION, wanted, order=order, limit=limit + 1)
        if len(found) <= limit:
            return found
        # Class by class: many old batch jobs must not hide one new critical job behind the limit.
        some = [{**wanted, "priority": priority.value} for priority in Priority]
        return [
            job for one in some for job in await self._documents.find(COLLECTION, one, order=order[1:], limit=limit)
        ]

    async def claim(self, job: Document) -> Held | None:
        """Take the lease on a ready job; None when somebody else was faster, or it was changed meanwhile.

        A job that was read here and has been placed elsewhere since is not for this machine any more.
        """
        now = await self._time.now()
        done = await self._documents.transition(
            COLLECTION,
            job.id,
            expect=Expect(state="ready", version=job.version),
            change=Change(
                state="leased",
                set={"claimed_at": now.isoformat(), "finished_at": None, "resting_until": None},
                add={"attempts": 1},
            ),
            lease=Lease(self._holder, LEASE_SECONDS),
        )
        if not done.applied or done.document is None:
            return None
        self._turns.served(done.document)
        return Held(done.document, done.document.epoch)

    async def renew(self, held: Held, progress: Mapping[str, Any] | None = None) -> None:
        """Extend the lease, noting progress; raise `StaleLeaseError` when the job is somebody else's or cancelled."""
        done = await self._documents.transition(
            COLLECTION,
            held.id,
            expect=Expect(state="leased", epoch=held.epoch),
            change=Change(set={"progress": dict(progress)} if progress else {}),
            lease=Lease(self._holder, LEASE_SECONDS, renew=True),
        )
        if not done.applied:
            raise StaleLeaseError(f"job {held.id} is no longer held at epoch {held.epoch}")

    async def finish(
        self,
        held: Held,
        state: str,
        fields: Mapping[str, Any],
        outbox: Sequence[Record],
        *,
        add: Mapping[str, int] | None = None,
    ) -> None:
        """Commit what the job made: the only commit point of a stage. Raise `StaleLeaseError` when fenced."""
        finished_at = (await self._time.now()).isoformat() if state in JOB_TERMINAL else None
        done = await self._documents.transition(
            COLLECTION,
            held.id,
            expect=Expect(state="leased", epoch=held.epoch),
            change=Change(state=state, set={**fields, "finished_at": finished_at}, add=add or {}),
            release=True,
            outbox=outbox,
        )
        if not done.applied:
            raise StaleLeaseError(f"job {held.id} is no longer held at epoch {held.epoch}")

    async def fail(self, held: Held, failure: Failure, outbox: Mapping[str, Sequence[Record]]) -> Verdict:
        """End an attempt that failed; `outbox` gives the messages to send for each state it may go to."""
        verdict, pause = after_failure(held.body["attempts"], failure, self._rng), LONGEST_PAUSE_SECONDS
        now = await self._time.now()
        error = {"at": now.isoformat(), "code": failure.code, "reason": failure.reason[:500], "epoch": held.epoch}
        again = now + datetime.timedelta(seconds=min(verdict.delay_seconds, pause))
        fields = {
            "errors": [*errors_of(held.document), error][-KEPT_ERRORS:],
            "machine": None,
            # The next attempt has not begun.
            **({"claimed_at": None, **rest_until(again)} if verdict.state == "ready" else {}),
            # Any other end of an attempt shows that the servers were there.
            "away_since": (held.body.get("away_since") or now.isoformat()) if failure.by_server else None,
        }
        uncounted = {} if verdict.counts else {"attempts": -1}
        await self.finish(held, verdict.state, fields, outbox.get(verdict.state, ()), add=uncounted)
        return verdict

    async def release(self, held: Held) -> None:
        """Give a job back unfinished, at shutdown: it does not count as an attempt."""
        done = await self._documents.transition(
            COLLECTION,
            held.id,
            expect=Expect(state="leased", epoch=held.epoch),
            change=Change(state="ready", add={"attempts": -1}, set={"machine": None, "claimed_at": None}),
            release=True,
        )
        if not done.applied:
            raise StaleLeaseError(f"job {held.id} is no longer held at epoch {held.epoch}")

    async def cancel(self, job: Document) -> bool:
        """End a job that nobody wants any more, whoever holds it; the holder notices at its next heartbeat."""
        expect = Expect(state=("ready", "leased", "parked"))
        done = await self._documents.transition(
            COLLECTION, job.id, expect=expect, change=Change(state="cancelled"), release=True
        )
        return done.applied

    async def preempt(self, job: Document, reason: str) -> bool:
        """Take a job from its machine for one that is more urgent: begun or not, it is ready again, for any machine.

        Like a cancellation it reaches the holder at its next heartbeat at the latest, and what that commits later is
        refused. It is nobody's failure, and counts as no attempt. False where the job ended since it was read, or
        somebody else has it by now, or begun it.
        """
        begun = job.state == "leased"
        now = await self._time.now()
        note = {"at": now.isoformat(), "code": "preempted", "reason": reason[:500], "epoch": job.epoch}
        done = await self._documents.transition(
            COLLECTION,
            job.id,
            # A heartbeat changes its version, and who holds it not at all.
            expect=Expect(state="leased", epoch=job.epoch) if begun else Expect(state="ready", version=job.version),
            change=Change(
                state="ready",
                # Whoever is placed anew has not begun again yet: to give way then costs nothing.
                set={"machine": None, "claimed_at": None, "errors": [*errors_of(job), note][-KEPT_ERRORS:]},
                add={"preemptions": 1, "attempts": -1} if begun else {"preemptions": 1},
            ),
            release=True,
        )
        return done.applied

    async def reap(self) -> list[Document]:
        """Free jobs whose holders fell silent; jobs out of attempts die. Returns the jobs as they are now."""
        expired = await self._documents.find(COLLECTION, {"state": "leased"}, lease_expired=True)
        freed = [await self._free(job, Expect(state="leased", epoch=job.epoch, lease_expired=True)) for job in expired]
        return [job for job in freed if job]

    async def rouse(self) -> int:
        """Let jobs of any kind stand among the others again whose rest has been over for a while; return how many.

        Whoever looks at a crowd does not see them before that. Nobody may start any earlier or later by this.
        """
        now = await self._time.now()
        over = Range(at_least="", below=(now - datetime.timedelta(seconds=OVERDUE_SECONDS)).isoformat())
        # It was planned before the clock was set back, or is no time at all.
        absurd = Range(at_least=(now + datetime.timedelta(seconds=LONGEST_PAUSE_SECONDS)).isoformat())
        roused = 0
        for until in (over, absurd):
            resting = {"machine": None, "state": "ready", "resting_until": until}
            jobs = await self._documents.find(COLLECTION, resting, order=["resting_until"], limit=ROUSED_AT_A_TIME)
            roused += sum(await asyncio.gather(*map(self._rouse, jobs)))
        return roused

    async def _rouse(self, job: Document) -> bool:
        # As it was read: it may have begun meanwhile, failed, and rest again.
        expect, change = Expect(state="ready", version=job.version), Change(set={"resting_until": None})
        return (await self._documents.transition(COLLECTION, job.id, expect=expect, change=change)).applied

    async def inherit(self) -> list[Document]:
        """Free the jobs of earlier processes on this store; only for the one process that owns the store alone.

        Whoever holds the store's exclusive lock knows that all other holders are dead and need not
        wait for their leases to run out.
        """
        freed, after = list[Document | None](), ""
        while True:
            where = {"state": "leased", "id": Range(at_least=after)}
            leased = await self._documents.find(COLLECTION, where, order=["id"], limit=INHERITED_AT_A_TIME)
            others = [job for job in leased if job.holder != self._holder]
            freed += [
                await self._free(job, Expect(state="leased", epoch=job.epoch), interrupted=True) for job in others
            ]
            if len(leased) < INHERITED_AT_A_TIME:
                return [job for job in freed if job]
            after = leased[-1].id + "\0"

    async def _free(self, job: Document, expect: Expect, *, interrupted: bool = False) -> Document | None:
        used, most = ("interruptions", MAX_INTERRUPTIONS) if interrupted else ("attempts", MAX_ATTEMPTS)
        spent = job.body.get(used, 0) >= most
        now = await self._time.now()
        code = "interrupted" if interrupted else "lease_expired"
        error = {"at": now.isoformat(), "code": code, "reason": f"holder {job.holder} fell silent", "epoch": job.epoch}
        change = Change(
            state="dead" if spent else "ready",
            # An interruption of the whole process says little about this job.
            add={"attempts": -1, "interruptions": 1} if interrupted else {},
            set={
                "machine": None,
                "errors": [*errors_of(job), error][-KEPT_ERRORS:],
                **({} if spent else {"claimed_at": None}),
            },
        )
        done = await self._documents.transition(COLLECTION, job.id, expect=expect, change=change, release=True)
        return done.document if done.applied else None
