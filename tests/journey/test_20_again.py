"""Doing it again costs nothing: what is known is not computed, and the command says so."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aima_dossier.canonical import digest
from aima_dossier.model import Dossier
from tests.journey.aima_process import RunningAima, Told, aima, aima_on, calls_of_analyzers, files_below
from tests.journey.conftest import AnalysedDemo
from tests.unit.aima_preprocessing.made_media import photo, still

DOSSIERS = Path("objects/kept/t/default/dossiers")


@pytest.fixture(scope="module")
def restarted(analysed_demo: AnalysedDemo) -> Iterator[RunningAima]:
    """Run AIMA anew on what the demo left."""
    with aima_on(analysed_demo.data) as running:
        yield running


def canonical(folder: Path) -> str:
    return digest(Dossier.model_validate_json((folder / "dossier.json").read_bytes()))


def findings(dossier: dict[str, Any]) -> dict[str, Any]:
    return {medium["id"]: (medium["findings"], medium["near_duplicates"]) for medium in dossier["media"]}


async def calls(running: RunningAima) -> dict[str, int]:
    async with running.client() as client:
        return await calls_of_analyzers(client)


def demo_again(demo: AnalysedDemo, *arguments: str) -> Told:
    return aima("demo", "--out", demo.folder, *arguments)


async def test_the_same_again_calls_no_analyzer_and_sends_nothing(
    analysed_demo: AnalysedDemo, restarted: RunningAima
) -> None:
    before = canonical(analysed_demo.folder)
    told = demo_again(analysed_demo, "--json")
    assert told.status == 0, told.err
    assert told.json()["analyzer_calls"] == 0
    assert told.json()["sent_bytes"] == 0
    assert analysed_demo.summary["sent_bytes"] > 0, "the control: the first time everything was sent"
    assert sum((await calls(restarted)).values()) == 0
    assert canonical(analysed_demo.folder) == before


def test_the_command_says_in_words_that_no_analyzer_was_called(
    analysed_demo: AnalysedDemo, restarted: RunningAima
) -> None:
    told = demo_again(analysed_demo)
    assert told.status == 0, told.err
    assert "no analyzer was called" in told.out
    assert str(analysed_demo.folder / "dossier.html") in told.out
    for counted in ("2 recordings", "1 film", "lines of speech", "exact duplicate", "near duplicate", "holiday.jpg"):
        assert counted in told.out


async def test_a_deleted_dossier_comes_back_without_an_analyzer(
    analysed_demo: AnalysedDemo, restarted: RunningAima
) -> None:
    before = canonical(analysed_demo.folder)
    for path in analysed_demo.folder.glob("dossier.*"):
        path.unlink()
    assert demo_again(analysed_demo).status == 0
    assert canonical(analysed_demo.folder) == before
    assert sum((await calls(restarted)).values()) == 0


async def test_a_new_case_of_known_media_is_analysed_without_an_analyzer_and_ends_with_status_three(
    analysed_demo: AnalysedDemo, restarted: RunningAima, tmp_path: Path
) -> None:
    where = ("--out", tmp_path, "--data", analysed_demo.data, "--json")
    told = aima("analyze", analysed_demo.case.media_folder, *where, "--case", "Another")
    assert told.status == 3, told.err
    assert told.json()["analyzer_calls"] == told.json()["sent_bytes"] == 0
    assert told.json()["case"]["id"] != analysed_demo.summary["case"]["id"]
    assert sum((await calls(restarted)).values()) == 0
    first = json.loads((analysed_demo.folder / "dossier.json").read_bytes())
    second = json.loads((tmp_path / "dossier.json").read_bytes())
    assert findings(second) == findings(first)


async def test_one_photo_more_costs_the_calls_of_that_photo_alone(
    analysed_demo: AnalysedDemo, restarted: RunningAima, tmp_path: Path
) -> None:
    folder = shutil.copytree(analysed_demo.case.media_folder, tmp_path / "media")
    (folder / "photos/one more.png").write_bytes(still(photo(640, 480, seed=77)))
    before = await calls(restarted)
    told = aima("analyze", folder, "--out", tmp_path, "--data", analysed_demo.data, "--case", "One more", "--json")
    assert told.status == 3, told.err
    new = {name: count - before.get(name, 0) for name, count in (await calls(restarted)).items()}
    made = {name: count for name, count in new.items() if count}
    dossier = json.loads((tmp_path / "dossier.json").read_bytes())
    (added,) = (medium for medium in dossier["media"] if medium["file_names"] == ["one more.png"])
    assert made == {analysis["analyzer"]: 1 for analysis in added["analyses"]}
    assert len(made) >= 3
    assert told.json()["analyzer_calls"] == sum(made.values())
    assert told.json()["sent_bytes"] == (folder / "photos/one more.png").stat().st_size


async def test_an_aima_that_the_command_starts_itself_finds_everything_again(
    analysed_demo: AnalysedDemo, tmp_path: Path
) -> None:
    assert files_below(analysed_demo.data / DOSSIERS)
    data = shutil.copytree(analysed_demo.data, tmp_path / "data")
    told = aima("analyze", analysed_demo.case.media_folder, "--out", tmp_path, "--data", data, "--json")
    assert told.status == 3, told.err
    assert told.json()["analyzer_calls"] == 0
