"""Finding models: where they belong, and that only the right bytes are handed out."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from aima_models import store as store_module
from aima_models.errors import MissingModelError, WrongHashError
from aima_models.files import sha256_of
from aima_models.manifest import ModelManifest, load_manifests
from aima_models.store import ModelStore, default_root


@pytest.fixture
def filled(tmp_path: Path, two_models: Mapping[str, ModelManifest]) -> ModelStore:
    store = ModelStore(tmp_path / "models", two_models)
    for name, manifest in two_models.items():
        path = store.path_of(manifest, manifest.files[0])
        assert path is not None
        path.parent.mkdir(parents=True)
        path.write_bytes(f"{name} weights".encode())
    return store


def test_the_folder_is_the_named_one_else_the_users_cache() -> None:
    assert default_root({"AIMA_MODELS": "/srv/models", "XDG_CACHE_HOME": "/c"}) == Path("/srv/models")
    assert default_root({"XDG_CACHE_HOME": "/c"}) == Path("/c/aima/models")
    assert default_root({}) == Path.home() / ".cache/aima/models"


def test_a_model_that_is_here_is_handed_out_with_its_manifest(filled: ModelStore) -> None:
    model = filled.resolve("first")
    assert model.path.read_bytes() == b"first weights"
    assert model.paths["first.onnx"] == model.path
    assert model.manifest.name == "first"
    assert filled.missing() == ()


def test_the_path_carries_name_version_and_hash(filled: ModelStore) -> None:
    model = filled.resolve("first")
    assert model.path.parts[-5:] == ("pack", "first", "1.0", model.manifest.digest, "first.onnx")


def test_an_absent_model_is_said_to_be_absent_with_what_to_do(filled: ModelStore) -> None:
    filled.resolve("second").path.unlink()
    fresh = ModelStore(filled.root, filled.manifests)
    assert fresh.find("first") is not None
    assert fresh.find("second") is None
    assert fresh.missing() == ("second",)
    with pytest.raises(MissingModelError) as caught:
        fresh.resolve("second")
    assert "aima models build" in caught.value.remedy


def test_an_altered_model_is_never_handed_out(filled: ModelStore) -> None:
    path = filled.resolve("first").path
    path.write_bytes(b"first weightS")
    fresh = ModelStore(filled.root, filled.manifests)
    assert fresh.resolve("second").path.is_file()
    with pytest.raises(WrongHashError):
        fresh.resolve("first")
    with pytest.raises(WrongHashError):  # wrong is not the same as absent
        fresh.find("first")


def test_a_model_is_hashed_once(filled: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[Path] = []

    def counted(path: Path) -> str:
        hashed.append(path)
        return sha256_of(path)

    monkeypatch.setattr(store_module, "sha256_of", counted)
    assert filled.resolve("first") is filled.resolve("first")
    assert len(hashed) == 1


def test_a_package_that_is_not_installed_is_a_missing_model(tmp_path: Path) -> None:
    whole = load_manifests()["rapidocr"]
    source = whole.source.model_copy(update={"module": "no_such_module_here"})
    store = ModelStore(tmp_path, {"rapidocr": whole.model_copy(update={"source": source})})
    assert store.missing() == ("rapidocr",)
    with pytest.raises(MissingModelError) as caught:
        store.resolve("rapidocr")
    assert "install rapidocr==3.10.0" in caught.value.remedy


def test_the_models_of_installed_packages_are_the_pinned_ones(tmp_path: Path) -> None:
    manifests = {name: each for name, each in load_manifests().items() if each.source.kind == "installed"}
    store = ModelStore(tmp_path, manifests)
    assert len(manifests) == 4
    for name in manifests:
        assert store.resolve(name).path.is_file()


def test_importing_the_library_loads_no_runtime() -> None:
    heavy = ["PIL", "cv2", "magika", "moonshine_voice", "onnx", "onnxruntime", "py3langid", "rapidocr", "tokenizers"]
    light = "aima_models.engines, aima_models.golden, aima_models.pack, aima_models.session, aima_models.store"
    code = f"import sys, {light}; print([name for name in {heavy} if name in sys.modules])"
    assert _printed(code) == "[]"
    assert "onnxruntime" in _printed(f"import onnxruntime; {code}")  # the control


def _printed(code: str) -> str:
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return answer.stdout.strip()
