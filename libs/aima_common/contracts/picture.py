"""The picture of a medium: everything its analyses found, folded into one account of it."""

from typing import Annotated

from pydantic import Field

from aima_common.contracts.base import Contract
from aima_common.contracts.media import Finding, MediumType, MissingCapability, Probe, Seconds

PerceptualHash = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
"""64-bit pHash of a still, as 16 hex digits."""


class PictureFinding(Finding):
    """A finding with a name of its own.

    A finding of one result is named by result key and ordinal. One that was joined from several is named by
    the ids of its parts, so the same parts always make the same name.
    """

    id: str
    observations: Annotated[int, Field(ge=1)] = 1
    """How many findings of analyzers were joined in this one."""


class MissingPart(MissingCapability):
    """A capability that is missing for a stretch of a medium, or for all of it."""

    analyzer: str = ""
    job: str = ""
    """The job that was given up; empty when none was ever planned."""
    segment: Annotated[int, Field(ge=0)] | None = None
    start_seconds: Seconds | None = None
    end_seconds: Seconds | None = None


class PicturePart(Contract):
    """A result that went into a picture."""

    job: str
    analyzer: str
    analyzer_version: str
    segment: Annotated[int, Field(ge=0)] | None = None
    result_key: str


class Picture(Contract):
    """The fold of all results of a run. Equal results make equal pictures, in whatever order they came."""

    medium: str
    run: str
    type: MediumType
    probe: Probe
    duration_seconds: Seconds | None = None
    """None for a still."""
    findings: list[PictureFinding]
    """By start, then kind; shots tile a film from 0 to its end."""
    missing: list[MissingPart] = []
    parts: list[PicturePart] = []
    perceptual_hash: PerceptualHash | None = None
    problems: list[str] = []
    """What was odd in the medium but did not prevent its analysis."""
