"""From what was seen in single frames to what was there for a while."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from aima_common.contracts.media import Region


@dataclass(frozen=True)
class Sighting:
    """One thing seen in one frame."""

    time_seconds: float
    confidence: float
    region: Region | None = None
    word: str = ""
    """What it says or is called."""


@dataclass
class Track:
    """Sightings of one thing, in the order of their times."""

    sightings: list[Sighting] = field(default_factory=list)

    @property
    def start_seconds(self) -> float:
        """When it was first seen."""
        return self.sightings[0].time_seconds

    @property
    def end_seconds(self) -> float:
        """When it was last seen."""
        return self.sightings[-1].time_seconds

    @property
    def best(self) -> Sighting:
        """The surest sighting; the earliest of equally sure ones."""
        return max(self.sightings, key=lambda seen: (seen.confidence, -seen.time_seconds))


Likeness = Callable[[Sighting, Sighting], float]
"""How much two sightings look like one thing, 0..1; 0 means that they are two."""


def tracks(sightings: Sequence[Sighting], likeness: Likeness, longest_gap_seconds: float) -> list[Track]:
    """Join sightings into tracks, frame by frame, the likest pairs first.

    A track takes at most one sighting of a frame and ends when nothing joined it for longer than the gap.
    """
    done: list[Track] = []
    running: list[Track] = []
    for time in sorted({seen.time_seconds for seen in sightings}):
        here = [seen for seen in sightings if seen.time_seconds == time]
        done += [track for track in running if time - track.end_seconds > longest_gap_seconds + 1e-6]
        running = [track for track in running if time - track.end_seconds <= longest_gap_seconds + 1e-6]
        running += _join(running, here, likeness)
    return sorted([*done, *running], key=lambda track: (track.start_seconds, track.end_seconds))


def _join(running: Sequence[Track], here: Sequence[Sighting], likeness: Likeness) -> list[Track]:
    pairs = sorted(
        (
            (likeness(track.sightings[-1], seen), row, column)
            for row, track in enumerate(running)
            for column, seen in enumerate(here)
        ),
        key=lambda pair: (-pair[0], pair[1], pair[2]),
    )
    taken_tracks: set[int] = set()
    taken_sightings: set[int] = set()
    for value, row, column in pairs:
        if value > 0 and row not in taken_tracks and column not in taken_sightings:
            running[row].sightings.append(here[column])
            taken_tracks.add(row)
            taken_sightings.add(column)
    return [Track([seen]) for column, seen in enumerate(here) if column not in taken_sightings]
