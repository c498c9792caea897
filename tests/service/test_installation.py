"""Stores of different clusters are not used together."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from aima_common import wiring
from aima_common.cluster_wiring import require_one_installation
from aima_common.errors import SettingsError
from aima_common.ports import Ports


@contextlib.asynccontextmanager
async def two_clusters(folder: Path) -> AsyncIterator[tuple[Ports, Ports]]:
    async with wiring.embedded(folder / "one") as one, wiring.embedded(folder / "two") as two:
        yield one, two


async def test_stores_that_belong_together_are_used_again_and_again(tmp_path: Path) -> None:
    async with wiring.embedded(tmp_path) as ports:
        first = await require_one_installation(ports.documents, ports.objects, "kafka-1")
        assert await require_one_installation(ports.documents, ports.objects, "kafka-1") == first


async def test_processes_that_start_together_agree_on_one_installation(tmp_path: Path) -> None:
    async with wiring.embedded(tmp_path) as ports:
        starting = (require_one_installation(ports.documents, ports.objects, "kafka-1") for _ in range(20))
        assert len(set(await asyncio.gather(*starting))) == 1


@pytest.mark.parametrize("wrong", ["objects", "documents"])
async def test_stores_of_two_clusters_are_refused_by_the_settings_that_name_them(tmp_path: Path, wrong: str) -> None:
    async with two_clusters(tmp_path) as (one, two):
        for ports, kafka in ((one, "kafka-1"), (two, "kafka-2")):
            await require_one_installation(ports.documents, ports.objects, kafka)
        mixed = replace(one, objects=two.objects) if wrong == "objects" else replace(one, documents=two.documents)
        kafka = "kafka-1" if wrong == "objects" else "kafka-2"
        with pytest.raises(SettingsError, match=r"AIMA_MONGODB.*AIMA_S3"):
            await require_one_installation(mixed.documents, mixed.objects, kafka)


async def test_another_kafka_than_the_installations_is_refused(tmp_path: Path) -> None:
    async with wiring.embedded(tmp_path) as ports:
        await require_one_installation(ports.documents, ports.objects, "kafka-1")
        with pytest.raises(SettingsError, match="AIMA_KAFKA"):
            await require_one_installation(ports.documents, ports.objects, "kafka-2")


async def test_a_used_bucket_is_not_given_to_a_new_database(tmp_path: Path) -> None:
    async with two_clusters(tmp_path) as (one, two):
        await require_one_installation(one.documents, one.objects, "kafka-1")
        with pytest.raises(SettingsError, match="AIMA_S3_BUCKET"):
            await require_one_installation(two.documents, one.objects, "kafka-1")
