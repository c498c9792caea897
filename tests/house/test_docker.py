"""The container files say what the code says: services, lanes, settings, locks; nothing floats, nobody is root."""

import re
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from aima_common.contracts.topics import LANES
from aima_common.process import DRAIN_SECONDS
from aima_common.settings import KNOWN
from aima_servers import kafka, mongod, s3

SERVERS = {"kafka", "mongodb", "s3", "qdrant"}
PINNED = re.compile(r"[a-z0-9./-]+:v?\d+\.\d+(\.\d+)?[a-z0-9.-]*")
USER = "10001:10001"
COMPOSE_FILES = ("docker/compose.yaml", "docker/compose.gpu.yaml")

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


def versions(lock: Path) -> dict[str, str]:
    return dict(re.findall(r"^([^\s=]+)==([^ \\]+)", lock.read_text("utf-8"), re.MULTILINE))


def mistakes(compose: Compose) -> Iterator[str]:
    """Say what is wrong with a compose file, as far as its schema does not see it."""
    for name, service in compose["services"].items():
        yield from _waits_in_vain(name, service, compose["services"])
        yield from _changeable(name, service["image"])
        for volume in service.get("volumes", []):
            if volume.split(":")[0] not in compose["volumes"]:
                yield f"{name}: {volume} is no volume"
        if "mem_limit" not in service:
            yield f"{name} may take all memory"
        if "no-new-privileges:true" not in service.get("security_opt", []):
            yield f"{name} may gain privileges"
        if service.get("ports") and (name != "gateway" or not service["ports"][0].startswith("127.0.0.1:")):
            yield f"{name} is reached from outside"
        if name not in SERVERS:
            yield from _unlike_the_code(name, service)


def _waits_in_vain(name: str, service: dict[str, Any], others: dict[str, Any]) -> Iterator[str]:
    for needed, wanted in service.get("depends_on", {}).items():
        if needed not in others:
            yield f"{name} depends on {needed}, which is not there"
        elif wanted["condition"] == "service_healthy" and "healthcheck" not in others[needed]:
            yield f"{name} waits for the health of {needed}, which nobody checks"


def _changeable(name: str, image: str) -> Iterator[str]:
    if not PINNED.fullmatch(image) and not re.fullmatch(r"aima-[a-z-]+:local", image):
        yield f"{name}: {image} may be another image tomorrow"
    if "/" in image and re.search(r"[.:]", image.split("/", maxsplit=1)[0]):
        yield f"{name}: {image} names a registry"


def _unlike_the_code(name: str, service: dict[str, Any]) -> Iterator[str]:
    if not service.get("read_only") or service.get("cap_drop") != ["ALL"]:
        yield f"{name} may write to its image, or has capabilities"
    if float(service.get("stop_grace_period", "10s").removesuffix("s")) <= DRAIN_SECONDS:
        yield f"{name} is killed before it has drained"
    writable = {one.split(":")[0] for one in service.get("tmpfs", [])}
    writable |= {one.split(":")[1] for one in service.get("volumes", []) if not one.endswith(":ro")}
    for setting, value in service["environment"].items():
        if setting not in KNOWN:
            yield f"{name}: {setting} is no setting"
        if setting in {"AIMA_SCRATCH", "AIMA_STATE"} and value not in writable:
            yield f"{name}: {value} cannot be written"


def test_nothing_is_wrong_with_the_compose_file(compose: Compose) -> None:
    assert list(mistakes(compose)) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"depends_on": {"kafak": {"condition": "service_healthy"}}}, "kafak"),
        ({"depends_on": {"gateway": {"condition": "service_healthy"}}}, "nobody checks"),
        ({"image": "aima-fusion:latest"}, "tomorrow"),
        ({"image": "apache/kafka"}, "tomorrow"),
        ({"image": "registry.example.org/aima/fusion:1.2.3"}, "names a registry"),
        ({"volumes": ["nowhere:/data"]}, "no volume"),
        ({"read_only": False}, "may write"),
        ({"cap_drop": []}, "capabilities"),
        ({"security_opt": []}, "privileges"),
        ({"ports": ["8790:8790"]}, "outside"),
        ({"stop_grace_period": "10s"}, "drained"),
        ({"environment": {"AIMA_MONGO": "x"}}, "no setting"),
        ({"environment": {"AIMA_SCRATCH": "/scratch"}}, "cannot be written"),
    ],
)
def test_each_mistake_would_be_seen(compose: Compose, change: dict[str, Any], told: str) -> None:
    broken = deepcopy(compose)
    broken["services"]["fusion"] |= change
    assert any(told in mistake for mistake in mistakes(broken))


def test_a_container_without_a_limit_would_be_seen(compose: Compose) -> None:
    broken = deepcopy(compose)
    del broken["services"]["kafka"]["mem_limit"]
    assert list(mistakes(broken)) == ["kafka may take all memory"]


def test_every_service_runs_and_analysis_runs_in_each_lane(compose: Compose, services: set[str]) -> None:
    ours = set(compose["services"]) - SERVERS
    assert ours == (services - {"analysis"}) | {f"analysis-{lane}" for lane in LANES}
    for name in ours:
        built = compose["services"][name]["build"]["args"]["SERVICE"]
        assert built == name.partition("-")[0]
    for lane in LANES:
        assert compose["services"][f"analysis-{lane}"]["environment"]["AIMA_LANES"] == lane


def test_jobs_find_room_for_all_lanes_on_the_machine(compose: Compose) -> None:
    gigabytes = {name: int(service["mem_limit"].removesuffix("g")) for name, service in compose["services"].items()}
    # What this process may take is what it tells the scheduler that the machine has.
    assert gigabytes["gpu_manager"] == sum(gigabytes[f"analysis-{lane}"] for lane in LANES)


def test_the_servers_are_of_the_versions_that_the_tests_run_on(compose: Compose) -> None:
    images = {name: compose["services"][name]["image"] for name in SERVERS - {"qdrant"}}
    assert images == {
        "kafka": f"apache/kafka:{kafka.VERSION}",
        "mongodb": f"mongo:{mongod.VERSION}",
        "s3": f"versity/versitygw:{s3.VERSITYGW.version}",
    }


def test_gpus_change_services_that_are_there_and_a_variant_that_is_there(root: Path, compose: Compose) -> None:
    over = yaml.safe_load((root / "docker/compose.gpu.yaml").read_text("utf-8"))["services"]
    assert set(over) == {"gpu_manager", "analysis-video", "analysis-image"}
    for name, service in over.items():
        assert name in compose["services"]
        variant = service.get("build", {}).get("args", {}).get("VARIANT", "")
        built = compose["services"][name]["build"]["args"]["SERVICE"]
        assert (root / f"requirements/services/{built}{variant}.txt").is_file()


def test_the_images_run_as_nobody_in_particular(dockerfile: str) -> None:
    users = re.findall(r"^USER (\S+)$", dockerfile, re.MULTILINE)
    assert users == [USER]
    assert dockerfile.rindex("USER ") > dockerfile.rindex("FROM ")
    assert "HEALTHCHECK" in dockerfile


def test_the_base_image_is_pinned(dockerfile: str) -> None:
    (base,) = re.findall(r"^ARG BASE=(\S+)$", dockerfile, re.MULTILINE)
    assert PINNED.fullmatch(base)
    assert not PINNED.fullmatch("python:latest")


def test_the_images_set_what_is_a_setting_and_no_folder_that_only_some_can_write(dockerfile: str) -> None:
    set_there = dict(re.findall(r"\b(AIMA_[A-Z_]+)=(\S+)", dockerfile))
    assert set_there
    assert set(set_there) <= set(KNOWN)
    assert "AIMA_SCRATCH" not in set_there
    assert set_there["AIMA_STATE"].startswith("/tmp/")


def test_every_service_is_named_wherever_images_are_made(root: Path, dockerfile: str, services: set[str]) -> None:
    (told,) = re.findall(r"^# SERVICE +([a-z_ ]+), or embedded$", dockerfile, re.MULTILINE)
    assert set(told.split()) == services
    (locked,) = re.findall(r"^SERVICES := (.+)$", (root / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert set(locked.split()) == services | {"embedded"}


def test_every_service_has_an_entry_point_and_a_lock_of_its_own(root: Path, services: set[str]) -> None:
    project = (root / "pyproject.toml").read_text("utf-8")
    everything = versions(root / "requirements/all.txt")
    locks = {path.stem: path for path in (root / "requirements/services").glob("*.txt")}
    assert set(locks) == services | {"embedded", "analysis_cuda"}
    for service in services | {"embedded"}:
        assert f'aima-{service.replace("_", "-")} = "aima_{service}.__main__:main"' in project
        held = versions(locks[service])
        assert held
        assert held.items() <= everything.items(), service


def test_on_gpus_nothing_differs_but_the_runtime_and_what_it_brings(root: Path) -> None:
    plain, cuda = (versions(root / f"requirements/services/{name}.txt") for name in ("analysis", "analysis_cuda"))
    del plain["onnxruntime"]
    assert plain.items() <= cuda.items()
    added = set(cuda) - set(plain)
    assert "onnxruntime-gpu" in added
    assert not [name for name in added if not name.startswith(("onnxruntime-gpu", "nvidia-"))]


def test_a_service_that_calls_no_model_carries_no_model_runtime(root: Path) -> None:
    assert "onnxruntime" not in versions(root / "requirements/services/fusion.txt")
    assert "onnxruntime" in versions(root / "requirements/services/analysis.txt"), "the control"


def linted(tool: str, *arguments: str) -> int:
    return subprocess.run(
        [Path(sys.executable).with_name(tool), *arguments], check=False, capture_output=True
    ).returncode


def test_the_linter_and_the_schema_see_planted_mistakes(root: Path, tmp_path: Path, dockerfile: str) -> None:
    broken = tmp_path / "Dockerfile"
    assert linted("hadolint", str(root / "docker/Dockerfile")) == 0
    broken.write_text(dockerfile.replace("# hadolint ignore=DL3008\n", ""), "utf-8")
    assert linted("hadolint", str(broken)) != 0
    schema = ("check-jsonschema", "--builtin-schema", "vendor.compose-spec")
    assert linted(*schema, *(str(root / name) for name in COMPOSE_FILES)) == 0
    misspelt = tmp_path / "compose.yaml"
    misspelt.write_text((root / COMPOSE_FILES[0]).read_text("utf-8").replace("read_only:", "readonly:"), "utf-8")
    assert linted(*schema, str(misspelt)) != 0
