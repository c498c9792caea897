"""Opens the engines that bring their own models inside their package, on files that the store vouched for.

Each import costs tens of megabytes, so it happens in the call; each function is the only place of that import.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from aima_models.store import ResolvedModel


@dataclass(frozen=True)
class TextLine:
    """A line of text in a picture."""

    text: str
    confidence: float
    corners: npt.NDArray[np.float32]
    """Shape (4, 2): x, y in pixels, clockwise from the upper left corner as the text reads."""


@dataclass(frozen=True)
class SpokenLine:
    """A line of speech in a recording."""

    text: str
    start_seconds: float
    duration_seconds: float


class TextReader(Protocol):
    """Reads pictures."""

    def __call__(self, picture: npt.NDArray[np.uint8]) -> Sequence[TextLine]:
        """Lines in a BGR picture [height, width, 3], in reading order as the detector sees it."""
        ...


class Transcriber(Protocol):
    """Writes down speech."""

    def __call__(self, samples: npt.NDArray[np.float32], sample_rate: int) -> Sequence[SpokenLine]:
        """Lines in mono sound between -1 and 1."""
        ...


class TextClassifier(Protocol):
    """Puts one label on a text, with a score whose scale is the engine's own."""

    def __call__(self, text: str) -> tuple[str, float]: ...


class ContentClassifier(Protocol):
    """Puts one label on a file's content, with a probability."""

    def __call__(self, content: bytes) -> tuple[str, float]: ...


def open_text_reader(model: ResolvedModel, threads: int = 1) -> TextReader:
    """RapidOCR on the pinned files; it never downloads."""
    import rapidocr

    parameters = model.manifest.preprocessing.parameters
    detector, recogniser, classifier = (str(path) for path in model.paths.values())
    engine: Any = rapidocr.RapidOCR(
        params={
            "Global.log_level": "error",
            "Det.model_path": detector,
            "Rec.model_path": recogniser,
            "Cls.model_path": classifier,
            "Det.limit_type": parameters["limit_type"],
            "Det.limit_side_len": parameters["limit_side_length"],
            "EngineConfig.onnxruntime.intra_op_num_threads": threads,
            "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        }
    )

    def read(picture: npt.NDArray[np.uint8]) -> Sequence[TextLine]:
        answer = engine(picture)
        if not answer.txts:
            return ()
        found = zip(answer.txts, answer.scores, answer.boxes, strict=True)
        return tuple(TextLine(text, float(score), np.asarray(box, np.float32)) for text, score, box in found)

    return read


def open_transcriber(model: ResolvedModel) -> Transcriber:
    """Moonshine on the pinned files; it never downloads."""
    import moonshine_voice

    engine: Any = moonshine_voice.Transcriber(
        model_path=str(model.path.parent), model_arch=moonshine_voice.ModelArch.TINY
    )

    def transcribe(samples: npt.NDArray[np.float32], sample_rate: int) -> Sequence[SpokenLine]:
        transcript = engine.transcribe_without_streaming(samples.tolist(), sample_rate)
        return tuple(SpokenLine(line.text, line.start_time, line.duration) for line in transcript.lines)

    return transcribe


def open_content_classifier(_model: ResolvedModel) -> ContentClassifier:
    """Magika, with the model inside its package."""
    import magika

    engine = magika.Magika()

    def classify(content: bytes) -> tuple[str, float]:
        answer = engine.identify_bytes(content)
        return str(answer.output.label), float(answer.score)

    return classify


def open_language_identifier(_model: ResolvedModel) -> TextClassifier:
    """py3langid, with the model inside its package; the score is a log-probability."""
    import py3langid

    def classify(text: str) -> tuple[str, float]:
        label, score = py3langid.classify(text)
        return str(label), float(score)

    return classify
