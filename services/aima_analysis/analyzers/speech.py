"""Spoken English as text with times; other speech is said to be there, not guessed at."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from aima_analysis.analyzers import rounding
from aima_analysis.analyzers.analyzer import Analysis, Analyzer, Manifest, Needs, Part, sorted_findings
from aima_analysis.analyzers.enrichment import ENRICHMENTS, LANGUAGES, enriched, language
from aima_analysis.analyzers.stretches import STEP_SECONDS, PieceSettings, Stretch, cut_long, owned
from aima_analysis.analyzers.transcription import Transcriber, Transcript, vocabulary
from aima_analysis.analyzers.voice import MODEL as VOICE_MODEL
from aima_analysis.analyzers.voice import Heard, Voice, hear
from aima_common.contracts.media import Finding, MediumType
from aima_models.session import load_session
from aima_models.store import ResolvedModel

MODEL = "moonshine-tiny-en"
UNKNOWN = "language unknown"
ENGLISH = "en"
PIECES = PieceSettings()
WORD = re.compile(r"[\w']+")


def loops(text: str, fewest_times: int = 4, longest_words: int = 12) -> bool:
    """Tell whether a text says the same few words over and over, as the decoder does when it is lost.

    A phrase of up to three words counts from `fewest_times` in a row, a longer one from three times.
    """
    words = [word.lower() for word in WORD.findall(text)]
    for length in range(1, longest_words + 1):
        times = fewest_times if length <= 3 else 3
        for begin in range(len(words) - length * times + 1):
            phrase = words[begin : begin + length]
            if all(words[begin + length * k : begin + length * (k + 1)] == phrase for k in range(1, times)):
                return True
    return False


@dataclass(frozen=True)
class Said:
    """A stretch of speech with what was understood."""

    piece: Stretch
    transcript: Transcript

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.piece.end_seconds - self.piece.start_seconds


def plausible(transcript: Transcript, spoken_language: str | None, least_confidence: float) -> bool:
    """Tell whether a transcript can be English: sure enough, no loops, not read as another language."""
    sure = transcript.confidence >= least_confidence
    return sure and spoken_language in (None, ENGLISH) and not loops(transcript.text)


def least_confidence(said: Sequence[Said], *, alone: float, in_company: float, good_company: float) -> float:
    """Give the confidence from which words are believed.

    Short utterances are understood with less confidence. In company that is clearly English (the mean over all
    speech of the part, by length) they are believed from a lower one than alone.
    """
    seconds = sum(one.seconds for one in said)
    mean = sum(one.transcript.confidence * one.seconds for one in said) / seconds if seconds else 0.0
    return in_company if mean >= good_company else alone


def _load_transcriber(model: ResolvedModel) -> Transcriber:
    encoder, decoder = (load_session(model.paths[name]) for name in ("encoder_model.ort", "decoder_model_merged.ort"))
    return Transcriber(encoder, decoder, vocabulary(model.paths["tokenizer.bin"].read_bytes()))


class Speech(Analyzer):
    """Writes down what is said in English, and marks other speech as of unknown language."""

    manifest: ClassVar[Manifest] = Manifest(
        name="speech",
        version="1",
        capability="speech",
        accepts=frozenset({MediumType.VIDEO, MediumType.AUDIO}),
        input="sound",
        models=(MODEL, VOICE_MODEL, LANGUAGES),
        enrichments=ENRICHMENTS,
        needs=Needs(cpus=1.0, memory_bytes=500 * 2**20),
        parameters={
            **Voice.manifest.parameters,
            "shortest_piece_seconds": PIECES.shortest_seconds,
            "longest_piece_seconds": PIECES.longest_seconds,
            "shortest_words_seconds": 0.4,
            "alone": 0.65,
            "in_company": 0.5,
            "good_company": 0.75,
        },
    )

    def analyse(self, part: Part) -> Analysis:
        """Write down the stretches of speech that start in the core."""
        heard = hear(part, self._models)
        if heard is None:
            return Analysis()
        said = self._understand(heard, part)
        believed = {name: float(self.manifest.parameters[name]) for name in ("alone", "in_company", "good_company")}
        least = least_confidence(said, **believed)
        return enriched(sorted_findings([self._finding(one, least) for one in said]), self._models)

    def _understand(self, heard: Heard, part: Part) -> list[Said]:
        parameters = self.manifest.parameters
        transcriber = self._models.load(MODEL, _load_transcriber)
        core_end = part.segment.core_end if part.segment else None
        pieces = cut_long(heard.spoken, heard.loud, heard.first, PIECES, core_end)
        said = []
        for piece in owned(pieces, part.segment):
            if piece.end_seconds - piece.start_seconds >= float(parameters["shortest_words_seconds"]):
                samples = heard.rows[piece.begin - heard.first : piece.end - heard.first].reshape(-1)
                said.append(Said(piece, transcriber.transcribe(samples)))
        return [one for one in said if one.transcript.text]

    def _finding(self, said: Said, least: float) -> Finding:
        text = said.transcript.text
        known = plausible(said.transcript, language(text, self._models), least)
        return Finding(
            kind="speech",
            start_seconds=said.piece.start_seconds,
            end_seconds=said.piece.end_seconds,
            precision_seconds=STEP_SECONDS,
            text=text if known else None,
            label=None if known else UNKNOWN,
            language=ENGLISH if known else None,
            confidence=rounding.fraction(said.transcript.confidence),
            analyzer=self.manifest.name,
            model=self._models.reference(MODEL),
        )
