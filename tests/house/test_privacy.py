"""The project speaks of itself alone: no path of the machine it was written on, no address of a package index."""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# Spelled in parts, so that this file does not name what it looks for.
INDEXES = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("files", "pythonhosted", "org"),
        ("registry", "npmjs", "org"),
        ("registry", "yarnpkg", "com"),
        ("repo", "maven", "apache", "org"),
        ("repo1", "maven", "org"),
        ("proxy", "golang", "org"),
        ("deb", "debian", "org"),
    )
)
HOMES = re.compile(rb"/(?:home|Users)/[a-z][a-z0-9_-]*/")


def machine_paths(root: Path) -> list[str]:
    shared = {Path("/"), Path.home(), Path(tempfile.gettempdir())}
    return [f"{root}/", *([] if root.parent in shared else [f"{root.parent}/"])]


def complaints(name: str, content: bytes, machine: list[str]) -> Iterator[str]:
    for index in INDEXES:
        if index.encode() in content:
            yield f"{name} names the package index {index}"
    for path in machine:
        if path.encode() in content:
            yield f"{name} holds a path of this machine"
    if b"\0" not in content and HOMES.search(content):
        yield f"{name} holds a path of somebody's home"


def test_no_file_names_a_machine_or_a_package_index(root: Path, tracked_files: list[Path]) -> None:
    machine = machine_paths(root)
    found = [
        line for path in tracked_files for line in complaints(str(path.relative_to(root)), path.read_bytes(), machine)
    ]
    assert found == []


@pytest.mark.parametrize("content", [f"see https://{INDEXES[0]}/simple", "/opt/there/aima/x.py", "/home" + "/ada/x.py"])
def test_a_machine_or_an_index_is_seen(content: str) -> None:
    assert list(complaints("made.txt", content.encode(), ["/opt/there/"]))


def test_ordinary_prose_is_left_alone() -> None:
    assert list(complaints("made.txt", b"a medium lives at /var/lib/aima", ["/opt/there/"])) == []


def test_locks_name_no_address(root: Path) -> None:
    locks = sorted((root / "requirements").rglob("*.txt"))
    assert {"all.txt", "bootstrap.txt", "build.txt", "runtime.txt", "fusion.txt"} <= {lock.name for lock in locks}
    for lock in locks:
        text = lock.read_text("utf-8")
        assert "://" not in text
        assert text.count("--hash=sha256:") > text.count("==")
