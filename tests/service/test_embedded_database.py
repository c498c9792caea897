"""Many changes share a commit, and none of them notices the others."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from aima_common.adapters.embedded.database import Database
from aima_common.errors import UnavailableError

SCHEMA = "CREATE TABLE IF NOT EXISTS t(name TEXT PRIMARY KEY, n INTEGER);"


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    async with Database.open(tmp_path / "t.db", SCHEMA) as opened:
        yield opened


def adding(name: str, failure: Exception | None = None) -> Callable[[sqlite3.Connection], str]:
    def work(c: sqlite3.Connection) -> str:
        c.execute("INSERT INTO t VALUES (?, 1)", (name,))
        if failure:
            raise failure
        return name

    return work


async def names(database: Database) -> list[str]:
    return [row[0] for row in await database.read(lambda c: c.execute("SELECT name FROM t ORDER BY name").fetchall())]


async def test_changes_that_come_together_are_all_made(database: Database) -> None:
    wanted = [f"{number:03}" for number in range(600)]
    assert await asyncio.gather(*(database.write(adding(name)) for name in wanted)) == wanted
    assert await names(database) == wanted


async def test_what_one_raises_undoes_its_own_changes_and_nobody_elses(database: Database) -> None:
    works = [adding("a"), adding("b", ValueError("of its own")), adding("c"), adding("a"), adding("d")]
    outcomes = await asyncio.gather(*(database.write(work) for work in works), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [str, ValueError, str, sqlite3.IntegrityError, str]
    assert await names(database) == ["a", "c", "d"]
    assert await database.write(adding("b")) == "b"


async def test_what_the_store_refuses_is_told_to_all_who_shared_the_commit_and_changes_nothing(
    database: Database,
) -> None:
    def nonsense(c: sqlite3.Connection) -> None:
        c.execute("INSERT INTO nowhere VALUES (1)")

    assert await database.write(adding("before")) == "before"
    with pytest.raises(UnavailableError):
        await database.write(nonsense)
    assert await database.write(adding("after")) == "after"
    assert await names(database) == ["after", "before"]


async def test_who_is_cancelled_hinders_nobody(database: Database) -> None:
    tasks = [asyncio.create_task(database.write(adding(name))) for name in "abc"]
    await asyncio.sleep(0)
    tasks[1].cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [outcomes[0], outcomes[2]] == ["a", "c"]
    assert isinstance(outcomes[1], asyncio.CancelledError)
    assert await database.write(adding("d")) == "d"


async def test_what_is_acknowledged_is_there_when_the_file_is_opened_again(tmp_path: Path) -> None:
    async with Database.open(tmp_path / "t.db", SCHEMA) as database:
        waiting = [asyncio.create_task(database.write(adding(name))) for name in "abc"]
        await asyncio.gather(*waiting)
    with pytest.raises(UnavailableError):
        await database.write(adding("too late"))
    async with Database.open(tmp_path / "t.db", SCHEMA) as database:
        assert await names(database) == ["a", "b", "c"]
