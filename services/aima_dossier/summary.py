"""A case in numbers."""

import math
from collections import Counter
from collections.abc import Sequence

from aima_common.contracts.media import MediumType
from aima_dossier.model import FINAL, DossierItem, DossierMedium, Rejection, Summary


def summarise(items: Sequence[DossierItem], media: Sequence[DossierMedium]) -> Summary:
    """Count what a reader asks first: how much there was, what is in it, and what could not be read."""
    types = Counter(medium.type for medium in media)
    kinds = Counter(finding.kind for medium in media for finding in medium.findings)
    states = Counter(item.status for item in items)
    return Summary(
        items=len(items),
        media=len(media),
        films=types[MediumType.VIDEO],
        stills=types[MediumType.IMAGE],
        recordings=types[MediumType.AUDIO],
        # Exact, and thus the same in whichever order the media came: half a millisecond may fall either way otherwise.
        duration_seconds=round(math.fsum(medium.duration_seconds or 0.0 for medium in media), 3),
        shots=kinds["shot"],
        faces=kinds["face"],
        speech_lines=kinds["speech"],
        speech_seconds=round(_speech_seconds(media), 3),
        text_lines=kinds["text"],
        labels=_labels(media),
        languages=sorted({finding.language for medium in media for finding in medium.findings if finding.language}),
        exact_duplicates=sum(item.duplicate_of is not None for item in items),
        near_duplicates=sum(len(medium.near_duplicates) for medium in media) // 2,
        analysed=states["analysed"],
        rejected=states["rejected"],
        failed=states["failed"],
        cancelled=states["cancelled"],
        erased=states["erased"],
        running=sum(count for state, count in states.items() if state not in FINAL),
        rejections=_rejections(items),
    )


def _speech_seconds(media: Sequence[DossierMedium]) -> float:
    return sum(
        finding.end_seconds - finding.start_seconds
        for medium in media
        for finding in medium.findings
        if finding.kind == "speech"
    )


def _labels(media: Sequence[DossierMedium]) -> list[str]:
    """List labels by the number of media they were given to, so that one long film does not decide alone."""
    seen = Counter(
        label
        for medium in media
        for label in {finding.label for finding in medium.findings if finding.kind == "label" and finding.label}
    )
    return [label for label, _ in sorted(seen.items(), key=lambda pair: (-pair[1], pair[0]))]


def _rejections(items: Sequence[DossierItem]) -> list[Rejection]:
    return [
        Rejection(file_name=item.file_name, status=item.status, reason=item.reason or "", remedy=item.remedy or "")
        for item in items
        if item.status in ("rejected", "failed")
    ]
