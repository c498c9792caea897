"""One product, an extra per service: the lists of dependencies agree with each other and with the tree."""

import re
import tomllib
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def extras(root: Path) -> dict[str, list[str]]:
    with (root / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    optional: dict[str, list[str]] = project["optional-dependencies"]
    return optional


@pytest.fixture(scope="module")
def services(root: Path) -> set[str]:
    return {path.name.removeprefix("aima_") for path in (root / "services").glob("aima_*")} - {"embedded"}


def test_every_service_has_an_extra_of_its_name_with_the_cluster_plugs(
    extras: dict[str, list[str]], services: set[str]
) -> None:
    assert len(services) == 10
    for service in services:
        assert "aima[connected]" in extras[service]


def test_one_process_holds_what_every_service_needs(extras: dict[str, list[str]], services: set[str]) -> None:
    needed = {wish for service in services for wish in extras[service]} - {"aima[connected]"}
    assert needed
    assert needed <= set(extras["embedded"])


def test_one_machine_needs_no_cluster_plug(root: Path, extras: dict[str, list[str]]) -> None:
    locked = (root / "requirements/runtime.txt").read_text("utf-8")
    plugs = [re.split(r"[\[=<>]", wish)[0] for wish in extras["connected"]]
    assert plugs
    assert not [plug for plug in plugs if re.search(rf"^{plug}==", locked, re.MULTILINE)]
    everything = (root / "requirements/all.txt").read_text("utf-8")
    assert [plug for plug in plugs if re.search(rf"^{plug}==", everything, re.MULTILINE)] == plugs


def test_both_locks_hold_the_same_versions(root: Path) -> None:
    runtime, everything = (
        set(re.findall(r"^(\S+==[^ \\]+)", (root / f"requirements/{name}.txt").read_text("utf-8"), re.MULTILINE))
        for name in ("runtime", "all")
    )
    assert runtime
    assert runtime <= everything
