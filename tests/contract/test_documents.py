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
