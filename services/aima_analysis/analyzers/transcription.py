"""From sound to English words, by Moonshine tiny: an encoder, and a decoder that says one token at a time.

Jeffries et al., "Moonshine: Speech recognition for live transcription and voice commands" (2024). Greedy
decoding; at most 6.5 tokens a second, the bound that the authors use against endless repetition.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aima_analysis.analyzers.stretches import SAMPLE_RATE
from aima_models.session import Session

BEGIN, END = 1, 2
LAYERS, HEADS, WIDTH = 6, 8, 36
TOKENS_PER_SECOND = 6.5
SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
SPECIAL = re.compile(r"<<[^<>]*>>|</?s>|<unk>")

Reals = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Transcript:
    """Words, and how sure the decoder was of them (geometric mean over the tokens)."""

    text: str
    confidence: float


def vocabulary(data: bytes) -> list[bytes]:
    """Read the tokens of a binary vocabulary: each a length (one byte, or two from 128 up) and its bytes.

    Raises ValueError when a token is cut off.
    """
    tokens: list[bytes] = []
    place = 0
    while place < len(data):
        length = data[place]
        place += 1
        if length >= 128:
            length += data[place] * 128 - 128
            place += 1
        if place + length > len(data):
            raise ValueError("the vocabulary ends inside a token")
        tokens.append(data[place : place + length])
        place += length
    return tokens


def spell(tokens: list[bytes]) -> str:
    """Join tokens to a text."""
    text = b"".join(tokens).decode("utf-8", "replace").replace(SPACE, " ")
    return " ".join(SPECIAL.sub("", text).split())


class Transcriber:
    """Writes down what is said; English only."""

    def __init__(self, encoder: Session, decoder: Session, tokens: list[bytes]) -> None:
        self._encoder = encoder
        self._decoder = decoder
        self._tokens = tokens

    def transcribe(self, samples: Reals) -> Transcript:
        """Write down what is said in samples at 16 kHz."""
        said = list(self._tokens_of(samples))
        confidence = float(np.exp(np.mean([certainty for _, certainty in said]))) if said else 0.0
        words = [self._tokens[token] for token, _ in said if token != END]
        return Transcript(spell(words), confidence)

    def _tokens_of(self, samples: Reals) -> Iterator[tuple[int, float]]:
        """Give tokens with the logarithm of their probability, up to and with the end."""
        mask = np.ones((1, len(samples)), np.int64)
        hidden = self._encoder.run(None, {"input_values": samples[None], "attention_mask": mask})[0]
        feed = {"encoder_attention_mask": mask, "encoder_hidden_states": hidden}
        past = {name: np.zeros((1, HEADS, 0, WIDTH), np.float32) for name in _memories("past_key_values")}
        outputs = ["logits", *_memories("present")]
        token = BEGIN
        for step in range(int(len(samples) / SAMPLE_RATE * TOKENS_PER_SECOND) + 1):
            cached = {"input_ids": np.array([[token]], np.int64), "use_cache_branch": np.array([step > 0])}
            logits, *present = self._decoder.run(outputs, {**feed, **past, **cached})
            past = _remember(past, present, first=step == 0)
            token, certainty = _likeliest(np.asarray(logits[0, -1], np.float64))
            yield token, certainty
            if token == END:
                return


def _memories(prefix: str) -> list[str]:
    return [
        f"{prefix}.{layer}.{side}.{part}"
        for layer in range(LAYERS)
        for side in ("decoder", "encoder")
        for part in ("key", "value")
    ]


def _remember(past: dict[str, Reals], present: list[Reals], *, first: bool) -> dict[str, Reals]:
    """Take over what the decoder remembers; of the encoder it says so only in the first step."""
    return {
        name: value if first or ".decoder." in name else past[name] for name, value in zip(past, present, strict=True)
    }


def _likeliest(logits: npt.NDArray[np.float64]) -> tuple[int, float]:
    largest = int(logits.argmax())
    return largest, -float(np.log(np.exp(logits - logits[largest]).sum()))
