"""The real models on real photos, speech and a film, through a real inference process.

The media are those of the demo case; where the models or its sources are not on this machine the tests are
skipped, and say what to do.
"""

import asyncio
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from aima_analysis.analyzers import ANALYZERS
from aima_analysis.analyzers.analyzer import Analysis
from aima_analysis.inference_child import InferenceSettings
from aima_analysis.inference_pool import InferencePool
from aima_common.contracts.derivatives import Frame, Thumbnails, pack_frames, pack_thumbnails
from aima_common.contracts.media import Finding, FindingVector, MediumType, Region, Segment
from aima_demo.answers import (
    Answers,
    character_error_rate,
    match_cuts,
    word_error_rate,
)
from aima_demo.case import DemoCase, make_demo_case
from aima_demo.sources import bring_photos, bring_voices, cache_folder
from aima_models.store import ModelStore

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

DEADLINE = 300.0
STILLS = ("astronaut.png", "chelsea.png", "coffee.png", "page.png", "rocket.jpg")
MIRRORED = "coffee.png, mirrored"
LIMIT_BYTES = 750 * 2**20
"""What one process with every model loaded may hold."""


@dataclass(frozen=True)
class Analysed:
    """What the analyzers found, by analyzer and medium."""

    answers: Answers
    results: Mapping[tuple[str, str], Analysis]
    memory_bytes: int
    searches: Mapping[str, list[float]]

    def findings(self, analyzer: str, medium: str) -> list[Finding]:
        return self.results[analyzer, medium].findings


@pytest.fixture(scope="module")
def analysed(tmp_path_factory: pytest.TempPathFactory) -> Analysed:
    wanted = {name for one in ANALYZERS.values() for name in (*one.manifest.models, *one.manifest.enrichments.values())}
    if missing := wanted & set(ModelStore().missing()):
        pytest.skip(f"models are not here: {', '.join(sorted(missing))}; run `aima models build`")
    if not any(cache_folder().glob("scikit_image-*")):
        pytest.skip("the demo's photos are not here; run `aima demo` once")
    return asyncio.run(analyse_everything(make_demo_case(tmp_path_factory.mktemp("demo"))))


async def analyse_everything(case: DemoCase) -> Analysed:
    results: dict[tuple[str, str], Analysis] = {}
    film = case.answers.film
    whole = Segment(
        index=0, core_start=0.0, core_end=film.duration_seconds, context_start=0.0, context_end=film.duration_seconds
    )
    thumbnails, frames = pictures_of(case.film)
    film_input = {"thumbnails": thumbnails, "frames": frames, "sound": flac_of(str(case.film))}
    async with InferencePool(1, InferenceSettings(memory_kept_bytes=2**40)) as pool:
        for medium, jpeg in stills().items():
            for name in ("faces", "labels", "text"):
                results[name, medium] = await pool.analyse(name, MediumType.IMAGE, None, [jpeg], DEADLINE)
        for name, analyzer in ANALYZERS.items():
            blob = film_input.get(analyzer.manifest.input)
            if MediumType.VIDEO in analyzer.manifest.accepts and blob is not None and name != "echo":
                results[name, "film"] = await pool.analyse(name, MediumType.VIDEO, whole, [blob], DEADLINE)
        for medium, flac in sounds().items():
            for name in ("speech", "voice"):
                results[name, medium] = await pool.analyse(name, MediumType.AUDIO, None, [flac], DEADLINE)
        searches = {words: await pool.embed_text(words) for words in ("markers of coins in a picture", "cold weather")}
        memory = pool.processes[0].memory_bytes()
    return Analysed(case.answers, results, memory, searches)


def stills() -> dict[str, bytes]:
    photos = bring_photos(cache_folder(), lambda step, done, total: None)
    pictures = {
        name: np.asarray(cv2.imdecode(np.frombuffer(photos[name], np.uint8), cv2.IMREAD_COLOR)) for name in STILLS
    }
    pictures[MIRRORED] = pictures["coffee.png"][:, ::-1]
    return {name: cv2.imencode(".jpg", picture)[1].tobytes() for name, picture in pictures.items()}


def pictures_of(film: Path) -> tuple[bytes, bytes]:
    """Make the thumbnails and the frames of a film."""
    small, times = [], []
    frames: list[Frame] = []
    with av.open(str(film)) as container:
        for frame in container.decode(video=0):
            small.append(frame.reformat(48, 27, "rgb24", interpolation="AREA").to_ndarray())
            times.append(frame.time)
            if not frames or int(frame.time * 2 + 1e-6) > int(frames[-1].time_seconds * 2 + 1e-6):
                jpeg = cv2.imencode(".jpg", frame.to_ndarray(format="bgr24"))[1].tobytes()
                frames.append(Frame(frame.time, jpeg))
    return pack_thumbnails(Thumbnails(np.stack(small), np.array(times))), pack_frames(frames)


def sounds() -> dict[str, bytes]:
    """Give read speech, the same played backwards (no language at all), and noise."""
    spoken = {name: samples_of(io.BytesIO(content)) for name, content in bring_voices().items()}
    noise = np.random.default_rng(1).normal(0, 1500, 16_000 * 10).astype(np.int16)
    samples = {**spoken, "backwards": spoken["two_cities.wav"][::-1], "noise": noise}
    return {name: flac(one) for name, one in samples.items()}


def samples_of(source: io.BytesIO | str) -> np.ndarray[tuple[int], np.dtype[np.int16]]:
    resampler = av.AudioResampler(format="s16", layout="mono", rate=16_000)
    with av.open(source, "r") as container:
        frames = [one for frame in container.decode(audio=0) for one in resampler.resample(frame)]
    frames += resampler.resample(None)
    joined: np.ndarray[tuple[int], np.dtype[np.int16]] = np.concatenate(
        [one.to_ndarray().reshape(-1) for one in frames]
    )
    return joined


def flac_of(source: str) -> bytes:
    return flac(samples_of(source))


def flac(samples: np.ndarray[tuple[int], np.dtype[np.int16]]) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="flac") as container:
        stream = container.add_stream("flac", rate=16_000, layout="mono")
        for begin in range(0, len(samples), 4096):
            block = np.ascontiguousarray(samples[None, begin : begin + 4096])
            frame = av.AudioFrame.from_ndarray(block, format="s16", layout="mono")
            frame.sample_rate, frame.pts = 16_000, begin
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def overlap(found: Region | None, x: float, y: float, width: float, height: float) -> float:
    assert found is not None
    across = min(found.x + found.width, x + width) - max(found.x, x)
    down = min(found.y + found.height, y + height) - max(found.y, y)
    shared = max(0.0, across) * max(0.0, down)
    return shared / (found.width * found.height + width * height - shared)


def likeness(first: FindingVector, second: FindingVector) -> float:
    return float(np.dot(first.vector, second.vector))


def said(findings: list[Finding]) -> str:
    return " ".join(finding.text or "" for finding in findings)


def test_the_astronauts_face_is_found_where_it_is(analysed: Analysed) -> None:
    (face,) = analysed.findings("faces", "astronaut.png")
    (answer,) = next(regions for name, regions in analysed.answers.faces.items() if regions)
    assert overlap(face.region, answer.x, answer.y, answer.width, answer.height) >= 0.5


@pytest.mark.parametrize("photo", ["coffee.png", "page.png", "rocket.jpg", "chelsea.png"])
def test_where_there_is_no_human_face_none_is_found(analysed: Analysed, photo: str) -> None:
    assert analysed.findings("faces", photo) == []


@pytest.mark.parametrize(("photo", "label"), [("coffee.png", "espresso"), ("rocket.jpg", "missile")])
def test_photos_are_labelled(analysed: Analysed, photo: str, label: str) -> None:
    assert label in [finding.label for finding in analysed.findings("labels", photo)]


def test_a_cat_is_labelled_as_some_cat(analysed: Analysed) -> None:
    assert any("cat" in (finding.label or "") for finding in analysed.findings("labels", "chelsea.png"))


def test_a_mirrored_still_lies_near_and_another_far(analysed: Analysed) -> None:
    vectors = {}
    for name in ("coffee.png", MIRRORED, "rocket.jpg"):
        (vectors[name],) = [v for v in analysed.results["labels", name].vectors if v.space == "images"]
    assert likeness(vectors["coffee.png"], vectors[MIRRORED]) > 0.9
    assert likeness(vectors["coffee.png"], vectors["rocket.jpg"]) < 0.5


def test_a_page_is_read(analysed: Analysed) -> None:
    text = " ".join(finding.text or "" for finding in analysed.findings("text", "page.png"))
    assert character_error_rate(analysed.answers.page[1], text) <= 0.05


def test_lines_have_a_language_and_a_vector_near_to_what_they_mean(analysed: Analysed) -> None:
    page = analysed.results["text", "page.png"]
    assert {finding.language for finding in page.findings if len(finding.text or "") > 40} == {"en"}
    near = analysed.searches["markers of coins in a picture"]
    best = max(page.vectors, key=lambda vector: float(np.dot(vector.vector, near)))
    assert best.finding is not None
    assert "coins" in (page.findings[best.finding].text or "")
    assert float(np.dot(best.vector, near)) > float(np.dot(best.vector, analysed.searches["cold weather"])) + 0.3


def test_nothing_is_read_where_nothing_is_written(analysed: Analysed) -> None:
    assert analysed.findings("text", "chelsea.png") == []


@pytest.mark.parametrize("recording", ["beckett.wav", "two_cities.wav"])
def test_read_english_is_written_down(analysed: Analysed, recording: str) -> None:
    words = {
        "beckett.wav": "Ever tried. Ever failed. No matter. Try again. Fail again. Fail better.",
        "two_cities.wav": analysed.answers.film.speech,
    }
    assert word_error_rate(words[recording], said(analysed.findings("speech", recording))) <= 0.1


def test_speech_that_is_not_english_is_said_to_be_there_and_not_guessed_at(analysed: Analysed) -> None:
    findings = analysed.findings("speech", "backwards")
    assert len(findings) > 5
    assert {(finding.text, finding.label) for finding in findings} == {(None, "language unknown")}


def test_voices_are_heard_and_noise_is_not(analysed: Analysed) -> None:
    seconds = sum(one.end_seconds - one.start_seconds for one in analysed.findings("voice", "two_cities.wav"))
    assert 28 <= seconds <= 42
    assert analysed.findings("voice", "noise") == []
    assert analysed.findings("speech", "noise") == []


def test_the_films_cuts_are_found_to_the_frame(analysed: Analysed) -> None:
    film = analysed.answers.film
    hard = [cut.start_seconds for cut in analysed.findings("shots", "film") if cut.label == "hard"]
    match = match_cuts(film.cuts_seconds, hard, 1 / film.frames_per_second + 1e-6)
    assert (match.missed, match.invented) == ((), ())


def test_the_films_dissolve_is_found_with_its_length(analysed: Analysed) -> None:
    (found,) = [cut for cut in analysed.findings("shots", "film") if cut.label == "gradual"]
    begin, end = analysed.answers.film.dissolve_seconds
    assert found.start_seconds == pytest.approx(begin, abs=0.2)
    assert found.end_seconds == pytest.approx(end, abs=0.2)


def test_the_films_titles_are_read_at_their_times(analysed: Analysed) -> None:
    found = analysed.findings("text", "film")
    for title in analysed.answers.film.titles:
        best = min(found, key=lambda one: character_error_rate(title.text, one.text or ""))
        assert character_error_rate(title.text, best.text or "") <= 0.05
        assert best.start_seconds == pytest.approx(title.start_seconds, abs=2 * best.precision_seconds)
        assert best.end_seconds == pytest.approx(title.end_seconds, abs=2 * best.precision_seconds)


def test_the_films_words_are_written_down(analysed: Analysed) -> None:
    assert word_error_rate(analysed.answers.film.speech, said(analysed.findings("speech", "film"))) <= 0.1


def test_a_face_that_stays_is_one_finding(analysed: Analysed) -> None:
    (face,) = analysed.findings("faces", "film")
    assert face.end_seconds - face.start_seconds > 5


def test_every_finding_names_its_model_and_nothing_is_missing(analysed: Analysed) -> None:
    store = ModelStore()
    for (analyzer, _), analysis in analysed.results.items():
        assert analysis.missing == []
        for finding in analysis.findings:
            assert finding.analyzer == analyzer
            assert finding.model is not None
            assert finding.model.sha256 == store.resolve(finding.model.name).manifest.digest


async def test_answers_do_not_depend_on_what_was_analysed_before(analysed: Analysed) -> None:
    """Another process, with the questions in another order, says the same to the last digit."""
    page, speech = stills()["page.png"], sounds()["beckett.wav"]
    async with InferencePool(1) as pool:
        heard = await pool.analyse("speech", MediumType.AUDIO, None, [speech], DEADLINE)
        for name in ("text", "labels", "faces"):
            seen = await pool.analyse(name, MediumType.IMAGE, None, [page], DEADLINE)
            assert seen == analysed.results[name, "page.png"]
    assert heard == analysed.results["speech", "beckett.wav"]


def test_a_process_with_every_model_stays_within_its_memory(analysed: Analysed) -> None:
    assert analysed.memory_bytes <= LIMIT_BYTES
