"""What open cases want of their media becomes what is wanted of runs and jobs, whatever changes at the same time."""

from collections.abc import Iterable, Mapping

from aima_common.abreast import abreast
from aima_common.ports.documents import Document, Documents
from aima_scheduler.domain import Demand
from aima_scheduler.runs import RUN_OPEN, Runs, demand_of
from aima_scheduler.waiting import Waiting, by_id


class Demands:
    """Brings runs up to their cases. Cases change at any moment, and two schedulers may see two changes at once."""

    def __init__(self, documents: Documents, waiting: Waiting, runs: Runs) -> None:
        self._documents = documents
        self._waiting = waiting
        self._runs = runs

    async def renew(self, media: Iterable[str]) -> None:
        """Give open runs of these media, and their jobs, what the cases want now, until no case was changed meanwhile.

        Runs of which no open case says anything keep what they have.
        """
        runs = [run for run in await self._runs.of_media(media) if run.state in RUN_OPEN]
        # Also those that need no change now: a crash may lie between a run's and its jobs'.
        changed = {run.id for run in runs if run.body.get("changed")}
        while behind := await self._set(runs):
            changed.update(behind)
            # Whoever writes last looks once more, and what it sees then is the newest.
            runs = [run for run in (await by_id(self._documents, "runs", behind)).values() if run.state in RUN_OPEN]
        await self._runs.settle(sorted(changed))

    async def _set(self, runs: list[Document]) -> list[str]:
        """Change the runs of which something else is wanted than they say; tell which."""
        demands = await self._waiting.demands({str(run.body["medium"]) for run in runs})
        behind = [run for run in runs if is_behind(run, demands)]
        await abreast(lambda run: self._runs.set_demand(run, demands[str(run.body["medium"])]), behind)
        return [run.id for run in behind]


def is_behind(run: Document, demands: Mapping[str, Demand]) -> bool:
    """Tell whether something else is wanted of a run than it says."""
    wanted = demands.get(str(run.body["medium"]))
    return wanted is not None and wanted.body() != demand_of(run)
