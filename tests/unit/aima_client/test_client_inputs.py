"""Which files are meant, and what is wrong with the others."""

import os
from pathlib import Path

import pytest

from aima_client import inputs
from aima_client.summary import printable


def test_files_of_folders_come_once_and_in_order(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.jpg", "sub/c.jpg", ".hidden", ".secret/d.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    found = inputs.collect([tmp_path, tmp_path / "a.jpg"])
    assert [str(path.relative_to(tmp_path)) for path in found.files] == ["a.jpg", "b.jpg", "sub/c.jpg"]
    assert found.refused == []
    assert found.total_bytes == 3


def test_results_and_data_in_a_folder_are_not_its_media(tmp_path: Path) -> None:
    for name in ("a.jpg", "data/log.db", "results/dossier.html", "dossier.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    ours = [tmp_path / name for name in ("data", "results", "dossier.json")]
    assert inputs.collect([tmp_path], ours).files == [tmp_path / "a.jpg"]
    assert len(inputs.collect([tmp_path]).files) == 4
    assert inputs.collect([tmp_path / "dossier.json"], ours).files == [tmp_path / "dossier.json"]


def test_a_hidden_file_that_is_named_is_meant(tmp_path: Path) -> None:
    (tmp_path / ".hidden").write_text("x")
    assert inputs.collect([tmp_path / ".hidden"]).files == [tmp_path / ".hidden"]


def test_what_cannot_be_sent_is_named_with_its_reason_and_the_others_go_on(tmp_path: Path) -> None:
    (tmp_path / "good.jpg").write_text("x")
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    found = inputs.collect([tmp_path / name for name in ("missing", "empty", "pipe", "good.jpg", "good.jpg/x")])
    assert found.files == [tmp_path / "good.jpg"]
    assert [Path(one.path).name for one in found.refused] == ["missing", "empty", "pipe", "x"]
    assert all(one.reason and one.remedy for one in found.refused)


def test_a_pipe_in_a_folder_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "good.jpg").write_text("x")
    assert inputs.collect([tmp_path]).files == [tmp_path / "good.jpg"]


def test_an_unreadable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locked.jpg").write_text("x")
    (tmp_path / "open.jpg").write_text("x")
    opened = Path.open

    def refuse(self: Path, mode: str = "r") -> object:
        if self.name == "locked.jpg":
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, mode)

    monkeypatch.setattr(Path, "open", refuse)
    found = inputs.collect([tmp_path])
    assert [path.name for path in found.files] == ["open.jpg"]
    assert [one.reason for one in found.refused] == ["you may not read it"]


def test_names_cannot_confuse_a_terminal() -> None:
    for name in ("a\nb", "\x1b[31mred", "\u202egnp.exe", "\x00"):
        shown = inputs.shown(Path(name))
        assert shown.isprintable()
        assert shown == printable(name)
    assert inputs.shown(Path("übung [1].jpg")) == "übung [1].jpg"
    assert inputs.shown(Path(os.fsdecode(b"\xff.jpg"))) == "\ufffd.jpg"
