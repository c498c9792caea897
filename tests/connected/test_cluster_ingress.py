"""From a producer's record to its answer, through a cluster: two gateways, two upload processes, real servers."""

import asyncio
import hashlib
import io
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from aiohttp import web
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from minio import Minio

from aima_client.client import Client
from aima_client.webhooks import WebhookVerifier
from aima_cluster import Cluster, cluster
from aima_common.contracts.outside import Notice, ingress_topic, results_topic
from aima_servers import MeansMissingError
from tests.unit.aima_preprocessing.made_media import photo, still

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(400)]

REPLICAS = {
    "gateway": 2, "upload": 2, "preprocessing": 1, "scheduler": 1, "gpu_manager": 1, "analysis-image": 1, "fusion": 1,
    "dossier": 1, "storage": 1, "monitoring": 1,
}  # fmt: skip
ECHO = {"AIMA_ANALYZERS": "echo", "AIMA_SLOTS": "1", "AIMA_PRIVATE_HOSTS": "127.0.0.1"}
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
PATIENCE_SECONDS = 180


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    try:
        async with cluster(tmp_path_factory.mktemp("cluster"), replicas=REPLICAS, extra=ECHO) as running:
            yield running
    except MeansMissingError as error:
        pytest.skip(str(error))


class Producer:
    """Somebody outside: writes to the bucket and to Kafka with clients of their own, and reads what is answered."""

    def __init__(self, running: Cluster, tenant: str) -> None:
        self.tenant = tenant
        self._kafka = running.stores["AIMA_KAFKA"]
        s3 = urlsplit(running.stores["AIMA_S3"])
        self._s3 = Minio(
            s3.netloc,
            access_key=running.stores["AIMA_S3_ACCESS_KEY"],
            secret_key=running.stores["AIMA_S3_SECRET_KEY"],
            secure=s3.scheme == "https",
            region="us-east-1",
        )

    def put(self, name: str, data: bytes) -> dict[str, Any]:
        key = f"ingress/{self.tenant}/{name}"
        self._s3.put_object("aima", key, io.BytesIO(data), len(data))
        return {"key": key, "sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}

    async def offer(self, *offers: dict[str, Any]) -> None:
        async with AIOKafkaProducer(bootstrap_servers=self._kafka, compression_type="gzip") as producer:
            for offer in offers:
                content = {"version": 1, "case": {"name": "Gate 3"}, **offer}
                headers = [("traceparent", TRACE.encode())]
                await producer.send_and_wait(ingress_topic(self.tenant), json.dumps(content).encode(), headers=headers)

    async def told(self, wanted: Callable[[list[Notice]], bool]) -> list[Notice]:
        """Read all results until there is what is wanted."""
        found: list[Notice] = []
        topic, settings = results_topic(self.tenant), {"auto_offset_reset": "earliest", "group_id": None}
        consumer = AIOKafkaConsumer(topic, bootstrap_servers=self._kafka, **settings)
        await consumer.start()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not wanted(found):
                    record = await consumer.getone()
                    found.append(Notice.model_validate_json(record.value))
                    assert dict(record.headers)["aima_tenant"] == self.tenant.encode()
        finally:
            await consumer.stop()
        return found


@pytest_asyncio.fixture(loop_scope="module")
async def receiver() -> AsyncIterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    asked: list[tuple[dict[str, str], bytes]] = []

    async def take(request: web.Request) -> web.StreamResponse:
        asked.append((dict(request.headers), await request.read()))
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/hook", asked
    await runner.cleanup()


async def test_what_a_producer_offers_is_analysed_and_told_by_topic_and_webhook(
    running: Cluster, receiver: tuple[str, list[tuple[dict[str, str], bytes]]]
) -> None:
    producer = Producer(running, "press")
    url, asked = receiver
    async with Client(running.urls[0], await running.key("press")) as client:
        hook = await client.create_webhook(url, types=["analysed", "rejected", "dossier_published"])
        good = await asyncio.to_thread(producer.put, "good.png", still(photo(seed=41)))
        broken = await asyncio.to_thread(producer.put, "broken.png", still(photo(seed=42))[:200])
        absent = {**good, "key": "ingress/press/absent.png"}
        offers = [
            {"id": "good", "file_name": "good.png", "object": good},
            {"id": "again", "file_name": "again.png", "object": good},
            {"id": "broken", "file_name": "broken.png", "object": broken},
            {"id": "absent", "file_name": "absent.png", "object": absent},
        ]
        await producer.offer(*offers, *offers)

        def ended(found: list[Notice]) -> bool:
            ends = {notice.id for notice in found if notice.type in {"analysed", "rejected"}}
            whole = [notice for notice in found if notice.dossier and notice.dossier.complete]
            return ends >= {"good", "again", "broken", "absent"} and bool(whole)

        found = await producer.told(ended)
        by_id = {
            name: [notice for notice in found if notice.id == name] for name in ("good", "again", "broken", "absent")
        }
        assert [notice.type for notice in by_id["good"]][:: len(by_id["good"]) - 1] == ["accepted", "analysed"]
        assert by_id["again"][-1].medium == by_id["good"][-1].medium
        assert by_id["again"][-1].item != by_id["good"][-1].item
        assert (by_id["broken"][-1].type, bool(by_id["broken"][-1].remedy)) == ("rejected", True)
        assert {(notice.code, notice.item) for notice in by_id["absent"]} == {("object_missing", None)}
        for notices in by_id.values():
            assert [notice.sequence for notice in notices] == list(range(1, len(notices) + 1))

        case = next(notice.case for notice in by_id["good"])
        assert case is not None
        dossier = await client.dossier(case)
        assert sorted(item["status"] for item in dossier["items"]) == ["analysed", "analysed", "rejected"]
        letters = (await client.dead_letters())["dead_letters"]
        assert {letter["reason"] for letter in letters} >= {"object_missing"}
        verifier = WebhookVerifier(hook["secret"])
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(asked) < 5:
                await asyncio.sleep(0.1)
        told = [verifier.verify(headers, body) for headers, body in asked]
        ends = {(one["data"]["id"], one["type"]) for one in told if one["data"]["item"]}
        assert ends == {("good", "analysed"), ("again", "analysed"), ("broken", "rejected")}
        assert "dossier_published" in {one["type"] for one in told}


async def test_an_operator_has_a_dead_letter_tried_again_from_the_command_line(
    running: Cluster, tmp_path: Path
) -> None:
    producer = Producer(running, "desk")
    key = await running.key("desk")
    late = still(photo(seed=43))
    named = {"key": "ingress/desk/late.png", "sha256": hashlib.sha256(late).hexdigest(), "size_bytes": len(late)}
    await producer.offer({"id": "late", "file_name": "late.png", "object": named})
    await producer.told(lambda found: any(notice.type == "rejected" for notice in found))
    await asyncio.to_thread(producer.put, "late.png", late)
    [letter] = json.loads(await aima(running, key, "dead-letters", "list", "--json"))["dead_letters"]
    assert letter["reason"] == "object_missing"
    assert "is retried" in await aima(running, key, "dead-letters", "retry", letter["id"])
    found = await producer.told(lambda found: any(notice.type == "analysed" for notice in found))
    assert {notice.id for notice in found if notice.item} == {"late"}


async def aima(running: Cluster, key: str, *arguments: str) -> str:
    """Run the command `aima` against the second gateway."""
    environment = {**os.environ, "AIMA_URL": running.urls[1], "AIMA_KEY": key, "COLUMNS": "200"}
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, "-m", "aima_client", *arguments)
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, env=environment)
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()
