"""The safety pass: repairs what a lost event or a crash may have left behind (spec 4.1)."""

import datetime
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog

from aima_common.abreast import abreast
from aima_common.errors import TransientError, UnavailableError
from aima_common.jobs import attempt
from aima_common.pages import every
from aima_common.ports import Ports
from aima_common.ports.documents import Document
from aima_common.urgency import readable_time
from aima_scheduler.demands import Demands, is_behind
from aima_scheduler.domain import Demand
from aima_scheduler.runs import RUN_OPEN, Runs
from aima_scheduler.waiting import MANY, Waiting, by_id, demands_of

PASS_SECONDS = 30.0
"""How often all open runs are looked at; in between, events decide. A run that is younger is left to them."""

log = structlog.get_logger()


class SafetyPass:
    """Looks at all open runs, many at a time, and asks the stores more only of those that need it."""

    def __init__(self, ports: Ports, runs: Runs, waiting: Waiting, demands: Demands) -> None:
        self._documents = ports.documents
        self._clock = ports.clock
        self._runs = runs
        self._waiting = waiting
        self._demands = demands

    async def over_all(self, may_go_on: Callable[[], Awaitable[bool]]) -> None:
        """Repair all open runs that are old enough, as long as `may_go_on`. Raises `UnavailableError`."""
        some, now = list[Document](), self._clock.now()
        async for run in every(self._documents, "runs", {"state": RUN_OPEN}):
            if not _is_young(run, now):
                some.append(run)
            if len(some) == MANY:
                if not await may_go_on():
                    return
                await self.repair(some)
                some = []
        await self.repair(some)

    async def repair(self, runs: Sequence[Document]) -> None:
        """Bring these open runs to where they should be; what fails for one does not hold up the others."""
        cause = f"resync-{self._clock.now().isoformat()}"
        waited_for = await self._waiting.cases({str(run.body["medium"]) for run in runs})
        wanted = [run for run in runs if waited_for[str(run.body["medium"])]]
        # Where the cancellation was handled before there was a run.
        unwanted = [medium for medium, cases in waited_for.items() if not cases]
        await _tried(self._runs.cancel(unwanted, "", cause))
        await _tried(self._renew(wanted, demands_of(waited_for)))
        await _tried(self._conclude(wanted))
        await _tried(self._reconcile(wanted, cause))

    async def _renew(self, runs: Sequence[Document], demands: Mapping[str, Demand]) -> None:
        lagging = [run for run in runs if run.body.get("changed") or is_behind(run, demands)]
        await self._demands.renew({str(run.body["medium"]) for run in lagging})

    async def _conclude(self, runs: Sequence[Document]) -> None:
        """Conclude from jobs that ended while nobody could tell of it, such as in a crash."""
        async for jobs in self._runs.jobs_of(runs, ("dead", "unschedulable")):
            await abreast(lambda job: self._runs.bury(job, f"{attempt(job)}-{job.version}"), jobs)

    async def _reconcile(self, runs: Sequence[Document], cause: str) -> None:
        """Bring runs up to what is prepared, and take up again what was stopped."""
        stopped = {str(job.body["medium"]) async for jobs in self._runs.jobs_of(runs, ("cancelled",)) for job in jobs}
        preparations = await by_id(self._documents, "preparations", {str(run.body["medium"]) for run in runs})

        def lags(run: Document) -> bool:
            medium = str(run.body["medium"])
            prepared = preparations.get(medium)
            return medium in stopped or (prepared is not None and _goes_on(run, prepared))

        await abreast(lambda run: self._runs.reconcile(run.id, cause), [run for run in runs if lags(run)])


async def _tried(repairing: Awaitable[None]) -> None:
    try:
        await repairing
    except UnavailableError:
        raise
    except TransientError as error:
        # Such as of a run that moved just now. The next pass sees it again.
        log.info("repair_waits", reason=str(error))


def _is_young(run: Document, now: datetime.datetime) -> bool:
    accepted = readable_time(run.body.get("accepted_at"))
    return accepted is not None and 0 <= (now - accepted).total_seconds() < PASS_SECONDS


def _goes_on(run: Document, prepared: Document) -> bool:
    """Tell whether more follows from what was prepared than a run may have heard of."""
    return prepared.state == "rejected" or (run.body["parts_total"] is None and bool(prepared.body.get("type")))
