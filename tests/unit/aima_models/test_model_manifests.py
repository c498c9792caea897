"""The packaged manifests: complete, and misspelling one is noticed."""

from importlib import resources

import pytest
from pydantic import ValidationError

from aima_models.conversion import conversion_named
from aima_models.errors import UnknownModelError
from aima_models.golden import CHECKS
from aima_models.golden_inputs import MAKERS
from aima_models.manifest import ModelManifest, load_manifests, manifest_named, parse_manifest

MANIFESTS = load_manifests()
EACH = pytest.mark.parametrize("manifest", MANIFESTS.values(), ids=MANIFESTS)


def _text(name: str) -> str:
    return (resources.files("aima_models") / "manifests" / f"{name}.toml").read_text(encoding="utf-8")


def test_every_capability_of_the_first_release_has_its_model() -> None:
    assert set(MANIFESTS) == {
        "all-minilm-l6-v2",
        "centerface",
        "efficientnet-lite0",
        "imagenet-labels",
        "magika",
        "moonshine-tiny-en",
        "py3langid",
        "rapidocr",
        "silero-vad",
        "transnetv2",
    }


@EACH
def test_a_manifest_says_everything_a_finding_must_be_traceable_to(manifest: ModelManifest) -> None:
    assert manifest.description
    assert manifest.licence
    assert manifest.notice
    assert manifest.outputs
    assert manifest.preprocessing.description
    assert len(manifest.digest) == 64
    for file in manifest.files:
        conversion_named(file.conversion)


@EACH
def test_a_golden_names_a_check_that_exists_and_an_answer(manifest: ModelManifest) -> None:
    for golden in manifest.goldens:
        assert golden.check in CHECKS
        assert golden.text or golden.answers
        assert golden.check != "tensors" or golden.input in MAKERS
        assert {answer.output for answer in golden.answers} <= {output.name for output in manifest.outputs} | {
            "likeness"
        }


def test_a_manifest_is_named_like_its_file() -> None:
    for name in MANIFESTS:
        assert parse_manifest(_text(name)) == MANIFESTS[name]


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('capability = "', 'capabilty = "'),
        ('sha256 = "f2bc', 'sha256 = "zzbc'),
        ("size_bytes = 18535789", "size_bytes = 0"),
        ('name = "efficientnet-lite0.onnx"', 'name = "../efficientnet-lite0.onnx"'),
        ('licence = "Apache-2.0"\n', ""),
        ('kind = "archive"', 'kind = "installed"'),
        ('kind = "archive"', 'kind = "somewhere"'),
    ],
)
def test_a_manifest_with_a_mistake_is_refused(right: str, wrong: str) -> None:
    text = _text("efficientnet-lite0")
    parse_manifest(text)  # the control: without the mistake it is read
    assert right in text
    with pytest.raises(ValidationError):
        parse_manifest(text.replace(right, wrong, 1))


def test_a_digest_of_several_files_changes_with_any_of_them() -> None:
    whole = MANIFESTS["rapidocr"]
    first, *others = whole.files
    altered = whole.model_copy(update={"files": (first.model_copy(update={"sha256": "0" * 64}), *others)})
    assert ModelManifest.model_validate(altered.model_dump()).digest != whole.digest


def test_an_unknown_model_is_answered_with_the_known_ones() -> None:
    assert manifest_named("centerface", MANIFESTS).name == "centerface"
    with pytest.raises(UnknownModelError) as caught:
        manifest_named("centreface", MANIFESTS)
    assert "centerface" in caught.value.remedy


def test_only_the_named_conversions_exist() -> None:
    assert conversion_named("copy")({"a/b": b"content"}) == b"content"
    with pytest.raises(KeyError):
        conversion_named("os")
