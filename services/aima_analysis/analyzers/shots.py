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
    """Give the usual distance between two frames; one frame alone counts as 1/25 s."""
    return float(np.median(np.diff(times))) if len(times) > 1 else 0.04


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


def changes(pixels: Pixels, threshold: float) -> bool:
    """Tell whether a window changes by more than noise, at once or slowly.

    The measure is the mean difference of grey levels (of 255) to the frame before, and to those 8 and
    24 frames before: a dissolve of a second hides from the first but not from the last.
    """
    levels = pixels.astype(np.int16)
    return any(
        float(np.abs(levels[lag:] - levels[:-lag]).mean(axis=(1, 2, 3)).max(initial=0.0)) > threshold
        for lag in (1, 8, 24)
    )


def transitions(
    probabilities: Reals, pixels: Pixels, times: npt.NDArray[np.float64], threshold: float
) -> list[Transition]:
    """Read the transitions from the probability of each frame."""
    above = np.concatenate([[False], probabilities > threshold, [False]])
    edges = np.flatnonzero(above[1:] != above[:-1])
    found = []
    for begin, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        confidence = float(probabilities[begin:end].max())
        cut = hard_cut(pixels, begin, end)
        if cut is not None:
            found.append(Transition(float(times[cut]), float(times[cut]), confidence, hard=True))
        else:
            last = min(end, len(times) - 1)
            found.append(Transition(float(times[begin]), float(times[last]), confidence, hard=False))
    return found


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
        parameters={"threshold": 0.5, "noise": 4.0, "before_seconds": 1.0, "after_seconds": 3.0},
    )

    def analyse(self, part: Part) -> Analysis:
        """Find the transitions that start in the core stretch."""
        thumbnails = part.thumbnails
        if thumbnails is None or len(thumbnails.times) < 2:
            return Analysis()
        if thumbnails.pixels.shape != (len(thumbnails.times), 27, 48, 3):
            raise DerivativeError(f"thumbnails have the shape {thumbnails.pixels.shape}")
        pixels = np.ascontiguousarray(thumbnails.pixels, np.uint8)
        probabilities = self._probabilities(Thumbnails(pixels, thumbnails.times), part)
        found = transitions(probabilities, pixels, thumbnails.times, float(self.manifest.parameters["threshold"]))
        precision = rounding.seconds(frame_seconds(thumbnails.times))
        findings = [self._finding(one, precision) for one in found if part.owns(rounding.seconds(one.start_seconds))]
        return Analysis(findings=sorted_findings(findings))

    def _probabilities(self, thumbnails: Thumbnails, part: Part) -> Reals:
        parameters = self.manifest.parameters
        times, pixels = thumbnails.times, thumbnails.pixels
        start, end = (part.segment.core_start, part.segment.core_end) if part.segment else (0.0, float(times[-1]))
        begin, finish = start - float(parameters["before_seconds"]), end + float(parameters["after_seconds"])
        answer = np.zeros(len(times), np.float32)
        session = self._models.session(MODEL)
        for window in windows(times):
            outside = times[window.frames.stop - 1] < begin or times[window.frames.start] > finish
            seen = pixels[window.looked_at]
            if outside or not changes(seen, float(parameters["noise"])):
                continue
            frames = seen[None]
            single = session.run(["single"], {"frames": frames, "hist": colour_histograms(frames)})[0]
            answer[window.frames] = single[0, window.believed, 0]
        return answer

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
