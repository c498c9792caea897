"""What the system is told about analyzers, without running one."""

import hashlib
import math
from pathlib import Path

import pytest

from aima_analysis.analyzers import ANALYZERS, chosen
from aima_analysis.analyzers.analyzer import Needs
from aima_analysis.analyzers.description import describe
from aima_analysis.analyzers.echo import Echo
from aima_analysis.analyzers.faces import Faces
from aima_analysis.analyzers.text import Text
from aima_common.errors import SettingsError
from aima_models.manifest import ModelManifest, load_manifests
from aima_models.store import ModelStore

WEIGHTS = b"weights"


def store_of(folder: Path, *names: str) -> ModelStore:
    """A store in which these models are one small file each, and no other is there."""
    manifests = {}
    for name, manifest in load_manifests().items():
        content = WEIGHTS + name.encode()
        file = manifest.files[0].model_copy(
            update={"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
        )
        source = manifest.source.model_copy(update={"kind": "archive", "module": ""})
        made: ModelManifest = manifest.model_copy(update={"files": (file,), "source": source})
        manifests[name] = made
    store = ModelStore(folder, manifests)
    for name in names:
        path = store.path_of(manifests[name], manifests[name].files[0])
        assert path is not None
        path.parent.mkdir(parents=True)
        path.write_bytes(WEIGHTS + name.encode())
    return store


def test_the_registry_is_sorted_and_every_analyzer_stands_under_its_name() -> None:
    assert list(ANALYZERS) == sorted(ANALYZERS)
    assert all(name == analyzer.manifest.name for name, analyzer in ANALYZERS.items())


def test_every_model_of_every_analyzer_has_a_manifest() -> None:
    known = load_manifests()
    for analyzer in ANALYZERS.values():
        assert {*analyzer.manifest.models, *analyzer.manifest.enrichments.values()} <= set(known)


def test_echo_runs_only_when_it_is_named() -> None:
    assert "echo" not in [analyzer.manifest.name for analyzer in chosen(None)]
    assert [analyzer.manifest.name for analyzer in chosen(" echo, faces,echo")] == ["echo", "faces"]


def test_a_name_that_is_not_in_the_registry_stops_the_start() -> None:
    with pytest.raises(SettingsError, match="AIMA_ANALYZERS names 'facez', but the analyzers are echo, faces"):
        chosen("facez")


def test_an_analyzer_with_its_models_is_available_and_names_them(tmp_path: Path) -> None:
    description = describe(Faces, store_of(tmp_path, "centerface"))
    assert (description.state, description.reason) == ("available", None)
    assert description.body["models"] == [
        {
            "name": "centerface",
            "version": load_manifests()["centerface"].version,
            "sha256": hashlib.sha256(WEIGHTS + b"centerface").hexdigest(),
        }
    ]
    assert description.body["accepts"] == ["image", "video"]


def test_an_analyzer_without_its_model_is_unavailable_and_says_what_to_do(tmp_path: Path) -> None:
    description = describe(Faces, store_of(tmp_path))
    assert description.state == "unavailable"
    assert "'centerface' is not on this machine" in (description.reason or "")
    assert "aima models build" in (description.reason or "")


def test_a_wrong_file_makes_an_analyzer_unavailable(tmp_path: Path) -> None:
    store = store_of(tmp_path, "centerface")
    next(tmp_path.rglob("centerface.onnx")).write_bytes(b"other weights")
    assert "SHA-256" in (describe(Faces, store).reason or "")


def test_without_the_model_of_an_enrichment_an_analyzer_works_and_says_what_is_missing(tmp_path: Path) -> None:
    description = describe(Text, store_of(tmp_path, "rapidocr", "py3langid"))
    assert description.state == "available"
    (missing,) = description.body["missing"]
    assert missing["capability"] == "text_embedding"
    assert "all-minilm-l6-v2" in missing["reason"]


def test_the_digest_changes_with_models_and_parameters_and_with_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poor = store_of(tmp_path / "poor", "rapidocr", "py3langid")
    rich = store_of(tmp_path / "rich", "rapidocr", "py3langid", "all-minilm-l6-v2")
    first = describe(Text, poor).body["digest"]
    assert describe(Text, poor).body["digest"] == first
    assert describe(Text, rich).body["digest"] != first
    with monkeypatch.context() as other:
        other.setitem(Text.manifest.parameters, "threshold", 0.1)
        assert describe(Text, poor).body["digest"] != first
    assert describe(Text, poor).body["digest"] == first


def test_an_analyzer_without_models_is_always_available(tmp_path: Path) -> None:
    assert describe(Echo, store_of(tmp_path)).state == "available"


@pytest.mark.parametrize("said", [-1, math.nan, math.inf, 2**60])
@pytest.mark.parametrize("name", ["cpus", "memory_bytes", "gpus"])
def test_needs_that_no_machine_can_have_are_refused_where_they_are_written(name: str, said: float) -> None:
    with pytest.raises(ValueError, match=f"needs {name}="):
        Needs(**{name: said})  # type: ignore[arg-type]
    assert vars(Needs(**{name: 0}))[name] == 0, "the control"
