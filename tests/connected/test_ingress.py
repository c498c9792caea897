"""Producers with clients of their own: what the documents show is sent as it stands, and answered."""

import asyncio
import contextlib
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from aima_common.adapters.embedded.documents import SqliteDocuments
from aima_common.adapters.embedded.objects import DirectoryObjects
from aima_common.adapters.kafka_bus import KafkaBus
from aima_common.adapters.kafka_confined import confined
from aima_common.adapters.kafka_settings import KafkaSettings
from aima_common.adapters.system_clock import SystemClock
from aima_common.contracts.outside import PARTITIONS, Notice, ingress_topic, results_topic
from aima_common.ports import Ports
from aima_common.runtime import run
from aima_common.wiring import topic_specifications
from aima_gateway.keys import Role
from aima_gateway.service import Gateway
from aima_gateway.settings import Settings as GatewaySettings
from aima_upload import ingress
from aima_upload.reading import confined_readers
from aima_upload.service import Upload
from aima_upload.settings import Settings as UploadSettings

pytestmark = pytest.mark.timeout(240)

DOCUMENT = json.loads((Path(__file__).parents[2] / "docs/generated/asyncapi.json").read_text("utf-8"))
EXAMPLES = {example["name"]: example for example in DOCUMENT["components"]["messages"]["Offer"]["examples"]}
CONTENT = bytes(1 << 20)
"""What the examples say lies in the bucket: a megabyte of nothing."""

TENANT = "default"
Send = Callable[[str, str, bytes, Mapping[str, str]], Awaitable[tuple[int, int] | None]]
"""Sends a value with headers to a topic of the broker; tells partition and offset where the client does."""


@dataclass
class House:
    """A gateway and an upload service on a real Kafka, the topics read by a confined child."""

    ports: Ports
    address: str
    upload: Upload

    async def until(self, condition: Callable[[], Awaitable[Any]]) -> Any:
        async with asyncio.timeout(90):
            while not (found := await condition()):
                await asyncio.sleep(0.05)
        return found

    async def items(self) -> list[Any]:
        return list(await self.ports.documents.find("items", {}, order=["ordinal"]))

    async def letters(self, **where: Any) -> list[Any]:
        return list(await self.ports.documents.find("dead_letters", where))

    async def notices(self, wanted: Callable[[dict[str, list[Notice]]], bool]) -> dict[str, list[Notice]]:
        """Read the results topic from its beginning, with a client of our own, until there is what is wanted."""
        consumer = AIOKafkaConsumer(
            results_topic(TENANT), bootstrap_servers=self.address, auto_offset_reset="earliest", group_id=None
        )
        await consumer.start()
        told: dict[str, list[Notice]] = {}
        try:
            async with asyncio.timeout(90):
                while not wanted(told):
                    record = await consumer.getone()
                    told.setdefault(record.key.decode(), []).append(Notice.model_validate_json(record.value))
        finally:
            await consumer.stop()
        return told


@pytest.fixture
async def house(kafka_address: str, tmp_path: Path) -> AsyncIterator[House]:
    settings = KafkaSettings(kafka_address, timeout_seconds=10, session_seconds=6)
    async with (
        KafkaBus.open(settings) as bus,
        SqliteDocuments.open(tmp_path / "documents.db") as documents,
        contextlib.AsyncExitStack() as stack,
    ):
        objects = await DirectoryObjects.at(tmp_path / "objects")
        stack.push_async_callback(objects.close)
        nothing = cast("Any", None)
        ports = Ports(bus, documents, objects, nothing, nothing, SystemClock())
        await bus.ensure_topics(topic_specifications())
        upload = Upload(ports, UploadSettings(secret="s"), readers=confined_readers(ports, confined(settings)))
        gateway = Gateway(ports, GatewaySettings(secret="s"), upload_urls=lambda: _only(upload))
        await gateway.keys.issue(TENANT, Role.operator, "first")
        life = asyncio.create_task(run(ports, upload, gateway))
        yield House(ports, kafka_address, upload)
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)


async def _only(upload: Upload) -> list[str]:
    return [await upload.url()]


async def with_kcat(address: str, topic: str, value: bytes, headers: Mapping[str, str]) -> None:
    named = [word for name, text in headers.items() for word in ("-H", f"{name}={text}")]
    # Without a delimiter of its own, what is sent ends at the first line break.
    command = ["kcat", "-P", "-b", address, "-t", topic, "-k", "a camera", "-D", "\x1e", *named]
    done = await asyncio.to_thread(subprocess.run, command, input=value, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


async def with_aiokafka(address: str, topic: str, value: bytes, headers: Mapping[str, str]) -> tuple[int, int]:
    async with AIOKafkaProducer(bootstrap_servers=address) as producer:
        told = [(name, text.encode()) for name, text in headers.items()]
        done = await producer.send_and_wait(topic, value, key=b"a camera", headers=told)
    return int(done.partition), int(done.offset)


async def with_confluent_kafka(address: str, topic: str, value: bytes, headers: Mapping[str, str]) -> tuple[int, int]:
    from confluent_kafka import Producer

    places: list[tuple[int, int]] = []
    faults: list[Any] = []

    def delivered(fault: Any, message: Any) -> None:
        faults.append(fault)
        places.append((message.partition(), message.offset()))

    def send() -> None:
        producer = Producer({"bootstrap.servers": address, "compression.type": "gzip"})
        producer.produce(topic, value, key="a camera", headers=dict(headers), on_delivery=delivered)
        assert producer.flush(30) == 0

    await asyncio.to_thread(send)
    assert faults == [None]
    return places[0]


CLIENTS: dict[str, Send] = {
    "kcat": with_kcat,
    "aiokafka": with_aiokafka,
    "confluent-kafka": with_confluent_kafka,
}


@pytest.fixture(autouse=True)
def _kcat_is_there() -> None:
    if not shutil.which("kcat"):
        pytest.skip("kcat is not installed (Debian: apt-get install kcat)")


async def test_every_documented_offer_sent_by_every_client_is_taken_once_and_answered(house: House) -> None:
    objects = [example["payload"]["object"] for example in EXAMPLES.values() if "object" in example["payload"]]
    assert len(objects) == 2
    for named in objects:
        await house.ports.objects.put(named["key"], CONTENT)
    existing = EXAMPLES["Offer.existing_case"]["payload"]
    await house.upload.intake.cases.create(TENANT, {"name": "by hand"}, existing["case"]["id"])

    async def rejected(times: int) -> bool:
        return len(await house.letters(reason="url_not_allowed")) == times

    for times, (name, send) in enumerate(CLIENTS.items(), 1):
        for example in EXAMPLES.values():
            value = json.dumps(example["payload"]).encode()
            await send(house.address, ingress_topic(TENANT), value, example["headers"])
        await house.until(lambda: _longer(house.items, 2))
        await house.until(lambda times=times: rejected(times))  # type: ignore[misc]
        assert len(await house.items()) == 2, f"after {name}"

    first, second = sorted(await house.items(), key=lambda item: item.body["origin"]["offer"])
    documented = EXAMPLES["Offer.object"]
    assert first.body["origin"] == {"offer": documented["payload"]["id"], **documented["headers"]}
    assert first.body["file_name"] == documented["payload"]["file_name"]
    assert second.body["case"] == existing["case"]["id"]
    assert first.body["medium"] == second.body["medium"]
    for name in ("object", "existing_case"):
        offer = EXAMPLES[f"Offer.{name}"]["payload"]["id"]
        told = await house.notices(lambda told, offer=offer: any(of(told, offer)))  # type: ignore[misc]
        assert [notice.type for notice in of(told, offer)] == ["accepted"]
    url = EXAMPLES["Offer.url"]["payload"]["id"]
    told = await house.notices(lambda told: len(of(told, url)) >= len(CLIENTS))
    assert {(notice.type, notice.code) for notice in of(told, url)} == {("rejected", "url_not_allowed")}
    assert [notice.sequence for notice in of(told, url)] == [1, 2, 3]


@pytest.mark.parametrize("name", ["aiokafka", "confluent-kafka"])
async def test_what_cannot_be_read_is_answered_with_the_place_that_its_client_was_told(house: House, name: str) -> None:
    nested = b'{"a":' * 40 + b"1" + b"}" * 40
    for value in (b"no JSON", b"x" * 100_000, nested, b'{"id": "a", "id": "b"}'):
        place = await CLIENTS[name](house.address, ingress_topic(TENANT), value, {"aima_tenant": "other"})
        assert place is not None

        def told_of(told: dict[str, list[Notice]], place: tuple[int, int] = place) -> bool:
            offers = [notice.offer for notices in told.values() for notice in notices if notice.offer]
            return place in [(offer.partition, offer.offset) for offer in offers]

        await house.notices(told_of)
        letters = [
            letter for letter in await house.letters() if (letter.body["partition"], letter.body["offset"]) == place
        ]
        assert [(letter.tenant, letter.body["service"]) for letter in letters] == [(TENANT, ingress.INGRESS)]
        assert letters[0].body["size_bytes"] == len(value)


async def test_the_topics_are_what_the_document_says(house: House) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=house.address)
    await admin.start()
    try:
        for topic, policy in ((ingress_topic(TENANT), "delete"), (results_topic(TENANT), "compact")):
            [answer] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
            settings = {entry[0]: entry[1] for entry in answer.resources[0][4]}
            assert settings["cleanup.policy"] == policy
            [described] = await admin.describe_topics([topic])
            assert len(described["partitions"]) == PARTITIONS
            binding = DOCUMENT["channels"][topic.removesuffix(f".{TENANT}")]["bindings"]["kafka"]
            assert binding["partitions"] == PARTITIONS
            assert binding["topicConfiguration"]["cleanup.policy"] == [policy]
    finally:
        await admin.close()


def of(told: dict[str, list[Notice]], offer: str) -> list[Notice]:
    """Choose the notices of an offer, in the order of their writing."""
    return [notice for notices in told.values() for notice in notices if notice.id == offer]


async def _longer(read: Callable[[], Awaitable[list[Any]]], count: int) -> bool:
    return len(await read()) >= count
