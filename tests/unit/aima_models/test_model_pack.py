"""Building the pack: resumable, and nothing wrong is ever put in place."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from aima_models import archive as archive_module
from aima_models.archive import read_members
from aima_models.errors import DamagedArchiveError, WrongHashError
from aima_models.files import write_atomically
from aima_models.manifest import ModelManifest
from aima_models.pack import build, verify
from aima_models.store import ModelStore

Models = Mapping[str, ModelManifest]


def _files(root: Path) -> dict[str, tuple[int, bytes]]:
    paths = (path for path in (root / "pack").rglob("*") if path.is_file())
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


def test_a_build_makes_what_is_missing_and_says_so(tmp_path: Path, two_models: Models, shelf: Any) -> None:
    report = build(tmp_path / "models", manifests=two_models, fetch=shelf)
    assert report.made == ("first", "second")
    assert ModelStore(tmp_path / "models", two_models).resolve("second").path.read_bytes() == b"second weights"
    assert list((tmp_path / "models" / "archives").iterdir()) == []


def test_a_second_build_touches_nothing(tmp_path: Path, two_models: Models, shelf: Any) -> None:
    root = tmp_path / "models"
    build(root, manifests=two_models, fetch=shelf)
    before = _files(root)
    shelf.asked.clear()
    report = build(root, manifests=two_models, fetch=shelf)
    assert (report.made, report.kept, report.downloaded) == ((), ("first", "second"), ())
    assert shelf.asked == []
    assert _files(root) == before
    assert len(before) == 2


def test_an_interrupted_build_goes_on_where_it_stopped(tmp_path: Path, two_models: Models, shelf: Any) -> None:
    root = tmp_path / "models"
    shelf.broken = {"second"}
    with pytest.raises(ConnectionError):
        build(root, manifests=two_models, fetch=shelf)
    assert ModelStore(root, two_models).missing() == ("second",)
    shelf.broken.clear()
    shelf.asked.clear()
    assert build(root, manifests=two_models, fetch=shelf).made == ("second",)
    assert shelf.asked == ["second"]


def test_an_altered_file_is_made_anew(tmp_path: Path, two_models: Models, shelf: Any) -> None:
    root = tmp_path / "models"
    build(root, manifests=two_models, fetch=shelf)
    path = ModelStore(root, two_models).resolve("first").path
    path.write_bytes(b"first weightS")
    verdicts = {each.name: each.verdict for each in verify(ModelStore(root, two_models))}
    assert verdicts == {"first": "wrong", "second": "right"}
    assert build(root, manifests=two_models, fetch=shelf).made == ("first",)
    assert path.read_bytes() == b"first weights"


def test_a_file_of_another_hash_is_refused_and_nothing_is_put_in_place(
    tmp_path: Path, two_models: Models, shelf: Any
) -> None:
    root = tmp_path / "models"
    file = two_models["first"].files[0].model_copy(update={"sha256": "0" * 64})
    wrong = {"first": two_models["first"].model_copy(update={"files": (file,)})}
    with pytest.raises(WrongHashError) as caught:
        build(root, manifests=wrong, fetch=shelf)
    assert caught.value.found == hashlib.sha256(b"first weights").hexdigest()
    assert not (root / "pack").exists()
    assert build(root, manifests=two_models, fetch=shelf).made == ("first", "second")  # the control


def test_verifying_names_what_is_missing_and_what_to_do(tmp_path: Path, two_models: Models, shelf: Any) -> None:
    root = tmp_path / "models"
    (verdict, *_) = verify(ModelStore(root, two_models))
    assert (verdict.verdict, verdict.remedy) == ("missing", "run `aima models build`")
    build(root, manifests=two_models, fetch=shelf)
    assert {each.verdict for each in verify(ModelStore(root, two_models))} == {"right"}


def test_verifying_does_not_trust_what_was_checked_before(tmp_path: Path, two_models: Models, shelf: Any) -> None:
    root = tmp_path / "models"
    build(root, manifests=two_models, fetch=shelf)
    store = ModelStore(root, two_models)
    store.resolve("first").path.write_bytes(b"first weightS")
    assert {each.name: each.verdict for each in verify(store)}["first"] == "wrong"


def test_progress_counts_bytes_of_archives_and_ends_for_every_model(
    tmp_path: Path, two_models: Models, shelf: Any
) -> None:
    told: list[tuple[str, str, int, int]] = []
    build(tmp_path / "models", lambda *step: told.append(step), manifests=two_models, fetch=shelf)
    size = two_models["first"].source.size_bytes
    assert ("first", "download", size, size) in told
    assert [name for name, phase, _done, _total in told if phase == "done"] == ["first", "second"]


def test_members_are_read_by_name_and_no_other_path_is_ever_written(tmp_path: Path, shelf: Any) -> None:
    from zipfile import ZipFile

    path = tmp_path / "hostile.whl"
    with ZipFile(path, "w") as archive:
        archive.writestr("../../escaped", b"no")
        archive.writestr("/absolute", b"no")
        archive.writestr("inside/model.onnx", b"yes")
    assert read_members(path, ["inside/model.onnx"]) == {"inside/model.onnx": b"yes"}
    assert {each.name for each in tmp_path.iterdir()} == {"hostile.whl", "shelf"}


def test_an_archive_without_the_member_or_without_sense_is_damaged(tmp_path: Path, shelf: Any) -> None:
    path = tmp_path / "empty.whl"
    path.write_bytes(b"PK\x05\x06" + bytes(18))
    with pytest.raises(DamagedArchiveError, match="no member"):
        read_members(path, ["inside/model.onnx"])
    path.write_bytes(b"not a zip archive")
    with pytest.raises(DamagedArchiveError, match="not a readable archive"):
        read_members(path, ["inside/model.onnx"])


def test_a_member_beyond_the_limit_is_not_unpacked(
    tmp_path: Path, two_models: Models, shelf: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shelf.folder / "first.whl"
    assert read_members(path, ["inside/first.onnx"])  # the control
    monkeypatch.setattr(archive_module, "LARGEST_MEMBER_BYTES", 5)
    with pytest.raises(DamagedArchiveError, match="limit"):
        read_members(path, ["inside/first.onnx"])


def test_a_file_that_cannot_be_finished_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_atomically(tmp_path / "folder" / "kept", b"whole")

    def full(_descriptor: int) -> None:
        raise OSError(28, "no space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_atomically(tmp_path / "folder" / "lost", b"half")
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["kept"]
