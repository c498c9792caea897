"""The spine is whole: every message has its topic, everybody in it exists, and nobody outgrows the partitions."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from aima_common.contracts.messages import PATH
from aima_common.contracts.topics import BY_MESSAGE, TOPICS, Topic

LARGEST_REPLICA_COUNTS = {"preprocessing": 20, "analysis": 10}
"""Spec, "Scaling manager". Where it gives no number, `EVERYBODY_ELSE`."""

EVERYBODY_ELSE = 10

ONE_ACTIVE = ("gpu_manager", "scheduler", "monitoring", "gateway")
"""Who hears the topics with a single partition: one active member is enough, more of them wait in reserve."""


def misfits(topics: Iterable[Topic], services: set[str]) -> Iterator[str]:
    for topic in topics:
        for consumer in topic.consumers:
            if consumer not in services:
                yield f"{topic.name}: nobody is called {consumer}"
            replicas = LARGEST_REPLICA_COUNTS.get(consumer, EVERYBODY_ELSE)
            if topic.partitions < replicas and not (topic.partitions == 1 and consumer in ONE_ACTIVE):
                yield f"{topic.name}: {topic.partitions} partitions for {replicas} replicas of {consumer}"
        if topic.producer not in services | {"every owner"}:
            yield f"{topic.name}: nobody is called {topic.producer}"


def services(root: Path) -> set[str]:
    folders = {path.parent.name.removeprefix("aima_") for path in (root / "services").glob("aima_*/__init__.py")}
    return folders - {"embedded"}


def test_everybody_in_the_spine_exists_and_has_partitions_enough(root: Path) -> None:
    assert len(services(root)) == 10
    assert list(misfits(TOPICS, services(root))) == []


def test_a_stranger_and_a_narrow_topic_are_seen(root: Path) -> None:
    made = replace(TOPICS[0], consumers=("preprocessing", "nobody"), partitions=12)
    assert len(list(misfits([made], services(root)))) == 2


def test_every_message_has_one_topic_in_the_order_of_the_path() -> None:
    assert tuple(topic.message for topic in TOPICS) == PATH
    assert len({topic.name for topic in TOPICS}) == len(TOPICS) == len(BY_MESSAGE)


def test_every_message_has_an_example(root: Path) -> None:
    examples = {path.stem for path in (root / "tests" / "contract" / "examples").glob("*.json")}
    assert {message.__name__ for message in PATH} <= examples
