"""Reads from the stores what a case's dossier is made of."""

import asyncio
import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from aima_common.contracts.media import Confidentiality
from aima_common.contracts.picture import Picture
from aima_common.errors import ObjectMissingError
from aima_common.ports import Ports
from aima_common.ports.documents import Document
from aima_dossier.domain import CaseFacts, CorrectionFacts, ItemFacts, MediumFacts, Relation
from aima_dossier.model import Status

MOST_ITEMS = 100_000


@dataclass(frozen=True)
class Facts:
    """Everything that goes into one version."""

    case: CaseFacts
    items: Sequence[ItemFacts]
    media: Sequence[MediumFacts]
    relations: Sequence[Relation]
    corrections: Sequence[CorrectionFacts]


class FactsReader:
    """Reads; writes nothing."""

    def __init__(self, ports: Ports) -> None:
        self._documents = ports.documents
        self._objects = ports.objects

    async def read(self, case: Document) -> Facts:
        """Gather a case's items with the state of their media, as the stores have them now."""
        items = await self._documents.find(
            "items", {"case": case.id, "tenant": case.tenant}, order=["ordinal"], limit=MOST_ITEMS
        )
        media = list(dict.fromkeys(item.body["medium"] for item in items))
        runs = dict(zip(media, await asyncio.gather(*(self.newest_run(medium) for medium in media)), strict=True))
        told = [_item(item, runs[item.body["medium"]]) for item in items]
        pictures = await asyncio.gather(*(self._medium(medium, runs[medium]) for medium in media))
        kept = [facts for facts in pictures if facts]
        relations = await asyncio.gather(*(self._relations(facts.id) for facts in kept))
        corrections = await asyncio.gather(*(self._corrections(facts.id) for facts in kept))
        return Facts(
            CaseFacts(case.id, case.body["name"], _confidentiality(case), _time(case.body.get("created_at"))),
            told,
            kept,
            [relation for some in relations for relation in some],
            [correction for some in corrections for correction in some],
        )

    async def newest_run(self, medium: str) -> Document | None:
        """Read the run that tells how far a medium is."""
        runs = await self._documents.find("runs", {"medium": medium}, order=["-accepted_at"], limit=1)
        return runs[0] if runs else None

    async def picture(self, run: Document) -> Picture | None:
        """Read the picture of a run, when there is one."""
        document = await self._documents.load("pictures", run.id)
        reference = document.body.get("picture") if document else None
        if not reference:
            return None
        try:
            return Picture.model_validate_json(await self._objects.get(reference["key"]))
        except ObjectMissingError:
            return None

    async def _medium(self, medium: str, run: Document | None) -> MediumFacts | None:
        document = await self._documents.load("media", medium)
        picture = await self.picture(run) if run else None
        if document is None or document.state == "erased" or run is None or picture is None:
            return None
        status = cast("Status", run.state)
        return MediumFacts(medium, document.body["sha256"], document.body["size_bytes"], status, picture)

    async def _relations(self, medium: str) -> list[Relation]:
        near = {"state": "near_duplicate"}
        found = [
            *await self._documents.find("relations", {"medium": medium, **near}),
            *await self._documents.find("relations", {"other": medium, **near}),
        ]
        return [Relation(r.body["medium"], r.body["other"], float(r.body["similarity"])) for r in found]

    async def _corrections(self, medium: str) -> list[CorrectionFacts]:
        found = await self._documents.find("corrections", {"medium": medium})
        return [
            CorrectionFacts(
                medium,
                c.body["finding"],
                c.body["field"],
                c.body["value"],
                c.body["author"],
                _time(c.body.get("made_at")),
            )
            for c in found
        ]


def _item(item: Document, run: Document | None) -> ItemFacts:
    body = item.body
    state = item.state if item.state != "accepted" else (run.state if run else "accepted")
    reason = (run.body.get("reason") if run else None) or {}
    return ItemFacts(
        item.id,
        body["ordinal"],
        body["file_name"],
        body["size_bytes"],
        cast("Status", state),
        body["medium"],
        body["sha256"],
        code=reason.get("code", ""),
        reason=reason.get("reason", ""),
        remedy=reason.get("remedy", ""),
    )


def _confidentiality(case: Document) -> Confidentiality:
    told = case.body.get("options", {}).get("confidentiality")
    # Absent or unknown counts as confidential (spec 4.3).
    return Confidentiality(told) if told in set(Confidentiality) else Confidentiality.CONFIDENTIAL


def _time(text: str | None) -> datetime.datetime | None:
    return datetime.datetime.fromisoformat(text) if text else None
