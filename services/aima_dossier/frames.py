"""Which moments of a film are worth showing, and the pictures that are shown of a medium."""

from collections.abc import Sequence
from dataclasses import dataclass

from aima_common.contracts.media import MediumType
from aima_dossier.model import DossierFinding, DossierMedium

MAX_FRAMES = 6
"""Frames that are shown of a film: enough to recognise it, few enough to send the dossier by mail."""

LEAST_PRECISION_SECONDS = 0.05
"""A frame that is this near to a finding's moment shows it, whatever precision the finding claims."""


@dataclass(frozen=True)
class TimedFrame:
    """A frame of a film, JPEG."""

    time_seconds: float
    image: bytes


@dataclass(frozen=True)
class MediumImages:
    """What can be shown of a medium: JPEG, PNG or WebP; whatever is something else is not shown."""

    preview: bytes | None = None
    """The picture itself, or the poster of a film."""
    thumbnail: bytes | None = None
    frames: tuple[TimedFrame, ...] = ()


def frame_times(medium: DossierMedium, limit: int = MAX_FRAMES) -> list[float]:
    """Choose moments that show the most of a film: spread over its shots, with faces where there are some."""
    if medium.type is not MediumType.VIDEO or not medium.duration_seconds:
        return []
    stretches = [(shot.start_seconds, shot.end_seconds) for shot in medium.findings if shot.kind == "shot"]
    if not stretches:
        step = medium.duration_seconds / limit
        stretches = [(place * step, (place + 1) * step) for place in range(limit)]
    telling = [finding for finding in medium.findings if finding.kind in ("face", "text")]
    faces = [seen_at(finding) for finding in telling if finding.kind == "face"]
    peopled = [stretch for stretch in stretches if any(stretch[0] <= moment < stretch[1] for moment in faces)]
    chosen = _spread(peopled, limit)
    chosen += _spread([stretch for stretch in stretches if stretch not in peopled], limit - len(chosen))
    return [_moment(start, end, telling) for start, end in sorted(chosen)]


def shown_in(medium: DossierMedium, frame: TimedFrame) -> list[DossierFinding]:
    """List the faces that were found in this very frame; later a face may have moved out of its box."""
    return [
        finding
        for finding in medium.findings
        if finding.kind == "face"
        and finding.region is not None
        and abs(seen_at(finding) - frame.time_seconds) <= max(finding.precision_seconds / 2, LEAST_PRECISION_SECONDS)
    ]


def seen_at(finding: DossierFinding) -> float:
    """Tell the moment at which a finding's region holds."""
    return finding.start_seconds if finding.seen_at_seconds is None else finding.seen_at_seconds


def image_type(image: bytes | None) -> str | None:
    """Tell the type of an image by its first bytes, or None when it is none that may be shown."""
    if image is None:
        return None
    if image.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if image.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        return "image/webp"
    return None


def _spread(stretches: Sequence[tuple[float, float]], limit: int) -> list[tuple[float, float]]:
    if len(stretches) <= limit:
        return list(stretches)
    return [stretches[(2 * place + 1) * len(stretches) // (2 * limit)] for place in range(limit)]


def _moment(start: float, end: float, telling: Sequence[DossierFinding]) -> float:
    """Choose the moment of the surest face or text of a stretch, else the middle of the stretch."""
    inside = [one for one in telling if start <= seen_at(one) < end]
    if not inside:
        return round((start + end) / 2, 3)
    return round(seen_at(min(inside, key=lambda one: (one.kind != "face", -one.confidence, seen_at(one), one.id))), 3)
