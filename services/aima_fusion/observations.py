"""Findings on their way into a picture: named, ordered, and joined where they speak of the same thing."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass

from aima_common import ids
from aima_common.contracts.media import Finding, Region, Result
from aima_common.contracts.picture import PictureFinding

MICROSECONDS = 6
"""Decimals that times, regions and confidences are rounded to (model.md, "Time and space")."""

TOLERANCE_SECONDS = 1e-6
"""Slack when times are compared, so that 0.1 + 0.2 still touches 0.3."""


@dataclass(frozen=True)
class Observation:
    """A finding, its name, and which segment's analysis made it (None: that of the whole medium)."""

    id: str
    finding: Finding
    segment: int | None
    owned: bool
    """Whether the segment's core holds its start, so that no neighbour is nearer to it."""

    @property
    def start(self) -> float:
        """Seconds from the start of the medium."""
        return self.finding.start_seconds

    @property
    def end(self) -> float:
        """Seconds from the start of the medium; never before the start."""
        return max(self.finding.start_seconds, self.finding.end_seconds)


def observe(results: Iterable[Result]) -> list[Observation]:
    """Name every finding of these results, earliest first; a result that is met twice counts once."""
    unique = {result.key: result for result in results}
    seen = [
        Observation(
            id=ids.finding_id(result.key, ordinal),
            finding=finding,
            segment=result.segment.index if result.segment else None,
            owned=_holds(result, finding.start_seconds),
        )
        for result in unique.values()
        for ordinal, finding in enumerate(result.findings)
    ]
    return sorted(seen, key=order)


def order(observation: Observation) -> tuple[float, float, str]:
    """Sort by time, and by name where times are equal."""
    return observation.start, observation.end, observation.id


def source(observation: Observation) -> Hashable:
    """Tell what made a finding; only findings of one analyzer and model are ever joined."""
    model = observation.finding.model
    return observation.finding.analyzer, model.sha256 if model else None


def groups(observations: Iterable[Observation], key: Callable[[Observation], Hashable]) -> list[list[Observation]]:
    """Part observations by a key; inside a group they stay in their order."""
    found: dict[Hashable, list[Observation]] = {}
    for observation in observations:
        found.setdefault(key(observation), []).append(observation)
    return list(found.values())


def near(earlier: Observation, later: Observation) -> bool:
    """Whether two samples of the same thing can be one stretch: a single missed sample is forgiven."""
    gap = 2 * max(earlier.finding.precision_seconds, later.finding.precision_seconds)
    return later.start - earlier.end <= gap + TOLERANCE_SECONDS


def chains(
    observations: Sequence[Observation], linked: Callable[[Observation, Observation], bool]
) -> list[list[Observation]]:
    """Part time-ordered observations into connected chains.

    `linked(earlier, later)` is asked for every pair that overlaps in time or is `near`.
    """
    parent = list(range(len(observations)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    longest = max((2 * item.finding.precision_seconds for item in observations), default=0.0)
    active: list[int] = []
    for index, later in enumerate(observations):
        active = [one for one in active if observations[one].end + longest + TOLERANCE_SECONDS >= later.start]
        for one in active:
            earlier = observations[one]
            if near(earlier, later) and linked(earlier, later):
                parent[root(index)] = root(one)
        active.append(index)
    found: dict[int, list[Observation]] = {}
    for index, observation in enumerate(observations):
        found.setdefault(root(index), []).append(observation)
    return list(found.values())


def joined(parts: Sequence[Observation]) -> PictureFinding:
    """Make one finding of several: from the first start to the last end, in the words of the surest part."""
    surest = min(parts, key=lambda part: (-part.finding.confidence, *order(part)))
    return finding_of(
        surest.finding,
        part_ids=[part.id for part in parts],
        start=min(part.start for part in parts),
        end=max(part.end for part in parts),
        precision=max(part.finding.precision_seconds for part in parts),
    )


def finding_of(
    finding: Finding, *, part_ids: Sequence[str], start: float, end: float, precision: float
) -> PictureFinding:
    """Name a finding by its parts and round its numbers."""
    names = sorted(set(part_ids))
    return PictureFinding(
        id=names[0] if len(names) == 1 else ids.derive("finding", *names),
        kind=finding.kind,
        start_seconds=rounded(start),
        end_seconds=rounded(max(start, end)),
        precision_seconds=rounded(precision),
        region=_rounded_region(finding.region),
        text=finding.text,
        label=finding.label,
        language=finding.language,
        confidence=rounded(finding.confidence),
        analyzer=finding.analyzer,
        model=finding.model,
        observations=len(names),
        seen_at_seconds=rounded(finding.start_seconds if finding.seen_at_seconds is None else finding.seen_at_seconds),
    )


def rounded(number: float) -> float:
    """Round to a microsecond; never yields a negative zero."""
    return round(number, MICROSECONDS) + 0.0


def intersection_over_union(one: Region | None, other: Region | None) -> float:
    """Tell how far two regions are the same, 0 to 1; two findings without region speak of the whole picture."""
    if one is None or other is None:
        return 1.0 if one is other else 0.0
    width = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    height = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (one.width * one.height + other.width * other.height - shared)


def _rounded_region(region: Region | None) -> Region | None:
    if region is None:
        return None
    return Region(x=rounded(region.x), y=rounded(region.y), width=rounded(region.width), height=rounded(region.height))


def _holds(result: Result, start: float) -> bool:
    segment = result.segment
    return segment is None or segment.core_start - TOLERANCE_SECONDS <= start < segment.core_end
