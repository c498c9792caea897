"""What other programs read."""

import csv
import io
import re

from aima_dossier.exports import COLUMNS, srt, table, webvtt
from aima_dossier.model import DossierMedium
from tests.unit.aima_dossier.dossier_sample import Sample, found, hostile, recording, sample


def spoken(*lines: tuple[float, float, str]) -> DossierMedium:
    case = Sample()
    case.add("a.opus", [found("speech", start, end, text=text) for start, end, text in lines], recording(4000))
    return case.dossier().media[0]


def test_webvtt_has_a_cue_for_every_line() -> None:
    assert webvtt(spoken((1.5, 3.25, "It was the best of times,"), (3661.001, 3662.0, "R&D <now>"))) == (
        "WEBVTT\n\n"
        "00:00:01.500 --> 00:00:03.250\nIt was the best of times,\n\n"
        "01:01:01.001 --> 01:01:02.000\nR&amp;D &lt;now&gt;\n"
    )


def test_subrip_cues_are_numbered() -> None:
    assert srt(spoken((1.5, 3.25, "One."), (4.0, 5.0, "Two."))) == (
        "1\n00:00:01,500 --> 00:00:03,250\nOne.\n\n2\n00:00:04,000 --> 00:00:05,000\nTwo.\n"
    )


def test_no_words_can_end_a_cue_or_forge_another() -> None:
    text = webvtt(spoken((1.0, 2.0, "first\n\n00:00:05.000 --> 00:00:06.000\nforged")))

    assert len(re.findall("-->", text)) == 1
    assert "first 00:00:05.000 → 00:00:06.000 forged" in text


def test_a_moment_lasts_long_enough_to_be_shown_and_silence_is_no_cue() -> None:
    text = webvtt(spoken((1.0, 1.0, "Oh."), (2.0, 3.0, " \n ")))

    assert "00:00:01.000 --> 00:00:01.200" in text
    assert text.count("-->") == 1


def test_subtitles_say_what_people_corrected() -> None:
    film = next(medium for medium in sample().dossier().media if medium.type == "video")

    assert "It was the best of times; it was the worst …" in webvtt(film)


def test_the_table_has_a_row_for_every_statement() -> None:
    dossier = sample().dossier()
    rows = list(csv.DictReader(io.StringIO(table(dossier), newline="")))

    assert len(rows) == sum(len(medium.findings) for medium in dossier.media)
    assert tuple(rows[0]) == COLUMNS
    assert {row["medium_sha256"] for row in rows} == {medium.sha256 for medium in dossier.media}
    assert all(len(row["model_sha256"]) == 64 for row in rows)


def test_no_cell_is_run_as_a_formula() -> None:
    case = Sample()
    case.add(
        "=cmd|'/c calc'!A0.opus",
        [found("speech", 1, 2, text="@SUM(1)"), found("speech", 3, 4, text="1+1")],
        recording(9),
    )
    rows = list(csv.DictReader(io.StringIO(table(case.dossier()), newline="")))

    assert [row["text"] for row in rows] == ["'@SUM(1)", "1+1"]
    assert rows[0]["file_name"].startswith("'=")


def test_hostile_words_survive_the_table() -> None:
    rows = list(csv.DictReader(io.StringIO(table(hostile().dossier()), newline="")))

    assert "two\nlines\tand a bell\x07.png" in {row["file_name"] for row in rows}
