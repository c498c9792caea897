"""The demo case, analysed once by `aima demo` for all tiers that look at it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aima_demo import DemoCase
from aima_demo.case import read_demo_case
from tests.journey.aima_process import Told, aima

_made: list["AnalysedDemo"] = []
"""Several tiers import the fixture below; whoever comes second uses what the first one made."""


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
    if not _made:
        folder = tmp_path_factory.mktemp("demo")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AIMA_STATE", str(tmp_path_factory.mktemp("state")))
            told = aima("demo", "--out", folder, "--json")
        assert told.status == 0, told.err
        case = read_demo_case(folder)
        assert case is not None
        _made.append(AnalysedDemo(case, told))
    return _made[0]
