"""The film as it is planned."""

from itertools import pairwise

import pytest

from aima_demo.storyboard import SHOTS, lay_out, view_at


@pytest.mark.parametrize("frames_per_second", [1, 5, 24, 25, 30, 60])
def test_every_frame_is_made_of_shots_whose_shares_sum_to_one(frames_per_second: int) -> None:
    timeline = lay_out(frames_per_second)
    for frame in range(timeline.frames):
        layers = timeline.layers(frame)
        assert sum(share for _, share in layers) == pytest.approx(1.0)
        assert all(share > 0 for _, share in layers)
    with pytest.raises(ValueError, match="there is no frame"):
        timeline.layers(timeline.frames)


def test_the_film_is_long_enough_for_its_voice_and_has_enough_shots() -> None:
    timeline = lay_out()
    assert timeline.duration_seconds >= 45.5
    assert len(timeline.spans) >= 6
    assert len(timeline.cuts_seconds) >= 5
    assert sum(shot.dissolves_into_next for shot in SHOTS) == 1


def test_only_the_dissolve_mixes_shots() -> None:
    timeline = lay_out()
    start, end = timeline.dissolve_seconds
    mixed = [frame for frame in range(timeline.frames) if len(timeline.layers(frame)) > 1]
    assert mixed == list(range(round(start * 25), round(end * 25)))
    shares = [timeline.layers(frame)[1][1] for frame in mixed]
    assert all(later > earlier for earlier, later in pairwise(shares))


def test_a_cut_is_where_the_shot_changes_at_once() -> None:
    timeline = lay_out()
    for cut in timeline.cuts_seconds:
        frame = round(cut * 25)
        ((before, _),), ((after, _),) = timeline.layers(frame - 1), timeline.layers(frame)
        assert before.shot != after.shot


def test_no_title_is_shown_during_the_dissolve() -> None:
    timeline = lay_out()
    start, end = timeline.dissolve_seconds
    assert not [title for title in timeline.titles if title.start_seconds < end and title.end_seconds > start]
    assert len(timeline.titles) == len(SHOTS)


def test_the_camera_moves_slowly_and_without_jumps() -> None:
    timeline = lay_out()
    for span in timeline.spans:
        for frame in range(span.first, span.end + 12):
            one, other = view_at(span, frame), view_at(span, frame + 1)
            assert abs(one.x - other.x) < 0.003
            assert abs(one.y - other.y) < 0.003
            assert abs(one.zoom - other.zoom) < 0.003
