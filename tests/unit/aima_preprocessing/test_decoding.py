"""Decoding in this process, without the box: what comes out, and that it is always the same."""

import io
import itertools
import tempfile
from collections.abc import Sequence
from dataclasses import replace

import av
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from aima_common.contracts.derivatives import unpack_frames, unpack_thumbnails
from aima_common.contracts.media import MediumType
from aima_preprocessing import sniff
from aima_preprocessing.decoding.medium import DecodePlan, decode_medium
from aima_preprocessing.decoding.source import NamelessFile
from aima_preprocessing.events import Event, Finished, Probed, SegmentDecoded
from aima_preprocessing.limits import Limits
from aima_preprocessing.refusals import LimitExceededError, MediumRefusedError
from aima_preprocessing.segmentation import MICROSECONDS, SegmentPlan
from tests.unit.aima_preprocessing.made_media import (
    Recipe,
    film,
    photo,
    recording_with_cover,
    still,
    turned,
)

SHORT = SegmentPlan(
    core=4 * MICROSECONDS,
    shortest_remainder=MICROSECONDS,
    sound_context=MICROSECONDS,
    thumbnail_context=MICROSECONDS // 2,
)
PLAN = DecodePlan(Limits(), SHORT)
LONG = 13.3


def decode(data: bytes, plan: DecodePlan = PLAN) -> Sequence[Event]:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        kind = sniff.sniff(data[: sniff.HEAD_BYTES], len(data))
        assert kind is not None
        return list(decode_medium(NamelessFile(file.fileno()), kind, plan, lambda _seconds, _pixels: None))


def segments_of(events: Sequence[Event]) -> list[SegmentDecoded]:
    return [event for event in events if isinstance(event, SegmentDecoded)]


def end_of(events: Sequence[Event]) -> Finished:
    last = events[-1]
    assert isinstance(last, Finished)
    return last


def samples_of(segment: SegmentDecoded) -> npt.NDArray[np.int16]:
    assert segment.sound is not None
    with av.open(io.BytesIO(segment.sound), "r", format="flac") as container:
        stream = container.streams.audio[0]
        assert (stream.rate, stream.layout.name) == (16_000, "mono")
        return np.concatenate([frame.to_ndarray().reshape(-1) for frame in container.decode(stream)]).astype(np.int16)


CONTAINERS = {
    "mp4": Recipe("mp4", seconds=LONG),
    "open groups of pictures": Recipe("mp4", seconds=LONG, options={"x264-params": "open-gop=1:bframes=3"}),
    "one key frame only": Recipe("mp4", seconds=LONG, key_every=10_000),
    "no key frames after the first": Recipe("mp4", seconds=LONG, options={"x264-params": "intra-refresh=1"}),
    "matroska": Recipe("matroska", sound="flac", seconds=LONG),
    "webm": Recipe("webm", picture="libvpx-vp9", sound="libopus", seconds=LONG),
    "avi": Recipe("avi", picture="mpeg4", sound="libmp3lame", seconds=LONG),
    "transport stream": Recipe("mpegts", seconds=LONG),
    "program stream": Recipe("mpeg", picture="mpeg2video", sound="mp2", rate=25, seconds=LONG),
    "flash": Recipe("flv", picture="flv", seconds=LONG),
    "animation": Recipe("gif", picture="gif", sound=None, pixel_format="rgb8", seconds=LONG),
    "mp3": Recipe("mp3", picture=None, sound="libmp3lame", seconds=LONG),
    "opus": Recipe("ogg", picture=None, sound="libopus", seconds=LONG),
}


@pytest.mark.parametrize("recipe", CONTAINERS.values(), ids=CONTAINERS.keys())
def test_work_taken_up_in_the_middle_gives_the_same_bytes_as_undisturbed_work(recipe: Recipe) -> None:
    data = film(recipe)
    undisturbed = decode(data)
    segments = segments_of(undisturbed)
    assert [segment.segment.core_start for segment in segments] == [0.0, 4.0, 8.0, 12.0]
    assert end_of(undisturbed).segments == 4
    for start in range(1, 5):
        resumed = decode(data, replace(PLAN, start_segment=start))
        assert segments_of(resumed) == segments[start:]
        assert end_of(resumed) == end_of(undisturbed)


def test_two_threads_give_the_same_bytes_as_one() -> None:
    data = film(CONTAINERS["mp4"])
    assert decode(data, replace(PLAN, threads=2)) == decode(data)


def test_pictures_are_the_first_of_every_half_second_and_lie_in_the_core_that_holds_them() -> None:
    segments = segments_of(decode(film(Recipe("mp4", seconds=LONG, sound=None))))
    times = [[frame.time_seconds for frame in unpack_frames(segment.frames or b"")] for segment in segments]
    assert [len(stretch) for stretch in times] == [8, 8, 8, 3]
    assert list(itertools.chain(*times)) == [index / 2 for index in range(27)]
    for segment, stretch in zip(segments, times, strict=True):
        assert all(segment.segment.core_start <= time < segment.segment.core_end for time in stretch)


def test_a_film_of_fewer_than_two_pictures_a_second_keeps_every_picture_once() -> None:
    segments = segments_of(decode(film(Recipe("mp4", rate=1, seconds=6, sound=None))))
    times = [frame.time_seconds for segment in segments for frame in unpack_frames(segment.frames or b"")]
    assert times == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]


def test_there_is_a_thumbnail_of_every_frame_with_its_time_and_half_a_second_of_the_neighbours() -> None:
    recipe = Recipe("mp4", seconds=LONG, sound=None)
    second = segments_of(decode(film(recipe)))[1]
    thumbnails = unpack_thumbnails(second.thumbnails or b"")
    assert thumbnails.pixels.shape == (60, 27, 48, 3)
    assert np.allclose(thumbnails.times, np.arange(42, 102) / 12, atol=1e-6)
    assert np.array_equal(thumbnails.times, np.round(thumbnails.times, 6))


def test_a_thumbnail_shows_what_the_frame_shows() -> None:
    recipe = Recipe("mp4", seconds=2, sound=None, options={"crf": "4"})
    thumbnails = unpack_thumbnails(segments_of(decode(film(recipe)))[0].thumbnails or b"")
    from tests.unit.aima_preprocessing.made_media import picture_of

    for number in (0, 5, 20):
        drawn = Image.fromarray(picture_of(number, recipe)).resize((48, 27), Image.Resampling.BOX)
        difference = np.abs(np.asarray(drawn).astype(int) - thumbnails.pixels[number].astype(int))
        assert difference.mean() < 6


def test_sound_lies_where_it_is_heard_also_when_it_begins_late_and_has_a_hole() -> None:
    recipe = Recipe("matroska", sound=None, seconds=6, options={"bf": "0"})
    buffer = io.BytesIO()
    with av.open(io.BytesIO(film(recipe)), "r") as source, av.open(buffer, "w", format="matroska") as target:
        copied = target.add_stream_from_template(source.streams.video[0])
        sound = target.add_stream("pcm_s16le", rate=48_000, layout="mono")
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = copied
                target.mux(packet)
        for second in (1, 4):
            click = np.zeros((1, 48_000), np.int16)
            click[0, :480] = 20_000
            frame = av.AudioFrame.from_ndarray(click, format="s16", layout="mono")
            frame.sample_rate, frame.pts = 48_000, second * 48_000
            target.mux(sound.encode(frame))
        target.mux(sound.encode(None))
    whole = replace(PLAN, segments=SegmentPlan())
    loud = np.flatnonzero(np.abs(samples_of(segments_of(decode(buffer.getvalue(), whole))[0]).astype(int)) > 8000)
    starts = loud[np.insert(np.diff(loud) > 100, 0, values=True)] / 16_000
    assert np.allclose(starts, [1.0, 4.0], atol=0.002)


def test_neighbouring_sounds_agree_where_their_contexts_overlap() -> None:
    first, second, *_ = segments_of(decode(film(Recipe("mp3", picture=None, sound="libmp3lame", seconds=LONG))))
    one, two = samples_of(first), samples_of(second)
    assert (first.segment.context_end, second.segment.context_start) == (5.0, 3.0)
    assert np.array_equal(one[3 * 16_000 :], two[: 2 * 16_000])


def test_a_film_without_sound_is_a_film_without_sound() -> None:
    events = decode(film(Recipe("mp4", sound=None)))
    probe = end_of(events).probe
    assert (probe.type, probe.has_video, probe.has_audio) == (MediumType.VIDEO, True, False)
    assert all(segment.sound is None and segment.frames for segment in segments_of(events))


def test_a_recording_with_a_cover_is_a_recording_and_shows_its_cover() -> None:
    events = decode(recording_with_cover())
    end = end_of(events)
    assert (end.probe.type, end.probe.mime_type, end.probe.has_video) == (MediumType.AUDIO, "audio/mpeg", False)
    assert all(segment.frames is None and segment.sound for segment in segments_of(events))
    red, green, _ = Image.open(io.BytesIO(end.poster or b"")).getpixel((5, 5))  # type: ignore[misc]
    assert red > 180
    assert green < 40


def test_a_recording_without_a_cover_has_no_poster() -> None:
    end = end_of(decode(film(Recipe("flac", picture=None, sound="flac"))))
    assert (end.poster, end.thumbnail, end.perceptual_hash, end.picture) == (None, None, None, None)


def test_a_film_taken_on_its_side_comes_out_upright() -> None:
    recipe = Recipe("mp4", sound=None, seconds=1)
    lying, standing = film(recipe), turned(film(recipe))
    flat, upright = end_of(decode(lying)), end_of(decode(standing))
    assert (flat.probe.width, flat.probe.height) == (160, 120)
    assert (upright.probe.width, upright.probe.height) == (120, 160)
    before = np.asarray(Image.open(io.BytesIO(flat.poster or b"")).convert("L")).astype(int)
    after = np.asarray(Image.open(io.BytesIO(upright.poster or b"")).convert("L")).astype(int)
    assert np.abs(np.rot90(before, -1) - after).mean() < 4
    thumbnails = unpack_thumbnails(segments_of(decode(standing))[0].thumbnails or b"")
    assert thumbnails.pixels.shape[1:] == (27, 48, 3)


def test_times_count_from_the_start_of_the_container_and_the_offset_is_told() -> None:
    events = decode(film(Recipe("mpegts", seconds=2)))
    assert end_of(events).probe.start_offset_seconds > 0
    first = next(unpack_frames(segments_of(events)[0].frames or b""))
    assert first.time_seconds < 0.1


def test_a_still_is_one_upright_picture_without_what_the_camera_noted() -> None:
    noted = Image.Exif()
    noted[0x0112] = 6
    noted[0x010F] = "a camera that gives its owner away"
    noted.get_ifd(0x8825)[1] = "N"
    end = end_of(decode(still(photo(3000, 2000), "JPEG", exif=noted)))
    assert (end.probe.type, end.probe.width, end.probe.height) == (MediumType.IMAGE, 2000, 3000)
    picture = Image.open(io.BytesIO(end.picture or b""))
    assert picture.size == (853, 1280)
    assert not picture.getexif()
    assert b"owner" not in (end.picture or b"")
    before = np.asarray(photo(3000, 2000).resize((128, 85))).astype(int)
    after = np.asarray(picture.rotate(90, expand=True).resize((128, 85))).astype(int)
    assert np.abs(before - after).mean() < 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_way_of_holding_a_camera_is_put_upright(orientation: int) -> None:
    from PIL import ImageOps

    noted = Image.Exif()
    noted[0x0112] = orientation
    data = still(photo(), "JPEG", exif=noted)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    found = Image.open(io.BytesIO(end_of(decode(data)).picture or b""))
    assert found.size == expected.size
    assert np.abs(np.asarray(found).astype(int) - np.asarray(expected).astype(int)).mean() < 3


def test_a_picture_of_one_pixel_is_analysed_and_has_no_perceptual_hash() -> None:
    end = end_of(decode(still(Image.new("RGB", (1, 1), (255, 0, 0)))))
    assert (end.probe.width, end.probe.height, end.perceptual_hash) == (1, 1, None)
    assert Image.open(io.BytesIO(end.picture or b"")).size == (1, 1)


def test_transparency_is_laid_on_white_and_deep_grey_keeps_its_shades() -> None:
    clear = end_of(decode(still(Image.new("RGBA", (8, 8), (0, 0, 0, 0)))))
    assert min(np.asarray(Image.open(io.BytesIO(clear.picture or b""))).ravel()) > 250
    ramp = np.linspace(0, 65_535, 256).astype(np.uint16)[None].repeat(16, axis=0)
    deep = end_of(decode(still(Image.fromarray(ramp))))
    shades = np.asarray(Image.open(io.BytesIO(deep.picture or b"")).convert("L")).astype(int)
    assert np.abs(shades - np.arange(256)[None]).mean() < 3


def test_an_animated_gif_is_a_film_and_a_still_one_is_a_picture() -> None:
    moving = end_of(decode(film(Recipe("gif", picture="gif", sound=None, pixel_format="rgb8", seconds=2))))
    standing = end_of(decode(still(photo(), "GIF")))
    assert (moving.probe.type, standing.probe.type) == (MediumType.VIDEO, MediumType.IMAGE)


def test_of_several_pages_the_first_is_taken_and_the_others_are_mentioned() -> None:
    pages = still(photo(), "TIFF", save_all=True, append_images=[photo(seed=2)])
    assert end_of(decode(pages)).problems == ("The file holds several pictures; the first was analysed.",)


def test_a_film_that_broke_off_before_its_index_is_refused_as_truncated() -> None:
    whole = film(Recipe("mp4"))
    assert end_of(decode(whole)).problems == ()
    with pytest.raises(MediumRefusedError) as caught:
        decode(whole[: len(whole) // 2])
    assert caught.value.code == "truncated"
    assert "moov" in caught.value.reason


def test_of_a_film_that_broke_off_behind_its_index_what_is_there_is_decoded_and_the_loss_told() -> None:
    whole = film(Recipe("mp4", seconds=LONG, index_first=True))
    events = decode(whole[: len(whole) // 2])
    assert 0 < (end_of(events).probe.duration_seconds or 0) < 10
    assert any("cut off" in problem for problem in end_of(events).problems)
    resumed = decode(whole[: len(whole) // 2], replace(PLAN, start_segment=1))
    assert segments_of(resumed) == segments_of(events)[1:]
    assert end_of(resumed) == end_of(events)


def test_a_film_with_nothing_behind_its_index_is_refused_as_truncated() -> None:
    whole = film(Recipe("mp4", index_first=True))
    with pytest.raises(MediumRefusedError) as caught:
        decode(whole[: whole.index(b"mdat") + 8])
    assert caught.value.code == "truncated"


def test_damage_in_the_middle_is_told_with_its_segment_and_the_rest_is_decoded() -> None:
    data = bytearray(film(Recipe("mpegts", seconds=LONG)))
    place = len(data) * 3 // 8
    data[place : place + 6000] = bytes(reversed(data[place : place + 6000]))
    events = decode(bytes(data))
    assert len(segments_of(events)) == 4
    assert [bool(segment.problems) for segment in segments_of(events)] == [False, True, False, False]
    resumed = decode(bytes(data), replace(PLAN, start_segment=1))
    assert segments_of(resumed) == segments_of(events)[1:]


def test_a_truncated_photo_is_refused_as_truncated() -> None:
    whole = still(photo(), "JPEG")
    with pytest.raises(MediumRefusedError) as caught:
        decode(whole[: len(whole) // 2])
    assert caught.value.code == "truncated"


@pytest.mark.parametrize(
    ("limits", "data", "limit"),
    [
        (Limits(still_pixels=100_000), still(photo()), "still_pixels"),
        (Limits(video_pixels=10_000), film(Recipe("mp4")), "video_pixels"),
        (Limits(duration_seconds=2), film(Recipe("mp4")), "duration_seconds"),
        (Limits(duration_seconds=2), film(Recipe("mp3", picture=None, sound="libmp3lame")), "duration_seconds"),
        (Limits(frames=20), film(Recipe("mp4")), "frames"),
        (Limits(frames_per_second=10), film(Recipe("mp4")), "frames_per_second"),
        (Limits(streams=1), film(Recipe("mp4")), "streams"),
        (Limits(channels=1), film(Recipe("mp4")), "channels"),
        (
            Limits(animation_bytes=500_000),
            film(Recipe("gif", picture="gif", sound=None, pixel_format="rgb8")),
            "animation_bytes",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_medium_beyond_a_limit_is_refused_with_the_name_of_the_limit(limits: Limits, data: bytes, limit: str) -> None:
    assert isinstance(decode(data)[0], Probed)
    with pytest.raises(LimitExceededError) as caught:
        decode(data, replace(PLAN, limits=limits))
    assert caught.value.limit == limit
    assert caught.value.code == f"limit_{limit}"
    assert limit in caught.value.reason
    assert limit in caught.value.remedy
