"""Spoken English as text with times; other speech is said to be there, not guessed at."""

import re
from typing import ClassVar

from aima_analysis.analyzers import rounding
from aima_analysis.analyzers.analyzer import Analysis, Analyzer, Manifest, Needs, Part, sorted_findings
from aima_analysis.analyzers.enrichment import ENRICHMENTS, LANGUAGES, enriched, language
from aima_analysis.analyzers.stretches import STEP_SECONDS, Stretch, cut_long, owned
from aima_analysis.analyzers.transcription import Transcriber, Transcript, vocabulary
from aima_analysis.analyzers.voice import MODEL as VOICE_MODEL
from aima_analysis.analyzers.voice import Heard, Voice, hear
from aima_common.contracts.media import Finding, MediumType
from aima_models.session import load_session
from aima_models.store import ResolvedModel

MODEL = "moonshine-tiny-en"
UNKNOWN = "language unknown"
ENGLISH = "en"
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


def plausible(transcript: Transcript, spoken_language: str | None, least_confidence: float) -> bool:
    """Tell whether a transcript can be English: sure enough, no loops, not read as another language."""
    sure = transcript.confidence >= least_confidence
    return sure and spoken_language in (None, ENGLISH) and not loops(transcript.text)


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
            "shortest_piece_seconds": 8.0,
            "longest_piece_seconds": 15.0,
            "shortest_words_seconds": 0.4,
            "least_confidence": 0.65,
        },
    )

    def analyse(self, part: Part) -> Analysis:
        """Write down the stretches of speech that start in the core."""
        heard = hear(part, self._models)
        if heard is None:
            return Analysis()
        parameters = self.manifest.parameters
        shortest, longest = float(parameters["shortest_piece_seconds"]), float(parameters["longest_piece_seconds"])
        pieces = cut_long(heard.spoken, heard.loud, heard.first, shortest, longest)
        found = [self._finding(piece, heard) for piece in owned(pieces, part.segment)]
        return enriched(sorted_findings([finding for finding in found if finding]), self._models)

    def _finding(self, piece: Stretch, heard: Heard) -> Finding | None:
        if piece.end_seconds - piece.start_seconds < float(self.manifest.parameters["shortest_words_seconds"]):
            return None
        samples = heard.rows[piece.begin - heard.first : piece.end - heard.first].reshape(-1)
        transcript = self._models.load(MODEL, _load_transcriber).transcribe(samples)
        if not transcript.text:
            return None
        least = float(self.manifest.parameters["least_confidence"])
        known = plausible(transcript, language(transcript.text, self._models), least)
        return Finding(
            kind="speech",
            start_seconds=piece.start_seconds,
            end_seconds=piece.end_seconds,
            precision_seconds=STEP_SECONDS,
            text=transcript.text if known else None,
            label=None if known else UNKNOWN,
            language=ENGLISH if known else None,
            confidence=rounding.fraction(transcript.confidence),
            analyzer=self.manifest.name,
            model=self._models.reference(MODEL),
        )
