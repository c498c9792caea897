"""What topics must be like, and what is said when a cluster's are not: decisions without a broker."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from aima_common.adapters.kafka_records import MAX_RECORD_BYTES
from aima_common.errors import SettingsError
from aima_common.ports.bus import TopicSpecification

CHECKED = ("cleanup.policy", "retention.ms", "max.message.bytes", "unclean.leader.election.enable")
"""Settings of a topic that decide whether what was accepted can be lost; how many brokers confirm is the operator's."""

FOR_EVER = -1
"""Kafka's word for a retention without end."""


class Describing(Protocol):
    """Who knows the topics: the driver's client for administration."""

    async def describe_topics(self) -> list[dict[str, Any]]:
        """Describe all topics."""


@dataclass(frozen=True)
class ExistingTopic:
    """A topic as the brokers describe it."""

    partitions: int
    settings: Mapping[str, str]
    """Those of `CHECKED`, as far as the brokers tell them."""

    @property
    def compacted(self) -> bool:
        """Whether of each key the newest record stays."""
        return "compact" in self.settings.get("cleanup.policy", "")


def cleanup_policy(topic: TopicSpecification) -> str:
    """Say in Kafka's words how a topic is kept from growing for ever."""
    if not topic.compacted:
        return "delete"
    return "compact" if topic.retention_seconds is None else "compact,delete"


def configuration(topic: TopicSpecification, replication: int | None) -> dict[str, str]:
    """List the settings of a new topic."""
    settings = {
        "cleanup.policy": cleanup_policy(topic),
        "max.message.bytes": str(MAX_RECORD_BYTES),
        "unclean.leader.election.enable": "false",
    }
    if topic.retention_seconds is not None:
        settings["retention.ms"] = str(topic.retention_seconds * 1000)
    if replication is not None and replication >= 3:
        settings["min.insync.replicas"] = "2"
    return settings


def refuse_missing(names: Iterable[str], address: str, why: str) -> None:
    """Raise `SettingsError` when there is a topic that is not there and may not be made."""
    for name in sorted(names):
        raise SettingsError(
            f"there is no topic {name} on the cluster that AIMA_KAFKA names ({address}), and {why}: let an "
            "administrator create it, or give AIMA_KAFKA_USER the right to (ACL operation Create on the cluster)"
        )


def refuse_different(wanted: Iterable[TopicSpecification], found: Mapping[str, ExistingTopic], address: str) -> None:
    """Raise `SettingsError` for a topic that is not what it must be, with what to do about it."""
    for topic in wanted:
        existing = found[topic.name]
        if existing.partitions != topic.partitions:
            raise SettingsError(_wrong_partitions(topic, existing.partitions, address))
        if existing.compacted != topic.compacted:
            raise SettingsError(_wrong_cleanup(topic, address))
        for setting, state in _loses(topic, existing.settings):
            wanted_value = configuration(topic, None)[setting]
            raise SettingsError(_wrong_setting(topic, address, state, f"{setting}={wanted_value}"))


def _loses(topic: TopicSpecification, settings: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """Give the settings by which a topic loses what it must keep, each with what it does; more is fine."""
    numbers = {name: int(settings[name]) for name in ("retention.ms", "max.message.bytes") if settings.get(name)}
    kept = numbers.get("retention.ms", FOR_EVER)
    if topic.retention_seconds is not None and FOR_EVER < kept < topic.retention_seconds * 1000:
        yield "retention.ms", f"forgets its records after {kept / 3_600_000:g} hours"
    largest = numbers.get("max.message.bytes", MAX_RECORD_BYTES)
    if largest < MAX_RECORD_BYTES:
        yield "max.message.bytes", f"takes records of {largest} bytes at most"
    if settings.get("unclean.leader.election.enable") == "true":
        yield "unclean.leader.election.enable", "may be led by a broker that misses confirmed records"


def _wrong_partitions(topic: TopicSpecification, found: int, address: str) -> str:
    said = (
        f"topic {topic.name} has {found} partitions on the cluster that AIMA_KAFKA names ({address}), "
        f"and must have {topic.partitions}: "
    )
    if found < topic.partitions:
        command = f"kafka-topics.sh --bootstrap-server {address} --alter --topic {topic.name}"
        remedy = f"stop AIMA, let it read what is there, and add them ({command} --partitions {topic.partitions})"
    else:
        remedy = "Kafka cannot take partitions away, so stop AIMA, and delete the topic once everything in it is read"
    return f"{said}{remedy}, or point AIMA_KAFKA at a cluster of AIMA's own"


def _wrong_cleanup(topic: TopicSpecification, address: str) -> str:
    state, wish = ("is not compacted", "must be") if topic.compacted else ("is compacted", "must not be")
    return _wrong_setting(topic, address, state, f"cleanup.policy=[{cleanup_policy(topic)}]", wish)


def _wrong_setting(topic: TopicSpecification, address: str, state: str, change: str, wish: str = "must not") -> str:
    command = f"kafka-configs.sh --bootstrap-server {address} --alter --entity-type topics --entity-name {topic.name}"
    return (
        f"topic {topic.name} {state} on the cluster that AIMA_KAFKA names ({address}), and {wish}: "
        f"{command} --add-config {change}, or point AIMA_KAFKA at a cluster of AIMA's own"
    )


async def described(admin: Describing, topics: Collection[str]) -> list[Any]:
    """Describe topics that exist. All are asked for: asking for one by name would let the broker create it."""
    return [one for one in await admin.describe_topics() if one["topic"] in topics]


async def have_leaders(admin: Describing, topics: Collection[str]) -> bool:
    """Tell whether all these topics are there and each of their partitions has a leader."""
    leaders = [[part["leader"] for part in one["partitions"]] for one in await described(admin, topics)]
    return len(leaders) == len(topics) and min(map(min, leaders), default=0) >= 0
