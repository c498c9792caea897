"""Every model against its golden input, and the checks against themselves."""

from pathlib import Path

import numpy as np
import pytest

from aima_models.golden import drawn_text, golden, golden_all, read_wave, words
from aima_models.golden_inputs import MAKERS, patchwork
from aima_models.manifest import ModelManifest, load_manifests
from aima_models.session import load_session
from aima_models.store import ModelStore

MANIFESTS = load_manifests()


@pytest.fixture(scope="module")
def store() -> ModelStore:
    return ModelStore()


def _need(store: ModelStore, name: str) -> None:
    if name in store.missing():
        pytest.skip(f"the model {name} is not on this machine: run `aima models build`")


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_model_answers_its_golden_input_as_expected(store: ModelStore, name: str) -> None:
    _need(store, name)
    result = golden(store, name)
    assert result.passed, result.detail


def _with_other_answer(manifest: ModelManifest) -> ModelManifest:
    (only,) = manifest.goldens
    answers = [
        answer.model_copy(update={"values": tuple(value + 1 for value in answer.values)}) for answer in only.answers
    ]
    other = only.model_copy(update={"answers": tuple(answers), "text": only.text + "x"})
    return manifest.model_copy(update={"goldens": (other,)})


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_golden_that_expects_something_else_fails(store: ModelStore, name: str) -> None:
    _need(store, name)
    doubter = ModelStore(store.root, {name: _with_other_answer(MANIFESTS[name])})
    result = golden(doubter, name)
    assert not result.passed
    assert result.remedy


def test_an_absent_model_fails_its_golden_and_says_what_to_do(tmp_path: Path) -> None:
    manifests = {"centerface": MANIFESTS["centerface"]}
    (result,) = golden_all(ModelStore(tmp_path, manifests))
    assert not result.passed
    assert "aima models build" in result.remedy


def test_an_engine_that_breaks_is_an_answer_not_a_crash(store: ModelStore) -> None:
    _need(store, "imagenet-labels")
    (only,) = MANIFESTS["imagenet-labels"].goldens
    beyond = MANIFESTS["imagenet-labels"].model_copy(update={"goldens": (only.model_copy(update={"input": "0,5000"}),)})
    result = golden(ModelStore(store.root, {"imagenet-labels": beyond}), "imagenet-labels")
    assert not result.passed
    assert "IndexError" in result.detail


def test_the_vector_of_a_sentence_does_not_depend_on_its_neighbours(store: ModelStore) -> None:
    _need(store, "all-minilm-l6-v2")
    session = load_session(store.resolve("all-minilm-l6-v2").path)
    ids = np.array([[101, 2158, 3899, 102, 0, 0], [101, 4937, 2003, 1037, 2204, 102]], np.int64)
    mask = (ids != 0).astype(np.int64)
    (together,) = session.run(["embedding"], {"input_ids": ids, "attention_mask": mask})
    (alone,) = session.run(["embedding"], {"input_ids": ids[:1, :4], "attention_mask": mask[:1, :4]})
    assert np.abs(together[0] - alone[0]).max() < 1e-6
    assert np.linalg.norm(together, axis=1) == pytest.approx(1.0, abs=1e-6)


def test_a_hard_cut_is_seen_where_it_is_and_nowhere_else(store: ModelStore) -> None:
    _need(store, "transnetv2")
    (single,) = load_session(store.resolve("transnetv2").path).run(["single"], MAKERS["hard-cut"]())
    assert np.flatnonzero(single[0, :, 0] > 0.5).tolist() == [49]


def test_golden_inputs_are_the_same_every_time() -> None:
    for make in MAKERS.values():
        first, second = make(), make()
        assert all(np.array_equal(first[name], second[name]) for name in first)
    assert not np.array_equal(patchwork("a", 2, 2, 2), patchwork("b", 2, 2, 2))


def test_words_leave_spelling_aside() -> None:
    assert words("Ever tried.  Ever failed?") == words("ever tried, ever failed") == "ever tried ever failed"


def test_drawn_text_is_black_on_white() -> None:
    picture = drawn_text("AIMA")
    assert picture.shape == (120, 640, 3)
    assert picture.min() == 0
    assert (picture == 255).mean() > 0.8


def test_a_recording_is_read_as_mono_between_minus_one_and_one(tmp_path: Path) -> None:
    import wave

    path = tmp_path / "stereo.wav"
    with wave.open(str(path), "wb") as recording:
        recording.setnchannels(2)
        recording.setsampwidth(2)
        recording.setframerate(8000)
        recording.writeframes(np.array([[16384, 0], [-32768, -32768]], "<i2").tobytes())
    samples, sample_rate = read_wave(path)
    assert (samples.tolist(), sample_rate) == ([0.25, -1.0], 8000)
