"""The real servers serve, they can be stopped and started again, and they die with whoever started them."""

import asyncio
import io
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from minio import Minio
from motor.motor_asyncio import AsyncIOMotorClient

from aima_servers import MeansMissingError, Served, ServerDiedError, fetch, serving
from aima_servers.processes import answers

KEPT = b"written before the server was killed"


@pytest.fixture(params=["kafka", "mongod", "s3"])
def name(request: pytest.FixtureRequest) -> str:
    wanted = str(request.param)
    try:
        fetch(wanted)
    except MeansMissingError as error:
        pytest.skip(str(error))
    return wanted


def port_of(address: str) -> int:
    return int(address.partition("/?")[0].rpartition(":")[2])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_dies_with_the_command_that_started_it(name: str, number: int) -> None:
    command = [sys.executable, "-m", "aima_servers", "up", name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        said, address, *keys = process.stdout.readline().split()
        port = port_of(address)
        assert said == name
        assert len(keys) == (2 if name == "s3" else 0)
        assert answers(port)
        process.send_signal(number)
        assert process.wait() == (-signal.SIGKILL if number == signal.SIGKILL else 0)
    while answers(port):
        time.sleep(0.02)


async def write_to_kafka(served: Served) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=served.address, acks="all")
    await producer.start()
    try:
        await producer.send_and_wait("kept", KEPT)
    finally:
        await producer.stop()


async def read_from_kafka(served: Served) -> bytes:
    consumer = AIOKafkaConsumer("kept", bootstrap_servers=served.address, auto_offset_reset="earliest")
    await consumer.start()
    try:
        return bytes((await consumer.getone()).value)
    finally:
        await consumer.stop()


async def write_to_mongod(served: Served) -> None:
    client: Any = AsyncIOMotorClient(served.address, w="majority", journal=True)
    await client.test.kept.insert_one({"_id": 1, "content": KEPT})
    client.close()


async def read_from_mongod(served: Served) -> bytes:
    client: Any = AsyncIOMotorClient(served.address)
    found = await client.test.kept.find_one({"_id": 1})
    client.close()
    return bytes(found["content"])


def s3_client(served: Served) -> Minio:
    return Minio(urlsplit(served.address).netloc, served.access_key, served.secret_key, secure=False)


async def write_to_s3(served: Served) -> None:
    client = s3_client(served)
    await asyncio.to_thread(client.make_bucket, "kept")
    await asyncio.to_thread(client.put_object, "kept", "one", io.BytesIO(KEPT), len(KEPT))


async def read_from_s3(served: Served) -> bytes:
    response = await asyncio.to_thread(s3_client(served).get_object, "kept", "one")
    try:
        return bytes(response.data)
    finally:
        response.close()
        response.release_conn()


KEEPERS: dict[str, tuple[Callable[[Served], Awaitable[None]], Callable[[Served], Awaitable[bytes]]]] = {
    "kafka": (write_to_kafka, read_from_kafka),
    "mongod": (write_to_mongod, read_from_mongod),
    "s3": (write_to_s3, read_from_s3),
}


async def test_a_server_that_was_stopped_serves_again_at_the_same_place_with_the_same_data(name: str) -> None:
    write, read = KEEPERS[name]
    async with serving(name) as served:
        one = served[name]
        before = one.process
        await write(one)
        async with one.stopped():
            assert not answers(port_of(one.address))
            with pytest.raises(ServerDiedError):
                one.process  # noqa: B018 - asking is the point
        assert one.process != before
        assert await read(one) == KEPT
