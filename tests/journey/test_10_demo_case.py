"""The demo case through the real command: what it finds is what was planted, and every statement says who made it."""

import html
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from aima_common.contracts.media import MediumType
from aima_demo.answers import Region, character_error_rate, edits, match_cuts, overlap, word_error_rate, words
from aima_models.manifest import load_manifests
from tests.journey.conftest import AnalysedDemo

SCHEMA = Path(__file__).parents[2] / "docs/generated/dossier.schema.json"
LEAST_CUTS = 5
WORD_ERRORS = 0.10
CHARACTER_ERRORS = 0.05
FACE_OVERLAP = 0.5
"""The bounds that AIMA promises for its demo case."""

Json = dict[str, Any]


class Dossier:
    """A dossier by the names of the demo case's files."""

    def __init__(self, demo: AnalysedDemo) -> None:
        self.raw: Json = json.loads((demo.folder / "dossier.json").read_bytes())
        self._media = {medium["id"]: medium for medium in self.raw["media"]}
        self._items = {item["file_name"]: item for item in self.raw["items"]}

    def item(self, name: str) -> Json:
        return dict(self._items[Path(name).name])

    def medium(self, name: str) -> Json:
        return dict(self._media[self.item(name)["medium_id"]])

    def names(self, medium: str) -> set[str]:
        return {item["file_name"] for item in self.raw["items"] if item["medium_id"] == medium}

    def findings(self, name: str, kind: str) -> list[Json]:
        found = [finding for finding in self.medium(name)["findings"] if finding["kind"] == kind]
        return sorted(found, key=lambda finding: finding["start_seconds"])

    def all_findings(self) -> Iterator[Json]:
        for medium in self.raw["media"]:
            yield from medium["findings"]


@pytest.fixture(scope="module")
def dossier(analysed_demo: AnalysedDemo) -> Dossier:
    return Dossier(analysed_demo)


def test_the_demo_succeeds_although_some_of_its_files_are_broken_on_purpose(analysed_demo: AnalysedDemo) -> None:
    assert analysed_demo.told.status == 0
    summary = analysed_demo.summary
    assert summary["failed"] == summary["refused"] == []
    assert {Path(name).name for name in analysed_demo.case.answers.rejected} == {
        rejected["file_name"] for rejected in summary["rejected"]
    }
    assert summary["analyzer_calls"] > len(analysed_demo.case.answers.sizes)
    assert Path(summary["dossier"]["html"]).is_file()


def test_progress_was_told_all_the_way(analysed_demo: AnalysedDemo) -> None:
    told = analysed_demo.told.err
    for step in ("demo case of", "AIMA started", "read", "hand over", "left", "media"):
        assert step in told, told


def test_the_dossier_is_what_its_published_schema_says(dossier: Dossier) -> None:
    schema = json.loads(SCHEMA.read_bytes())
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    assert list(validator.iter_errors(dossier.raw)) == []
    assert list(validator.iter_errors({**dossier.raw, "media": "none"})), "the control: the schema refuses nonsense"


def test_every_file_of_the_case_is_in_the_dossier_with_its_end(analysed_demo: AnalysedDemo, dossier: Dossier) -> None:
    answers = analysed_demo.case.answers
    assert len(dossier.raw["items"]) == len(answers.sizes)
    for name, size in answers.sizes.items():
        item = dossier.item(name)
        assert item["size_bytes"] == size
        assert item["status"] == ("rejected" if name in answers.rejected else "analysed"), name


def test_exactly_the_planted_files_are_rejected_and_each_says_why_and_what_to_do(
    analysed_demo: AnalysedDemo, dossier: Dossier
) -> None:
    rejected = {item["file_name"]: item for item in dossier.raw["items"] if item["status"] == "rejected"}
    assert set(rejected) == {Path(name).name for name in analysed_demo.case.answers.rejected}
    for item in rejected.values():
        assert item["medium_id"] is None
        assert len(item["reason"]) > 20
        assert len(item["remedy"]) > 20
    assert {item["code"] for item in rejected.values()} == {"truncated", "html", "empty"}


def test_exactly_the_planted_exact_duplicates_share_a_medium(analysed_demo: AnalysedDemo, dossier: Dossier) -> None:
    planted = {frozenset(Path(name).name for name in pair) for pair in analysed_demo.case.answers.exact_duplicates}
    found = {frozenset(group["file_names"]) for group in dossier.raw["exact_duplicates"]}
    assert found == planted
    shared = {frozenset(dossier.names(medium["id"])) for medium in dossier.raw["media"]}
    assert {names for names in shared if len(names) > 1} == planted


def test_exactly_the_planted_near_duplicates_are_related_both_ways(
    analysed_demo: AnalysedDemo, dossier: Dossier
) -> None:
    planted = {frozenset(Path(name).name for name in pair) for pair in analysed_demo.case.answers.near_duplicates}
    found = [
        frozenset(dossier.names(medium["id"]) | dossier.names(near["medium_id"]))
        for medium in dossier.raw["media"]
        for near in medium["near_duplicates"]
    ]
    assert set(found) == planted
    assert all(found.count(pair) == 2 for pair in planted)


def test_cuts_are_found_within_one_frame(analysed_demo: AnalysedDemo, dossier: Dossier) -> None:
    film = analysed_demo.case.answers.film
    starts = [shot["start_seconds"] for shot in dossier.findings(film.name, "shot") if shot["start_seconds"] > 0]
    match = match_cuts(film.cuts_seconds, starts, 1 / film.frames_per_second)
    assert len(film.cuts_seconds) >= LEAST_CUTS
    assert match.missed == ()
    begin, end = film.dissolve_seconds
    assert all(begin <= time <= end for time in match.invented), "all but the dissolve is a cut"


def test_speech_is_written_down(analysed_demo: AnalysedDemo, dossier: Dossier) -> None:
    answers = analysed_demo.case.answers
    for name, spoken in {answers.film.name: answers.film.speech, **answers.recordings}.items():
        written = " ".join(line["text"] for line in dossier.findings(name, "speech"))
        assert word_error_rate(spoken, written) <= WORD_ERRORS, written


def test_titles_are_read_while_they_stand_in_the_film(analysed_demo: AnalysedDemo, dossier: Dossier) -> None:
    film = analysed_demo.case.answers.film
    lines = dossier.findings(film.name, "text")
    wrong = total = 0
    for title in film.titles:
        read = [f for f in lines if f["start_seconds"] < title.end_seconds and f["end_seconds"] > title.start_seconds]
        best = min((str(f["text"]) for f in read), key=lambda text: character_error_rate(title.text, text), default="")
        expected = " ".join(words(title.text))
        wrong, total = wrong + edits(expected, " ".join(words(best))), total + len(expected)
    assert wrong / total <= CHARACTER_ERRORS


def test_the_astronaut_has_a_face_where_it_is_and_the_coffee_has_none(
    analysed_demo: AnalysedDemo, dossier: Dossier
) -> None:
    for name, expected in analysed_demo.case.answers.faces.items():
        found = [Region(**face["region"]) for face in dossier.findings(name, "face")]
        assert len(found) == len(expected), name
        for face in expected:
            assert max(overlap(face, region) for region in found) >= FACE_OVERLAP
    assert any(analysed_demo.case.answers.faces.values())
    assert not all(analysed_demo.case.answers.faces.values())


def test_every_statement_names_who_made_it_with_which_model_and_how_sure_it_is(dossier: Dossier) -> None:
    known = {(m.name, m.version, m.digest) for m in load_manifests().values()}
    stated = list(dossier.all_findings())
    assert {finding["kind"] for finding in stated} >= {"shot", "speech", "text", "face", "label"}
    assert len({finding["id"] for finding in stated}) == len(stated)
    for finding in stated:
        model = finding["model"]
        assert (model["name"], model["version"], model["sha256"]) in known, finding
        assert 0 < finding["confidence"] <= 1
        assert finding["precision_seconds"] >= 0
    for medium in dossier.raw["media"]:
        makers = {analysis["analyzer"] for analysis in medium["analyses"]}
        assert {finding["analyzer"] for finding in medium["findings"]} <= makers
        assert len(medium["sha256"]) == 64


def test_every_statement_lies_within_its_medium(dossier: Dossier) -> None:
    for medium in dossier.raw["media"]:
        length = medium["duration_seconds"] or 0.0
        for finding in medium["findings"]:
            slack = finding["precision_seconds"] + 1e-6
            assert -slack <= finding["start_seconds"] <= finding["end_seconds"] <= length + slack, finding
            if medium["type"] == MediumType.IMAGE:
                assert finding["end_seconds"] == 0


def test_nothing_is_missing_on_a_machine_with_all_models(dossier: Dossier) -> None:
    assert [missing for medium in dossier.raw["media"] for missing in medium["missing"]] == []
    assert dossier.raw["complete"]


def test_the_page_holds_everything_in_one_file(analysed_demo: AnalysedDemo, dossier: Dossier) -> None:
    page = html.unescape((analysed_demo.folder / "dossier.html").read_text("utf-8"))
    for finding in dossier.findings(analysed_demo.case.answers.film.name, "speech"):
        assert finding["text"] in page
    assert "Portrait of an Astronaut" in page
    for elsewhere in ('src="http', "src='http", 'href="http', "@import", "url(http"):
        assert elsewhere not in page
