"""The shapes of media: what they are, how they are cut, what is said about them."""

import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from aima_common.contracts.base import Contract

Seconds = Annotated[float, Field(ge=0)]
"""Seconds from the start of the medium in its container's own time base, rounded to 1 microsecond."""

Fraction = Annotated[float, Field(ge=0, le=1)]
Hex64 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _aware(text: str) -> str:
    if datetime.datetime.fromisoformat(text).utcoffset() is None:
        raise ValueError("has no time zone")
    return text


AwareTime = Annotated[str, AfterValidator(_aware)]
"""An aware time, ISO 8601, as text; what is none makes a message malformed, before anybody plans by it."""


class MediumType(StrEnum):
    """The three lanes of analysis."""

    VIDEO = "video"
    IMAGE = "image"
    AUDIO = "audio"


class Priority(StrEnum):
    """Classes of urgency; their weights are in the scheduler."""

    CRITICAL = "critical"
    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"
    BATCH = "batch"


class Confidentiality(StrEnum):
    """Where data may go. Whatever is absent or unknown counts as confidential."""

    PUBLIC = "public"
    INTERNAL = "internal"
    CONFIDENTIAL = "confidential"


class Profile(StrEnum):
    """How thorough an analysis is."""

    FAST = "fast"
    DEFAULT = "default"
    THOROUGH = "thorough"


class ObjectReference(Contract):
    """Where bytes lie and how to know that they are the right ones."""

    key: str
    sha256: Hex64
    size_bytes: Annotated[int, Field(ge=0)]


class Segment(Contract):
    """A stretch of a medium. Cores tile the medium, context overlaps the neighbours.

    A finding belongs to the segment whose core holds its start.
    """

    index: Annotated[int, Field(ge=0)]
    core_start: Seconds
    core_end: Seconds
    context_start: Seconds
    context_end: Seconds


class SegmentDerivatives(Contract):
    """What preprocessing made of one segment; None where the medium has nothing of the kind.

    `frames` and `sound` and `thumbnails` are single objects, their layouts are in
    `aima_common.contracts.derivatives`.
    """

    segment: Segment
    frames: ObjectReference | None = None
    """Pictures, two a second, JPEG <= 1280 px, of the core stretch."""
    thumbnails: ObjectReference | None = None
    """48 x 27 RGB of every frame of the context stretch, with timestamps."""
    sound: ObjectReference | None = None
    """FLAC, 16 kHz, mono, of the context stretch."""


class Probe(Contract):
    """What a container says of itself, checked against what was decoded."""

    type: MediumType
    mime_type: str
    container: str
    duration_seconds: Seconds | None = None
    start_offset_seconds: float = 0.0
    """The container's own start time, subtracted from every timestamp."""
    width: int | None = None
    height: int | None = None
    frames_per_second: float | None = None
    video_codec: str | None = None
    audio_codec: str | None = None
    sample_rate: int | None = None
    channels: int | None = None
    has_video: bool = False
    has_audio: bool = False


class Region(Contract):
    """A rectangle as fractions of the upright picture; the origin is top left."""

    x: Fraction
    y: Fraction
    width: Fraction
    height: Fraction


class ModelReference(Contract):
    """The model behind a statement."""

    name: str
    version: str
    sha256: Hex64


FindingKind = Literal["cut", "shot", "speech", "text", "face", "label", "voice_activity"]


class Finding(Contract):
    """One thing a model says about a stretch of media time."""

    kind: FindingKind
    start_seconds: Seconds
    end_seconds: Seconds
    precision_seconds: Annotated[float, Field(ge=0)] = 0.0
    """The sampling step, or one frame."""
    seen_at_seconds: Seconds | None = None
    """When region and words were what the model saw, where that is another moment than the start."""
    region: Region | None = None
    text: str | None = None
    label: str | None = None
    language: str | None = None
    """ISO 639-1, for findings with text."""
    confidence: Fraction
    analyzer: str
    model: ModelReference | None = None


class FindingVector(Contract):
    """An embedding of a finding, or of a whole still (finding None), in a named vector space."""

    space: str
    finding: int | None = None
    """Ordinal of the finding in its result."""
    vector: list[float]


class Result(Contract):
    """What one job found: one immutable object under its result key."""

    key: str
    medium: str
    segment: Segment | None
    analyzer: str
    analyzer_version: str
    findings: list[Finding]
    vectors: list[FindingVector] = []
    missing: list["MissingCapability"] = []


class MissingCapability(Contract):
    """Something that could not be looked for, and why."""

    capability: str
    reason: str


Result.model_rebuild()
