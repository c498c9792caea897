"""A medium on one line of time: lanes of marks that stay readable from ten seconds to ten hours."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aima_dossier.model import DossierFinding, DossierMedium
from aima_dossier.wording import clock, counted, percent, plain, stretch

LANES: tuple[tuple[str, str, str], ...] = (
    ("shot", "Shots", "shot"),
    ("voice_activity", "Voices", "stretch of voices"),
    ("speech", "Speech", "line of speech"),
    ("text", "Text", "line of text"),
    ("face", "Faces", "face"),
    ("label", "Labels", "label"),
)
"""Kind, name of its lane, and what one of its findings is called, from top to bottom."""

MANY = {
    "stretch of voices": "stretches of voices",
    "line of speech": "lines of speech",
    "line of text": "lines of text",
}

MAX_MARKS = 300
"""More marks than this in a lane are drawn as density; a screen has about a thousand pixels across."""

MAX_ROWS = 4
"""Marks that overlap lie in rows beneath each other, as far as these go."""

ROW_HEIGHT = 9
ROW_GAP = 3
LANE_PADDING = 5
LEAST_WIDTH = 0.35
"""Percent of the width that even a moment is given, so that it can be seen and hovered over."""

STEPS = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800)
MAX_TICKS = 6
"""Seconds between the ticks of the axis, and how many there may be at most (they must fit a telephone)."""


@dataclass(frozen=True)
class Mark:
    """A rectangle of a lane. `x` and `width` are percent of the timeline, `y` pixels from the timeline's top."""

    x: float
    width: float
    y: int
    tooltip: str
    opacity: float = 1.0


@dataclass(frozen=True)
class Lane:
    """The marks of one kind; `top` and `height` in pixels."""

    kind: str
    name: str
    top: int
    height: int
    marks: tuple[Mark, ...]
    dense: bool = False
    """Whether the marks show how many findings there are, not each of them."""


@dataclass(frozen=True)
class Tick:
    """A labelled moment of the axis, at `x` percent."""

    x: float
    label: str


@dataclass(frozen=True)
class Timeline:
    """All lanes of a medium above one axis; `height` in pixels without the axis."""

    duration_seconds: float
    lanes: tuple[Lane, ...]
    ticks: tuple[Tick, ...]
    height: int
    description: str
    """The timeline in words, for those who cannot see it."""


def timeline(medium: DossierMedium) -> Timeline | None:
    """Lay a medium's findings out in time; None for what has no duration."""
    duration = medium.duration_seconds
    if not duration:
        return None
    lanes: list[Lane] = []
    told: list[str] = []
    top = 0
    for kind, name, one in LANES:
        findings = [finding for finding in medium.findings if finding.kind == kind]
        if findings:
            lanes.append(_lane(kind, name, findings, duration, top))
            told.append(counted(len(findings), one, MANY.get(one, "")))
            top += lanes[-1].height
    return Timeline(duration, tuple(lanes), _ticks(duration), top, f"{clock(duration)} long: {', '.join(told)}")


def _lane(kind: str, name: str, findings: Sequence[DossierFinding], duration: float, top: int) -> Lane:
    crowded = len(findings) > MAX_MARKS
    places = [] if crowded else _rows(findings)
    rows = max(places, default=0) + 1
    height = rows * (ROW_HEIGHT + ROW_GAP) - ROW_GAP + 2 * LANE_PADDING
    first = top + LANE_PADDING
    if crowded:
        return Lane(kind, name, top, height, tuple(_density(findings, duration, first)), dense=True)
    marks = [
        _mark(finding, duration, first + row * (ROW_HEIGHT + ROW_GAP))
        for finding, row in zip(findings, places, strict=True)
    ]
    return Lane(kind, name, top, height, tuple(marks))


def _rows(findings: Iterable[DossierFinding]) -> list[int]:
    """Give every finding the first row that is free; what finds none shares the last."""
    free_from: list[float] = []
    places = []
    for finding in findings:
        row = next((row for row, free in enumerate(free_from) if free <= finding.start_seconds), len(free_from))
        row = min(row, MAX_ROWS - 1)
        if row == len(free_from):
            free_from.append(0.0)
        free_from[row] = max(free_from[row], finding.end_seconds)
        places.append(row)
    return places


def _mark(finding: DossierFinding, duration: float, y: int) -> Mark:
    start = min(finding.start_seconds, duration)
    width = max(LEAST_WIDTH, 100 * (min(finding.end_seconds, duration) - start) / duration)
    return Mark(
        x=round(min(100 * start / duration, 100 - width), 3),
        width=round(width, 3),
        y=y,
        tooltip=tooltip(finding),
    )


def tooltip(finding: DossierFinding) -> str:
    """Say in one line what was found, when, and how sure the model is."""
    when = stretch(finding.start_seconds, finding.end_seconds)
    words = f"“{plain(finding.text)}”" if finding.text else plain(finding.label)
    name = finding.kind.replace("_", " ")
    return " · ".join(part for part in (when, name, words, percent(finding.confidence)) if part)


def _density(findings: Sequence[DossierFinding], duration: float, y: int) -> list[Mark]:
    """Draw how many findings there are at a time, where they are too many to draw one by one."""
    counts = [0] * MAX_MARKS
    for finding in findings:
        first = _bin(finding.start_seconds, duration)
        for place in range(first, max(first, _bin(finding.end_seconds, duration)) + 1):
            counts[place] += 1
    most = max(counts)
    step = duration / MAX_MARKS
    return [
        Mark(
            x=round(100 * place / MAX_MARKS, 3),
            width=round(100 / MAX_MARKS, 3),
            y=y,
            tooltip=f"{stretch(place * step, (place + 1) * step, 0)} · {counted(count, 'finding')}",
            opacity=round(0.3 + 0.7 * count / most, 2),
        )
        for place, count in enumerate(counts)
        if count
    ]


def _bin(seconds: float, duration: float) -> int:
    return min(MAX_MARKS - 1, int(MAX_MARKS * seconds / duration))


def _ticks(duration: float) -> tuple[Tick, ...]:
    step = next((step for step in STEPS if duration / step <= MAX_TICKS), duration / MAX_TICKS)
    count = int(duration / step)
    decimals = 1 if step < 1 else 0
    return tuple(
        Tick(round(100 * place * step / duration, 3), clock(place * step, decimals))
        for place in range(count + 1)
        if place * step <= duration * 0.97 or place == 0
    )
