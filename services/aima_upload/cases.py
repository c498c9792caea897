"""Cases: named collections of items, and what was chosen for them."""

from collections.abc import Mapping, Sequence
from typing import Any

from aima_common import ids
from aima_common.abreast import abreast
from aima_common.contracts.messages import CaseChanged
from aima_common.contracts.telling import tell
from aima_common.errors import TransientError
from aima_common.pages import every
from aima_common.ports import Ports
from aima_common.ports.documents import Change, Document, Expect, Insert
from aima_common.problems import refuse
from aima_upload import domain

MANY = 400
"""So many items are looked at together: stores have limits on the values in one query."""

MOST_RUNS = 100_000
"""More than any number of pipelines makes of the media of one query."""

FINISHED = ("analysed", "rejected", "failed")


class Cases:
    """The collection `cases`."""

    def __init__(self, ports: Ports) -> None:
        self._documents = ports.documents
        self._clock = ports.clock

    async def create(self, tenant: str, asked: Mapping[str, Any], case_id: str | None = None) -> Document:
        """Make a case, once per `case_id`; raise `ProblemError` (422) that names what is wrong."""
        name = domain.case_name(asked.get("name"))
        now = self._clock.now()
        options = domain.case_options(asked, now)
        body = {"name": name, "created_at": now.isoformat(), "options": options.body(), "arrivals": 0}
        identity = case_id or ids.new_case_id()
        await self._documents.insert("cases", Insert(identity, tenant, "open", body))
        return await self.load(tenant, identity)

    async def named(self, tenant: str, case_id: str, asked: Mapping[str, Any]) -> Document:
        """Find the case of this id, or make it; what was chosen counts for the one that is made."""
        found = await self._documents.load("cases", case_id)
        return found if found and found.tenant == tenant else await self.create(tenant, asked, case_id)

    async def load(self, tenant: str, case_id: str) -> Document:
        """Read a case of this tenant; raise `ProblemError` (404) when there is none."""
        found = await self._documents.load("cases", case_id)
        if found is None or found.tenant != tenant:
            raise refuse(404, "not_found", "there is no such case", "Look the case up with GET /v1/cases.")
        return found

    async def change(self, tenant: str, case_id: str, asked: Mapping[str, Any]) -> Document:
        """Change what a case may have changed, for what is uploaded and for what waits; twice is once."""
        before = await self.load(tenant, case_id)
        options = domain.case_options(asked, self._clock.now(), changing=before.body["options"])
        chosen = options.body()
        told = CaseChanged(
            case=case_id,
            priority=options.priority,
            deadline=options.deadline,
            confidentiality=options.confidentiality,
        )
        # The version that the change leads from makes every change a message of its own.
        cause = f"{case_id}-{before.version}"
        record = tell(told, tenant=tenant, key=case_id, cause=cause, time=self._clock.now())
        done = await self._documents.transition(
            "cases", case_id, expect=Expect(state="open"), change=Change(set={"options": chosen}), outbox=[record]
        )
        if done.document is None:
            raise TransientError("the case vanished while it was changed")
        if not done.applied:
            raise refuse(409, "case_cancelled", "this case was cancelled", "Create a new case.")
        return done.document

    async def cancel(self, tenant: str, case_id: str, medium: str | None, inbox: str) -> None:
        """Close a case to new files and mark its items, or the items of one medium in it, as cancelled."""
        found = await self._documents.load("cases", case_id)
        if found is None or found.tenant != tenant:
            return
        if medium is None:
            await self._documents.transition(
                "cases", case_id, expect=Expect(state="open"), change=Change("cancelled"), inbox=inbox
            )
        where = {"tenant": tenant, "case": case_id, "state": "accepted"} | ({"medium": medium} if medium else {})
        some = list[Document]()
        async for item in every(self._documents, "items", where):
            some.append(item)
            if len(some) == MANY:
                await self._cancel(some, inbox)
                some = []
        await self._cancel(some, inbox)

    async def _cancel(self, items: Sequence[Document], inbox: str) -> None:
        """Mark items as cancelled but those whose media are finished."""
        asked = {"medium": sorted({str(item.body["medium"]) for item in items}), "state": list(FINISHED)}
        finished = {str(run.body["medium"]) for run in await self._documents.find("runs", asked, limit=MOST_RUNS)}

        async def mark(item: Document) -> None:
            expect, change = Expect(state="accepted"), Change("cancelled")
            await self._documents.transition("items", item.id, expect=expect, change=change, inbox=inbox)

        await abreast(mark, [item for item in items if str(item.body["medium"]) not in finished])
