"""Every extra holds what its service imports, directly or through the libraries of ours that it uses."""

import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import grimp
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


@pytest.fixture(scope="module")
def packages(root: Path) -> list[str]:
    """List the packages that are shipped."""
    found = [path.name for folder in ("libs", "services") for path in (root / folder).glob("aima_*")]
    return sorted(set(found) - {"aima_cluster", "aima_servers"})


@pytest.fixture(scope="module")
def graph(packages: list[str]) -> grimp.ImportGraph:
    return grimp.build_graph(*packages, include_external_packages=True, cache_dir=None)


def libraries_of(package: str, graph: grimp.ImportGraph) -> set[str]:
    """Name the libraries, as they are imported, that a package needs at any time."""
    inside = {module for module in graph.modules if module.split(".")[0] == package}
    ours = set(inside)
    for module in inside:
        ours |= {name for name in graph.find_upstream_modules(module) if name.startswith("aima_")}
    imported = {name.split(".")[0] for module in ours for name in graph.find_modules_directly_imported_by(module)}
    return {name for name in imported if not name.startswith("aima_") and name not in sys.stdlib_module_names}


def applies(requirement: Requirement, extras: frozenset[str]) -> bool:
    marker = requirement.marker
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in extras or {""})


def provided(extras: Iterable[str]) -> set[str]:
    """Name the distributions that these extras of AIMA install, and what those need in turn."""
    waiting, found = [("aima", frozenset(extras))], set()
    while waiting:
        name, wanted = waiting.pop()
        if (name, wanted) in found:
            continue
        found.add((name, wanted))
        for line in metadata.requires(name) or []:
            requirement = Requirement(line)
            if applies(requirement, wanted):
                waiting.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    return {name for name, _ in found}


def missing(package: str, extras: Iterable[str], graph: grimp.ImportGraph) -> set[str]:
    has, makers = provided(extras), metadata.packages_distributions()
    return {
        library
        for library in libraries_of(package, graph)
        if not has & {canonicalize_name(maker) for maker in makers.get(library, [])}
    }


def test_every_service_finds_its_libraries_in_its_extra(graph: grimp.ImportGraph, packages: list[str]) -> None:
    services = [name for name in packages if (Path(__file__).parents[2] / "services" / name).is_dir()]
    assert len(services) == 11
    found = {service: missing(service, [service.removeprefix("aima_")], graph) for service in services}
    assert not {service: libraries for service, libraries in found.items() if libraries}


def test_one_machine_finds_everything_without_the_cluster_plugs(packages: list[str]) -> None:
    graph = grimp.build_graph(*packages, include_external_packages=True, cache_dir=None)
    for package in packages:
        # What makes a service a process of a cluster is not used on one machine.
        if package not in {"aima_client", "aima_common", "aima_demo", "aima_embedded", "aima_models"}:
            graph.remove_module(f"{package}.__main__")
    extras = ["embedded", "models", "demo"]
    found = {package: missing(package, extras, graph) for package in packages if package != "aima_common"}
    assert not {package: libraries for package, libraries in found.items() if libraries}


def test_a_library_that_no_extra_names_is_seen(graph: grimp.ImportGraph) -> None:
    assert missing("aima_analysis", ["fusion"], graph) >= {"rapidocr", "onnxruntime"}
