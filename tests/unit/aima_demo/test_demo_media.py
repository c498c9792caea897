"""The files of the demo case as they come out of the maker."""

import io
import math
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from aima_common.errors import PermanentError, UnavailableError
from aima_demo import DemoCase, make_demo_case, make_long_film, sources
from aima_demo.film import look, write_film
from aima_demo.sound import Voice, write_opus
from aima_demo.storyboard import Shot, Span, Timeline, View

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> DemoCase:
    try:
        return make_demo_case(tmp_path_factory.mktemp("demo") / "case")
    except UnavailableError as error:
        pytest.skip(f"the demo case cannot be made here: {error}")


def small_frames(path: Path) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    with av.open(str(path)) as container:
        frames = [
            frame.reformat(width=64, height=36, format="gray").to_ndarray().astype(np.float32)
            for frame in container.decode(video=0)
        ]
    return np.stack(frames)


def test_the_film_is_what_people_film(case: DemoCase) -> None:
    with av.open(str(case.film)) as film:
        video, sound = film.streams.video[0], film.streams.audio[0]
        assert (video.codec_context.name, video.codec_context.width, video.codec_context.height) == ("h264", 1280, 720)
        assert sound.codec_context.name == "aac"
        assert film.duration is not None
        assert film.duration / av.time_base == pytest.approx(case.answers.film.duration_seconds, abs=0.05)
        assert case.answers.film.duration_seconds >= 40


def test_the_film_changes_hard_where_the_answers_say_and_nowhere_else(case: DemoCase) -> None:
    changes = np.abs(np.diff(small_frames(case.film), axis=0)).mean(axis=(1, 2))
    hard = [int(number) + 1 for number in np.flatnonzero(changes > 12)]
    rate = case.answers.film.frames_per_second
    assert hard == [round(cut * rate) for cut in case.answers.film.cuts_seconds]
    start, end = (round(time * rate) for time in case.answers.film.dissolve_seconds)
    assert changes[start - 1 : end].min() > 3 * np.median(changes)


def test_titles_stand_in_the_film_while_they_are_said_to(case: DemoCase) -> None:
    with av.open(str(case.film)) as container:
        frames = {round((frame.time or 0) * 25): frame for frame in container.decode(video=0)}
        for title in case.answers.film.titles[1:-1]:
            middle = round((title.start_seconds + title.end_seconds) / 2 * 25)
            band = frames[middle].to_ndarray(format="gray")[600:710]
            assert (band[:, 40:700] > 230).mean() > 0.02
            assert (band[:, 900:] > 230).mean() < 0.001, "the control: no words there"


def test_the_planted_duplicates_are_what_they_are_called(case: DemoCase) -> None:
    for one, other in case.answers.exact_duplicates:
        assert (case.media_folder / one).read_bytes() == (case.media_folder / other).read_bytes()
    for one, other in case.answers.near_duplicates:
        first, second = Image.open(case.media_folder / one), Image.open(case.media_folder / other)
        assert (first.format, first.size) != (second.format, second.size)
        small = [
            np.asarray(picture.convert("L").resize((16, 16)), dtype=np.float32).ravel() for picture in (first, second)
        ]
        assert np.corrcoef(small[0], small[1])[0, 1] > 0.9


def test_what_is_to_be_rejected_cannot_be_read_and_everything_else_can(case: DemoCase) -> None:
    def readable(name: str) -> bool:
        path = case.media_folder / name
        try:
            if path.suffix in (".png", ".jpg"):
                Image.open(path).load()
            else:
                with av.open(str(path)) as container:
                    assert next(container.decode()) is not None
        except (UnidentifiedImageError, av.error.FFmpegError, OSError):
            return False
        return True

    assert {name for name in case.answers.sizes if not readable(name)} == set(case.answers.rejected)


def test_the_case_holds_what_was_promised(case: DemoCase) -> None:
    photos = [name for name in case.answers.sizes if name.startswith("photos/") and name not in case.answers.rejected]
    assert len(photos) >= 8
    assert len(case.answers.recordings) == 2
    assert any(name.endswith(".opus") for name in case.answers.recordings)
    assert [path.relative_to(case.media_folder).as_posix() for path in case.files] == sorted(case.answers.sizes)
    (face,) = case.answers.faces["photos/astronaut.png"]
    assert 0 < face.x < face.x + face.width < 1
    assert case.answers.faces["photos/coffee.png"] == ()


def test_making_the_case_again_changes_nothing_and_keeps_what_was_added(case: DemoCase) -> None:
    added = case.media_folder / "photos" / "added.png"
    Image.new("RGB", (8, 8)).save(added)
    before = {path: path.stat().st_mtime_ns for path in case.folder.rglob("*") if path.is_file()}
    assert make_demo_case(case.folder) == case
    assert {path: path.stat().st_mtime_ns for path in case.folder.rglob("*") if path.is_file()} == before
    added.unlink()


def test_a_damaged_case_is_made_whole(case: DemoCase) -> None:
    case.film.write_bytes(b"half")
    assert make_demo_case(case.folder) == case
    assert case.film.stat().st_size == case.answers.sizes[case.answers.film.name]


def test_a_long_film_lasts_as_long_as_asked_and_plays_without_gaps(case: DemoCase, tmp_path: Path) -> None:
    film = make_long_film(tmp_path / "long.mp4", minutes=1.2)
    assert [path.name for path in tmp_path.iterdir()] == ["long.mp4"]
    with av.open(str(film)) as container:
        assert container.duration is not None
        assert container.duration / av.time_base >= 72
        times = [frame.pts for frame in container.decode(video=0)]
        assert len({later - earlier for earlier, later in pairwise(times)}) == 1  # type: ignore[operator]
    with av.open(str(film)) as container:
        sounds = [(frame.pts or 0, frame.samples) for frame in container.decode(audio=0)]
        assert all(at + samples == after for (at, samples), (after, _) in pairwise(sounds))


def photo(brightness: int) -> bytes:
    buffer = io.BytesIO()
    Image.linear_gradient("L").point(lambda value: (value + brightness) % 256).convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def test_the_same_storyboard_gives_the_same_bytes(tmp_path: Path) -> None:
    still = View(0.5, 0.5, 1.0)
    shots = (Shot("a.png", "One", 0.4, still, View(0.4, 0.5, 1.2)), Shot("b.png", "Two", 0.4, still, still))
    timeline = Timeline(25, (Span(shots[0], 0, 10), Span(shots[1], 10, 40)))
    photos = {"a.png": photo(0), "b.png": photo(128)}
    voice = Voice((np.sin(np.arange(4800) / 9) * 9000).astype(np.int16), 48_000)
    told: list[tuple[int, int]] = []
    for name in ("one.mp4", "other.mp4"):
        write_film(tmp_path / name, timeline, photos, voice, lambda _, done, total: told.append((done, total)))
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "other.mp4").read_bytes()
    assert told[-1] == (40, 40)


def test_a_recording_is_encoded_whole_and_the_same_each_time(tmp_path: Path) -> None:
    voice = Voice((np.sin(np.arange(16_000 * 2 + 77) / 5) * 9000).astype(np.int16), 16_000)
    for name in ("one.opus", "other.opus"):
        write_opus(tmp_path / name, voice, 48_000)
    assert (tmp_path / "one.opus").read_bytes() == (tmp_path / "other.opus").read_bytes()
    with av.open(str(tmp_path / "one.opus")) as container:
        samples = sum(frame.samples for frame in container.decode(audio=0))
    assert samples / 48_000 == pytest.approx(voice.duration_seconds, abs=0.03)


def test_a_voice_that_does_not_fit_is_refused() -> None:
    voice = Voice(np.ones(100, dtype=np.int16), 100)
    assert voice.padded(0.5, 1.5).samples.sum() == 100
    with pytest.raises(ValueError, match="do not fit"):
        voice.padded(0.6, 1.5)


def test_the_camera_never_looks_beyond_the_picture() -> None:
    picture = np.full((300, 451, 3), 200, dtype=np.uint8)
    for x, y in ((0, 0), (1, 1), (0, 1), (0.5, 0.5)):
        assert look(picture, View(x, y, 1.0)).min() == 200


def test_the_callers_process_loads_no_library_for_media() -> None:
    question = "import aima_demo, sys; print({'cv2', 'av', 'numpy', 'PIL', 'onnxruntime'} & set(sys.modules))"
    answer = subprocess.run([sys.executable, "-c", question], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "set()"


def test_without_a_package_index_the_reason_and_the_remedy_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(UnavailableError, match="check the network"):
        make_demo_case(tmp_path / "case")
    assert not (tmp_path / "case").exists()
    assert [path.name for path in (tmp_path / "cache/aima/demo").iterdir()] == ["lock"]


def test_a_platform_without_a_pinned_archive_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(PermanentError, match="riscv64"):
        sources.bring_photos(tmp_path, lambda *_: None)


def test_a_file_that_is_not_the_pinned_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(sources.bring_voices()) == set(sources.VOICES)
    monkeypatch.setitem(sources.VOICES, "beckett.wav", "0" * 64)
    with pytest.raises(PermanentError, match=r"beckett\.wav"):
        sources.bring_voices()


@pytest.mark.parametrize(("minutes", "fps"), [(0, 25), (-1, 25), (math.inf, 25), (1, 0), (1, 61)])
def test_a_film_of_impossible_length_or_rate_is_refused(tmp_path: Path, minutes: float, fps: int) -> None:
    with pytest.raises(ValueError, match="film"):
        make_long_film(tmp_path / "film.mp4", minutes, fps)
