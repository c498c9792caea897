"""The place that chooses plugs for the sockets of a cluster, and sees to it that its servers belong together."""

import contextlib
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

from aima_common.adapters import kafka_confined
from aima_common.adapters.embedded.shared_vectors import SharedVectors
from aima_common.adapters.kafka_bus import KafkaBus
from aima_common.adapters.kafka_settings import KafkaSettings
from aima_common.adapters.mongo_documents import MongoDocuments, MongoSearch
from aima_common.adapters.s3.settings import S3Settings
from aima_common.adapters.s3_objects import S3Objects
from aima_common.adapters.system_clock import SystemClock
from aima_common.errors import ObjectMissingError, SettingsError, UnavailableError
from aima_common.ports import Ports
from aima_common.ports.documents import Documents, Insert
from aima_common.ports.objects import Objects
from aima_common.ports.vectors import Vectors
from aima_common.runtime.confined import ConfinedProcess
from aima_common.settings import StoreSettings
from aima_common.wiring import topic_specifications

LEFTOVER_SECONDS = 5.0
"""Messages that wait this long in the store are told by another process than the one that wrote them: it died."""

MARKER = "installation"
"""Key of the object that says which installation a bucket belongs to."""


@contextlib.asynccontextmanager
async def cluster(settings: StoreSettings, *, leftover_seconds: float = LEFTOVER_SECONDS) -> AsyncIterator[Ports]:
    """Plug in the servers of a cluster; topics, indexes and bucket exist when this returns.

    With `leftover_seconds` of 0 all that waits to be told is seen at once, for whoever looks from outside.

    Raises `UnavailableError` while a server is away, and `SettingsError` for servers that do not belong together.
    """
    s3 = S3Settings(
        settings.s3,
        settings.s3_access_key,
        settings.s3_secret_key,
        bucket=settings.s3_bucket,
        region=settings.s3_region,
        public_endpoint=settings.s3_public,
        scratch=settings.scratch,
    )
    async with contextlib.AsyncExitStack() as stack:
        opened = MongoDocuments.open(settings.mongodb, settings.mongodb_database, leftover_seconds=leftover_seconds)
        documents = await stack.enter_async_context(opened)
        search = await MongoSearch.on(documents)
        objects = await stack.enter_async_context(S3Objects.at(s3))
        bus = await stack.enter_async_context(KafkaBus.open(_kafka(settings)))
        vectors = await stack.enter_async_context(_shared_vectors(settings.vectors))
        await require_one_installation(documents, objects, await _cluster_id(bus))
        await bus.ensure_topics(topic_specifications())
        yield Ports(bus, documents, objects, vectors, search, SystemClock())


async def _cluster_id(bus: KafkaBus) -> str:
    try:
        return await bus.cluster_id()
    except UnavailableError:
        # A client that is not let in says no more than that it found nobody.
        await bus.check_login()
        raise


def confined(settings: StoreSettings) -> ConfinedProcess:
    """Tell how to start a process that reads a topic which strangers write to."""
    return kafka_confined.confined(_kafka(settings))


def _kafka(settings: StoreSettings) -> KafkaSettings:
    return KafkaSettings(
        settings.kafka,
        user=settings.kafka_user,
        password=settings.kafka_password,
        authority=settings.kafka_authority,
        replication=settings.kafka_replication,
        session_seconds=settings.kafka_session_seconds,
    )


@contextlib.asynccontextmanager
async def _shared_vectors(address: str) -> AsyncIterator[Vectors]:
    if address.startswith("unix:"):
        async with SharedVectors.open(Path(address.removeprefix("unix:"))) as vectors:
            yield vectors
        return
    # Loading Qdrant's client takes as long as everything else together, in every process of a cluster.
    from aima_common.adapters.qdrant_vectors import QdrantVectors

    async with QdrantVectors.open(address) as vectors:
        yield vectors


async def require_one_installation(documents: Documents, objects: Objects, kafka: str) -> str:
    """Give the id of the installation that these stores belong to, made at the first start.

    Raises `SettingsError` when they belong to different ones: with two clusters' settings mixed, work of one would
    be told to the other, and its objects swept as litter.
    """
    # The mark first: it is made last, so that of processes that start together none takes half for a mixture.
    marked = await _marker(objects)
    known = await documents.load("installations", MARKER)
    if known is None:
        if marked is not None:
            raise SettingsError(
                f"the bucket AIMA_S3_BUCKET belongs to installation {marked}, and the database AIMA_MONGODB_DATABASE "
                "to none: one of the two is another cluster's; name the right one, or begin with an empty bucket"
            )
        fresh = Insert(MARKER, "", "open", {"installation": str(uuid.uuid4()), "kafka": kafka})
        await documents.insert("installations", fresh)
        known = await documents.load("installations", MARKER)
    if known is None:
        raise UnavailableError("the installation's document vanished", code="mongodb")
    installation = str(known.body["installation"])
    if marked is None:
        await objects.put(MARKER, installation.encode())
    elif marked != installation:
        raise SettingsError(
            f"AIMA_MONGODB leads to installation {installation}, and AIMA_S3 to {marked}: "
            "two clusters' settings are mixed"
        )
    if known.body["kafka"] != kafka:
        raise SettingsError(
            f"installation {installation} works on the Kafka cluster {known.body['kafka']}, and AIMA_KAFKA leads to "
            f"{kafka}: two clusters' settings are mixed; or, where Kafka was set up anew on purpose, remove the "
            "document of the collection `installations` once everything has come to rest"
        )
    return installation


async def _marker(objects: Objects) -> str | None:
    try:
        return (await objects.get(MARKER)).decode()
    except ObjectMissingError:
        return None
