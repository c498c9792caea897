"""Writing in pictures, by RapidOCR (PP-OCRv6 small)."""

import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from difflib import SequenceMatcher
from typing import ClassVar, Protocol, cast

import numpy as np
import numpy.typing as npt

from aima_analysis.analyzers import pictures, rounding
from aima_analysis.analyzers.analyzer import Analysis, Analyzer, Manifest, Needs, Part, sorted_findings
from aima_analysis.analyzers.enrichment import ENRICHMENTS, enriched
from aima_analysis.analyzers.sightings import Sighting, Track, tracks
from aima_common.contracts.derivatives import Frame
from aima_common.contracts.media import Finding, MediumType
from aima_models.store import ResolvedModel

MODEL = "rapidocr"
LONGEST_SIDE = 736
"""Pixels in which lines are looked for; the engine's own default enlarges every frame, at eight times the cost
where there is no text."""
LARGEST_ENLARGEMENT = 2.0
"""Small pictures are enlarged to the longest side, at most so much: at 12 px a line is found but misread."""
SAME_PLACE = 0.5
SAME_WORDS = 0.8
"""Share of characters that two readings of one line have in common."""


class _Reading(Protocol):
    boxes: npt.NDArray[np.float32] | None
    txts: Sequence[str] | None
    scores: Sequence[float] | None


class _Engine(Protocol):
    def __call__(self, picture: pictures.Picture) -> _Reading: ...


def plain(text: str) -> str:
    """Give a text with composed characters and single spaces."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def same_line(first: Sighting, second: Sighting) -> float:
    """Tell how much two readings look like one line: their likeness where place and words agree, else 0."""
    if first.region is None or second.region is None:
        return 0.0
    place = rounding.overlap(first.region, second.region)
    words = SequenceMatcher(None, first.word, second.word, autojunk=False).ratio()
    return place * words if place >= SAME_PLACE and words >= SAME_WORDS else 0.0


def enlargement(width: int, height: int) -> float:
    """Tell by how much to enlarge a picture before it is read; 1 for all but small ones."""
    return min(LARGEST_ENLARGEMENT, max(1.0, LONGEST_SIDE / max(width, height)))


def lines_of(reading: _Reading, width: int, height: int, time_seconds: float, threshold: float) -> list[Sighting]:
    """Make sightings of what was read: quadrangles become upright regions; unsure and empty lines are left out."""
    if reading.boxes is None or reading.txts is None or reading.scores is None:
        return []
    found = []
    for box, words, score in zip(reading.boxes, reading.txts, reading.scores, strict=True):
        left, top = box.min(axis=0).tolist()
        right, bottom = box.max(axis=0).tolist()
        if score >= threshold and sum(character.isalnum() for character in words) > 1:
            place = rounding.region(left / width, top / height, right / width, bottom / height)
            found.append(Sighting(time_seconds, float(score), place, plain(words)))
    return found


def _load_engine(model: ResolvedModel) -> _Engine:
    from rapidocr import RapidOCR

    return cast("_Engine", RapidOCR(params=engine_parameters(model)))


def engine_parameters(model: ResolvedModel) -> dict[str, object]:
    """Give the engine's settings: the vouched-for files, one thread, pictures never enlarged."""
    return {
        "Global.log_level": "error",
        "Det.limit_type": "max",
        "Det.limit_side_len": LONGEST_SIDE,
        "Det.model_path": str(model.paths["PP-OCRv6_det_small.onnx"]),
        "Rec.model_path": str(model.paths["PP-OCRv6_rec_small.onnx"]),
        "Cls.model_path": str(model.paths["ch_ppocr_mobile_v2.0_cls_mobile.onnx"]),
        "EngineConfig.onnxruntime.intra_op_num_threads": 1,
        "EngineConfig.onnxruntime.inter_op_num_threads": 1,
    }


def _readable(picture: pictures.Picture) -> pictures.Picture:
    import cv2

    factor = enlargement(picture.shape[1], picture.shape[0])
    if factor == 1.0:
        return picture
    return np.asarray(cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC), np.uint8)


class Text(Analyzer):
    """Reads the lines of writing in pictures, and for how long each stood there."""

    manifest: ClassVar[Manifest] = Manifest(
        name="text",
        version="1",
        capability="text",
        accepts=frozenset({MediumType.VIDEO, MediumType.IMAGE}),
        input="frames",
        models=(MODEL,),
        enrichments=ENRICHMENTS,
        needs=Needs(cpus=1.0, memory_bytes=600 * 2**20),
        parameters={
            "threshold": 0.75,
            "longest_side": LONGEST_SIDE,
            "largest_enlargement": LARGEST_ENLARGEMENT,
            "sampling_seconds": 1.0,
            "longest_gap_seconds": 2.0,
            "same_place": SAME_PLACE,
            "same_words": SAME_WORDS,
        },
    )

    def analyse(self, part: Part) -> Analysis:
        """Read the frames of the core stretch, or a still."""
        parameters = self.manifest.parameters
        every = float(parameters["sampling_seconds"])
        frames = [frame for frame in pictures.sampled(part.pictures(), every) if part.owns(frame.time_seconds)]
        found = tracks(self._read(frames), same_line, float(parameters["longest_gap_seconds"]))
        precision = 0.0 if part.type is MediumType.IMAGE else every
        return enriched(sorted_findings([self._finding(track, precision) for track in found]), self._models)

    def _read(self, frames: Sequence[Frame]) -> list[Sighting]:
        """Read every frame that differs from the last one read; the others say what that one said."""
        seen: list[Sighting] = []
        last: pictures.Picture | None = None
        lines: list[Sighting] = []
        for frame in frames:
            picture = pictures.decode(frame.jpeg)
            small = pictures.thumbnail(picture)
            if last is None or not pictures.alike(small, last):
                readable = _readable(picture)
                reading = self._models.load(MODEL, _load_engine)(readable)
                height, width = readable.shape[:2]
                threshold = float(self.manifest.parameters["threshold"])
                lines, last = lines_of(reading, width, height, frame.time_seconds, threshold), small
            seen += [replace(line, time_seconds=frame.time_seconds) for line in lines]
        return seen

    def _finding(self, track: Track, precision: float) -> Finding:
        return Finding(
            kind="text",
            start_seconds=rounding.seconds(track.start_seconds),
            end_seconds=rounding.seconds(track.end_seconds),
            precision_seconds=precision,
            region=track.best.region,
            text=track.best.word,
            confidence=rounding.fraction(track.best.confidence),
            analyzer=self.manifest.name,
            model=self._models.reference(MODEL),
        )
