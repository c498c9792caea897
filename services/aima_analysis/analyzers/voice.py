"""When somebody speaks, by Silero's voice activity net (v6), the whole stretch in one call."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from aima_analysis.analyzers import rounding
from aima_analysis.analyzers.analyzer import Analysis, Analyzer, Manifest, Models, Needs, Part, sorted_findings
from aima_analysis.analyzers.stretches import (
    STEP_SECONDS,
    Stretch,
    VoiceSettings,
    cut_at_borders,
    grid_of,
    loudness,
    owned,
    stretches,
)
from aima_common.contracts.media import Finding, MediumType

MODEL = "silero-vad"
CONTEXT = 64
"""Samples of the row before that the net hears with each row."""
STATE = (1, 1, 128)

SETTINGS = VoiceSettings()
OVERHANG_SECONDS = 5.0
"""How far speech may reach beyond its segment's core before it is cut in two."""

Reals = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Heard:
    """Stretches of speech in a part, already cut at its borders, with what was heard."""

    spoken: list[Stretch]
    rows: Reals
    """Rows of 512 samples."""
    loud: Reals
    first: int
    """Place of the first row on the grid of the medium."""


def with_context(rows: Reals) -> Reals:
    """Put the last 64 samples of the row before in front of each row; silence before the first."""
    before = np.zeros((len(rows), CONTEXT), np.float32)
    before[1:] = rows[:-1, -CONTEXT:]
    return np.concatenate([before, rows], axis=1)


def hear(part: Part, models: Models) -> Heard | None:
    """Find the speech in a part; None when there is no sound to hear. Raises MissingModelError."""
    if part.sound is None or not len(part.sound.samples):
        return None
    rows, first = grid_of(part.sound.samples, part.sound.start_seconds)
    if not len(rows):
        return None
    feed = {"input": with_context(rows), "h": np.zeros(STATE, np.float32), "c": np.zeros(STATE, np.float32)}
    probabilities = np.asarray(models.session(MODEL).run(["speech_probs"], feed)[0], np.float32).reshape(-1)
    spoken = stretches(probabilities, first, SETTINGS)
    loud = loudness(rows)
    if part.segment is not None:
        spoken = cut_at_borders(spoken, loud, first, part.segment, OVERHANG_SECONDS)
    return Heard(spoken, rows, loud, first)


class Voice(Analyzer):
    """Finds when somebody speaks, in whatever language."""

    manifest: ClassVar[Manifest] = Manifest(
        name="voice",
        version="1",
        capability="voice_activity",
        accepts=frozenset({MediumType.VIDEO, MediumType.AUDIO}),
        input="sound",
        models=(MODEL,),
        needs=Needs(cpus=1.0, memory_bytes=200 * 2**20),
        parameters={
            "begin": SETTINGS.begin,
            "end": SETTINGS.end,
            "shortest_speech_seconds": SETTINGS.shortest_speech_seconds,
            "shortest_silence_seconds": SETTINGS.shortest_silence_seconds,
            "margin_seconds": SETTINGS.margin_seconds,
            "overhang_seconds": OVERHANG_SECONDS,
        },
    )

    def analyse(self, part: Part) -> Analysis:
        """Find the stretches of speech that start in the core."""
        heard = hear(part, self._models)
        if heard is None:
            return Analysis()
        return Analysis(findings=sorted_findings([self._finding(one) for one in owned(heard.spoken, part.segment)]))

    def _finding(self, one: Stretch) -> Finding:
        return Finding(
            kind="voice_activity",
            start_seconds=one.start_seconds,
            end_seconds=one.end_seconds,
            precision_seconds=STEP_SECONDS,
            label="speech",
            confidence=rounding.fraction(one.confidence),
            analyzer=self.manifest.name,
            model=self._models.reference(MODEL),
        )
