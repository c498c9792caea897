"""Carries out that jobs give way, and keeps in the store what that cost lately, so that every leader knows of it."""

from collections import deque
from collections.abc import Mapping, Sequence

import structlog

from aima_common.contracts.media import Priority
from aima_common.jobs import Ledger
from aima_common.ports.documents import Change, Document, Documents, Insert
from aima_common.runtime.telemetry import JOBS_PREEMPTED
from aima_scheduler.deciders.engine import Engine
from aima_scheduler.deciders.preemption import HOUR_SECONDS, Preempt, Spending

COLLECTION = "leaderships"
NAME = "preempting"
"""The document beside that of who places: that one alone writes it."""

log = structlog.get_logger()


class Preempting:
    """The hand that takes jobs from their machines, and the book in which their losses are kept."""

    def __init__(self, documents: Documents, ledger: Ledger) -> None:
        self._documents = documents
        self._ledger = ledger

    async def recall(self, engine: Engine, waiting: Sequence[Document], now: float) -> None:
        """Have the engine know what was lost lately, where somebody waits who may make others give way."""
        rule = engine.settings.preemption
        wanted = {one.value for one in rule.preempting} if rule else set[str]()
        if any(job.body.get("priority") in wanted for job in waiting):
            known = await self._documents.load(COLLECTION, NAME)
            entries = known.body["spent"] if known else []
            # What lies further ahead was written by a clock that has been set back since: it would count for long.
            engine.spending = Spending(deque((at, cost) for at, cost in entries if at <= now + HOUR_SECONDS))

    async def make_room(self, decision: Preempt, jobs: Mapping[str, Document], spending: Spending, now: float) -> bool:
        """Take all the jobs from their machine that give way; False where one of them ended or began meanwhile."""
        await self._note(spending, now)
        urgent, made = jobs[decision.job], True
        for name in decision.victims:
            if await self._ledger.preempt(jobs[name], reason(urgent, jobs[name])):
                JOBS_PREEMPTED.inc()
                log.info("job_gave_way", job=name, to=urgent.id)
            else:
                made = False
        return made

    async def _note(self, spending: Spending, now: float) -> None:
        """Write down what is about to be lost: a crash after this makes it look like more than it was, never less."""
        spending.within_the_hour(now)
        spent = [list(entry) for entry in spending.entries]
        if not await self._documents.insert(COLLECTION, Insert(NAME, "", "open", {"spent": spent})):
            await self._documents.transition(COLLECTION, NAME, change=Change(set={"spent": spent}))


def reason(urgent: Document, job: Document) -> str:
    """Say for whom a job gives way; the jobs of others are not named to a tenant."""
    priority = urgent.body.get("priority", Priority.CRITICAL.value)
    whom = f"job {urgent.id}" if urgent.tenant == job.tenant else "a job of another tenant"
    return f"it gave way to {whom}, which is {priority}, and is done again from its beginning"


def because(decision: Preempt) -> str:
    """Say why a job went where it goes."""
    count = len(decision.victims)
    whom = "a less urgent job, which waits" if count == 1 else f"{count} less urgent jobs, which wait"
    return f"nowhere else was there room for it: it took that of {whom} again"
