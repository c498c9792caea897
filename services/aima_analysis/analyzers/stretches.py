"""Where somebody speaks: from probabilities to stretches, and which segment each stretch belongs to.

Everything lies on a grid of 32 ms counted from the start of the medium, so that neighbouring segments, which
hear the same context, come to the same stretches.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aima_analysis.analyzers import rounding
from aima_common.contracts.media import Segment

SAMPLE_RATE = 16_000
HOP = 512
"""Samples per probability, as Silero's net was trained at 16 kHz."""
STEP_SECONDS = HOP / SAMPLE_RATE

UNSURE_SECONDS = 0.6
"""At the end of what is heard nobody can tell whether speech ends there or goes on: the longest pause inside a
stretch and the margin."""

Reals = npt.NDArray[np.float32]


@dataclass(frozen=True)
class VoiceSettings:
    """How probabilities become stretches (the first three are Silero's own defaults but for the silence)."""

    begin: float = 0.5
    end: float = 0.35
    """Speech goes on until it is less likely than this."""
    shortest_speech_seconds: float = 0.25
    shortest_silence_seconds: float = 0.4
    """Shorter pauses are part of the speech: words of one sentence stay together."""
    margin_seconds: float = 0.1
    """Added on both sides; soft first sounds are heard late."""


@dataclass(frozen=True)
class Stretch:
    """Somebody speaks; places on the grid of 32 ms, the end excluded."""

    begin: int
    end: int
    confidence: float

    @property
    def start_seconds(self) -> float:
        """When it begins."""
        return rounding.seconds(self.begin * STEP_SECONDS)

    @property
    def end_seconds(self) -> float:
        """When it ends."""
        return rounding.seconds(self.end * STEP_SECONDS)


def grid_of(samples: Reals, start_seconds: float) -> tuple[Reals, int]:
    """Cut samples into rows of 512 on the grid of the medium; give them with the place of the first row.

    What lies before the first point of the grid is dropped, what lies after the last is padded with silence.
    """
    start, first = round(start_seconds * SAMPLE_RATE), _place(start_seconds)
    kept = samples[first * HOP - start :]
    count = -(-len(kept) // HOP)
    padded = np.zeros(count * HOP, np.float32)
    padded[: len(kept)] = kept
    return padded.reshape(count, HOP), first


def stretches(probabilities: Reals, first: int, settings: VoiceSettings) -> list[Stretch]:
    """Read stretches of speech from the probability of each row; `first` is the place of the first one."""
    shortest = round(settings.shortest_speech_seconds / STEP_SECONDS)
    silence = round(settings.shortest_silence_seconds / STEP_SECONDS)
    margin = round(settings.margin_seconds / STEP_SECONDS)
    runs = [run for run in _joined(_runs(probabilities, settings), silence) if run[1] - run[0] >= shortest]
    bounds = [(max(0, begin - margin), min(len(probabilities), end + margin)) for begin, end in runs]
    return [
        Stretch(first + begin, first + end, float(np.mean(probabilities[run[0] : run[1]])))
        for (begin, end), run in zip(bounds, runs, strict=True)
    ]


def _runs(probabilities: Reals, settings: VoiceSettings) -> list[tuple[int, int]]:
    """Give runs that begin above one threshold and go on above a lower one."""
    runs: list[tuple[int, int]] = []
    begin: int | None = None
    for place, probability in enumerate(probabilities.tolist()):
        if begin is None and probability >= settings.begin:
            begin = place
        elif begin is not None and probability < settings.end:
            runs.append((begin, place))
            begin = None
    if begin is not None:
        runs.append((begin, len(probabilities)))
    return runs


def _joined(runs: Sequence[tuple[int, int]], silence: int) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for begin, end in runs:
        if joined and begin - joined[-1][1] < silence:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((begin, end))
    return joined


def loudness(rows: Reals) -> Reals:
    """Give the mean square of each row over itself and its neighbours: how loud it is around there."""
    squares = np.square(rows, dtype=np.float64).mean(axis=1)
    padded = np.pad(squares, 1, mode="edge") if len(squares) else squares
    return np.asarray(np.convolve(padded, np.full(3, 1 / 3), mode="valid") if len(squares) else squares, np.float32)


def quietest(loud: Reals, first: int, begin: int, end: int) -> int:
    """Give the place in begin..end (excluded) where it is quietest, the earliest of equals."""
    return begin + int(np.argmin(loud[begin - first : end - first]))


def cut_at_borders(
    spoken: Sequence[Stretch], loud: Reals, first: int, segment: Segment, longest_overhang_seconds: float
) -> list[Stretch]:
    """Cut what crosses a border of the core, by a rule that both neighbours follow from what both hear.

    A stretch that ends soon after the border stays whole and belongs to the segment it starts in. One that goes
    on is cut at the quietest place after the border, within the overhang: the first piece ends where the
    first segment still hears it, the second starts in the second segment's core.
    """
    pieces = list(spoken)
    for border_seconds in (segment.core_start, segment.core_end):
        overlap = min(border_seconds - segment.context_start, segment.context_end - border_seconds)
        heard_safely = max(0.0, min(longest_overhang_seconds, overlap - UNSURE_SECONDS))
        border = _place(border_seconds)
        pieces = [
            part for piece in pieces for part in _cut(piece, loud, first, border, int(heard_safely / STEP_SECONDS))
        ]
    return pieces


def _cut(piece: Stretch, loud: Reals, first: int, border: int, overhang: int) -> list[Stretch]:
    last = min(border + overhang, first + len(loud))
    if not piece.begin < border < piece.end or piece.end <= last:
        return [piece]
    place = quietest(loud, first, border, last) if last > border else border
    return _halves(piece, place)


def _halves(piece: Stretch, place: int) -> list[Stretch]:
    return [Stretch(piece.begin, place, piece.confidence), Stretch(place, piece.end, piece.confidence)]


@dataclass(frozen=True)
class PieceSettings:
    """How long the pieces of a long stretch are."""

    shortest_seconds: float = 8.0
    longest_seconds: float = 15.0


def cut_long(
    spoken: Sequence[Stretch], loud: Reals, first: int, settings: PieceSettings, core_end_seconds: float | None
) -> list[Stretch]:
    """Cut long stretches at their quietest places.

    A stretch that starts in the core has all its pieces start there: what reaches over the border is part of
    the last one, since no neighbour says it.
    """
    shortest = int(settings.shortest_seconds / STEP_SECONDS)
    longest = int(settings.longest_seconds / STEP_SECONDS)
    border = None if core_end_seconds is None else _place(core_end_seconds)
    pieces: list[Stretch] = []
    for whole in spoken:
        rest = whole
        while rest.end - rest.begin > longest:
            latest = rest.begin + longest
            if border is not None and rest.begin < border:
                latest = min(latest, border)
            if latest <= rest.begin + shortest:
                break
            piece, rest = _halves(rest, quietest(loud, first, rest.begin + shortest, latest))
            pieces.append(piece)
        pieces.append(rest)
    return pieces


def _place(seconds: float) -> int:
    """Give the first place on the grid that is not before this time."""
    return -(-round(seconds * SAMPLE_RATE) // HOP)


def owned(spoken: Sequence[Stretch], segment: Segment | None) -> list[Stretch]:
    """Keep the stretches that start in the core."""
    if segment is None:
        return list(spoken)
    return [one for one in spoken if segment.core_start <= one.start_seconds < segment.core_end]
