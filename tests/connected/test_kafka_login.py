"""A broker that asks for a login: who has the right one works, who has not is told so, and by which setting."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aima_common.adapters.kafka_bus import KafkaBus
from aima_common.adapters.kafka_settings import KafkaSettings
from aima_common.errors import SettingsError, UnavailableError
from aima_common.ports.bus import Record
from aima_servers.kafka import kafka
from aima_servers.processes import free_ports

USER, PASSWORD = "aima", "right-and-long"


@pytest.fixture
async def guarded(tmp_path: Path, kafka_address: str) -> AsyncIterator[str]:
    """Give the address of a broker of its own; the other one shows that a broker can run here."""
    assert kafka_address
    async with kafka(tmp_path, login=(USER, PASSWORD)) as served:
        yield served.address


def login(address: str, password: str) -> KafkaSettings:
    return KafkaSettings(address, timeout_seconds=20.0, user=USER, password=password)


async def test_a_login_is_told_right_from_wrong_and_from_nobody_there(guarded: str) -> None:
    async with KafkaBus.open(login(guarded, PASSWORD)) as bus:
        await bus.check_login()
        await bus.ensure_topics({"greetings": 1})
        await bus.publish([Record("greetings", "key", b"hello")])
    async with KafkaBus.open(login(guarded, "wrong")) as bus:
        with pytest.raises(UnavailableError):
            await bus.cluster_id()
        with pytest.raises(SettingsError, match="AIMA_KAFKA_USER") as told:
            await bus.check_login()
        assert "wrong" not in str(told.value), "a password is nobody's business"
    (nobody,) = free_ports(1)
    async with KafkaBus.open(login(f"127.0.0.1:{nobody}", PASSWORD)) as bus:
        await bus.check_login()  # it says nothing about the login


async def test_no_login_where_one_is_asked_for_is_told_from_nobody_there(guarded: str, kafka_address: str) -> None:
    async with KafkaBus.open(KafkaSettings(guarded, timeout_seconds=20.0)) as bus:
        with pytest.raises(UnavailableError):
            await bus.cluster_id()
        with pytest.raises(SettingsError, match=r"AIMA_KAFKA_USER is not set.*offers SCRAM-SHA-512$"):
            await bus.check_login()
    async with KafkaBus.open(KafkaSettings(kafka_address, timeout_seconds=20.0)) as bus:
        await bus.check_login()  # nobody asks for one here
    (nobody,) = free_ports(1)
    async with KafkaBus.open(KafkaSettings(f"127.0.0.1:{nobody}", timeout_seconds=20.0)) as bus:
        await bus.check_login()  # who is away asks for nothing, and is waited for


async def test_a_login_where_none_is_asked_for_is_told_too(kafka_address: str) -> None:
    async with KafkaBus.open(login(kafka_address, PASSWORD)) as bus:
        with pytest.raises(SettingsError, match="where that address asks for none"):
            await bus.check_login()
