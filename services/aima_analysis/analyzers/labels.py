"""What a picture shows in ImageNet's thousand words, by EfficientNet-Lite0; and a vector of a still.

Tan and Le, "EfficientNet: Rethinking model scaling for convolutional neural networks" (2019), Lite variant:
224 x 224, centre crop of 87.5 %, (value - 127) / 128.
"""

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from aima_analysis.analyzers import pictures, rounding
from aima_analysis.analyzers.analyzer import Analysis, Analyzer, Manifest, Needs, Part, sorted_findings
from aima_analysis.analyzers.enrichment import EMBEDDING, TEXT_EMBEDDING, enriched
from aima_analysis.analyzers.sightings import Sighting, Track, tracks
from aima_common.contracts.media import Finding, FindingVector, MediumType
from aima_models.store import ResolvedModel

MODEL = "efficientnet-lite0"
WORDS = "imagenet-labels"
SIDE = 224
CROPPED = 0.875
IMAGE_SPACE = "images"
"""The vector space of whole stills."""

Reals = npt.NDArray[np.float32]


def words(lines: str) -> list[str]:
    """Read the name of each class: the first of its lemmas, from lines "id<tab>lemma, lemma"."""
    return [line.partition("\t")[2].partition(",")[0].strip() for line in lines.splitlines() if line]


def shares(logits: Reals) -> Reals:
    """Turn logits into shares that sum to one."""
    powers = np.exp(logits.astype(np.float64) - float(logits.max()))
    return np.asarray(powers / powers.sum(), np.float32)


def likeliest(probabilities: Reals, threshold: float, most: int) -> list[int]:
    """Give the places of the largest values from the threshold up, the largest first."""
    order = np.argsort(-probabilities, kind="stable")[:most]
    return [int(place) for place in order if probabilities[place] >= threshold]


def same_word(first: Sighting, second: Sighting) -> float:
    """Tell whether two sightings are of the same thing: they are called the same."""
    return 1.0 if first.word == second.word else 0.0


def _read_words(model: ResolvedModel) -> list[str]:
    return words(model.path.read_text(encoding="utf-8"))


class Labels(Analyzer):
    """Names what pictures show."""

    manifest: ClassVar[Manifest] = Manifest(
        name="labels",
        version="1",
        capability="labels",
        accepts=frozenset({MediumType.VIDEO, MediumType.IMAGE}),
        input="frames",
        models=(MODEL, WORDS),
        enrichments={TEXT_EMBEDDING: EMBEDDING},
        needs=Needs(cpus=1.0, memory_bytes=300 * 2**20),
        parameters={"threshold": 0.3, "most": 3, "sampling_seconds": 1.0, "longest_gap_seconds": 2.0},
    )

    def analyse(self, part: Part) -> Analysis:
        """Label the frames of the core stretch, or a still; a still also gets a vector."""
        parameters = self.manifest.parameters
        every = float(parameters["sampling_seconds"])
        still = part.type is MediumType.IMAGE
        seen: list[Sighting] = []
        vectors: list[FindingVector] = []
        for frame in pictures.sampled(part.pictures(), every):
            if not part.owns(frame.time_seconds):
                continue
            logits, embedding = self._look(frame.jpeg)
            seen += self._sightings(logits, frame.time_seconds)
            if still:
                vectors.append(FindingVector(space=IMAGE_SPACE, finding=None, vector=rounding.unit(embedding)))
        found = tracks(seen, same_word, float(parameters["longest_gap_seconds"]))
        findings = [self._finding(track, 0.0 if still else every) for track in found]
        said = enriched(sorted_findings(findings), self._models)
        return said.model_copy(update={"vectors": [*vectors, *said.vectors]})

    def _look(self, jpeg: bytes) -> tuple[Reals, Reals]:
        import cv2

        picture = pictures.decode(jpeg)
        height, width = picture.shape[:2]
        side = max(1, round(min(height, width) * CROPPED))
        top, left = (height - side) // 2, (width - side) // 2
        way = cv2.INTER_AREA if side > SIDE else cv2.INTER_LINEAR
        small = cv2.resize(picture[top : top + side, left : left + side], (SIDE, SIDE), interpolation=way)
        rgb = small[..., ::-1].astype(np.float32)
        feed = {"x": np.ascontiguousarray(((rgb - 127) / 128).transpose(2, 0, 1)[None])}
        logits, embedding = self._models.session(MODEL).run(["logits", "embed"], feed)
        return logits[0], embedding[0]

    def _sightings(self, logits: Reals, time_seconds: float) -> list[Sighting]:
        parameters = self.manifest.parameters
        names = self._models.load(WORDS, _read_words)
        probabilities = shares(logits)
        places = likeliest(probabilities, float(parameters["threshold"]), int(parameters["most"]))
        return [Sighting(time_seconds, float(probabilities[place]), word=names[place]) for place in places]

    def _finding(self, track: Track, precision: float) -> Finding:
        return Finding(
            kind="label",
            start_seconds=rounding.seconds(track.start_seconds),
            end_seconds=rounding.seconds(track.end_seconds),
            precision_seconds=precision,
            label=track.best.word,
            confidence=rounding.fraction(track.best.confidence),
            analyzer=self.manifest.name,
            model=self._models.reference(MODEL),
        )
