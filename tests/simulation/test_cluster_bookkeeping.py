"""The harness of clusters itself: it would tell of a broken promise, of a fault that was none, of a blind checker."""

import dataclasses
import datetime
import json
import random
from collections import Counter
from pathlib import Path

import av
import pytest

from aima_cluster.plan import REPLICAS
from aima_common.ports.documents import Document
from aima_monitoring.invariants import Snapshot, Violation, check
from tests.chaos.cluster_crashes import WHERE
from tests.chaos.cluster_ground import Found
from tests.chaos.cluster_lines import WRITES
from tests.chaos.cluster_media import EVERY, FILM_FRAMES, RECORDING_SAMPLES, small_files
from tests.chaos.cluster_plan import everything, selection
from tests.chaos.cluster_report import Matrix, Round, as_dict, as_markdown
from tests.chaos.controls import Control
from tests.chaos.crashing import POINTS
from tests.chaos.damages import LETTER_EMPTIED

CONTROLS = {"an upload is lost": "I17"}
FOUND = Found([], {"analysed": 8}, redone=1, dead_letters=0, seconds_to_rest=3.0, rested=True, controls=CONTROLS)
ROUND = Round("kill -9 fusion", 7, "fusion-1 died", True, 8, 9, 1, FOUND, 20.0, 0, False)
PASSED = [Control("fencing", "", ("I5",)), Control("inbox", "", ("I6",))]
MATRIX = Matrix(7, 1, {"fusion": 2}, 10, [ROUND], PASSED, erased=1, objects=3, bytes=30, in_the_end=[])
LOSS = Violation("I1", "item", "it is not there")


def test_a_matrix_in_which_all_is_well_passes_and_tells_seed_counts_and_controls() -> None:
    assert MATRIX.failures() == []
    page = as_markdown(MATRIX, "the command")
    for word in ("**Passed.**", "the command", "| 7 |", "9 / 1 / 8", "I6", "kill -9 fusion", "an upload is lost (I17)"):
        assert word in page
    assert json.loads(json.dumps(as_dict(MATRIX, "the command")))["passed"]


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"inflicted": False}, "not inflicted"),
        ({"dead_letters_made": 1}, "dead letters"),
        ({"found": dataclasses.replace(FOUND, violations=[LOSS])}, "is not there"),
        ({"found": dataclasses.replace(FOUND, terminal={"analysed": 7})}, "came to an end"),
        ({"found": dataclasses.replace(FOUND, rested=False)}, "still work"),
        ({"found": dataclasses.replace(FOUND, controls={"it is lost": ""})}, "nobody would notice: it is lost"),
    ],
    ids=["no fault", "a dead letter", "a violation", "a loss", "no rest", "a blind checker"],
)
def test_a_round_in_which_a_promise_is_broken_fails_and_says_which(changed: dict[str, object], word: str) -> None:
    broken = dataclasses.replace(MATRIX, rounds=[dataclasses.replace(ROUND, **changed)])  # type: ignore[arg-type]
    (failure,) = broken.failures()
    assert word in failure
    assert "**Failed.**" in as_markdown(broken, "make chaos")


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"planned": 2}, "1 of 2 faults"),
        ({"in_the_end": [LOSS]}, "in the end"),
        ({"controls": [PASSED[0], Control("inbox", "", ())]}, "noticed nothing"),
        ({"controls": [Control("fencing", "a late holder wrote", ("I5",)), PASSED[1]]}, "late holder"),
    ],
    ids=["an early end", "a changed object", "a blind checker", "no protection"],
)
def test_a_matrix_whose_end_or_controls_are_not_as_promised_fails(changed: dict[str, object], word: str) -> None:
    (failure,) = dataclasses.replace(MATRIX, **changed).failures()  # type: ignore[arg-type]
    assert word in failure


def test_a_dead_letter_without_its_bytes_is_noticed_as_that() -> None:
    body = {"topic": "t", "partition": 0, "offset": 7, "value": "YQ==", "size_bytes": 1, "reason": "r", "detail": "d"}
    now = datetime.datetime(2026, 11, 26, tzinfo=datetime.UTC)
    seen = Snapshot(now, {"dead_letters": [Document("letter", "acme", "open", 0, 1, body)]}, {}, {})
    assert check(seen) == [], "the control: it is whole"
    assert LETTER_EMPTIED.noticed(seen, [], [])
    assert [violation.detail for violation in check(LETTER_EMPTIED.done_to(seen, []))] == [
        "a dead letter without its bytes, and without a place where they lie"
    ]


def test_garbage_makes_dead_letters_on_purpose() -> None:
    assert dataclasses.replace(ROUND, dead_letters_made=20, allowed_dead_letters=True).failures() == []


def test_every_fault_has_a_name_of_its_own_and_every_point_of_a_crash_is_visited() -> None:
    names = [fault.name for fault in (*everything(), *selection())]
    assert len(names) == len(set(names))
    assert set(WHERE) == set(POINTS)
    assert all(fault.threatens for fault in (*everything(), *selection()))
    assert {f"crash {point}" for point in POINTS} <= set(names)


def test_every_kind_of_process_of_a_cluster_is_killed() -> None:
    killed = {fault.name.split()[2] for fault in everything() if fault.name.startswith("kill -9 ")}
    assert killed == set(REPLICAS)


def test_the_files_of_a_case_are_pictures_and_now_and_then_a_film_and_a_recording(tmp_path: Path) -> None:
    files = small_files(tmp_path, "case", 2 * EVERY, random.Random(1))
    assert Counter(file.path.suffix for file in files) == {".png": 2 * EVERY - 4, ".mp4": 2, ".wav": 2}
    assert len({file.sha256 for file in files}) == len(files)
    with av.open(str(next(file.path for file in files if file.path.suffix == ".mp4"))) as film:
        assert len(list(film.decode(video=0))) == FILM_FRAMES
    with av.open(str(next(file.path for file in files if file.path.suffix == ".wav"))) as recording:
        assert sum(frame.samples for frame in recording.decode(audio=0)) == RECORDING_SAMPLES


@pytest.mark.parametrize(
    ("server", "write", "other"),
    [
        ("kafka", b"\0\0\1\0\0\0\0\7", b"\0\0\1\0\0\1\0\7"),
        ("mongod", b"\0" * 25 + b"\2findAndModify\0", b"\0" * 25 + b"\2find\0"),
        ("s3", b"PUT /aima/key HTTP/1.1", b"GET /aima/key HTTP/1.1"),
    ],
)
def test_a_write_is_told_from_other_requests(server: str, write: bytes, other: bytes) -> None:
    assert WRITES[server](write)
    assert not WRITES[server](other)
    assert not WRITES[server](b"")
