"""Words as full text knows them: what SQLite's tokenizer `unicode61 remove_diacritics 2` makes of a text. Pure.

Both plugs of `Search` must find the same passages; this is the rule that one of them has built in, and the other uses.
"""

import functools
import re
import unicodedata
from collections.abc import Iterator, Sequence

MAX_WORDS = 32
"""Words of a query that are looked at; more is no search."""

SNIPPET_WORDS = 16
DIACRITICS = range(0x300, 0x332)
"""Combining marks that are taken off letters; any other mark separates words."""

_WORD = re.compile(r"\w+")


@functools.lru_cache(maxsize=4096)
def _plain(character: str) -> str:
    """Give the letter without its diacritics in small, or a space for what is neither letter nor digit."""
    decomposed = unicodedata.normalize("NFD", character)
    base, marks = decomposed[0], decomposed[1:]
    if marks and all(ord(mark) in DIACRITICS for mark in marks):
        character = base
    elif ord(character) in DIACRITICS:
        return ""
    category = unicodedata.category(character)
    return character.lower()[:1] if category[0] in "LN" or category == "Co" else " "


def tokens(text: str) -> list[str]:
    """Split a text into its words, in their order."""
    return "".join(map(_plain, text)).split()


def phrases(query: str) -> list[list[str]]:
    """Read a query: each of its words, as one token or as several that must follow each other."""
    found = (tokens(word) for word in _WORD.findall(query)[:MAX_WORDS])
    return [phrase for phrase in found if phrase]


def holds(text_tokens: Sequence[str], wanted: Sequence[Sequence[str]]) -> bool:
    """Tell whether a text holds every phrase."""
    joined = f" {' '.join(text_tokens)} "
    return all(f" {' '.join(phrase)} " in joined for phrase in wanted)


def snippet(text: str, wanted: Sequence[Sequence[str]]) -> str:
    """Show the surroundings of the first word found, with what was found in brackets."""
    looked_for = {token for phrase in wanted for token in phrase}
    words = list(_marked(text, looked_for))
    first = next((place for place, (_, found) in enumerate(words) if found), 0)
    start = max(0, min(first - SNIPPET_WORDS // 4, len(words) - SNIPPET_WORDS))
    shown = words[start : start + SNIPPET_WORDS]
    before, after = "…" if start else "", "…" if start + SNIPPET_WORDS < len(words) else ""
    return before + "".join(piece for piece, _ in shown).strip() + after


def _marked(text: str, looked_for: set[str]) -> Iterator[tuple[str, bool]]:
    """Yield each word with what follows it."""
    at = 0
    ends = [match.span() for match in _WORD.finditer(text)]
    for number, (start, end) in enumerate(ends):
        following = ends[number + 1][0] if number + 1 < len(ends) else len(text)
        word = text[start:end]
        found = bool(looked_for.intersection(tokens(word)))
        yield text[at:start] * (number == 0) + (f"[{word}]" if found else word) + text[end:following], found
        at = following
