"""Tokens, loops, and when words are believed."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from aima_analysis.analyzers.speech import Said, least_confidence, loops, plausible
from aima_analysis.analyzers.stretches import Stretch
from aima_analysis.analyzers.transcription import END, Transcriber, Transcript, spell, vocabulary

BELIEVED = {"alone": 0.65, "in_company": 0.5, "good_company": 0.75}
WORDS = [b"<unk>", b"<s>", b"</s>", "\u2581go".encode(), "\u2581on".encode(), b"<<ST_7>>"]


def test_a_vocabulary_has_short_and_long_tokens() -> None:
    long = b"x" * 300
    data = b"\x02go" + b"\x00" + bytes([128 + 300 % 128, 300 // 128]) + long
    assert vocabulary(data) == [b"go", b"", long]


def test_a_vocabulary_that_ends_inside_a_token_is_refused() -> None:
    with pytest.raises(ValueError, match="ends inside"):
        vocabulary(b"\x05go")


def test_tokens_are_spelt_with_spaces_and_without_marks() -> None:
    assert spell([WORDS[1], WORDS[3], WORDS[4], WORDS[5], WORDS[2]]) == "go on"
    assert spell(["\u2581caf".encode(), b"\xc3", b"\xa9"]) == "caf\u00e9"


@pytest.mark.parametrize(
    "text",
    ["no no no no", "The coffee is hot. The coffee is hot. The coffee is hot.", "well a b a b a b a b then"],
)
def test_repetition_is_a_loop(text: str) -> None:
    assert loops(text)


@pytest.mark.parametrize(
    "text",
    ["no, no, no!", "Try again. Fail again. Fail better.", "It was the best of times, it was the worst of times", ""],
)
def test_ordinary_speech_is_no_loop(text: str) -> None:
    assert not loops(text)


def test_words_are_believed_when_sure_english_and_not_repeated() -> None:
    assert plausible(Transcript("We had everything before us.", 0.9), "en", 0.65)
    assert plausible(Transcript("Yes.", 0.9), None, 0.65)
    assert not plausible(Transcript("We had everything before us.", 0.6), "en", 0.65)
    assert not plausible(Transcript("Wir hatten alles vor uns.", 0.9), "de", 0.65)
    assert not plausible(Transcript("no no no no", 0.9), None, 0.65)


def said(seconds: float, confidence: float) -> Said:
    return Said(Stretch(0, round(seconds / 0.032), 0.9), Transcript("words", confidence))


def test_a_short_utterance_is_believed_more_easily_in_good_company() -> None:
    assert least_confidence([said(10, 0.9), said(1, 0.55)], **BELIEVED) == 0.5
    assert least_confidence([said(1, 0.9), said(10, 0.55)], **BELIEVED) == 0.65
    assert least_confidence([], **BELIEVED) == 0.65


class Encoder:
    def run(self, names: Sequence[str] | None, feed: Mapping[str, Any]) -> list[Any]:
        return [np.zeros((1, 4, 288), np.float32)]

    def get_providers(self) -> list[str]:
        return []


class Decoder:
    """Says the tokens given, one a call, each with three quarters of the probability."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self.tokens = list(tokens)
        self.heard: list[int] = []

    def run(self, names: Sequence[str] | None, feed: Mapping[str, Any]) -> list[Any]:
        assert bool(feed["use_cache_branch"][0]) == bool(self.heard)
        self.heard.append(int(feed["input_ids"][0, 0]))
        share = np.full(6, math.log(0.05), np.float32)
        share[self.tokens[len(self.heard) - 1]] = math.log(0.75)
        return [share[None, None], *(np.zeros((1, 8, 1, 36), np.float32) for _ in range(24))]

    def get_providers(self) -> list[str]:
        return []


def test_tokens_are_fed_back_until_the_end() -> None:
    decoder = Decoder([3, 4, END])
    transcript = Transcriber(Encoder(), decoder, WORDS).transcribe(np.zeros(32_000, np.float32))
    assert transcript.text == "go on"
    assert transcript.confidence == pytest.approx(0.75)
    assert decoder.heard == [1, 3, 4]


def test_an_endless_repetition_is_cut_by_the_length_of_the_sound() -> None:
    decoder = Decoder([3] * 1000)
    transcript = Transcriber(Encoder(), decoder, WORDS).transcribe(np.zeros(32_000, np.float32))
    assert transcript.text.split() == ["go"] * 14
