"""Timelines: readable from ten seconds to ten hours."""

from hypothesis import given, settings
from hypothesis import strategies as st

from aima_dossier.frames import MAX_FRAMES, TimedFrame, frame_times, image_type, shown_in
from aima_dossier.model import DossierMedium
from aima_dossier.timeline import MAX_MARKS, MAX_ROWS, MAX_TICKS, timeline
from tests.unit.aima_dossier.dossier_sample import Sample, box, film, film_findings, found, recording, still


def film_of(seconds: float, *findings: object) -> DossierMedium:
    case = Sample()
    case.add("a.mp4", findings or film_findings(seconds), film(seconds))  # type: ignore[arg-type]
    return case.dossier().media[0]


@given(st.floats(0.5, 6_000), st.integers(0, 5))
@settings(max_examples=20, deadline=None)
def test_every_mark_lies_on_the_line_and_in_its_lane(seconds: float, seed: int) -> None:
    case = Sample()
    case.add("a.mp4", film_findings(seconds, seed)[:1500], film(seconds))
    drawn = timeline(case.dossier().media[0])

    assert drawn is not None
    for lane in drawn.lanes:
        assert len(lane.marks) <= MAX_MARKS
        for mark in lane.marks:
            assert mark.x >= 0
            assert mark.x + mark.width <= 100.01
            assert lane.top <= mark.y < lane.top + lane.height


@given(st.floats(0.5, 400_000))
@settings(deadline=None)
def test_the_axis_has_a_few_readable_ticks(seconds: float) -> None:
    drawn = timeline(film_of(seconds, found("label", label="cat")))

    assert drawn is not None
    assert 1 <= len(drawn.ticks) <= MAX_TICKS + 1
    assert len({tick.label for tick in drawn.ticks}) == len(drawn.ticks)


def test_too_many_findings_are_drawn_as_density() -> None:
    few, many = timeline(film_of(60.0)), timeline(film_of(7200.0))

    assert few is not None
    assert many is not None
    assert not any(lane.dense for lane in few.lanes)
    assert all(lane.dense for lane in many.lanes)
    assert "findings" in many.lanes[0].marks[0].tooltip


def test_what_overlaps_lies_in_rows() -> None:
    faces = [found("face", 1.0, 5.0, region=box(place / 10, 0.1, 0.1, 0.1)) for place in range(6)]
    drawn = timeline(film_of(9.0, *faces))

    assert drawn is not None
    assert len({mark.y for mark in drawn.lanes[0].marks}) == MAX_ROWS


def test_a_still_has_no_timeline_and_a_silent_recording_an_empty_one() -> None:
    case = Sample()
    case.add("a.png", [], still())
    case.add("b.opus", [], recording(5.0))
    picture, silence = case.dossier().media

    assert timeline(picture) is None
    drawn = timeline(silence)
    assert drawn is not None
    assert drawn.lanes == ()


def test_it_can_be_read_aloud() -> None:
    drawn = timeline(film_of(9.0, found("shot", 0.0, 9.0), found("speech", 1.0, 2.0, text="Hello.")))

    assert drawn is not None
    assert drawn.description == "0:09 long: 1 shot, 1 line of speech"


def test_frames_are_spread_over_the_shots_and_prefer_faces() -> None:
    face = found("face", 12.0, 14.0, region=box(0.1, 0.1, 0.2, 0.2))
    shots = [found("shot", 10.0 * at, 10.0 * at + 10) for at in range(3)]
    medium = film_of(30.0, *shots, face)

    assert frame_times(medium) == [5.0, 13.0, 25.0]
    assert len(frame_times(film_of(3600.0))) == MAX_FRAMES
    assert frame_times(film_of(12.0, found("label", label="cat"))) == [1.0, 3.0, 5.0, 7.0, 9.0, 11.0]


def test_a_box_is_drawn_only_where_the_face_was_seen() -> None:
    medium = film_of(30.0, found("face", 12.0, 14.0, region=box(0.1, 0.1, 0.2, 0.2)))

    assert len(shown_in(medium, TimedFrame(13.0, b""))) == 1
    assert shown_in(medium, TimedFrame(14.0, b"")) == []


def test_a_recording_has_no_frames() -> None:
    case = Sample()
    case.add("b.opus", [], recording(5.0))

    assert frame_times(case.dossier().media[0]) == []


def test_images_are_known_by_their_first_bytes() -> None:
    assert image_type(b"\xff\xd8\xff\xe0...") == "image/jpeg"
    assert image_type(b"RIFF\x00\x00\x00\x00WEBPVP8 ") == "image/webp"
    assert image_type(b"<svg/>") is None
    assert image_type(None) is None
