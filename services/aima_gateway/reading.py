"""What the gateway reads from the stores, always within one tenant."""

import datetime
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from aima_common.jobs.ledger import is_due
from aima_common.ports import Ports
from aima_common.ports.documents import Document, Range
from aima_gateway import views
from aima_gateway.answers import missing

MANY = 100_000
CHUNK = 400
"""Values in one query; stores have limits on that."""


class Reading:
    """Documents of one tenant; what is another's is not there."""

    def __init__(self, ports: Ports) -> None:
        self._documents = ports.documents

    async def one(self, collection: str, tenant: str, identity: str, what: str) -> Document:
        """Read a document; raise `ProblemError` (404) when it is not there or another tenant's."""
        found = await self._documents.load(collection, identity)
        if found is None or found.tenant != tenant:
            raise missing(what)
        return found

    async def some(
        self, collection: str, tenant: str, where: dict[str, Any], order: Sequence[str] = (), limit: int = MANY
    ) -> Sequence[Document]:
        """Read documents that match."""
        return await self._documents.find(collection, {"tenant": tenant, **where}, order=order, limit=limit)

    async def count(self, collection: str, tenant: str, where: dict[str, Any]) -> int:
        """Count documents that match."""
        return await self._documents.count(collection, {"tenant": tenant, **where})

    async def before(
        self, collection: str, tenant: str, where: dict[str, Any], field: str, after: str | None, limit: int
    ) -> Sequence[Document]:
        """Read a page of documents, the largest `field` first."""
        below = {field: Range(below=after)} if after is not None else {}
        return await self.some(collection, tenant, {**where, **below}, [f"-{field}"], limit)

    async def behind(self, collection: str, tenant: str, after: str, limit: int) -> Sequence[Document]:
        """Read a page of documents in the order of their ids."""
        return await self.some(
            collection, tenant, {"id": Range(at_least=after + "\x00")} if after else {}, ["id"], limit
        )

    async def items(self, tenant: str, case: str) -> Sequence[Document]:
        """Read the items of a case in the order of their arrival."""
        return await self.some("items", tenant, {"case": case}, ["ordinal"])

    async def items_of_media(self, tenant: str, media: Iterable[str]) -> Sequence[Document]:
        """Read the items that have one of these media."""
        return await self._by_medium("items", tenant, media)

    async def named_items(self, tenant: str, media: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
        """Tell under which names, in which cases, these media were handed in; what was cancelled or erased is not."""
        named: dict[str, list[dict[str, Any]]] = {}
        for item in await self.items_of_media(tenant, media):
            if item.state == "accepted":
                entry = {"id": item.id, "case": item.body["case"], "file_name": item.body["file_name"]}
                named.setdefault(str(item.body["medium"]), []).append(entry)
        return named

    async def runs(self, tenant: str, media: Iterable[str]) -> dict[str, Document]:
        """Read the newest run of each of these media."""
        return views.newest_runs(await self._by_medium("runs", tenant, media))

    async def preparations(self, tenant: str, media: Iterable[str]) -> dict[str, Document]:
        """Read the preparation of each of these media."""
        found = await self._by_medium("preparations", tenant, media)
        return {str(preparation.body["medium"]): preparation for preparation in found}

    async def newest_jobs(
        self, tenant: str, where: dict[str, Any], media: Iterable[str] | None, limit: int
    ) -> Sequence[Document]:
        """Read the jobs that were submitted last, the newest first; of these media alone where any are named."""
        order = ["-submitted_at"]
        if media is None:
            return await self.some("jobs", tenant, where, order, limit)
        newest: list[Document] = []
        for some in _chunks(media):
            newest += await self.some("jobs", tenant, {**where, "medium": some}, order, limit)
            newest.sort(key=lambda job: job.id)
            newest.sort(key=lambda job: str(job.body.get("submitted_at")), reverse=True)
            del newest[limit:]
        return newest

    async def queue_of(self, kind: dict[str, Any], now: datetime.datetime, most: int) -> Sequence[Document] | None:
        """Read the jobs of a kind that may be taken now; None where more than so many wait.

        They are those of all tenants: a job's place may be told of them, and nothing else.
        """
        waiting, order = {**kind, "state": "ready", "machine": None}, ["priority", "resting_until", "submitted_at"]
        # In the order of an index: else the store would put all that wait in order.
        found = await self._documents.find("jobs", waiting, order=order, limit=most + 1)
        return None if len(found) > most else [job for job in found if is_due(job, now)]

    async def running(self, kind: dict[str, Any]) -> int:
        """Count the jobs of a kind that are worked on, whosever they are."""
        return await self._documents.count("jobs", {**kind, "state": "leased"})

    async def dossier(self, tenant: str, case: str) -> Document | None:
        """Read the dossier document of a case; None when none was begun."""
        found = await self.some("dossiers", tenant, {"case": case}, limit=1)
        return found[0] if found else None

    async def case_in_short(self, case: Document) -> dict[str, Any]:
        """Show a case with its counts."""
        items = await self.items(case.tenant, case.id)
        runs = await self.runs(case.tenant, _media(items))
        return views.case_view(case, items, runs, await self.dossier(case.tenant, case.id))

    async def case_in_full(self, case: Document) -> dict[str, Any]:
        """Show a case with the stage of every medium."""
        items = await self.items(case.tenant, case.id)
        media = _media(items)
        runs = await self.runs(case.tenant, media)
        preparations = await self.preparations(case.tenant, media)
        whole = views.case_view(case, items, runs, await self.dossier(case.tenant, case.id))
        return {**whole, "media": views.stages(items, runs, preparations)}

    async def _by_medium(self, collection: str, tenant: str, media: Iterable[str]) -> list[Document]:
        found: list[Document] = []
        for some in _chunks(media):
            found += await self.some(collection, tenant, {"medium": some})
        return found


def _chunks(media: Iterable[str]) -> Iterator[list[str]]:
    wanted = sorted(set(media))
    for start in range(0, len(wanted), CHUNK):
        yield wanted[start : start + CHUNK]


def _media(items: Sequence[Document]) -> set[str]:
    return {str(item.body["medium"]) for item in items}
