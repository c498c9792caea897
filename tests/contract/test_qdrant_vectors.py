"""The Qdrant plug against the promise of the socket, on the client's own in-memory engine; no server was tested."""

from collections.abc import AsyncIterator

import pytest
from qdrant_client import AsyncQdrantClient

from aima_common.adapters.qdrant_vectors import PREFIX, QdrantVectors
from aima_common.errors import UnavailableError
from aima_servers.processes import free_ports
from tests.contract.vectors_promise import ACME, EAST, VectorsPromise, at_angle

pytestmark = [
    pytest.mark.filterwarnings("ignore:Payload indexes have no effect in the local Qdrant:UserWarning"),
    pytest.mark.filterwarnings("ignore:Local mode performs exact:UserWarning"),
]


@pytest.fixture
async def client() -> AsyncIterator[AsyncQdrantClient]:
    client = AsyncQdrantClient(":memory:")
    yield client
    await client.close()


@pytest.fixture
def vectors(client: AsyncQdrantClient) -> QdrantVectors:
    return QdrantVectors(client)


class TestQdrantVectors(VectorsPromise):
    pass


async def test_what_is_not_ours_in_the_server_stays_untouched(
    client: AsyncQdrantClient, vectors: QdrantVectors
) -> None:
    await vectors.put("faces", [at_angle(1, 0)])
    assert [one.name for one in (await client.get_collections()).collections] == [f"{PREFIX}faces"]


async def test_a_second_process_finds_what_the_first_one_put(client: AsyncQdrantClient, vectors: QdrantVectors) -> None:
    await vectors.put("faces", [at_angle(1, 0)])
    assert len(await QdrantVectors(client).nearest("faces", EAST, where=ACME)) == 1


async def test_a_server_that_is_away_is_told_so() -> None:
    (port,) = free_ports(1)
    with pytest.raises(UnavailableError, match="Qdrant"):
        async with QdrantVectors.open(f"http://127.0.0.1:{port}"):
            pass
