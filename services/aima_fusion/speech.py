"""Speech that two overlapping segments heard: said once, with every word."""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from aima_common.contracts.picture import PictureFinding
from aima_fusion.observations import Observation, finding_of, groups, order, source

SAME_SOUND = 0.5
"""Share of the shorter utterance that two must have in common to be two hearings of one sound."""

SAME_WORDS = 0.6
"""Similarity of word sequences (difflib ratio) from which two hearings of one sound count as the same."""

NEIGHBOURS = 20
"""How many earlier utterances are asked whether they are the same; contexts overlap by seconds, not by minutes."""

LEAST_OVERLAP_SECONDS = 0.1
"""Utterances that overlap less than this merely touch."""


@dataclass(frozen=True)
class Utterance:
    """Words with the observations they come from; the first part lends kind, language and model."""

    text: str
    start: float
    end: float
    owned: bool
    parts: tuple[Observation, ...]

    @property
    def confidence(self) -> float:
        """The confidence of the surest hearing."""
        return max(part.finding.confidence for part in self.parts)

    @property
    def segments(self) -> set[int | None]:
        """The segments that heard it."""
        return {part.segment for part in self.parts}


def join_speech(observations: Iterable[Observation]) -> list[PictureFinding]:
    """Join what neighbouring segments both heard.

    Where one hearing goes on where the other ends, their words are stitched; where they are the same, the fuller
    one stays; where they differ altogether, both stay, because losing a sentence is worse than hearing it twice.
    """
    return [
        _finding(utterance)
        for group in groups(sorted(observations, key=order), source)
        for utterance in _join_group(group)
    ]


def words_of(text: str) -> list[str]:
    """Split into words as they are compared: without case and punctuation."""
    return [_bare(word) or word for word in text.split()]


def _bare(word: str) -> str:
    return "".join(letter for letter in unicodedata.normalize("NFKC", word).casefold() if letter.isalnum())


def _join_group(group: Sequence[Observation]) -> list[Utterance]:
    utterances: list[Utterance] = []
    for part in group:
        new = Utterance(part.finding.text or "", part.start, part.end, part.owned, (part,))
        for index in range(len(utterances) - 1, max(-1, len(utterances) - 1 - NEIGHBOURS), -1):
            one = _joined(utterances[index], new)
            if one is not None:
                utterances[index] = one
                break
        else:
            utterances.append(new)
    return utterances


def _joined(earlier: Utterance, later: Utterance) -> Utterance | None:
    overlap = min(earlier.end, later.end) - max(earlier.start, later.start)
    shorter = min(earlier.end - earlier.start, later.end - later.start)
    if overlap < min(LEAST_OVERLAP_SECONDS, shorter) or earlier.segments & later.segments:
        return None
    text = _joined_text(earlier, later, same_sound=overlap >= SAME_SOUND * shorter)
    if text is None:
        return None
    return Utterance(
        text=text,
        start=min(earlier.start, later.start),
        end=max(earlier.end, later.end),
        owned=earlier.owned or later.owned,
        parts=earlier.parts + later.parts,
    )


def _joined_text(earlier: Utterance, later: Utterance, *, same_sound: bool) -> str | None:
    first, second = words_of(earlier.text), words_of(later.text)
    if same_sound and _contains(first, second):
        return earlier.text
    if same_sound and _contains(second, first):
        return later.text
    shared = _shared_border(first, second)
    if shared:
        return " ".join(earlier.text.split()[:-shared] + later.text.split())
    if same_sound and SequenceMatcher(None, first, second, autojunk=False).ratio() >= SAME_WORDS:
        return _better(earlier, later).text
    return None


def _shared_border(first: Sequence[str], second: Sequence[str]) -> int:
    for length in range(min(len(first), len(second)), 0, -1):
        if first[-length:] == second[:length]:
            return length
    return 0


def _contains(words: Sequence[str], part: Sequence[str]) -> bool:
    length = len(part)
    return any(words[begin : begin + length] == part for begin in range(len(words) - length + 1))


def _better(one: Utterance, other: Utterance) -> Utterance:
    """Prefer the hearing of the segment that it belongs to, then the surer one."""
    return max(one, other, key=lambda utterance: (utterance.owned, utterance.confidence, utterance.text))


def _finding(utterance: Utterance) -> PictureFinding:
    surest = min(utterance.parts, key=lambda part: (-part.finding.confidence, *order(part)))
    return finding_of(
        surest.finding.model_copy(update={"text": utterance.text}),
        part_ids=[part.id for part in utterance.parts],
        start=utterance.start,
        end=utterance.end,
        precision=max(part.finding.precision_seconds for part in utterance.parts),
    )
