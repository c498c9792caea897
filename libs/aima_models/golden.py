"""Runs a model on an input whose answer is known, the way the product runs it.

A hash shows that a file is the right one; a golden answer shows that this machine computes with it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aima_models import engines
from aima_models.errors import MissingModelError, WrongHashError
from aima_models.files import sha256_of
from aima_models.golden_inputs import MAKERS
from aima_models.manifest import Golden, GoldenAnswer
from aima_models.session import load_session
from aima_models.store import ModelStore, ResolvedModel, remedy_for

Outputs = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class GoldenResult:
    """What trying a model showed."""

    name: str
    passed: bool
    detail: str
    """What was compared; for a failure, what differs."""
    remedy: str = ""


def golden(store: ModelStore, name: str) -> GoldenResult:
    """Try one model on its golden inputs.

    Never raises for a model that is absent, wrong or broken: that is the answer. Raises UnknownModelError for a
    name without a manifest. It loads the model in this process, which may cost hundreds of megabytes.
    """
    try:
        model = store.resolve(name)
    except (MissingModelError, WrongHashError) as error:
        return GoldenResult(name, passed=False, detail=str(error), remedy=error.remedy)
    failures = [failure for golden in model.manifest.goldens if (failure := _try(model, golden))]
    if failures:
        return GoldenResult(name, passed=False, detail="; ".join(failures), remedy=remedy_for(model.manifest))
    checks = ", ".join(golden.check for golden in model.manifest.goldens)
    return GoldenResult(name, passed=True, detail=f"answers as expected ({checks})")


def _try(model: ResolvedModel, golden: Golden) -> str:
    """Say what is wrong, or nothing."""
    try:
        return CHECKS[golden.check](model, golden)
    except Exception as error:  # noqa: BLE001 - engines raise what they like, and each of it means: does not work
        return f"{golden.check}: {type(error).__name__}: {error}"


def _differences(golden: Golden, outputs: Outputs) -> str:
    return "; ".join(filter(None, (_difference(answer, outputs, golden.tolerance) for answer in golden.answers)))


def _difference(answer: GoldenAnswer, outputs: Outputs, tolerance: float) -> str:
    found = outputs[answer.output]
    if found.shape != answer.shape:
        return f"{answer.output} has shape {found.shape} instead of {answer.shape}"
    values = found.reshape(-1)[list(answer.indices)].astype(np.float64)
    worst = float(np.abs(values - np.array(answer.values)).max())
    if worst <= tolerance:  # false for a NaN
        return ""
    return f"{answer.output} differs by {worst:.3g}, more than {tolerance:g}"


def tensor_outputs(model: ResolvedModel, golden: Golden) -> Outputs:
    """Run a network on tensors."""
    names = [output.name for output in model.manifest.outputs]
    return dict(zip(names, load_session(model.path).run(names, MAKERS[golden.input]()), strict=True))


def sentence_outputs(model: ResolvedModel, golden: Golden) -> Outputs:
    """Embed sentences one by one, with the tokenizer of the pack."""
    from tokenizers import Tokenizer  # 10 MB, and only this check needs it

    tokenizer = Tokenizer.from_file(str(model.paths["tokenizer.json"]))
    tokenizer.no_padding()
    session = load_session(model.path)
    vectors = []
    for sentence in golden.input.splitlines():
        encoding = tokenizer.encode(sentence)
        ids, mask = (np.array([numbers], np.int64) for numbers in (encoding.ids, encoding.attention_mask))
        vectors += session.run(["embedding"], {"input_ids": ids, "attention_mask": mask})
    embedding = np.concatenate(vectors)
    return {"embedding": embedding, "likeness": embedding @ embedding.T}


def _check_tensors(model: ResolvedModel, golden: Golden) -> str:
    return _differences(golden, tensor_outputs(model, golden))


def _check_sentences(model: ResolvedModel, golden: Golden) -> str:
    return _differences(golden, sentence_outputs(model, golden))


def _check_lines(model: ResolvedModel, golden: Golden) -> str:
    lines = model.path.read_text(encoding="utf-8").splitlines()
    return _unequal(golden, "\n".join(lines[int(number)] for number in golden.input.split(",")))


def _check_drawn_text(model: ResolvedModel, golden: Golden) -> str:
    lines = engines.open_text_reader(model)(drawn_text(golden.input))
    return _unequal(golden, " ".join(line.text for line in lines))


def drawn_text(text: str) -> npt.NDArray[np.uint8]:
    """Make a white picture with one line of black letters, BGR."""
    from PIL import Image, ImageDraw, ImageFont  # bring their own font

    picture = Image.new("RGB", (640, 120), "white")
    ImageDraw.Draw(picture).text((24, 30), text, fill="black", font=ImageFont.load_default(size=48))
    return np.ascontiguousarray(np.asarray(picture, np.uint8)[:, :, ::-1])


def _check_spoken_words(model: ResolvedModel, golden: Golden) -> str:
    asset = _asset(model, golden)
    samples, sample_rate = read_wave(asset)
    lines = engines.open_transcriber(model)(samples, sample_rate)
    return _unequal(golden, words(" ".join(line.text for line in lines)))


def words(text: str) -> str:
    """Small letters and figures with single blanks: what two spellings of one sentence share."""
    return " ".join("".join(letter if letter.isalnum() else " " for letter in text.lower()).split())


def read_wave(path: Path) -> tuple[npt.NDArray[np.float32], int]:
    """Mono samples between -1 and 1 of a 16-bit WAVE file, and their rate; ValueError for another kind."""
    import wave

    with wave.open(str(path)) as recording:
        if recording.getsampwidth() != 2:
            raise ValueError(f"{path.name} is not a 16-bit recording")
        content = recording.readframes(recording.getnframes())
        channels, sample_rate = recording.getnchannels(), recording.getframerate()
    samples = np.frombuffer(content, "<i2").reshape(-1, channels).mean(axis=1, dtype=np.float32)
    return samples / np.float32(32768), sample_rate


def _asset(model: ResolvedModel, golden: Golden) -> Path:
    """Find a recording inside the model's own package, checked like a model."""
    module = model.path.parents[len(Path(model.manifest.files[0].members[0]).parts) - 1]
    path = module / golden.input
    found = sha256_of(path)
    if golden.input_sha256 is not None and found != golden.input_sha256:
        remedy = remedy_for(model.manifest)
        raise WrongHashError(str(path), expected=golden.input_sha256, found=found, remedy=remedy)
    return path


def _check_content_type(model: ResolvedModel, golden: Golden) -> str:
    label, _score = engines.open_content_classifier(model)(golden.input.encode())
    return _unequal(golden, label)


def _check_language(model: ResolvedModel, golden: Golden) -> str:
    label, _score = engines.open_language_identifier(model)(golden.input)
    return _unequal(golden, label)


def _unequal(golden: Golden, found: str) -> str:
    expected = golden.text.strip()
    return "" if found == expected else f"{golden.check}: {found!r} instead of {expected!r}"


CHECKS: Mapping[str, Callable[[ResolvedModel, Golden], str]] = {
    "tensors": _check_tensors,
    "sentences": _check_sentences,
    "lines": _check_lines,
    "drawn-text": _check_drawn_text,
    "spoken-words": _check_spoken_words,
    "content-type": _check_content_type,
    "language": _check_language,
}
"""The checks by the name that manifests use; each says what is wrong, or nothing."""


def golden_all(store: ModelStore, names: Sequence[str] | None = None) -> tuple[GoldenResult, ...]:
    """Try every model (or those named), one after the other."""
    return tuple(golden(store, name) for name in (store.manifests if names is None else names))
