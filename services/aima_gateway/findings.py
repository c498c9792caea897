"""What was found in a medium: the fold when there is one, else what single analyses have said so far."""

from collections.abc import AsyncIterator
from typing import Any

from aima_common import ids
from aima_common.contracts.media import Result
from aima_common.contracts.picture import Picture, PictureFinding
from aima_common.errors import ObjectMissingError
from aima_common.ports.documents import Document
from aima_common.ports.objects import Objects
from aima_gateway.reading import Reading


class Findings:
    """Reads the findings of a run."""

    def __init__(self, reading: Reading, objects: Objects) -> None:
        self._reading = reading
        self._objects = objects

    async def folded(self, run: Document) -> list[PictureFinding]:
        """Read what a dossier shows of a run; nothing before its parts were put together."""
        pictures = await self._reading.some("pictures", run.tenant, {"id": run.id, "state": "complete"})
        if not pictures:
            return []
        return Picture.model_validate_json(await self._objects.get(pictures[0].body["picture"]["key"])).findings

    async def shown(self, run: Document) -> list[dict[str, Any]]:
        """Read the findings there are, even before the run is finished, by time, kind and id."""
        found = [finding.model_dump(mode="json") for finding in await self.folded(run)]
        found = found or [finding async for finding in self._so_far(run)]
        return sorted(found, key=lambda finding: (finding["start_seconds"], finding["kind"], finding["id"]))

    async def _so_far(self, run: Document) -> AsyncIterator[dict[str, Any]]:
        done = {"run": run.id, "kind": "analyse", "state": "done"}
        for job in await self._reading.some("jobs", run.tenant, done, ["submitted_at"]):
            try:
                result = Result.model_validate_json(await self._objects.get(job.body["result"]["key"]))
            except ObjectMissingError:
                continue
            for ordinal, finding in enumerate(result.findings):
                yield {"id": ids.finding_id(result.key, ordinal), **finding.model_dump(mode="json")}
