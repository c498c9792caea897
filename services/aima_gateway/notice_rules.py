"""What those outside are told, and when it is worth telling. Pure: documents and messages in, drafts out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aima_common.collections import RUN_TERMINAL
from aima_common.contracts import messages as m
from aima_common.contracts.envelope import Envelope
from aima_common.contracts.outside import Notice, NoticedDossier, NoticedPlace, NoticedProgress, NoticeType
from aima_common.ports.documents import Document

STEPS = 10
"""Progress within a stage is told so often: a film of many hours has thousands of parts."""


@dataclass(frozen=True)
class Draft:
    """A notice without its number, and the step by which it is known from the one before."""

    type: NoticeType
    step: str
    fields: Mapping[str, Any]

    def notice(self, sequence: int, time: str) -> Notice:
        """Make the notice with its number."""
        return Notice(type=self.type, sequence=sequence, time=time, **self.fields)


def of_upload(item: Document) -> Draft:
    """Tell that an item was accepted."""
    return Draft(NoticeType.ACCEPTED, NoticeType.ACCEPTED, _who(item))


def of_progress(progress: m.ProgressMade, item: Document, run: Document | None) -> Draft:
    """Tell how far an item is, or how it ended."""
    kind, who = _type_of(progress.stage, item), _who(item)
    if kind is NoticeType.ERASED:
        # Nothing but that it is gone.
        return Draft(kind, kind, {"item": item.id, "case": item.body["case"]})
    if kind is not NoticeType.PROGRESS:
        reason = (run.body.get("reason") if run else None) or {}
        why = {name: reason.get(name) or None for name in ("code", "reason", "remedy")}
        return Draft(kind, kind, {**who, **(why if kind is not NoticeType.ANALYSED else {})})
    stage, done, total = progress.stage, progress.done, progress.total
    step = f"{stage}/{done * STEPS // total if total else 0}"
    return Draft(kind, step, {**who, "progress": NoticedProgress(stage=stage, done=done, total=total)})


def of_dossier(published: m.DossierPublished) -> Draft:
    """Tell that a version of a case's dossier can be read, and where; neither it nor its findings."""
    case, version = published.case, published.version
    dossier = NoticedDossier(version=version, complete=published.complete, path=f"/v1/cases/{case}/dossier")
    kind = NoticeType.DOSSIER_PUBLISHED
    return Draft(kind, f"{kind}/{version}", {"case": case, "dossier": dossier})


def of_rejection(rejected: m.OfferRejected) -> Draft:
    """Tell why an offer became no item."""
    place = NoticedPlace(topic=rejected.topic, partition=rejected.partition, offset=rejected.offset)
    why = {"code": rejected.code, "reason": rejected.reason, "remedy": rejected.remedy or None}
    fields = {"id": rejected.id, "case": rejected.case, "offer": place, **why}
    return Draft(NoticeType.REJECTED, f"{NoticeType.REJECTED}/{rejected.partition}/{rejected.offset}", fields)


def is_news(draft: Draft, told: Mapping[str, Any]) -> bool:
    """Tell whether a draft says more than what was told of its subject last."""
    # That it was accepted is no news of what has been heard of already: the two travel on different topics.
    return draft.step != told["step"] and draft.type is not NoticeType.ACCEPTED


def newest(runs: Sequence[Document]) -> str | None:
    """Choose the run that speaks for a medium: the one that was accepted last."""
    return max(runs, key=lambda run: (str(run.body["accepted_at"]), run.id)).id if runs else None


def traceparent(item: Document | None, envelope: Envelope[Any]) -> str | None:
    """Tell the trace context that a notice carries on: the producer's own, where the item has one."""
    origin = (item.body.get("origin") if item else None) or {}
    return origin.get("traceparent") or envelope.traceparent


def _type_of(stage: str, item: Document) -> NoticeType:
    if "erased" in {stage, item.state}:
        return NoticeType.ERASED
    if item.state == "cancelled":
        return NoticeType.CANCELLED
    return NoticeType(stage) if stage in RUN_TERMINAL else NoticeType.PROGRESS


def _who(item: Document) -> dict[str, Any]:
    body = item.body
    offer = (body.get("origin") or {}).get("offer")
    return {"id": offer, "case": body["case"], "item": item.id, "medium": body["medium"]}
