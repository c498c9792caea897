"""Cuts and dissolves, by TransNetV2 over small pictures of every frame.

Soucek and Lokoc, "TransNet V2: An effective deep network architecture for fast shot transition detection"
(2020): windows of 100 frames, of which the middle 50 are believed; 0.5 is the paper's threshold.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from aima_analysis.analyzers import rounding
from aima_analysis.analyzers.analyzer import (
    Analysis,
    Analyzer,
    DerivativeError,
    Manifest,
    Needs,
    Part,
    sorted_findings,
)
from aima_common.contracts.derivatives import Thumbnails
from aima_common.contracts.media import Finding, MediumType
from aima_models.preparation import colour_histograms

MODEL = "transnetv2"
WINDOW = 100
STRIDE = 50
MARGIN = (WINDOW - STRIDE) // 2
THRESHOLD = 0.5

Pixels = npt.NDArray[np.uint8]
"""Frames x 27 x 48 x 3."""
Reals = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Transition:
    """From the last moment of one shot to the first of the next; a hard cut has no length."""

    start_seconds: float
    end_seconds: float
    confidence: float
    hard: bool


def frame_seconds(times: npt.NDArray[np.float64]) -> float:
    """Give the usual distance between two frames, at least a millisecond; one frame alone counts as 1/25 s."""
    return max(0.001, float(np.median(np.diff(times)))) if len(times) > 1 else 0.04


@dataclass(frozen=True)
class Window:
    """One call of the net: the frames it looks at, and those of them that it answers for."""

    looked_at: npt.NDArray[np.int64]
    """Places of 100 frames; beyond the ends the first and the last frame are repeated."""
    believed: slice
    """Places in the answer that are kept."""
    frames: slice
    """The frames that these answers are about."""


def windows(times: npt.NDArray[np.float64]) -> Iterator[Window]:
    """Give windows that answer for every frame once.

    They lie on a grid counted from the start of the medium, so that neighbouring segments see the same
    windows where they overlap.
    """
    first = round(float(times[0]) / frame_seconds(times))
    for start in range(-(first % STRIDE), len(times), STRIDE):
        begin, end = max(0, start), min(len(times), start + STRIDE)
        looked_at = np.clip(np.arange(start - MARGIN, start + STRIDE + MARGIN), 0, len(times) - 1)
        yield Window(looked_at, slice(MARGIN + begin - start, MARGIN + end - start), slice(begin, end))


@dataclass(frozen=True)
class Suspicion:
    """From when on a window is worth a call of the net, which costs a second; motion alone is not.

    Measured on film-like material: cuts are steps of 20 to 100 times the usual one; between two shots the
    colours agree to less than 0.6, during a pan to more than 0.94.
    """

    noise: float = 4.0
    """Mean difference of levels (of 255) between two frames, up to which it is noise."""
    step: float = 2.5
    """How many times the usual difference a step must be to look like a cut."""
    colours: float = 0.9
    """Likeness of the colours (cosine of histograms) below which one shot may have become another."""
    lags: tuple[int, ...] = (24, 48)
    """Distances in frames over which the colours are compared: a dissolve takes its time."""


def suspicious(pixels: Pixels, suspicion: Suspicion) -> bool:
    """Tell whether there may be a transition among the middle 50 of the 100 frames of a window."""
    levels = pixels.astype(np.int16)
    steps = np.abs(np.diff(levels, axis=0)).mean(axis=(1, 2, 3))
    largest = float(steps[MARGIN - 1 : MARGIN + STRIDE].max())
    if largest > max(suspicion.noise, suspicion.step * float(np.median(steps))):
        return True
    colours = colour_histograms(pixels)
    return any(
        float((colours[lag:] * colours[:-lag]).sum(axis=1)[max(0, MARGIN - lag) : MARGIN + STRIDE].min())
        < suspicion.colours
        for lag in suspicion.lags
    )


def transitions(
    middles: Reals, extents: Reals, pixels: Pixels, times: npt.NDArray[np.float64], threshold: float
) -> list[Transition]:
    """Read the transitions from the net's two answers for each frame.

    `middles` is the chance to be the middle of a transition, `extents` that to be any frame of one.
    """
    found: list[Transition] = []
    for begin, end in _runs(middles > threshold):
        confidence = float(middles[begin:end].max())
        cut = hard_cut(pixels, begin, end)
        if cut is not None:
            found.append(Transition(float(times[cut]), float(times[cut]), confidence, hard=True))
            continue
        first, last = _widened(begin, end, extents > threshold)
        after = min(last, len(times) - 1)
        if not found or found[-1].end_seconds < times[after]:
            found.append(Transition(float(times[first]), float(times[after]), confidence, hard=False))
    return found


def _runs(marked: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    padded = np.concatenate([[False], marked, [False]])
    edges = np.flatnonzero(padded[1:] != padded[:-1]).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


def _widened(begin: int, end: int, marked: npt.NDArray[np.bool_]) -> tuple[int, int]:
    while begin > 0 and marked[begin - 1]:
        begin -= 1
    while end < len(marked) and marked[end]:
        end += 1
    return begin, end


def hard_cut(pixels: Pixels, begin: int, end: int) -> int | None:
    """Give the first frame of the new shot when one step holds most of the change, else None.

    The net marks the frame before a cut, sometimes one more on either side; the pictures know exactly.
    """
    low, high = max(1, begin - 1), min(len(pixels) - 1, end + 1)
    if high < low:
        return None
    levels = pixels[low - 1 : high + 1].astype(np.int16)
    steps = np.abs(np.diff(levels, axis=0)).mean(axis=(1, 2, 3))
    largest = int(steps.argmax())
    rest = float(steps.sum() - steps[largest])
    return low + largest if steps[largest] > rest else None


SUSPICION = Suspicion()


class Shots(Analyzer):
    """Finds where one shot ends and the next begins."""

    manifest: ClassVar[Manifest] = Manifest(
        name="shots",
        version="1",
        capability="shots",
        accepts=frozenset({MediumType.VIDEO}),
        input="thumbnails",
        models=(MODEL,),
        needs=Needs(cpus=1.0, memory_bytes=400 * 2**20),
        parameters={
            "threshold": THRESHOLD,
            "before_seconds": 1.0,
            "after_seconds": 3.0,
            "noise": SUSPICION.noise,
            "step": SUSPICION.step,
            "colours": SUSPICION.colours,
        },
    )

    def analyse(self, part: Part) -> Analysis:
        """Find the transitions that start in the core stretch."""
        thumbnails = part.thumbnails
        if thumbnails is None or len(thumbnails.times) < 2:
            return Analysis()
        if thumbnails.pixels.shape != (len(thumbnails.times), 27, 48, 3):
            raise DerivativeError(f"thumbnails have the shape {thumbnails.pixels.shape}")
        pixels = np.ascontiguousarray(thumbnails.pixels, np.uint8)
        middles, extents = self._probabilities(Thumbnails(pixels, thumbnails.times), part)
        found = transitions(middles, extents, pixels, thumbnails.times, THRESHOLD)
        precision = rounding.seconds(frame_seconds(thumbnails.times))
        findings = [self._finding(one, precision) for one in found if part.owns(rounding.seconds(one.start_seconds))]
        return Analysis(findings=sorted_findings(findings))

    def _probabilities(self, thumbnails: Thumbnails, part: Part) -> tuple[Reals, Reals]:
        parameters = self.manifest.parameters
        times, pixels = thumbnails.times, thumbnails.pixels
        start, end = (part.segment.core_start, part.segment.core_end) if part.segment else (0.0, float(times[-1]))
        begin, finish = start - float(parameters["before_seconds"]), end + float(parameters["after_seconds"])
        middles, extents = np.zeros(len(times), np.float32), np.zeros(len(times), np.float32)
        session = self._models.session(MODEL)
        for window in windows(times):
            outside = times[window.frames.stop - 1] < begin or times[window.frames.start] > finish
            seen = pixels[window.looked_at]
            if outside or not suspicious(seen, SUSPICION):
                continue
            frames = seen[None]
            single, many = session.run(["single", "many"], {"frames": frames, "hist": colour_histograms(frames)})
            middles[window.frames] = single[0, window.believed, 0]
            extents[window.frames] = many[0, window.believed, 0]
        return middles, extents

    def _finding(self, one: Transition, precision: float) -> Finding:
        return Finding(
            kind="cut",
            start_seconds=rounding.seconds(one.start_seconds),
            end_seconds=rounding.seconds(one.end_seconds),
            precision_seconds=precision,
            label="hard" if one.hard else "gradual",
            confidence=rounding.fraction(one.confidence),
            analyzer=self.manifest.name,
            model=self._models.reference(MODEL),
        )
