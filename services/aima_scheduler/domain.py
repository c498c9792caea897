"""Which parts a run consists of, and what state it is in. Pure."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from aima_common.contracts.codec import dumps
from aima_common.contracts.media import (
    Confidentiality,
    MediumType,
    MissingCapability,
    ObjectReference,
    Priority,
    Profile,
    Segment,
    SegmentDerivatives,
)
from aima_common.urgency import WEIGHTS, readable_time

Choice = TypeVar("Choice", bound=StrEnum)

INPUT_OF = {"frames": "frames", "thumbnails": "thumbnails", "sound": "sound"}
"""Analyzer input -> field of `SegmentDerivatives`; "picture" means the poster of a still."""


@dataclass(frozen=True)
class AnalyzerFacts:
    """What the scheduler must know of an analyzer (its document in collection `analyzers`)."""

    name: str
    version: str
    capability: str
    accepts: tuple[str, ...]
    input: str
    digest: str
    needs: Mapping[str, float]
    unavailable: str | None = None
    """Why it cannot run, or None."""

    @classmethod
    def of(cls, state: str, body: Mapping[str, Any]) -> "AnalyzerFacts":
        """Read an analyzer's document."""
        missing = None if state == "available" else str(body.get("reason") or "its model is missing")
        accepts = tuple(body["accepts"])
        return cls(
            body["name"],
            body["version"],
            body["capability"],
            accepts,
            body["input"],
            body["digest"],
            body["needs"],
            missing,
        )


@dataclass(frozen=True)
class PlannedJob:
    """One analysis to be done."""

    analyzer: AnalyzerFacts
    segment: Segment | None
    input: ObjectReference
    result_key: str


@dataclass(frozen=True)
class Preparation:
    """What preprocessing has made of a medium so far."""

    type: MediumType
    medium: str
    segments: Sequence[SegmentDerivatives]
    picture: ObjectReference | None


def pipeline_digest(profile: Profile, analyzers: Iterable[AnalyzerFacts]) -> str:
    """Name a pipeline: the same analyzers with the same models and parameters, the same profile."""
    parts = sorted([a.name, a.digest, a.unavailable is None] for a in analyzers)
    return hashlib.sha256(dumps([profile.value, parts])).hexdigest()


def result_key(medium: str, segment: Segment | None, analyzer: AnalyzerFacts) -> str:
    """Name what an analysis will find, before it is done (design.md, 11).

    Medium (the original's hash, and whose it is) x core range x analyzer x model digest and parameters:
    whoever computes it again, in whatever run, finds the earlier result. Findings, passages and vectors are
    named after it, which is why two tenants with the same file must not share it.
    """
    core = [segment.core_start, segment.core_end] if segment else None
    return hashlib.sha256(dumps([medium, core, analyzer.name, analyzer.digest])).hexdigest()


def plan(preparation: Preparation, analyzers: Sequence[AnalyzerFacts]) -> list[PlannedJob]:
    """List the analyses that the prepared parts of a medium allow, in the order of the medium."""
    able = [a for a in analyzers if preparation.type.value in a.accepts and a.unavailable is None]
    if preparation.type is MediumType.IMAGE:
        picture = preparation.picture
        return [_job(preparation, a, None, picture) for a in able if picture]
    planned = []
    for part in preparation.segments:
        for analyzer in able:
            derived = _derived(part, analyzer.input)
            if derived:
                planned.append(_job(preparation, analyzer, part.segment, derived))
    return planned


def missing_capabilities(preparation: Preparation, analyzers: Sequence[AnalyzerFacts]) -> list[MissingCapability]:
    """Name what cannot be looked for in this medium from the start, and why."""
    return [
        MissingCapability(capability=analyzer.capability, reason=analyzer.unavailable)
        for analyzer in analyzers
        if analyzer.unavailable is not None and preparation.type.value in analyzer.accepts
    ]


def _job(
    preparation: Preparation, analyzer: AnalyzerFacts, segment: Segment | None, derived: ObjectReference
) -> PlannedJob:
    return PlannedJob(analyzer, segment, derived, result_key(preparation.medium, segment, analyzer))


def _derived(part: SegmentDerivatives, kind: str) -> ObjectReference | None:
    field = INPUT_OF.get(kind)
    reference: ObjectReference | None = getattr(part, field) if field else None
    return reference


STRICTNESS = (Confidentiality.PUBLIC, Confidentiality.INTERNAL, Confidentiality.CONFIDENTIAL)


@dataclass(frozen=True)
class Demand:
    """What those who wait for a medium want of its run, all of them together."""

    priority: Priority
    deadline: str | None
    """Aware UTC time, ISO 8601."""
    confidentiality: Confidentiality

    def body(self) -> dict[str, str | None]:
        """Write it as runs and jobs have it."""
        return {
            "priority": self.priority.value,
            "deadline": self.deadline,
            "confidentiality": self.confidentiality.value,
        }


def demand(wishes: Iterable[Mapping[str, Any]]) -> Demand:
    """Put wishes together: the highest priority, the earliest deadline, the strictest confidentiality, each on its own.

    Wishes have the fields of a case's options; what is absent, or no such thing, is normal, without a deadline,
    confidential (spec 4.3): the work goes on all the same.
    """
    told = list(wishes)
    priorities = [_one_of(Priority, wish.get("priority"), Priority.NORMAL) for wish in told]
    deadlines = [(time, str(wish["deadline"])) for wish in told if (time := readable_time(wish.get("deadline")))]
    strictest = Confidentiality.CONFIDENTIAL
    secrets = [_one_of(Confidentiality, wish.get("confidentiality"), strictest) for wish in told]
    return Demand(
        max(priorities, key=WEIGHTS.__getitem__, default=Priority.NORMAL),
        min(deadlines)[1] if deadlines else None,
        max(secrets, key=STRICTNESS.index, default=strictest),
    )


def _one_of(choices: type[Choice], said: object, otherwise: Choice) -> Choice:
    try:
        return choices(str(said))
    except ValueError:
        return otherwise
