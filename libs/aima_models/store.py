"""Finds the files of a model on this machine and vouches for them.

Pack models lie under `<root>/pack/<name>/<version>/<sha256>/<file>`; models that come inside an installed
package lie where that package lies. A path is only handed out after its hash was checked in this process.
"""

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aima_models.errors import MissingModelError, WrongHashError
from aima_models.files import sha256_of
from aima_models.manifest import ModelFile, ModelManifest, load_manifests, manifest_named


def default_root(environment: Mapping[str, str] | None = None) -> Path:
    """Choose the user's models folder: $AIMA_MODELS, else aima/models in the XDG cache folder."""
    values = os.environ if environment is None else environment
    if override := values.get("AIMA_MODELS"):
        return Path(override).expanduser()
    cache = values.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "aima" / "models"


@dataclass(frozen=True)
class ResolvedModel:
    """A model whose files are here and are the right ones."""

    manifest: ModelManifest
    paths: Mapping[str, Path]
    """By file name, in the order of the manifest."""

    @property
    def path(self) -> Path:
        """The first file: the network itself."""
        return self.paths[self.manifest.files[0].name]


class ModelStore:
    """The models of this machine. Reading it changes nothing and needs no network."""

    def __init__(self, root: Path | None = None, manifests: Mapping[str, ModelManifest] | None = None) -> None:
        self.root = default_root() if root is None else root
        self.manifests = load_manifests() if manifests is None else manifests
        self._checked: dict[str, ResolvedModel] = {}

    def path_of(self, manifest: ModelManifest, file: ModelFile) -> Path | None:
        """Where the file belongs, whether or not it is there; None when its package is not installed."""
        if manifest.source.kind == "archive":
            return self.root / "pack" / manifest.name / manifest.version / file.sha256 / file.name
        specification = importlib.util.find_spec(manifest.source.module)
        if specification is None or not specification.submodule_search_locations:
            return None
        return Path(specification.submodule_search_locations[0]) / file.members[0]

    def resolve(self, name: str) -> ResolvedModel:
        """Find a model and check its hashes, once per store.

        Raises UnknownModelError, MissingModelError, or WrongHashError.
        """
        if name not in self._checked:
            manifest = manifest_named(name, self.manifests)
            paths = {file.name: self._checked_path(manifest, file) for file in manifest.files}
            self._checked[name] = ResolvedModel(manifest, paths)
        return self._checked[name]

    def find(self, name: str) -> ResolvedModel | None:
        """Like `resolve`, but None for a model that is not on this machine."""
        try:
            return self.resolve(name)
        except MissingModelError:
            return None

    def missing(self) -> tuple[str, ...]:
        """Name the models of which a file is absent; nothing is hashed."""
        return tuple(name for name, manifest in self.manifests.items() if not self._is_present(manifest))

    def _is_present(self, manifest: ModelManifest) -> bool:
        paths = (self.path_of(manifest, file) for file in manifest.files)
        return all(path is not None and path.is_file() for path in paths)

    def _checked_path(self, manifest: ModelManifest, file: ModelFile) -> Path:
        path = self.path_of(manifest, file)
        if path is None or not path.is_file():
            raise MissingModelError(manifest.name, reason=_absence(file, path), remedy=remedy_for(manifest))
        found = sha256_of(path)
        if found != file.sha256:
            raise WrongHashError(str(path), expected=file.sha256, found=found, remedy=remedy_for(manifest))
        return path


def remedy_for(manifest: ModelManifest) -> str:
    """Tell what to do when a file of this model is absent or wrong."""
    if manifest.source.kind == "archive":
        return "run `aima models build`"
    return f"install {manifest.source.requirement} again"


def _absence(file: ModelFile, path: Path | None) -> str:
    return f"there is no {path}" if path is not None else f"the package that carries {file.name} is not installed"
