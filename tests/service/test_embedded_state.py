"""AIMA on one machine is found by a file in the state folder; where it cannot be written, AIMA says so and ends."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from aima_client import state
from aima_client.embedded import READY_SECONDS, StartError, started


def in_the_way(tmp_path: Path) -> Path:
    """Name a folder that is a file."""
    place = tmp_path / "state"
    place.write_text("not a folder", encoding="utf-8")
    return place


def below_a_file(tmp_path: Path) -> Path:
    """Name a folder that cannot be made."""
    return in_the_way(tmp_path) / "aima"


@pytest.mark.parametrize("place", [in_the_way, below_a_file])
def test_a_state_folder_that_cannot_be_written_ends_the_start_with_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Callable[[Path], Path]
) -> None:
    folder = place(tmp_path)
    monkeypatch.setenv("AIMA_STATE", str(folder))
    begin = time.monotonic()
    with pytest.raises(StartError) as caught, started(tmp_path / "data", ["--analyzers", "echo"]):
        pass
    said = str(caught.value)
    assert f"the state folder {folder} (" in said
    assert "set AIMA_STATE" in said
    assert "Traceback" not in (tmp_path / "data" / "aima.log").read_text("utf-8")
    assert time.monotonic() - begin < READY_SECONDS, "it ended by itself"


def test_a_state_folder_that_can_be_written_holds_the_way_in_until_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "not there yet" / "state"
    monkeypatch.setenv("AIMA_STATE", str(place))
    with started(tmp_path / "data", ["--analyzers", "echo"]) as (instance, process):
        assert json.loads((place / f"instance-{process.pid}.json").read_text("utf-8"))["key"] == instance.key
        assert state.locate(tmp_path / "data") == instance
    assert list(place.iterdir()) == []
