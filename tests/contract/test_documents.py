"""The documents on SQLite and on MongoDB against the promise of the socket."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aima_common.adapters.embedded.documents import SqliteDocuments
from aima_common.adapters.mongo_documents import MongoDocuments
from aima_common.collections import BY_NAME
from aima_common.ports.documents import Documents
from tests.contract.documents_promise import DocumentsPromise, Reopen


class TestSqliteDocuments(DocumentsPromise):
    @pytest.fixture
    def reopen(self, tmp_path: Path) -> Reopen:
        return lambda: SqliteDocuments.open(tmp_path / "documents.db")

    @pytest.fixture
    async def documents(self, reopen: Reopen) -> AsyncIterator[Documents]:
        async with reopen() as plug:
            yield plug


@pytest.mark.connected
class TestMongoDocuments(DocumentsPromise):
    @pytest.fixture
    def reopen(self, mongod_uri: str) -> Reopen:
        database = f"t{secrets.token_hex(8)}"
        # Fewer collections than there are, because making a file for every index takes mongod most of a second.
        collections = [BY_NAME[name] for name in ("jobs", "keys", "media", "counters")]
        return lambda: MongoDocuments.open(mongod_uri, database, collections=collections)

    @pytest.fixture
    async def documents(self, reopen: Reopen) -> AsyncIterator[Documents]:
        async with reopen() as plug:
            yield plug


@pytest.mark.connected
class TestMongoOutboxOfOneOfMany:
    """What the promise says of the outbox, where each process tells from memory what it wrote."""

    @pytest.fixture
    async def documents(self, mongod_uri: str) -> AsyncIterator[Documents]:
        collections = [BY_NAME[name] for name in ("jobs", "keys", "media")]
        database = f"t{secrets.token_hex(8)}"
        async with MongoDocuments.open(mongod_uri, database, collections=collections, leftover_seconds=600) as plug:
            yield plug

    test_waits = DocumentsPromise.test_what_a_change_says_waits_until_it_is_published
    test_oldest_first = DocumentsPromise.test_the_oldest_entries_of_all_collections_come_first
    test_since_when = DocumentsPromise.test_the_outbox_tells_since_when_its_oldest_entry_waits
    test_no_change = DocumentsPromise.test_publishing_is_no_change_of_the_document
    test_of_that_name = DocumentsPromise.test_a_token_never_removes_what_a_later_document_of_that_name_says
    test_listens = DocumentsPromise.test_whoever_listens_hears_of_new_entries
