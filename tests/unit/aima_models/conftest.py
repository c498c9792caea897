"""Small archives and manifests of the tests' own, shaped like the real ones."""

import hashlib
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from aima_models.download import Received
from aima_models.manifest import Golden, ModelFile, ModelManifest, Preprocessing, Source

WRONG = "0" * 64


def manifest_of(name: str, content: bytes, source: Source, *, sha256: str = "") -> ModelManifest:
    """A pack model of one file that is copied out of the archive as it is."""
    file = ModelFile(
        name=f"{name}.onnx",
        sha256=sha256 or hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        members=(f"inside/{name}.onnx",),
    )
    return ModelManifest(
        name=name,
        version="1.0",
        capability="testing",
        description="A file.",
        licence="MIT",
        notice="Made by a test.",
        least_memory_bytes=1,
        source=source,
        files=(file,),
        preprocessing=Preprocessing(description="None."),
        goldens=(Golden(check="lines", input="0", text="first"),),
    )


def archive_of(path: Path, members: Mapping[str, bytes]) -> Source:
    """Write a zip archive and describe it as a source."""
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return Source(kind="archive", package=path.stem, version="1.0", sha256=digest, size_bytes=len(content))


class Shelf:
    """Fetches archives from a folder, and remembers which were asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        self.broken: set[str] = set()

    def __call__(self, source: Source, folder: Path, received: Received) -> Path:
        self.asked.append(source.package)
        if source.package in self.broken:
            raise ConnectionError("the line is dead")
        folder.mkdir(parents=True, exist_ok=True)
        copy = folder / f"{source.package}.whl"
        copy.write_bytes((self.folder / f"{source.package}.whl").read_bytes())
        received(source.size_bytes)
        return copy


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    folder = tmp_path / "shelf"
    folder.mkdir()
    return Shelf(folder)


@pytest.fixture
def two_models(shelf: Shelf) -> Mapping[str, ModelManifest]:
    """Models `first` and `second`, each in an archive of its own."""
    manifests = {}
    for name in ("first", "second"):
        content = f"{name} weights".encode()
        source = archive_of(shelf.folder / f"{name}.whl", {f"inside/{name}.onnx": content})
        manifests[name] = manifest_of(name, content, source)
    return manifests


@pytest.fixture
def make_wheel(tmp_path: Path) -> Callable[[str, bytes], Source]:
    """Write an installable wheel into `tmp_path/index`, where pip can be told to look."""

    def make(package: str, content: bytes) -> Source:
        index = tmp_path / "index"
        index.mkdir(exist_ok=True)
        information = f"{package}-1.0.dist-info"
        wheel = index / f"{package}-1.0-py3-none-any.whl"
        metadata = f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n"
        tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        source = archive_of(
            wheel,
            {
                f"{package}/weights.bin": content,
                f"{information}/METADATA": metadata.encode(),
                f"{information}/WHEEL": tags.encode(),
                f"{information}/RECORD": b"",
            },
        )
        return source.model_copy(update={"package": package})

    return make
