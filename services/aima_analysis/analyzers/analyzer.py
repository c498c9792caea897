"""The interface of an analyzer: one class, a handful of stated facts, one method.

Analyzers are synchronous, know neither bus nor store, and see re-encoded derivatives only. They run in an
inference process (`aima_analysis.inference`); the main process reads their stated facts alone, so a module
of an analyzer imports nothing heavy at its top.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from aima_common.contracts.base import Contract
from aima_common.contracts.derivatives import Frame, Thumbnails
from aima_common.contracts.media import (
    Finding,
    FindingVector,
    MediumType,
    MissingCapability,
    ModelReference,
    Segment,
)
from aima_common.errors import PermanentError
from aima_models.session import Session
from aima_models.store import ResolvedModel

Input = Literal["frames", "thumbnails", "sound", "picture"]
"""What an analyzer looks at. `frames` are the pictures of a film, or the one picture of a still."""

Parameters = Mapping[str, float | int | str | bool]

T = TypeVar("T")


class DerivativeError(PermanentError):
    """A derivative cannot be read; it was made wrongly or damaged afterwards."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="derivative_unreadable", remedy="Have the medium prepared again.")


LARGEST_NEED = 2**50
"""A pebibyte of memory, and more cores and GPUs than there are."""


@dataclass(frozen=True)
class Needs:
    """The least a machine must have for one call; `memory_bytes` includes the models."""

    cpus: float = 1.0
    memory_bytes: int = 512 * 2**20
    gpus: int = 0

    def __post_init__(self) -> None:
        """Refuse what no machine can have, where it is written: jobs with such needs would be set aside one by one."""
        for name, said in vars(self).items():
            if not 0 <= said < LARGEST_NEED:
                raise ValueError(f"an analyzer needs {name}={said!r}: say a number from 0 on that a machine can have")


@dataclass(frozen=True)
class Sound:
    """Mono samples at 16 kHz in -1..1; the first one sounds at `start_seconds` of the medium."""

    samples: npt.NDArray[np.float32]
    start_seconds: float


@dataclass(frozen=True)
class Part:
    """What an analyzer is given: a stretch of a medium, or a whole still (`segment` is None)."""

    type: MediumType
    segment: Segment | None = None
    frames: Sequence[Frame] = ()
    """Pictures in the order of their times; those of the core stretch."""
    thumbnails: Thumbnails | None = None
    """Every frame of the context stretch, 48 x 27."""
    sound: Sound | None = None
    """The context stretch."""
    picture: bytes | None = None
    """A still as JPEG."""

    def pictures(self) -> Sequence[Frame]:
        """Give the frames of a film, or a still as the one frame at time zero."""
        return self.frames if self.picture is None else (Frame(0.0, self.picture),)

    def owns(self, start_seconds: float) -> bool:
        """Tell whether a finding that starts here belongs to this part and not to a neighbour."""
        return self.segment is None or self.segment.core_start <= start_seconds < self.segment.core_end


class Analysis(Contract):
    """What an analyzer found in one part."""

    findings: list[Finding] = []
    vectors: list[FindingVector] = []
    missing: list[MissingCapability] = []


class Models(Protocol):
    """The models of an inference process: loaded when first asked for, kept, unloaded when idle.

    Every method raises MissingModelError for a model that is not on this machine.
    """

    def load(self, name: str, loader: Callable[[ResolvedModel], T]) -> T:
        """Give what `loader` makes of a model, made at most once (a loader) while it stays loaded."""

    def session(self, name: str, file: str | None = None) -> Session:
        """Give a session on the first file of a model, or on the file of this name."""

    def reference(self, name: str) -> ModelReference:
        """Say which model this is, for the findings made with it."""


@dataclass(frozen=True)
class Manifest:
    """What an analyzer states of itself; everything that changes its answers changes its digest.

    `models` are needed, `enrichments` are used where they are: without one of them the analyzer works and
    names what is missing.
    """

    name: str
    version: str
    capability: str
    accepts: frozenset[MediumType]
    input: Input
    models: tuple[str, ...] = ()
    enrichments: Mapping[str, str] = field(default_factory=dict)
    """Capability of an enrichment -> the model it needs."""
    needs: Needs = field(default_factory=Needs)
    parameters: Parameters = field(default_factory=dict)


class Analyzer(ABC):
    """Finds one kind of thing in one kind of derivative.

    Its answers depend on nothing but the part, its parameters and its models: not on how work was batched,
    on threads, or on what it analysed before.
    """

    manifest: ClassVar[Manifest]

    def __init__(self, models: Models) -> None:
        self._models = models

    @abstractmethod
    def analyse(self, part: Part) -> Analysis:
        """Give the findings that belong to this part, sorted by `finding_key`.

        Raises MissingModelError and DerivativeError.
        """


def finding_key(finding: Finding) -> tuple[float, float, str, float, float, str, str]:
    """Order findings by time, kind, place (lines from top to bottom) and words: the stated order of every result."""
    region = finding.region
    down, right = (region.y, region.x) if region else (0.0, 0.0)
    said = (finding.label or "", finding.text or "")
    return (finding.start_seconds, finding.end_seconds, finding.kind, down, right, *said)


def sorted_findings(findings: Sequence[Finding]) -> list[Finding]:
    """Put findings in the stated order."""
    return sorted(findings, key=finding_key)
