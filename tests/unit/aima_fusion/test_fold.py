"""The fold of results into a picture: any order, any repetition, and what is joined across segment borders."""

import random
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aima_common import ids
from aima_common.contracts.media import (
    Finding,
    FindingKind,
    MediumType,
    MissingCapability,
    ModelReference,
    Probe,
    Region,
    Result,
    Segment,
)
from aima_common.contracts.picture import MissingPart, Picture, PictureFinding
from aima_fusion.domain import FoundPart, PreparedMedium, fold

MODEL = ModelReference(name="a model", version="1", sha256="a" * 64)
FACE = Region(x=0.4, y=0.2, width=0.2, height=0.3)
ELSEWHERE = Region(x=0.0, y=0.6, width=0.1, height=0.1)
CAPABILITY = {"cut": "shots"}


def segment(index: int, seconds: float = 60.0, context: float = 5.0) -> Segment:
    start = index * seconds
    return Segment(
        index=index,
        core_start=start,
        core_end=start + seconds,
        context_start=max(0.0, start - context),
        context_end=start + seconds + context,
    )


def finding(
    kind: FindingKind,
    start: float,
    end: float | None = None,
    *,
    region: Region | None = None,
    text: str | None = None,
    label: str | None = None,
    confidence: float = 0.9,
    precision: float = 0.0,
) -> Finding:
    return Finding(
        kind=kind,
        start_seconds=start,
        end_seconds=start if end is None else end,
        precision_seconds=precision,
        region=region,
        text=text,
        label=label,
        confidence=confidence,
        analyzer=f"{kind}-analyzer",
        model=MODEL,
    )


def part(index: int | None, *findings: Finding, missing: Sequence[MissingCapability] = (), kind: str = "") -> FoundPart:
    kind = kind or (findings[0].kind if findings else "face")
    result = Result(
        key=f"key-{kind}-{index}",
        medium="medium",
        segment=None if index is None else segment(index),
        analyzer=f"{kind}-analyzer",
        analyzer_version="1",
        findings=list(findings),
        missing=list(missing),
    )
    return FoundPart(f"job-{kind}-{index}", CAPABILITY.get(kind, kind), result)


def prepared(seconds: float | None = 180.0, kind: MediumType = MediumType.VIDEO, segments: int = 3) -> PreparedMedium:
    return PreparedMedium(
        medium="medium",
        run="run",
        type=kind,
        probe=Probe(type=kind, mime_type="video/mp4", container="mp4", duration_seconds=seconds),
        segments=tuple(segment(index) for index in range(segments)),
    )


def folded(*parts: FoundPart, seconds: float | None = 180.0, kind: MediumType = MediumType.VIDEO) -> Picture:
    return fold(parts, (), prepared(seconds, kind))


def of_kind(picture: Picture, kind: str) -> list[PictureFinding]:
    return [found for found in picture.findings if found.kind == kind]


def spans(picture: Picture, kind: str) -> list[tuple[float, float]]:
    return [(found.start_seconds, found.end_seconds) for found in of_kind(picture, kind)]


KINDS: tuple[FindingKind, ...] = ("cut", "speech", "text", "face", "label", "voice_activity")
WORDS = st.lists(st.sampled_from(["It", "was", "the", "best", "of", "times,"]), max_size=6).map(" ".join)


@st.composite
def some_parts(draw: st.DrawFn) -> list[FoundPart]:
    parts = []
    for kind in draw(st.lists(st.sampled_from(KINDS), unique=True, max_size=4)):
        for index in draw(st.lists(st.integers(0, 2), unique=True, max_size=3)):
            starts = draw(st.lists(st.integers(0, 700), max_size=6))
            findings = [
                finding(
                    kind,
                    max(0.0, index * 60 - 5) + start / 10,
                    max(0.0, index * 60 - 5) + start / 10 + draw(st.sampled_from([0.0, 0.5, 3.0, 12.0])),
                    region=draw(st.sampled_from([None, FACE, ELSEWHERE])),
                    text=draw(st.none() | WORDS),
                    label=draw(st.sampled_from([None, "cat", "cup"])),
                    confidence=draw(st.sampled_from([0.5, 0.9])),
                    precision=draw(st.sampled_from([0.0, 0.04, 0.5])),
                )
                for start in starts
            ]
            parts.append(part(index, *findings, kind=kind))
    return parts


@given(some_parts(), st.randoms(use_true_random=False))
def test_results_may_come_in_any_order_and_any_number_of_times(parts: list[FoundPart], chance: random.Random) -> None:
    again = parts + [one for one in parts if chance.random() < 0.5]
    chance.shuffle(again)

    assert folded(*again).model_dump_json() == folded(*parts).model_dump_json()


@given(some_parts())
def test_every_finding_has_a_name_of_its_own(parts: list[FoundPart]) -> None:
    names = [found.id for found in folded(*parts).findings]

    assert len(names) == len(set(names))


@given(some_parts())
def test_shots_tile_the_film_from_its_start_to_its_end(parts: list[FoundPart]) -> None:
    shots = spans(folded(*parts, part(None, kind="cut")), "shot")

    assert shots[0][0] == 0.0
    assert shots[-1][1] == 180.0
    assert all(before[1] == after[0] for before, after in pairwise(shots))
    assert all(start < end for start, end in shots)


@given(some_parts())
def test_joining_speech_invents_no_word_and_leaves_no_gap(parts: list[FoundPart]) -> None:
    heard = [found for one in parts for found in one.result.findings if found.kind == "speech"]
    kept = of_kind(folded(*parts), "speech")

    assert {word for line in kept for word in (line.text or "").split()} <= {
        word for line in heard for word in (line.text or "").split()
    }
    assert all(
        any(line.start_seconds <= one.start_seconds and min(one.end_seconds, 180) <= line.end_seconds for line in kept)
        for one in heard
    )


def test_a_repeated_finding_changes_nothing() -> None:
    once = part(0, finding("face", 1.0, region=FACE))

    assert folded(once, once) == folded(once)
    assert len(folded(once).findings) == 1


def test_a_single_finding_keeps_the_name_of_its_place_in_its_result() -> None:
    picture = folded(part(0, finding("face", 1.0, region=FACE)))

    assert [found.id for found in picture.findings] == [ids.finding_id("key-face-0", 0)]


def test_a_face_that_stays_is_one_finding_across_the_segment_border() -> None:
    samples = [finding("face", 58 + step / 2, region=FACE, precision=0.5) for step in range(4)]
    after = [finding("face", 60 + step / 2, region=FACE, precision=0.5, confidence=0.95) for step in range(4)]

    faces = of_kind(folded(part(0, *samples), part(1, *after)), "face")

    assert [(face.start_seconds, face.end_seconds, face.observations) for face in faces] == [(58.0, 61.5, 8)]
    assert faces[0].confidence == 0.95


def test_a_joined_finding_says_when_its_region_was_seen() -> None:
    first = finding("face", 58.0, 59.5, region=FACE, precision=0.5, confidence=0.7)
    second = finding("face", 60.0, 64.0, region=FACE, precision=0.5, confidence=0.8)
    moved = second.model_copy(update={"seen_at_seconds": 62.5})

    assert [face.seen_at_seconds for face in folded(part(0, first), part(1, second)).findings] == [60.0]
    assert [face.seen_at_seconds for face in folded(part(0, first), part(1, moved)).findings] == [62.5]


def test_two_faces_in_one_picture_stay_two() -> None:
    near = Region(x=0.45, y=0.2, width=0.2, height=0.3)
    both = [finding("face", step / 2, region=place, precision=0.5) for step in range(4) for place in (FACE, near)]

    assert spans(folded(part(0, *both)), "face") == [(0.0, 1.5), (0.0, 1.5)]


def test_a_face_after_a_cut_is_another_finding() -> None:
    faces = part(0, *[finding("face", step / 2, region=FACE, precision=0.5) for step in range(8)])
    cut = part(0, finding("cut", 1.8))

    assert spans(folded(faces), "face") == [(0.0, 3.5)]
    assert spans(folded(faces, cut), "face") == [(0.0, 1.5), (2.0, 3.5)]


def test_a_face_that_comes_back_later_is_another_finding() -> None:
    seen = part(0, finding("face", 1.0, region=FACE, precision=0.5), finding("face", 9.0, region=FACE, precision=0.5))

    assert spans(folded(seen), "face") == [(1.0, 1.0), (9.0, 9.0)]


def test_a_title_is_one_finding_however_often_it_was_read() -> None:
    readings = [
        finding("text", 59.0, region=FACE, text="CHAPTER  one:", precision=0.5, confidence=0.7),
        finding("text", 59.5, region=FACE, text="Chapter one:", precision=0.5, confidence=0.9),
    ]
    later = [finding("text", 60.0, region=FACE, text="Chapter one:", precision=0.5, confidence=0.8)]

    texts = of_kind(folded(part(0, *readings), part(1, *later)), "text")

    assert [(text.text, text.start_seconds, text.end_seconds) for text in texts] == [("Chapter one:", 59.0, 60.0)]


@pytest.mark.parametrize(("text", "region"), [("Chapter two:", FACE), ("Chapter one:", ELSEWHERE)])
def test_other_words_or_another_place_are_another_text(text: str, region: Region) -> None:
    both = part(
        0,
        finding("text", 1.0, region=FACE, text="Chapter one:", precision=0.5),
        finding("text", 1.5, region=region, text=text, precision=0.5),
    )

    assert len(of_kind(folded(both), "text")) == 2


def test_a_label_lasts_as_long_as_it_is_seen() -> None:
    cats = [finding("label", float(at), label="cat", precision=1.0) for at in range(5)]
    cup = finding("label", 2.0, label="cup", precision=1.0)

    assert spans(folded(part(0, *cats, cup)), "label") == [(0.0, 4.0), (2.0, 2.0)]


def test_voice_activity_is_one_stretch_across_the_border() -> None:
    picture = folded(
        part(0, finding("voice_activity", 50.0, 62.0, precision=0.03)),
        part(1, finding("voice_activity", 60.0, 70.0, precision=0.03), finding("voice_activity", 90.0, 91.0)),
    )

    assert spans(picture, "voice_activity") == [(50.0, 70.0), (90.0, 91.0)]


def test_a_cut_that_both_neighbours_saw_parts_two_shots() -> None:
    picture = folded(
        part(0, finding("cut", 60.0, precision=0.04)), part(1, finding("cut", 60.04, precision=0.04)), seconds=100.0
    )

    assert spans(picture, "shot") == [(0.0, 60.02), (60.02, 100.0)]


def test_two_cuts_of_one_segment_are_two_however_close() -> None:
    picture = folded(part(0, finding("cut", 10.0, precision=0.04), finding("cut", 10.04, precision=0.04)))

    assert spans(picture, "shot") == [(0.0, 10.0), (10.0, 10.04), (10.04, 180.0)]


def test_a_shot_ends_in_the_middle_of_a_dissolve() -> None:
    picture = folded(part(0, finding("cut", 10.0, 11.0, label="dissolve", precision=0.04, confidence=0.6)))

    shots = of_kind(picture, "shot")
    assert [(shot.start_seconds, shot.end_seconds) for shot in shots] == [(0.0, 10.5), (10.5, 180.0)]
    assert [shot.confidence for shot in shots] == [0.6, 0.6]
    assert not of_kind(picture, "cut")


def test_a_film_without_a_cut_is_one_shot_if_somebody_looked() -> None:
    assert spans(folded(part(0, kind="cut")), "shot") == [(0.0, 180.0)]
    assert spans(folded(part(0, kind="face")), "shot") == []


def test_in_a_still_nothing_is_joined() -> None:
    word = finding("text", 0.0, region=FACE, text="no")

    assert len(folded(part(None, word, word), kind=MediumType.IMAGE, seconds=None).findings) == 2
    assert len(folded(part(None, word, word)).findings) == 1


def test_a_finding_does_not_outlast_its_medium() -> None:
    picture = folded(part(0, finding("label", 9.5, 10.5, label="cat")), seconds=10.0)

    assert spans(picture, "label") == [(9.5, 10.0)]


def test_numbers_are_rounded_to_a_microsecond() -> None:
    third = finding("face", 1 / 3, 2 / 3, region=Region(x=1 / 3, y=0, width=1 / 3, height=1 / 3), confidence=1 / 3)

    face = folded(part(0, third)).findings[0]

    assert face.region is not None
    assert (face.start_seconds, face.region.x, face.confidence) == (0.333333, 0.333333, 0.333333)


def test_what_is_missing_is_named_once_with_its_stretch() -> None:
    lack = MissingPart(capability="speech", reason="the model is missing", analyzer="speech", job="j", segment=1)
    told = part(2, missing=[MissingCapability(capability="face", reason="too dark")])

    whole = MissingPart(capability="ocr", reason="the model is missing")
    picture = fold([told, told], [lack, whole, lack], prepared())

    assert [(one.capability, one.reason, one.start_seconds, one.end_seconds) for one in picture.missing] == [
        ("face", "too dark", 120.0, 180.0),
        ("ocr", "the model is missing", None, None),
        ("speech", "the model is missing", 60.0, 120.0),
    ]


def test_a_picture_can_be_stored_and_read_again() -> None:
    picture = folded(part(0, finding("face", 1.0, region=FACE)), part(1, finding("cut", 70.0)))

    assert Picture.model_validate_json(picture.model_dump_json()) == picture
