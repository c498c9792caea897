"""From cuts to shots: what lies between two changes of picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from aima_common import ids
from aima_common.contracts.media import ModelReference
from aima_common.contracts.picture import PictureFinding
from aima_fusion.observations import TOLERANCE_SECONDS, Observation, chains, groups, joined, rounded, source


@dataclass(frozen=True)
class Border:
    """Where a shot ends and the next begins; the beginning and the end of the film are borders too."""

    id: str
    at_seconds: float
    precision_seconds: float = 0.0
    confidence: float = 1.0


def join_cuts(observations: Sequence[Observation]) -> list[PictureFinding]:
    """Count a change of picture once, though both neighbours of a segment border saw it.

    A hard cut is a moment, a dissolve or fade a stretch. Changes of one model that overlap, or lie no further
    apart than their precision, are the same change.
    """
    return [joined(chain) for group in groups(observations, source) for chain in chains(group, _same_change)]


def shots_between(
    cuts: Sequence[PictureFinding], medium: str, duration_seconds: float, analyzer: str
) -> list[PictureFinding]:
    """Tile a film from 0 to its end with shots. A transition's shot ends at the transition's middle.

    A shot is as sure as the less sure of its two borders; the film's own ends are certain.
    """
    borders = [Border("beginning", 0.0), *_inner_borders(cuts, duration_seconds), Border("end", duration_seconds)]
    model = next((cut.model for cut in cuts if cut.model), None)
    name = cuts[0].analyzer if cuts else analyzer
    return [_shot(begin, end, medium, name, model) for begin, end in pairwise(borders)]


def middle_of(cut: PictureFinding) -> float:
    """Tell the moment at which a change of picture parts two shots."""
    return rounded((cut.start_seconds + cut.end_seconds) / 2)


def _inner_borders(cuts: Sequence[PictureFinding], duration_seconds: float) -> list[Border]:
    borders = [Border(cut.id, middle_of(cut), cut.precision_seconds, cut.confidence) for cut in cuts]
    inside = [border for border in borders if 0 < border.at_seconds < duration_seconds]
    # Two models may see a cut at the very same moment; an empty shot between them would say nothing.
    unique = {border.at_seconds: border for border in sorted(inside, key=lambda border: border.id)}
    return [border for _, border in sorted(unique.items())]


def _shot(begin: Border, end: Border, medium: str, analyzer: str, model: ModelReference | None) -> PictureFinding:
    return PictureFinding(
        id=ids.derive("shot", medium, begin.id, end.id),
        kind="shot",
        start_seconds=rounded(begin.at_seconds),
        end_seconds=rounded(end.at_seconds),
        precision_seconds=rounded(max(begin.precision_seconds, end.precision_seconds)),
        confidence=rounded(min(begin.confidence, end.confidence)),
        analyzer=analyzer,
        model=model,
    )


def _same_change(earlier: Observation, later: Observation) -> bool:
    precision = max(earlier.finding.precision_seconds, later.finding.precision_seconds)
    apart = later.start - earlier.end
    return earlier.segment != later.segment and apart <= precision + TOLERANCE_SECONDS
