"""Faces, by CenterFace.

Xu, Yan et al., "CenterFace: Joint face detection and alignment using face as point" (2019): a heat map of
face centres at a quarter of the picture's size, with the size and offset of each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from aima_analysis.analyzers import pictures, rounding
from aima_analysis.analyzers.analyzer import Analysis, Analyzer, Manifest, Needs, Part, sorted_findings
from aima_analysis.analyzers.sightings import Sighting, Track, tracks
from aima_common.contracts.media import Finding, MediumType

MODEL = "centerface"
STRIDE = 4
"""Pixels of the picture per cell of the heat map."""
STEP = 32
"""Sides must be multiples of this."""

Reals = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Box:
    """Corners in pixels of the picture that the net saw."""

    left: float
    top: float
    right: float
    bottom: float
    score: float


def input_size(width: int, height: int, longest: int) -> tuple[int, int]:
    """Give width and height for the net: at most `longest`, never enlarged, multiples of 32, at least 32."""
    scale = min(1.0, longest / max(width, height))
    return (max(STEP, round(width * scale / STEP) * STEP), max(STEP, round(height * scale / STEP) * STEP))


def boxes(heat: Reals, scale: Reals, offset: Reals, threshold: float) -> list[Box]:
    """Read boxes from the net's maps: heat (h x w), scale and offset (2 x h x w, vertical first)."""
    found = []
    for row, column in np.argwhere(heat > threshold).tolist():
        height, width = (np.exp(scale[:, row, column]) * STRIDE).tolist()
        down, right = offset[:, row, column].tolist()
        middle_y, middle_x = (row + down + 0.5) * STRIDE, (column + right + 0.5) * STRIDE
        top, left = max(0.0, middle_y - height / 2), max(0.0, middle_x - width / 2)
        found.append(Box(left, top, left + width, top + height, float(heat[row, column])))
    return found


def without_repeats(candidates: Sequence[Box], largest_overlap: float) -> list[Box]:
    """Keep the surest of boxes that overlap by more than this (intersection over union)."""
    kept: list[Box] = []
    for box in sorted(candidates, key=lambda one: (-one.score, one.top, one.left)):
        if all(_overlap(box, other) <= largest_overlap for other in kept):
            kept.append(box)
    return kept


def _overlap(first: Box, second: Box) -> float:
    width = min(first.right, second.right) - max(first.left, second.left)
    height = min(first.bottom, second.bottom) - max(first.top, second.top)
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box.right - box.left) * (box.bottom - box.top) for box in (first, second)]
    return width * height / (sum(areas) - width * height)


def same_face(first: Sighting, second: Sighting) -> float:
    """Tell how likely two sightings shortly after each other are one face: their overlap, from 0.3 up."""
    if first.region is None or second.region is None:
        return 0.0
    shared = rounding.overlap(first.region, second.region)
    return shared if shared >= SAME_FACE_OVERLAP else 0.0


SAME_FACE_OVERLAP = 0.3


class Faces(Analyzer):
    """Finds faces, and for how long each was seen."""

    manifest: ClassVar[Manifest] = Manifest(
        name="faces",
        version="1",
        capability="faces",
        accepts=frozenset({MediumType.VIDEO, MediumType.IMAGE}),
        input="frames",
        models=(MODEL,),
        needs=Needs(cpus=1.0, memory_bytes=350 * 2**20),
        parameters={
            "threshold": 0.5,
            "largest_overlap": 0.3,
            "longest_side": 640,
            "same_face_overlap": SAME_FACE_OVERLAP,
            "sampling_seconds": 0.5,
            "longest_gap_seconds": 1.1,
        },
    )

    def analyse(self, part: Part) -> Analysis:
        """Find the faces of the core stretch, or of a still."""
        every = float(self.manifest.parameters["sampling_seconds"])
        frames = [frame for frame in pictures.sampled(part.pictures(), every) if part.owns(frame.time_seconds)]
        seen = [sighting for frame in frames for sighting in self._faces(frame.jpeg, frame.time_seconds)]
        gap = float(self.manifest.parameters["longest_gap_seconds"])
        precision = 0.0 if part.type is MediumType.IMAGE else every
        found = [self._finding(track, precision) for track in tracks(seen, same_face, gap)]
        return Analysis(findings=sorted_findings(found))

    def _faces(self, jpeg: bytes, time_seconds: float) -> list[Sighting]:
        import cv2

        parameters = self.manifest.parameters
        picture = pictures.decode(jpeg)
        width, height = input_size(picture.shape[1], picture.shape[0], int(parameters["longest_side"]))
        small = cv2.cvtColor(cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR), cv2.COLOR_BGR2RGB)
        feed = {"input.1": np.ascontiguousarray(small.transpose(2, 0, 1)[None], np.float32)}
        heat, scale, offset = self._models.session(MODEL).run(["537", "538", "539"], feed)
        found = boxes(heat[0, 0], scale[0], offset[0], float(parameters["threshold"]))
        return [
            Sighting(
                time_seconds,
                box.score,
                rounding.region(box.left / width, box.top / height, box.right / width, box.bottom / height),
            )
            for box in without_repeats(found, float(parameters["largest_overlap"]))
        ]

    def _finding(self, track: Track, precision: float) -> Finding:
        return Finding(
            kind="face",
            start_seconds=rounding.seconds(track.start_seconds),
            end_seconds=rounding.seconds(track.end_seconds),
            precision_seconds=precision,
            region=track.best.region,
            confidence=rounding.fraction(track.best.confidence),
            analyzer=self.manifest.name,
            model=self._models.reference(MODEL),
        )
