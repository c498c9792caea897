"""How the findings of many jobs become one picture of a medium. Pure: no await, no I/O, no clock.

The fold is a function of the set of results: their order, and how often each is handed in, change nothing.
It may be asked at any time; a picture of the first parts is a picture of what is known so far.
"""

import unicodedata
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

from aima_common.contracts.media import MediumType, Probe, Result, Segment
from aima_common.contracts.picture import MissingPart, Picture, PictureFinding, PicturePart
from aima_fusion.faces import join_faces
from aima_fusion.near_duplicates import near_duplicate, relation_id
from aima_fusion.observations import (
    Observation,
    chains,
    groups,
    intersection_over_union,
    joined,
    observe,
    source,
)
from aima_fusion.shots import join_cuts, middle_of, shots_between
from aima_fusion.speech import join_speech

SHOTS = "shots"
"""The capability whose cuts become shots; a film without a single cut is one shot, if somebody looked."""

SAME_PLACE = 0.5
"""Least overlap (intersection over union) of the same words, or of the same thing, in two samples."""

KIND_ORDER = {kind: place for place, kind in enumerate(("shot", "voice_activity", "speech", "text", "face", "label"))}


@dataclass(frozen=True)
class FoundPart:
    """A job's result on its way into the picture; `capability` is that of its analyzer."""

    job: str
    capability: str
    result: Result


@dataclass(frozen=True)
class PreparedMedium:
    """What preparing told about a medium."""

    medium: str
    run: str
    type: MediumType
    probe: Probe
    segments: tuple[Segment, ...] = ()
    perceptual_hash: str | None = None
    problems: tuple[str, ...] = ()


def fold(parts: Iterable[FoundPart], missing: Iterable[MissingPart], prepared: PreparedMedium) -> Picture:
    """Make one picture of everything that was found, and of what is known to be missing."""
    found = sorted({(part.job, part.result.key): part for part in parts}.items())
    results = [part.result for _, part in found]
    looked_for_shots = sorted(part.result.analyzer for _, part in found if part.capability == SHOTS)
    return Picture(
        medium=prepared.medium,
        run=prepared.run,
        type=prepared.type,
        probe=prepared.probe,
        duration_seconds=_duration(prepared),
        findings=_findings(observe(results), prepared, looked_for_shots),
        missing=_missing(missing, [part for _, part in found], prepared.segments),
        parts=[_part(part) for _, part in found],
        perceptual_hash=prepared.perceptual_hash,
        problems=sorted(set(prepared.problems)),
    )


def _findings(
    observations: Sequence[Observation], prepared: PreparedMedium, looked_for_shots: Sequence[str]
) -> list[PictureFinding]:
    by_kind: dict[str, list[Observation]] = {}
    for observation in observations:
        by_kind.setdefault(observation.finding.kind, []).append(observation)
    cuts = join_cuts(by_kind.pop("cut", []))
    duration = _duration(prepared)
    shots: list[PictureFinding] = []
    if prepared.type is MediumType.VIDEO and duration and (cuts or looked_for_shots):
        shots = shots_between(cuts, prepared.medium, duration, next(iter(looked_for_shots), ""))
    found = [
        finding
        for kind, seen in by_kind.items()
        for finding in _joined_kind(kind, seen, cuts, still=prepared.type is MediumType.IMAGE)
    ]
    return sorted([*shots, *(_within(finding, duration) for finding in found)], key=_order)


def _joined_kind(
    kind: str, observations: Sequence[Observation], cuts: Sequence[PictureFinding], *, still: bool
) -> list[PictureFinding]:
    if still:
        # Nothing crosses a border in a still; two equal words on a page are two words.
        return [joined([observation]) for observation in observations]
    if kind == "speech":
        return join_speech(observations)
    if kind == "face":
        return join_faces(observations, [middle_of(cut) for cut in cuts])
    parted = groups(observations, _thing)
    return [joined(chain) for group in parted for chain in chains(group, _same_place)]


def _thing(observation: Observation) -> Hashable:
    """Tell what a finding speaks of: the same words, the same label, or just the same kind."""
    finding = observation.finding
    words = " ".join(unicodedata.normalize("NFKC", finding.text or "").casefold().split())
    return source(observation), words, finding.label


def _same_place(earlier: Observation, later: Observation) -> bool:
    return intersection_over_union(earlier.finding.region, later.finding.region) >= SAME_PLACE


def _within(finding: PictureFinding, duration: float | None) -> PictureFinding:
    """Let no finding that starts inside the medium end after it: a sample's step reaches past the last frame."""
    if duration is None or finding.start_seconds > duration or finding.end_seconds <= duration:
        return finding
    return finding.model_copy(update={"end_seconds": duration})


def _duration(prepared: PreparedMedium) -> float | None:
    if prepared.type is MediumType.IMAGE or prepared.probe.duration_seconds is None:
        return None
    return round(prepared.probe.duration_seconds, 6)


def _missing(
    given: Iterable[MissingPart], found: Iterable[FoundPart], segments: Iterable[Segment]
) -> list[MissingPart]:
    known = {segment.index: segment for segment in segments}
    told = [
        MissingPart(
            capability=lack.capability,
            reason=lack.reason,
            analyzer=part.result.analyzer,
            job=part.job,
            segment=part.result.segment.index if part.result.segment else None,
        )
        for part in found
        for lack in part.result.missing
    ]
    unique = {_missing_order(lack): lack for lack in [*given, *told]}
    return [_timed(lack, known) for _, lack in sorted(unique.items())]


def _timed(lack: MissingPart, segments: dict[int, Segment]) -> MissingPart:
    segment = segments.get(lack.segment) if lack.segment is not None else None
    if segment is None:
        return lack
    return lack.model_copy(update={"start_seconds": segment.core_start, "end_seconds": segment.core_end})


def _missing_order(lack: MissingPart) -> tuple[str, int, str, str, str]:
    return lack.capability, -1 if lack.segment is None else lack.segment, lack.reason, lack.analyzer, lack.job


def _part(part: FoundPart) -> PicturePart:
    return PicturePart(
        job=part.job,
        analyzer=part.result.analyzer,
        analyzer_version=part.result.analyzer_version,
        segment=part.result.segment.index if part.result.segment else None,
        result_key=part.result.key,
    )


def _order(finding: PictureFinding) -> tuple[float, int, str, float, str, str]:
    place = KIND_ORDER.get(finding.kind, len(KIND_ORDER))
    words = finding.text or finding.label or ""
    return finding.start_seconds, place, finding.kind, finding.end_seconds, words, finding.id


__all__ = ["FoundPart", "PreparedMedium", "fold", "near_duplicate", "relation_id"]
