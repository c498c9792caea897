"""How pictures, items and corrections become a dossier. Pure: no await, no I/O, no clock.

Media, relations and corrections may be handed in in any order, and more than once.
"""

import datetime
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from aima_common.contracts.media import Confidentiality, MediumType
from aima_common.contracts.picture import MissingPart, Picture, PictureFinding
from aima_dossier import model
from aima_dossier.model import Dossier, DossierFinding, DossierItem, DossierMedium, Status
from aima_dossier.summary import summarise


@dataclass(frozen=True)
class CaseFacts:
    """What is known of a case."""

    id: str
    name: str
    confidentiality: Confidentiality = Confidentiality.CONFIDENTIAL
    created_at: datetime.datetime | None = None


@dataclass(frozen=True)
class ItemFacts:
    """What is known of an item. `status` is the state of its medium's run; reasons only where it was not analysed."""

    id: str
    ordinal: int
    file_name: str
    size_bytes: int
    status: Status
    medium: str | None = None
    sha256: str | None = None
    code: str = ""
    reason: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class MediumFacts:
    """A medium with its picture; one that has none yet, or was rejected, is not handed in."""

    id: str
    sha256: str
    size_bytes: int
    status: Status
    picture: Picture


@dataclass(frozen=True)
class Relation:
    """Two media that show the same picture; which is named first does not matter."""

    medium: str
    other: str
    similarity: float


@dataclass(frozen=True)
class CorrectionFacts:
    """What a person said about a finding."""

    medium: str
    finding: str
    field: str
    value: str
    author: str
    made_at: datetime.datetime | None = None


def assemble(
    case: CaseFacts,
    items: Iterable[ItemFacts],
    media: Iterable[MediumFacts],
    *,
    version: int,
    created_at: datetime.datetime,
    relations: Iterable[Relation] = (),
    corrections: Iterable[CorrectionFacts] = (),
) -> Dossier:
    """Write the dossier of a case. Only relations between media of this case are told."""
    arrived = sorted({item.id: item for item in items}.values(), key=lambda item: (item.ordinal, item.id))
    known = {medium.id: medium for medium in media}
    names = _file_names(arrived)
    near = _near_duplicates(relations, known)
    corrected = _corrections(corrections)
    entries = [
        _medium(known[medium], names.get(medium, []), near.get(medium, {}), corrected)
        for medium in _in_order_of_arrival(arrived, known)
    ]
    told = _items(arrived, {entry.id for entry in entries})
    return Dossier(
        version=version,
        created_at=model.utc(created_at),
        complete=all(item.status in model.FINAL for item in told),
        case=model.CaseHeading(
            id=case.id,
            name=written(case.name),
            confidentiality=case.confidentiality,
            created_at=model.utc(case.created_at) if case.created_at else None,
        ),
        summary=summarise(told, entries),
        items=told,
        media=entries,
        exact_duplicates=_exact_duplicates(told),
    )


def written(text: str) -> str:
    """Make text that can be stored: halves of surrogate pairs, as undecodable file names have them, become U+FFFD."""
    return "".join("\ufffd" if "\ud800" <= letter <= "\udfff" else letter for letter in text)


def _items(arrived: Sequence[ItemFacts], media: set[str]) -> list[DossierItem]:
    first: dict[str, str] = {}
    told = []
    for item in arrived:
        content = item.sha256 or item.medium
        original = first.setdefault(content, item.id) if content else item.id
        told.append(
            DossierItem(
                id=item.id,
                file_name=written(item.file_name),
                size_bytes=item.size_bytes,
                sha256=item.sha256,
                medium_id=item.medium if item.medium in media else None,
                duplicate_of=None if original == item.id else original,
                status=item.status,
                code=item.code or None,
                reason=written(item.reason) or None,
                remedy=written(item.remedy) or None,
            )
        )
    return told


def _medium(
    facts: MediumFacts,
    names: Sequence[str],
    near: Mapping[str, float],
    corrections: Mapping[str, list[model.Correction]],
) -> DossierMedium:
    picture, probe = facts.picture, facts.picture.probe
    return DossierMedium(
        id=facts.id,
        sha256=facts.sha256,
        size_bytes=facts.size_bytes,
        type=picture.type,
        mime_type=probe.mime_type,
        container=probe.container,
        duration_seconds=None if picture.type is MediumType.IMAGE else picture.duration_seconds,
        width=probe.width,
        height=probe.height,
        frames_per_second=probe.frames_per_second,
        video_codec=probe.video_codec,
        audio_codec=probe.audio_codec,
        start_offset_seconds=probe.start_offset_seconds,
        file_names=list(names),
        status=facts.status,
        near_duplicates=[
            model.NearDuplicate(medium_id=other, similarity=similarity)
            for other, similarity in sorted(near.items(), key=lambda pair: (-pair[1], pair[0]))
        ],
        findings=[_finding(finding, corrections.get(finding.id, [])) for finding in picture.findings],
        missing=_missing(picture.missing),
        problems=list(picture.problems),
        analyses=_analyses(picture),
    )


def _finding(finding: PictureFinding, corrections: list[model.Correction]) -> DossierFinding:
    return DossierFinding.model_construct(**dict(finding), corrections=corrections)


def _file_names(arrived: Iterable[ItemFacts]) -> dict[str, list[str]]:
    names: dict[str, dict[str, None]] = {}
    for item in arrived:
        if item.medium is not None:
            names.setdefault(item.medium, {})[written(item.file_name)] = None
    return {medium: list(known) for medium, known in names.items()}


def _in_order_of_arrival(arrived: Iterable[ItemFacts], known: Mapping[str, MediumFacts]) -> list[str]:
    met = {item.medium: None for item in arrived if item.medium in known}
    return [medium for medium in met if medium is not None]


def _near_duplicates(relations: Iterable[Relation], known: Mapping[str, MediumFacts]) -> dict[str, dict[str, float]]:
    near: dict[str, dict[str, float]] = {}
    for relation in relations:
        pair = (relation.medium, relation.other)
        if relation.medium == relation.other or not all(medium in known for medium in pair):
            continue
        for one, other in (pair, pair[::-1]):
            others = near.setdefault(one, {})
            others[other] = max(others.get(other, 0.0), round(relation.similarity, 6))
    return near


def _corrections(corrections: Iterable[CorrectionFacts]) -> dict[str, list[model.Correction]]:
    by_finding: dict[str, list[model.Correction]] = {}
    for fact in sorted(set(corrections), key=_correction_order):
        by_finding.setdefault(fact.finding, []).append(
            model.Correction(
                field=fact.field,
                value=written(fact.value),
                author=written(fact.author),
                made_at=model.utc(fact.made_at) if fact.made_at else None,
            )
        )
    return by_finding


def _correction_order(fact: CorrectionFacts) -> tuple[float, str, str, str]:
    return fact.made_at.timestamp() if fact.made_at else 0.0, fact.field, fact.value, fact.author


def _missing(parts: Iterable[MissingPart]) -> list[model.Missing]:
    stretches: dict[tuple[str, str], set[tuple[float, float]]] = {}
    whole: set[tuple[str, str]] = set()
    for part in parts:
        reason = (part.capability, part.reason)
        found = stretches.setdefault(reason, set())
        if part.start_seconds is None or part.end_seconds is None:
            whole.add(reason)
        else:
            found.add((part.start_seconds, part.end_seconds))
    return [
        model.Missing(capability=reason[0], reason=reason[1], stretches=[] if reason in whole else _touching(found))
        for reason, found in sorted(stretches.items())
    ]


def _touching(stretches: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Put stretches together that touch: nobody wants to read sixty minutes one by one."""
    told: list[tuple[float, float]] = []
    for start, end in sorted(stretches):
        if told and start <= told[-1][1] + 1e-6:
            told[-1] = (told[-1][0], max(end, told[-1][1]))
        else:
            told.append((start, end))
    return told


def _analyses(picture: Picture) -> list[model.Analysis]:
    counts = Counter((part.analyzer, part.analyzer_version) for part in picture.parts)
    return [
        model.Analysis(analyzer=analyzer, version=version, results=count)
        for (analyzer, version), count in sorted(counts.items())
    ]


def _exact_duplicates(items: Sequence[DossierItem]) -> list[model.ExactDuplicates]:
    same: dict[str, list[DossierItem]] = {}
    for item in items:
        if item.sha256:
            same.setdefault(item.sha256, []).append(item)
    return [
        model.ExactDuplicates(
            medium_id=group[0].medium_id,
            sha256=sha256,
            item_ids=[item.id for item in group],
            file_names=[item.file_name for item in group],
        )
        for sha256, group in same.items()
        if len(group) > 1
    ]
