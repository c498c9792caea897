"""Reads from the stores what a case's dossier is made of."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

from aima_common.abreast import abreast
from aima_common.contracts.media import Confidentiality
from aima_common.contracts.picture import Picture
from aima_common.errors import ObjectMissingError
from aima_common.ports import Ports
from aima_common.ports.documents import Document
from aima_dossier.domain import CaseFacts, CorrectionFacts, ItemFacts, MediumFacts, Relation
from aima_dossier.model import Status

MOST_ITEMS = 100_000

AT_A_TIME = 500
"""So many media are asked for in one question: a case of thousands costs tens of questions, not tens of thousands."""


@dataclass(frozen=True)
class Facts:
    """Everything that goes into one version."""

    case: CaseFacts
    items: list[ItemFacts]
    media: list[MediumFacts]
    relations: list[Relation]
    corrections: list[CorrectionFacts]


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
        runs: dict[str, Document] = {}
        facts = Facts(
            CaseFacts(case.id, case.body["name"], _confidentiality(case), _time(case.body.get("created_at"))),
            [],
            [],
            [],
            [],
        )
        for first in range(0, len(media), AT_A_TIME):
            await self._gather(media[first : first + AT_A_TIME], runs, facts)
        return replace(facts, items=[_item(item, runs.get(item.body["medium"])) for item in items])

    async def _gather(self, media: Sequence[str], runs: dict[str, Document], facts: Facts) -> None:
        """Add what is known of some media."""
        newest = await self._newest_runs(media)
        runs |= newest
        kept = [one for one in await self._media(newest) if one is not None]
        facts.media.extend(kept)
        names = [one.id for one in kept]
        facts.relations.extend(await self._relations(names))
        facts.corrections.extend(await self._corrections(names))

    async def newest_run(self, medium: str) -> Document | None:
        """Read the run that tells how far a medium is."""
        runs = await self._documents.find("runs", {"medium": medium}, order=["-accepted_at"], limit=1)
        return runs[0] if runs else None

    async def picture(self, run: Document) -> Picture | None:
        """Read the picture of a run, when there is one."""
        return await self._picture(await self._documents.load("pictures", run.id))

    async def _picture(self, document: Document | None) -> Picture | None:
        reference = document.body.get("picture") if document else None
        if not reference:
            return None
        try:
            return Picture.model_validate_json(await self._objects.get(reference["key"]))
        except ObjectMissingError:
            return None

    async def _newest_runs(self, media: Sequence[str]) -> dict[str, Document]:
        found = await self._documents.find("runs", {"medium": media}, order=["accepted_at"], limit=MOST_ITEMS)
        return {str(run.body["medium"]): run for run in found}

    async def _media(self, runs: Mapping[str, Document]) -> list[MediumFacts | None]:
        """Read the media of these runs, in the runs' order; None for what is erased, or has no picture."""
        found = await self._documents.find("media", {"id": list(runs)}, limit=MOST_ITEMS)
        media = {one.id: one for one in found if one.state != "erased"}
        of_runs = {"id": [runs[medium].id for medium in media]}
        pictures = {one.id: one for one in await self._documents.find("pictures", of_runs, limit=MOST_ITEMS)}
        told: dict[str, MediumFacts] = {}

        async def read(medium: str) -> None:
            run, document = runs[medium], media[medium]
            picture = await self._picture(pictures.get(run.id))
            if picture is not None:
                sha256, size = document.body["sha256"], document.body["size_bytes"]
                told[medium] = MediumFacts(medium, sha256, size, cast("Status", run.state), picture)

        await abreast(read, media)
        return [told.get(medium) for medium in runs]

    async def _relations(self, media: Sequence[str]) -> list[Relation]:
        found: dict[str, Document] = {}
        for side in ("medium", "other"):
            near = {side: media, "state": "near_duplicate"}
            found |= {one.id: one for one in await self._documents.find("relations", near, limit=MOST_ITEMS)}
        return [Relation(r.body["medium"], r.body["other"], float(r.body["similarity"])) for r in found.values()]

    async def _corrections(self, media: Sequence[str]) -> list[CorrectionFacts]:
        found = await self._documents.find("corrections", {"medium": media}, limit=MOST_ITEMS)
        return [
            CorrectionFacts(
                c.body["medium"],
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
