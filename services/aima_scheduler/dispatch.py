"""Puts ready analysis jobs on machines, the most urgent first, whenever something changed."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import structlog

from aima_common.contracts import messages as m
from aima_common.contracts.media import MediumType
from aima_common.contracts.telling import tell
from aima_common.errors import TransientError
from aima_common.jobs import JobKind, Leadership, Ledger
from aima_common.ports import Ports
from aima_common.ports.documents import Change, Document, Expect
from aima_scheduler import picture, reading
from aima_scheduler.board import Board, Decided, Facts, Nonsense, placed_at
from aima_scheduler.deciders import explain
from aima_scheduler.deciders.engine import Settings, Unschedulable
from aima_scheduler.deciders.model import Shortfall
from aima_scheduler.deciders.preemption import Preempt
from aima_scheduler.deciders.reservation import Reservation
from aima_scheduler.preempting import Preempting, because

IDLE_SECONDS = 0.5
"""The backstop for a wake-up that never came, or that woke another scheduler than the one that places."""

UNCLAIMED_SECONDS = 20.0
"""A placement that no worker claims for this long is taken back: the machine may be gone."""

WINDOW = 200
"""So many waiting jobs are looked at; where there are more, so many of each class and those that `Window` adds."""

PICTURE_SECONDS = 1.0
"""A picture this old is drawn anew; in between all who ask share one, so that many cost no more than one."""

PICTURE_SHARE = 5
"""A picture that took long to draw is shown for so many times as long: whoever watches must not slow down who works."""

CLOCK_BACK_SECONDS = 5.0
"""A clock that went back by more than so was wrong before: what was decided by it is thought over anew."""

MOST_MACHINES, MOST_PLACED = 10_000, 200_000
"""So many machines, and jobs on them, are read: the largest fleet that was measured, with twenty jobs on each."""

EXPECTED_SECONDS = 3600.0
"""A machine that has been away for no longer is expected back: what can run on it only waits for it. To restart one, or
a whole cluster, takes minutes; of one that is gone for good, people want to know within the hour."""

LEAVING_SECONDS = 5.0
"""So long whoever stops waits for the store to write what it had sent. Where that takes longer its lease runs out, and
whoever takes over waits for it."""

WRITTEN_AT_A_TIME = 32
"""So many placements are written to the store at a time."""

log = structlog.get_logger()


class Dispatcher:
    """The thin shell round the deciders: reads machines and jobs, writes where each job goes."""

    def __init__(
        self,
        ports: Ports,
        ledger: Ledger,
        on_unschedulable: Callable[[Document, str], Awaitable[None]],
        rules: Settings | None = None,
    ) -> None:
        self._documents = ports.documents
        self._clock = ports.clock
        self._ledger = ledger
        self._on_unschedulable = on_unschedulable
        self._leadership = Leadership(ports.documents, "placing", ledger.holder, ports.clock.monotonic)
        self._board = Board(rules)
        self._term = 0
        """The term of leadership in which the board was begun."""
        self._writing: list[asyncio.Task[bool]] = []
        """What was sent to the store last: it may be written though nobody waits for it any more."""
        self._preempting = Preempting(ports.documents, ledger)
        self._wake = asyncio.Event()
        self._picture: picture.Picture | None = None
        self._picture_until = 0.0
        """Until then, by the monotonic clock, it is the newest."""
        self._drawing = asyncio.Lock()
        self._looked_at = 0.0
        """When it was looked last, s since the epoch."""
        self._doubted: Nonsense = {}
        """Machines and running jobs that said nonsense when they were looked at last, with what it was."""

    def wake(self) -> None:
        """Look for something to place now."""
        self._wake.set()

    async def run(self) -> None:
        """Place jobs until cancelled."""
        try:
            while True:
                self._wake.clear()
                try:
                    await self.place_all()
                except TransientError as error:
                    log.warning("placing_waits", reason=str(error))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(IDLE_SECONDS):
                        await self._wake.wait()
        finally:
            await asyncio.shield(self._leave())

    async def _leave(self) -> None:
        """Let another one lead at once, as soon as all that was sent to the store is written."""
        if self._writing:
            _, late = await asyncio.wait(self._writing, timeout=LEAVING_SECONDS)
            for one in late:
                one.cancel()
            if late:
                return
        with contextlib.suppress(TransientError):
            await self._leadership.give_up()

    async def place_all(self) -> int:
        """Place what fits, the most urgent first; return how many were placed.

        Of several schedulers one places at a time: two that count the same free room would both fill it.
        """
        # At one moment, so that one that goes away meanwhile is among these or those.
        wanted = {"state": ["available", "away"]}
        known = await self._documents.find("machines", wanted, order=["id"], limit=MOST_MACHINES)
        machines, away = ([one for one in known if one.state == state] for state in wanted["state"])
        await self._leave_the_silent(away)
        if not await self._has_something_to_do() or not await self._leadership.held():
            return 0
        if self._term != self._leadership.term:
            # Others have placed meanwhile: nothing is left of what it knew, and what ended was not seen to end.
            self._term = self._leadership.term
            self._begin_anew()
        waiting = await self._ledger.ready(JobKind.ANALYSE, limit=WINDOW)
        now = self._time()
        doubted = self._board.set_machines(map(_facts, machines), now)
        self._board.set_absent(_facts(one) for one in away if _is_expected(one, now))
        placed = await self._placed(machines)
        running = [_facts(job) for job in placed]
        if gone := self._board.gone(running):
            self._board.learn(map(_facts, await self._documents.find("jobs", {"id": gone})))
        self._doubt({**doubted, **self._board.set_running(running, now)})
        waiting = await self._without_nonsense(waiting, now)
        await self._preempting.recall(self._board.engine, waiting, now)
        return await self._carry_out(self._board.decide(now), {job.id: job for job in (*placed, *waiting)}, now)

    async def _has_something_to_do(self) -> bool:
        """Tell whether a job waits, or one may have ended of which it is to be learned how long such jobs take."""
        if self._board.engine.running:
            return True
        wanted = {"kind": JobKind.ANALYSE.value, "state": "ready", "machine": None}
        # In the order of the index, or all that wait are put in order for the first of them.
        order = ["priority", "resting_until", "submitted_at"]
        return bool(await self._documents.find("jobs", wanted, order=order, limit=1))

    async def explain(self, tenant: str, job_id: str) -> Mapping[str, Any] | None:
        """Tell why a job waits, or None where it does not; raise `TransientError` where another scheduler places."""
        if not await self._leadership.held() or self._term != self._leadership.term:
            raise TransientError("another scheduler places, and knows", code="not_the_one_that_places")
        job = self._board.engine.waiting.get(job_id)
        if job is None or job.tenant != tenant:
            return None
        # Another thread looks at a copy: the future is played through, and everybody else goes on meanwhile.
        engine, now = self._board.engine.copy(), self._clock.now().timestamp()
        told = await asyncio.to_thread(explain.waiting_job, engine, job_id, now, random.Random(job_id))
        return None if told is None else asdict(told)

    async def queue(self, tenant: str, most: int) -> Mapping[str, Any]:
        """Show a tenant its waiting jobs in their order, the machines, and what is kept free; raise as `explain`."""
        if not await self._leadership.held():
            raise TransientError("another scheduler places, and knows", code="not_the_one_that_places")
        async with self._drawing:
            began = self._clock.monotonic()
            if self._picture is None or began >= self._picture_until:
                self._picture = await self._draw(self._clock.now().timestamp())
                took = self._clock.monotonic() - began
                self._picture_until = began + max(PICTURE_SECONDS, PICTURE_SHARE * took)
            return self._picture.shown_to(tenant, most)

    async def _draw(self, now: float) -> picture.Picture:
        # On a board of its own: the one by which jobs are placed is looked at anew only while something waits.
        machines = await self._documents.find("machines", {"state": "available"}, order=["id"], limit=MOST_MACHINES)
        wanted = {"kind": JobKind.ANALYSE.value, "machine": [one.id for one in machines], "state": ["ready", "leased"]}
        placed = await self._documents.find("jobs", wanted, limit=MOST_PLACED) if machines else []
        seen = picture.Seen(
            [_facts(one) for one in machines],
            [_facts(job) for job in placed if job.state == "leased"],
            [_facts(job) for job in placed if job.state == "ready"],
            [_facts(job) for job in await self._ledger.ready(JobKind.ANALYSE, limit=WINDOW)],
        )
        # Who may give way then depends on who comes; nobody plans by that.
        board = Board(replace(self._board.engine.settings, preemption=None))
        board.paces = self._board.paces.copy()
        kept: Sequence[Reservation] = ()
        if self._term == self._leadership.term:
            board.engine.machines_absent(self._board.engine.absent)
            kept = self._board.engine.reservations
        # Another thread plays the future through, and everybody else goes on meanwhile.
        return await asyncio.to_thread(picture.draw, board, seen, kept, now)

    def _time(self) -> float:
        """Tell the time, s since the epoch.

        The deciders' time never goes back: had the clock been ahead by a day, all that waits would stay a day older,
        and tomorrow's deadlines missed, until that day has passed. After such a step they begin anew by the store.
        """
        now = self._clock.now().timestamp()
        if now < self._looked_at - CLOCK_BACK_SECONDS:
            log.warning("clock_went_back", seconds=round(self._looked_at - now, 1))
            self._begin_anew()
        self._looked_at = now
        return now

    def _begin_anew(self) -> None:
        """Forget everything but how long jobs take."""
        before, self._board = self._board, Board(self._board.engine.settings)
        self._board.paces = before.paces

    async def _without_nonsense(self, waiting: Sequence[Document], now: float) -> list[Document]:
        """Let jobs wait; set those aside for good whose documents say nonsense, each with its reason."""
        facts = [_facts(job) for job in waiting]
        nonsense = {**self._board.set_waiting(facts, now), **_without_addressee(facts)}
        for job in waiting:
            if job.id in nonsense:
                self._board.engine.withdraw(job.id)
                await self._refuse(job, f"nobody can tell what it needs: {nonsense[job.id]}")
        return [job for job in waiting if job.id not in nonsense]

    def _doubt(self, nonsense: Nonsense) -> None:
        """Log what is not believed, once: a machine that says nonsense gets no jobs until it says something else."""
        for identity, reason in nonsense.items():
            if self._doubted.get(identity) != reason:
                log.warning("document_not_believed", document=identity, reason=reason)
        self._doubted = nonsense

    async def _carry_out(self, decisions: Sequence[Decided], jobs: Mapping[str, Document], now: float) -> int:
        # The store makes many changes durable at a time for the price of one. What the engine has refused since the
        # last look may not be among what is read now: it was cancelled, or is set aside for what else it says.
        decisions = [one for one in decisions if one.job in jobs]
        placed = 0
        for first in range(0, len(decisions), WRITTEN_AT_A_TIME):
            some = decisions[first : first + WRITTEN_AT_A_TIME]
            if not await self._leadership.confirmed() or self._term != self._leadership.term:
                # This process stood still for long, or a clock was set: another counts the same room as free by now, or
                # has done so until it leads again.
                for decision in decisions[first:]:
                    self._board.undo(decision.job, now)
                break
            self._writing = [asyncio.create_task(self._carry_out_one(decision, jobs, now)) for decision in some]
            # Who is told to stop meanwhile stops here, and what was sent is written all the same.
            for outcome in await asyncio.shield(asyncio.gather(*self._writing, return_exceptions=True)):
                if isinstance(outcome, BaseException):
                    raise outcome
                placed += outcome
        return placed

    async def _carry_out_one(self, decision: Decided, jobs: Mapping[str, Document], now: float) -> bool:
        job = jobs[decision.job]
        if isinstance(decision, Unschedulable):
            await self._refuse(job, in_words(decision.shortfall))
            return False
        if isinstance(decision, Preempt):
            free = await self._preempting.make_room(decision, jobs, self._board.engine.spending, now)
            placed = free and await self._assign(job, decision.slots[0].machine, because(decision))
        else:
            placed = await self._assign(job, decision.slots[0].machine, self._board.reason(decision))
        if not placed:
            self._board.undo(job.id, now)
        return placed

    async def _placed(self, machines: Sequence[Document]) -> list[Document]:
        """Read what is on the machines; take back what no worker claimed in time."""
        wanted = {"kind": JobKind.ANALYSE.value, "machine": [one.id for one in machines], "state": ["ready", "leased"]}
        now = self._clock.now().timestamp()
        found = []
        for job in await self._documents.find("jobs", wanted, limit=MOST_PLACED):
            # Placed in the future by as much: the clock went back.
            unclaimed = job.state == "ready" and abs(now - (placed_at(job.body) or 0.0)) > UNCLAIMED_SECONDS
            # Whoever claims it in this very moment keeps it, and its room with it.
            if not unclaimed or not await self._take_back(job):
                found.append(job)
        return found

    async def _leave_the_silent(self, away: Sequence[Document]) -> None:
        """Take back what waits for machines that are gone; what they had begun ends with its lease."""
        if names := [machine.id for machine in away]:
            wanted = {"kind": JobKind.ANALYSE.value, "machine": names, "state": "ready"}
            for job in await self._documents.find("jobs", wanted, limit=MOST_PLACED):
                await self._take_back(job)

    async def _assign(self, job: Document, machine: str, reason: str | None) -> bool:
        medium = job.body["medium"]
        hint = m.AnalysisRequested(medium=medium, job=job.id, lane=MediumType(job.body["lane"]), machine=machine)
        now = self._clock.now()
        done = await self._documents.transition(
            "jobs",
            job.id,
            expect=Expect(state="ready", version=job.version),
            change=Change(set={"machine": machine, "placed_at": now.timestamp(), "placed_because": reason}),
            outbox=[tell(hint, tenant=job.tenant, key=medium, cause=f"{job.id}-{job.version}", time=now)],
        )
        return done.applied

    async def _take_back(self, job: Document) -> bool:
        expect = Expect(state="ready", version=job.version)
        done = await self._documents.transition("jobs", job.id, expect=expect, change=Change(set={"machine": None}))
        return done.applied

    async def _refuse(self, job: Document, reason: str) -> None:
        change = Change(state="unschedulable", set={"reason": reason})
        done = await self._documents.transition(
            "jobs", job.id, expect=Expect(state="ready", version=job.version), change=change
        )
        if done.applied:
            await self._on_unschedulable(job, reason)


def in_words(shortfall: Shortfall) -> str:
    """Say what a job lacks, and which machine comes nearest."""
    nearest = f"{shortfall.nearest}, which comes nearest, has {shortfall.available}" if shortfall.nearest else ""
    return f"it needs {shortfall.wanted}; {nearest or 'there is no machine'}"


def _without_addressee(found: Sequence[Facts]) -> Nonsense:
    """Find the jobs whose hints would reach nobody."""
    nonsense = {}
    for one in found:
        try:
            reading.check_addressee(one.body)
        except reading.NonsenseError as error:
            nonsense[one.id] = str(error)
    return nonsense


def _is_expected(machine: Document, now: float) -> bool:
    try:
        seen_at = reading.seconds(machine.body, "seen_at")
    except reading.NonsenseError:
        return False
    return seen_at is not None and abs(now - seen_at) < EXPECTED_SECONDS


def _facts(document: Document) -> Facts:
    return Facts(document.id, document.tenant, document.body, document.state)
