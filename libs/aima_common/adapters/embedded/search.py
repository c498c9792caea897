"""Full text in SQLite's FTS5."""

import contextlib
import sqlite3
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Self

from aima_common.adapters.embedded import words as full_text
from aima_common.adapters.embedded.database import Database
from aima_common.ports.search import Hit, Passage

SCHEMA = """
CREATE TABLE IF NOT EXISTS passages(number INTEGER PRIMARY KEY, id TEXT UNIQUE, tenant TEXT, medium TEXT, kind TEXT,
    body TEXT, start REAL, end REAL);
CREATE INDEX IF NOT EXISTS passages_of ON passages(tenant, medium);
CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(body, content='passages', content_rowid='number',
    tokenize="unicode61 remove_diacritics 2");
CREATE TRIGGER IF NOT EXISTS added AFTER INSERT ON passages BEGIN
    INSERT INTO words(rowid, body) VALUES (new.number, new.body); END;
CREATE TRIGGER IF NOT EXISTS removed AFTER DELETE ON passages BEGIN
    INSERT INTO words(words, rowid, body) VALUES ('delete', old.number, old.body); END;
"""


class SqliteSearch:
    """The embedded plug of `Search`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, path: Path) -> AsyncIterator[Self]:
        """Open the index at `path`, making what is missing."""
        async with Database.open(path, SCHEMA) as database:
            yield cls(database)

    async def index(self, passages: Sequence[Passage]) -> None:
        """Add or replace passages."""
        rows = [(p.id, p.tenant, p.medium, p.kind, p.text, p.start_seconds, p.end_seconds) for p in passages]

        def work(c: sqlite3.Connection) -> None:
            # Two steps rather than INSERT OR REPLACE, which would not fire the trigger that forgets the old words.
            c.executemany("DELETE FROM passages WHERE id=?", [(row[0],) for row in rows])
            c.executemany(
                "INSERT INTO passages(id, tenant, medium, kind, body, start, end) VALUES (?,?,?,?,?,?,?)", rows
            )

        await self._database.write(work)

    async def query(self, tenant: str, words: str, *, medium: str | None = None, limit: int = 20) -> Sequence[Hit]:
        """Find the passages that hold all the words."""
        wanted = full_text.expression(full_text.phrases(words))
        if not wanted or limit < 1:
            return []
        only, values = (" AND p.medium=?", [medium]) if medium else ("", [])
        query = (
            "SELECT p.id, p.tenant, p.medium, p.kind, p.body, p.start, p.end, bm25(words), "  # noqa: S608
            f"{full_text.SNIPPET} FROM words JOIN passages p ON p.number = words.rowid "
            f"WHERE words MATCH ? AND p.tenant=?{only} ORDER BY bm25(words), p.id LIMIT ?"
        )
        rows = await self._database.read(lambda c: c.execute(query, [wanted, tenant, *values, limit]).fetchall())
        # bm25 is better the lower it is.
        return [Hit(Passage(*row[:7]), score=-row[7], snippet=row[8]) for row in rows]

    async def forget(self, tenant: str, medium: str) -> None:
        """Remove every passage of a medium, and its words from the file."""

        def work(c: sqlite3.Connection) -> None:
            c.execute("DELETE FROM passages WHERE tenant=? AND medium=?", (tenant, medium))
            # The index only notes that words are gone; merging all of it is what removes them.
            c.execute("INSERT INTO words(words) VALUES ('optimize')")

        await self._database.write(work)
