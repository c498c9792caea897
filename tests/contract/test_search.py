"""Search on SQLite and on MongoDB against the promise of the socket, and against each other."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aima_common.adapters import search_words
from aima_common.adapters.embedded.search import SqliteSearch
from aima_common.adapters.mongo_documents import MongoDocuments, MongoSearch
from aima_common.collections import BY_NAME
from aima_common.ports.search import Search
from tests.contract.search_promise import SearchPromise, passage

ALPHABET = "aäAÄbéEÉøßñ1²_-' .😀\u0301中かก็ी"
"""Letters with and without marks, digits, signs, and scripts that know no spaces."""


class TestSqliteSearch(SearchPromise):
    @pytest.fixture
    async def search(self, tmp_path: Path) -> AsyncIterator[Search]:
        async with SqliteSearch.open(tmp_path / "search.db") as plug:
            yield plug


@pytest.mark.connected
class TestMongoSearch(SearchPromise):
    @pytest.fixture
    async def search(self, mongod_uri: str) -> AsyncIterator[Search]:
        database = f"t{secrets.token_hex(8)}"
        async with MongoDocuments.open(mongod_uri, database, collections=[BY_NAME["media"]]) as documents:
            yield await MongoSearch.on(documents)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(ALPHABET, max_size=12), query=st.text(ALPHABET, max_size=5))
async def test_words_are_cut_as_sqlite_cuts_them(tmp_path: Path, text: str, query: str) -> None:
    wanted = search_words.phrases(query)
    expected = bool(wanted) and search_words.holds(search_words.tokens(text), wanted)
    async with SqliteSearch.open(tmp_path / "search.db") as search:
        await search.index([passage(1, text)])
        assert bool(await search.query("acme", query)) == expected, (search_words.tokens(text), wanted)
