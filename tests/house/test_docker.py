"""The container files say what the code says: services, lanes, settings, locks; nothing floats, nobody is root."""

import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from aima_common.contracts.topics import LANES
from aima_common.settings import KNOWN

SERVERS = {"kafka", "mongodb", "s3", "qdrant"}
PINNED = re.compile(r"[a-z0-9./-]+:v?\d+\.\d+(\.\d+)?[a-z0-9.-]*")

Compose = dict[str, Any]


@pytest.fixture(scope="module")
def compose(root: Path) -> Compose:
    loaded: Compose = yaml.safe_load((root / "docker/compose.yaml").read_text("utf-8"))
    return loaded


@pytest.fixture(scope="module")
def dockerfile(root: Path) -> str:
    return (root / "docker/Dockerfile").read_text("utf-8")


@pytest.fixture(scope="module")
def services(root: Path) -> set[str]:
    return {path.name.removeprefix("aima_") for path in (root / "services").glob("aima_*")} - {"embedded"}


def mistakes(compose: Compose) -> Iterator[str]:
    """Say what is wrong with a compose file, as far as its schema does not see it."""
    for name, service in compose["services"].items():
        for needed in service.get("depends_on", {}):
            if needed not in compose["services"]:
                yield f"{name} depends on {needed}, which is not there"
        if not PINNED.fullmatch(service["image"]) and not service["image"].endswith(":local"):
            yield f"{name}: {service['image']} may be another image tomorrow"
        for volume in service.get("volumes", []):
            if volume.split(":")[0] not in compose["volumes"]:
                yield f"{name}: {volume} is no volume"
        yield from _unguarded(name, service)
        for setting in service.get("environment", {}):
            if setting.startswith("AIMA_") and setting not in KNOWN:
                yield f"{name}: {setting} is no setting"


def _unguarded(name: str, service: dict[str, Any]) -> Iterator[str]:
    if name in SERVERS:
        return
    if not service.get("read_only") or service.get("cap_drop") != ["ALL"]:
        yield f"{name} may write to its image, or has capabilities"
    if "no-new-privileges:true" not in service.get("security_opt", []):
        yield f"{name} may gain privileges"
    if service.get("ports") and (name != "gateway" or not service["ports"][0].startswith("127.0.0.1:")):
        yield f"{name} is reached from outside"


def test_nothing_is_wrong_with_the_compose_file(compose: Compose) -> None:
    assert list(mistakes(compose)) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"depends_on": {"kafak": {"condition": "service_healthy"}}}, "kafak"),
        ({"image": "aima-fusion:latest"}, "tomorrow"),
        ({"volumes": ["nowhere:/data"]}, "no volume"),
        ({"read_only": False}, "may write"),
        ({"cap_drop": []}, "capabilities"),
        ({"security_opt": []}, "privileges"),
        ({"ports": ["8790:8790"]}, "outside"),
        ({"environment": {"AIMA_MONGO": "x"}}, "no setting"),
    ],
)
def test_each_mistake_would_be_seen(compose: Compose, change: dict[str, Any], told: str) -> None:
    broken = deepcopy(compose)
    broken["services"]["fusion"] |= change
    assert any(told in mistake for mistake in mistakes(broken))


def test_every_service_runs_and_analysis_runs_in_each_lane(compose: Compose, services: set[str]) -> None:
    ours = set(compose["services"]) - SERVERS
    assert ours == (services - {"analysis"}) | {f"analysis-{lane}" for lane in LANES}
    for name in ours:
        built = compose["services"][name]["build"]["args"]["SERVICE"]
        assert built == name.partition("-")[0]
    for lane in LANES:
        assert compose["services"][f"analysis-{lane}"]["environment"]["AIMA_LANES"] == lane


def test_the_images_run_as_nobody_in_particular(dockerfile: str) -> None:
    users = re.findall(r"^USER (\S+)$", dockerfile, re.MULTILINE)
    assert users == ["10001:10001"]
    assert dockerfile.rindex("USER ") > dockerfile.rindex("FROM ")
    assert "HEALTHCHECK" in dockerfile


def test_the_base_image_is_pinned(dockerfile: str) -> None:
    (base,) = re.findall(r"^ARG BASE=(\S+)$", dockerfile, re.MULTILINE)
    assert PINNED.fullmatch(base)
    assert not PINNED.fullmatch("python:latest")


def test_every_service_has_an_entry_point_and_a_lock_of_its_own(root: Path, services: set[str]) -> None:
    project = (root / "pyproject.toml").read_text("utf-8")
    everything = set(re.findall(r"^(\S+==[^ \\]+)", (root / "requirements/all.txt").read_text("utf-8"), re.MULTILINE))
    locks = {path.stem: path for path in (root / "requirements/services").glob("*.txt")}
    assert set(locks) == services | {"embedded"}
    for service, path in locks.items():
        assert f'aima-{service.replace("_", "-")} = "aima_{service}.__main__:main"' in project
        text = path.read_text("utf-8")
        held = set(re.findall(r"^(\S+==[^ \\]+)", text, re.MULTILINE))
        assert held
        assert held <= everything, service


def test_a_service_that_calls_no_model_carries_no_model_runtime(root: Path) -> None:
    assert "onnxruntime==" not in (root / "requirements/services/fusion.txt").read_text("utf-8")
    assert "onnxruntime==" in (root / "requirements/services/analysis.txt").read_text("utf-8"), "the control"
