"""What an operator sets is read strictly: unknown, missing and contradictory settings are told by name."""

import re
from pathlib import Path

import pytest

from aima_common import settings
from aima_common.errors import SettingsError
from aima_common.settings import KNOWN, SETTINGS, StoreSettings

STORES = {
    "AIMA_KAFKA": "broker-1:9092,broker-2:9092",
    "AIMA_MONGODB": "mongodb://user:geheim@db/?replicaSet=rs0",
    "AIMA_S3": "http://s3:9000/",
    "AIMA_S3_ACCESS_KEY": "access",
    "AIMA_S3_SECRET_KEY": "geheim",
    "AIMA_VECTORS": "unix:/run/aima/vectors",
}


def test_the_stores_are_read_with_their_defaults() -> None:
    stores = StoreSettings.from_environment(STORES)
    assert stores.s3 == "http://s3:9000"
    assert (stores.mongodb_database, stores.s3_bucket, stores.s3_region) == ("aima", "aima", "us-east-1")
    assert (stores.kafka_user, stores.kafka_replication, stores.kafka_authority) == (None, None, None)


def test_no_secret_is_shown() -> None:
    assert "geheim" not in repr(StoreSettings.from_environment(STORES))


@pytest.mark.parametrize("name", sorted(STORES))
def test_what_is_missing_is_named_with_its_meaning(name: str) -> None:
    with pytest.raises(SettingsError, match=rf"{name} is not set: .{{10,}}"):
        StoreSettings.from_environment({key: value for key, value in STORES.items() if key != name})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AIMA_KAFKA", "broker"),
        ("AIMA_KAFKA", "http://broker:9092x"),
        ("AIMA_KAFKA_CA", "/no/such/file"),
        ("AIMA_KAFKA_REPLICATION", "three"),
        ("AIMA_KAFKA_REPLICATION", "-1"),
        ("AIMA_MONGODB", "postgres://db"),
        ("AIMA_S3", "s3:9000"),
        ("AIMA_S3_PUBLIC", "media.example"),
        ("AIMA_S3", "http://s3:9000/bucket"),
        ("AIMA_VECTORS", "qdrant:6333"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        StoreSettings.from_environment({**STORES, name: value})


@pytest.mark.parametrize("name", ["AIMA_KAFKA_USER", "AIMA_KAFKA_PASSWORD"])
def test_half_a_login_is_a_contradiction(name: str) -> None:
    with pytest.raises(SettingsError, match="together"):
        StoreSettings.from_environment({**STORES, name: "x"})
    both = {"AIMA_KAFKA_USER": "x", "AIMA_KAFKA_PASSWORD": "y"}
    assert StoreSettings.from_environment({**STORES, **both}).kafka_user == "x"


def test_a_typing_error_is_refused_and_the_right_name_suggested() -> None:
    settings.refuse_unknown({**STORES, "PATH": "/bin", "OTHER_KAFKA": "x"})
    with pytest.raises(SettingsError, match="AIMA_KAFKAA is no setting of AIMA; did you mean AIMA_KAFKA"):
        settings.refuse_unknown({"AIMA_KAFKAA": "x"})


def test_every_setting_that_the_code_reads_is_in_the_table() -> None:
    root = Path(__file__).parents[3]
    sources = [path for folder in ("libs", "services") for path in (root / folder).rglob("*.py")]
    read = {name for path in sources for name in re.findall(r'"(AIMA_[A-Z0-9_]*[A-Z0-9])"', path.read_text("utf-8"))}
    assert len(read) > 20
    assert not read - set(KNOWN)
    assert not set(KNOWN) - read - {name for name in KNOWN if name.startswith("AIMA_ANALYSIS_")}


def test_the_table_in_the_documents_holds_every_setting() -> None:
    described = settings.described()
    assert all(f"| `{setting.name}` |" in described for setting in SETTINGS)
