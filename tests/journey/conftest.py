"""The journey: AIMA as a process, driven by its own command and client. Nothing is replaced."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.demo import AnalysedDemo, analysed_demo
from tests.journey.aima_process import RunningAima, aima_on

__all__ = ["AnalysedDemo", "analysed_demo"]

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


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningAima]:
    """Run an AIMA on an empty folder for the tests of one file."""
    with aima_on(tmp_path_factory.mktemp("house")) as running:
        yield running
