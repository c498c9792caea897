"""The Qdrant plug against the promise of the socket, on the client's own in-memory engine; no server was tested.

What the in-memory engine does not see, the requests on the wire and what becomes of a server's answers, is shown with a
recorder of HTTP.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from qdrant_client import AsyncQdrantClient

from aima_common.adapters.qdrant_vectors import PREFIX, QdrantVectors
from aima_common.errors import PermanentError, StorageFullError, UnavailableError
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


# ---------------------------------------------------------------------------------------------- on the wire

KNOWN = {
    "status": "green",
    "optimizer_status": "ok",
    "segments_count": 1,
    "config": {
        "params": {"vectors": {"size": 2, "distance": "Cosine"}},
        "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10000},
        "optimizer_config": {
            "deleted_threshold": 0.2,
            "vacuum_min_vector_number": 1000,
            "default_segment_number": 0,
            "flush_interval_sec": 5,
        },
    },
    "payload_schema": {},
}


class Recorder:
    """Writes down what is asked, and answers as it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str], Any]] = []
        self.exists = False
        self.failing: dict[str, int] = {}
        """Statuses by what is asked."""
        self.made_by_another = False
        """Whether a collection is there by the time that the request to make it fails."""

    async def answer(self, request: web.Request) -> web.Response:
        said = f"{request.method} {request.path}"
        text = await request.text()
        self.exists |= self.made_by_another and said == "PUT /collections/aima_faces"
        self.asked.append((said, dict(request.query), json.loads(text) if text else None))
        if status := self.failing.get(said):
            return web.json_response({"status": {"error": "as told"}}, status=status, headers={"Retry-After": "1"})
        return web.json_response({"result": self._result(said), "status": "ok", "time": 0.0})

    def _result(self, said: str) -> object:
        answers: dict[str, object] = {
            "GET /collections": {"collections": []},
            "GET /collections/aima_faces/exists": {"exists": self.exists},
            "GET /collections/aima_faces": KNOWN,
            "PUT /collections/aima_faces": True,
            "POST /collections/aima_faces/points/query": {"points": []},
        }
        if said == "PUT /collections/aima_faces":
            self.exists = True
        return answers.get(said, {"operation_id": 1, "status": "completed"})


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def remote(recorder: Recorder) -> AsyncIterator[QdrantVectors]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", recorder.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with QdrantVectors.open(f"http://127.0.0.1:{runner.addresses[0][1]}") as plug:
            yield plug
    finally:
        await runner.cleanup()


async def test_a_space_is_made_for_exact_search_and_points_are_durable_before_it_goes_on(
    recorder: Recorder, remote: QdrantVectors
) -> None:
    await remote.put("faces", [at_angle(1, 0)])
    await remote.put("faces", [at_angle(2, 0)])
    asked = [said for said, _, _ in recorder.asked]
    assert asked.count("PUT /collections/aima_faces") == 1
    assert asked.count("PUT /collections/aima_faces/index") == 2
    made = next(body for said, _, body in recorder.asked if said == "PUT /collections/aima_faces")
    assert made["vectors"] == {"size": 2, "distance": "Cosine"}
    assert made["optimizers_config"]["indexing_threshold"] == 0
    writes = [(query, body) for said, query, body in recorder.asked if said == "PUT /collections/aima_faces/points"]
    assert [query for query, _ in writes] == [{"wait": "true", "ordering": "strong"}] * 2
    assert writes[0][1] == {"points": [{"id": at_angle(1, 0).id, "vector": [1.0, 0.0], "payload": ACME}]}


async def test_questions_are_exact_and_erasures_are_awaited(recorder: Recorder, remote: QdrantVectors) -> None:
    recorder.exists = True
    await remote.nearest("faces", EAST, where=ACME, limit=3)
    await remote.forget("faces", ACME)
    only_ours = {"must": [{"key": "tenant", "match": {"value": "acme"}}]}
    asked = {said: (query, body) for said, query, body in recorder.asked}
    _, question = asked["POST /collections/aima_faces/points/query"]
    assert question["params"] == {"exact": True}
    assert (question["filter"], question["with_payload"]) == (only_ours, True)
    erasure = asked["POST /collections/aima_faces/points/delete"]
    assert erasure == ({"wait": "true", "ordering": "strong"}, {"filter": only_ours})


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (200, None),
        (400, PermanentError),
        (422, PermanentError),
        (401, UnavailableError),
        (403, UnavailableError),
        (404, UnavailableError),
        (429, UnavailableError),
        (500, UnavailableError),
        (503, UnavailableError),
        (507, StorageFullError),
    ],
)
async def test_what_a_server_answers_says_what_happens_next(
    recorder: Recorder, remote: QdrantVectors, status: int, error: type[Exception] | None
) -> None:
    recorder.failing = {} if status == 200 else {"PUT /collections/aima_faces/points": status}
    if error is None:
        await remote.put("faces", [at_angle(1, 0)])
        return
    with pytest.raises(error) as raised:
        await remote.put("faces", [at_angle(1, 0)])
    assert type(raised.value) is error


async def test_two_processes_that_make_a_space_at_once_both_go_on(recorder: Recorder, remote: QdrantVectors) -> None:
    recorder.failing = {"PUT /collections/aima_faces": 409}
    with pytest.raises(UnavailableError):
        await remote.put("faces", [at_angle(1, 0)])
    recorder.made_by_another = True
    await remote.put("faces", [at_angle(1, 0)])


async def test_a_space_that_vanished_is_made_again(recorder: Recorder, remote: QdrantVectors) -> None:
    await remote.put("faces", [at_angle(1, 0)])
    recorder.exists, recorder.failing = False, {"PUT /collections/aima_faces/points": 404}
    with pytest.raises(UnavailableError):
        await remote.put("faces", [at_angle(1, 0)])
    recorder.failing = {}
    await remote.put("faces", [at_angle(1, 0)])
    assert [said for said, _, _ in recorder.asked].count("PUT /collections/aima_faces") == 2
