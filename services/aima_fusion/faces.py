"""Faces from sample to sample: one finding for as long as a face stays in the picture."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from aima_common.contracts.picture import PictureFinding
from aima_fusion.observations import Observation, groups, intersection_over_union, joined, near, source

SAME_FACE = 0.3
"""Least overlap (intersection over union) of a face in two samples half a second apart; heads move."""


def join_faces(observations: Iterable[Observation], cuts: Iterable[float]) -> list[PictureFinding]:
    """Join a face's samples to tracks. A track never crosses a cut: what follows may be somebody else's face.

    `observations` come in their order, `cuts` are moments in seconds.
    """
    moments = sorted(cuts)
    return [joined(track) for group in groups(observations, source) for track in _tracks(group, moments)]


def _tracks(observations: Sequence[Observation], cuts: Sequence[float]) -> list[list[Observation]]:
    """Give each face to the track whose newest sample it overlaps most; a sample has one successor at most."""
    done: list[list[Observation]] = []
    open_tracks: list[list[Observation]] = []
    for face in observations:
        done += [track for track in open_tracks if not near(track[-1], face)]
        open_tracks = [track for track in open_tracks if near(track[-1], face)]
        rivals = [(_likeness(track[-1], face, cuts), -place) for place, track in enumerate(open_tracks)]
        likeness, place = max(rivals, default=(0.0, 0))
        if likeness >= SAME_FACE:
            open_tracks[-place].append(face)
        else:
            open_tracks.append([face])
    return done + open_tracks


def _likeness(earlier: Observation, later: Observation, cuts: Sequence[float]) -> float:
    if _same_sample(earlier, later) or _parted_by_cut(earlier, later, cuts):
        return 0.0
    return intersection_over_union(earlier.finding.region, later.finding.region)


def _same_sample(earlier: Observation, later: Observation) -> bool:
    """Whether one segment's analysis saw both at once; then they are two faces, however close."""
    together = later.start < earlier.end or later.start == earlier.start
    return together and earlier.segment == later.segment


def _parted_by_cut(earlier: Observation, later: Observation, cuts: Sequence[float]) -> bool:
    """Whether the picture changes between the last sample of one and the first of the other."""
    last_seen = max(earlier.start, earlier.end - earlier.finding.precision_seconds)
    return bisect_right(cuts, last_seen) < bisect_right(cuts, later.start)
