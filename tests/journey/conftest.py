"""The journey: AIMA as a process, driven by its own command and client. Nothing is replaced."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aima_demo import DemoCase
from aima_demo.case import read_demo_case
from tests.journey.aima_process import RunningAima, Told, aima, aima_on

BUILDING_SECONDS = 600
"""The demo case is made and analysed in the set-up of whichever test comes first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(BUILDING_SECONDS))


@pytest.fixture(scope="session", autouse=True)
def _a_home_of_our_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the instances of the tests, and those of whoever runs the tests, out of each other's sight."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIMA_STATE", str(tmp_path_factory.mktemp("state")))
        patch.setenv("AIMA_DATA", str(tmp_path_factory.mktemp("data-by-default")))
        for name in ("AIMA_URL", "AIMA_KEY", "AIMA_ANALYZERS", "AIMA_LOG_LEVEL"):
            patch.delenv(name, raising=False)
        assert os.environ["AIMA_STATE"]
        yield


@dataclass(frozen=True)
class AnalysedDemo:
    """A folder after `aima demo`: media, data, dossier."""

    case: DemoCase
    told: Told
    """What the command said."""

    @property
    def folder(self) -> Path:
        """Where the dossier lies."""
        return self.case.folder

    @property
    def data(self) -> Path:
        """What AIMA kept."""
        return self.folder / "data"

    @property
    def summary(self) -> dict[str, Any]:
        """What the command wrote for machines."""
        return self.told.json()


@pytest.fixture(scope="session")
def analysed_demo(tmp_path_factory: pytest.TempPathFactory) -> AnalysedDemo:
    """Run `aima demo` once for all tests."""
    folder = tmp_path_factory.mktemp("demo")
    told = aima("demo", "--out", folder, "--json")
    assert told.status == 0, told.err
    case = read_demo_case(folder)
    assert case is not None
    return AnalysedDemo(case, told)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningAima]:
    """Run an AIMA on an empty folder for the tests of one file."""
    with aima_on(tmp_path_factory.mktemp("house")) as running:
        yield running
