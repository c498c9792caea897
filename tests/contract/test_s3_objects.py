"""Objects in a bucket of real S3 servers against the promise of the socket, and what only a bucket can show."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aima_common.adapters.s3.settings import S3Settings
from aima_common.adapters.s3_objects import S3Objects
from aima_common.ports.objects import Objects
from aima_servers import Served
from tests.contract.objects_promise import ObjectsPromise

pytestmark = pytest.mark.connected


def settings_of(served: Served, scratch: Path) -> S3Settings:
    bucket = f"t{secrets.token_hex(8)}"
    return S3Settings(served.address, served.access_key, served.secret_key, bucket=bucket, scratch=scratch)


class TestVersitygw(ObjectsPromise):
    @pytest.fixture
    async def objects(self, s3_server: Served, tmp_path: Path) -> AsyncIterator[Objects]:
        async with S3Objects.at(settings_of(s3_server, tmp_path)) as plug:
            yield plug


@pytest.mark.minio
class TestMinio(ObjectsPromise):
    @pytest.fixture
    async def objects(self, minio_server: Served, tmp_path: Path) -> AsyncIterator[Objects]:
        async with S3Objects.at(settings_of(minio_server, tmp_path)) as plug:
            yield plug
