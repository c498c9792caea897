"""Search on SQLite and on MongoDB against the promise of the socket, and against each other."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aima_common.adapters.embedded.search import SqliteSearch
from aima_common.adapters.mongo_documents import MongoDocuments, MongoSearch
from aima_common.collections import BY_NAME
from aima_common.ports.search import Passage, Search
from tests.contract.search_promise import SearchPromise, passage

DISPUTED = """
    Straße STRASSE strasse Füße Fuesse fusse Müller muller Mueller über uber Ölçü weiß weiss ß größer
    café cafe Café CAFE cafe\u0301 école ecole l'école élève eleve œuvre oeuvre garçon garcon naïve déjà-vu c'est
    Αθήνα Αθηνα αθήνα Ёлка елка ёлка İstanbul istanbul Istanbul ISTANBUL ﬁn fin 東京 ๑๒ กำ हिन्दी
    not and or near a_b a-b a.b.c 1,5 1.5 x² 😀 🫠 µ μ “quoted” $where ^x a*
"""
WORDS = DISPUTED.split()
"""Words that stores like to disagree on: German, French, other scripts, signs, and what is syntax elsewhere."""

GLUE = [" ", "-", "_", "'", "\n", ", ", "\x00", "", "\u00a0", "\u0301"]
TEXTS = st.lists(st.sampled_from(WORDS) | st.sampled_from(GLUE) | st.text(max_size=3), max_size=8).map(" ".join)
JOINED = st.lists(st.sampled_from(WORDS) | st.sampled_from(GLUE), max_size=6).map("".join)
QUERIES = st.lists(st.sampled_from(WORDS), min_size=1, max_size=2).map(" ".join) | JOINED | TEXTS


class TestSqliteSearch(SearchPromise):
    @pytest.fixture
    async def search(self, tmp_path: Path) -> AsyncIterator[Search]:
        async with SqliteSearch.open(tmp_path / "search.db") as plug:
            yield plug


@pytest.fixture
async def mongo_search(mongod_uri: str) -> AsyncIterator[Search]:
    database = f"t{secrets.token_hex(8)}"
    async with MongoDocuments.open(mongod_uri, database, collections=[BY_NAME["media"]]) as documents:
        yield await MongoSearch.on(documents)


@pytest.mark.connected
class TestMongoSearch(SearchPromise):
    @pytest.fixture
    def search(self, mongo_search: Search) -> Search:
        return mongo_search


@pytest.fixture
async def both(tmp_path: Path, mongo_search: Search) -> AsyncIterator[tuple[Search, Search]]:
    async with SqliteSearch.open(tmp_path / "search.db") as sqlite_search:
        yield sqlite_search, mongo_search


async def exchange(search: Search, passages: list[Passage]) -> None:
    await search.forget("acme", "m1")
    await search.index(passages)


@pytest.mark.connected
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(TEXTS | JOINED, min_size=1, max_size=6), queries=st.lists(QUERIES, min_size=1, max_size=5))
async def test_the_same_questions_find_the_same_passages_in_both(
    both: tuple[Search, Search], texts: list[str], queries: list[str]
) -> None:
    passages = [passage(number, text) for number, text in enumerate(texts)]
    for search in both:
        await exchange(search, passages)
    # Each text is asked for as well, so that something is found: most random questions find nothing.
    for query in [*queries, *texts]:
        one, other = [{hit.passage: hit.snippet for hit in await search.query("acme", query)} for search in both]
        assert one == other, query
