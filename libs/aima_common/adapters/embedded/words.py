"""Words as SQLite's full text knows them, for whoever has to find the same passages without SQLite's index.

SQLite itself cuts and folds them, in memory: its rules are tables of 2012 with exceptions (no accents are taken off
Greek letters, unknown signs are letters), and whoever imitates them finds other passages. Nothing is kept between
calls, so that they may be made in any thread.
"""

import contextlib
import re
import sqlite3
from collections.abc import Iterator, Sequence

TOKENIZER = "unicode61 remove_diacritics 2"
"""As in the index of `search`. Case and accents make no difference; what is neither letter nor digit separates."""

MAX_WORDS = 32
LONGEST_QUERY = 1000
"""Words and characters of a query that are looked at; more is no search."""

SNIPPET = "snippet(words, 0, '[', ']', '…', 16)"

# Marks belong to the letter before them, or an accent written as a sign of its own would cut its word in two.
_WORD = re.compile("[\\w\u0300-\u036f]+")


def phrases(query: str) -> list[str]:
    """Read what a person typed: words, each of which may turn out to be several that follow each other."""
    return _WORD.findall(query[:LONGEST_QUERY])[:MAX_WORDS]


def expression(wanted: Sequence[str]) -> str:
    """Write the words as an FTS5 expression that demands them all."""
    # Quoted one by one: whatever a person types is words, never FTS5 syntax.
    return " ".join(f'"{phrase}"' for phrase in wanted)


def cut(texts: Sequence[str]) -> list[list[str]]:
    """Give the words of each text, folded, in their order."""
    found: list[list[str]] = [[] for _ in texts]
    with _filled(texts) as index:
        index.execute("CREATE VIRTUAL TABLE places USING fts5vocab(words, instance)")
        for number, word in index.execute("SELECT doc, term FROM places ORDER BY doc, offset"):
            found[number].append(word)
    return found


def snippets(texts: Sequence[str], wanted: Sequence[str]) -> list[str]:
    """Show of each text the surroundings of what was found, in brackets; of a text without it, nothing."""
    shown = [""] * len(texts)
    with _filled(texts) as index:
        query = f"SELECT rowid, {SNIPPET} FROM words WHERE words MATCH ?"  # noqa: S608
        for number, snippet in index.execute(query, [expression(wanted)]):
            shown[number] = snippet
    return shown


@contextlib.contextmanager
def _filled(texts: Sequence[str]) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(":memory:")) as index:
        index.execute(f"CREATE VIRTUAL TABLE words USING fts5(text, tokenize='{TOKENIZER}')")
        index.executemany("INSERT INTO words(rowid, text) VALUES (?,?)", enumerate(texts))
        yield index
