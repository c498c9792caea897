"""The shape of a dossier, as it is published: `dossier.json` and its JSON Schema are made from these classes.

Names are stable. A field is only ever added; readers ignore what they do not know.
"""

import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, ConfigDict, Field

from aima_common.contracts.base import Contract
from aima_common.contracts.media import Confidentiality, Hex64, MediumType, MissingCapability, Seconds
from aima_common.contracts.picture import PictureFinding

SCHEMA = "urn:aima:dossier:1"
"""The name of this shape. Another number means that an old reader would be wrong."""

Count = Annotated[int, Field(ge=0)]
Similarity = Annotated[float, Field(ge=0, le=1)]

Status = Literal[
    "accepted", "preparing", "analysing", "fusing", "analysed", "rejected", "failed", "cancelled", "erased"
]
"""How far an item is; the last five are final."""

FINAL: tuple[Status, ...] = ("analysed", "rejected", "failed", "cancelled", "erased")


PUBLISHED = ConfigDict(use_attribute_docstrings=True, json_schema_serialization_defaults_required=True)
"""The schema carries the words beneath the fields, and promises every field: what is empty is written as empty."""


class DossierPart(Contract):
    """A shape inside a dossier."""

    model_config = PUBLISHED


class CaseHeading(DossierPart):
    """Whose dossier it is."""

    id: str
    name: str
    confidentiality: Confidentiality = Confidentiality.CONFIDENTIAL
    created_at: AwareDatetime | None = None


class DossierItem(DossierPart):
    """A file as somebody named it, and what became of it."""

    id: str
    file_name: str
    size_bytes: Count
    sha256: Hex64 | None = None
    medium_id: str | None
    """The entry in `media` that tells about its content; None when there is none."""
    duplicate_of: str | None = None
    """The first item of this case with the very same content, when this is not it."""
    status: Status
    code: str | None = None
    """A stable, machine-readable name of the reason."""
    reason: str | None
    """Why it was not analysed, in words; None when it was."""
    remedy: str | None = None
    """What a person can do about it."""


class NearDuplicate(DossierPart):
    """Another medium of this case that shows the same picture."""

    medium_id: str
    similarity: Similarity


class Correction(DossierPart):
    """What a person says instead of a model; the model's statement stays beside it."""

    field: str
    value: str
    author: str
    made_at: AwareDatetime | None = None


class DossierFinding(PictureFinding):
    """One statement about a stretch of a medium, with the model that made it."""

    model_config = PUBLISHED

    corrections: list[Correction] = []
    """What people say instead."""


class Missing(MissingCapability):
    """What could not be looked for, why, and where."""

    model_config = PUBLISHED

    stretches: list[tuple[Seconds, Seconds]] = []
    """Start and end in seconds of every stretch it is missing for; empty means the whole medium."""


class Analysis(DossierPart):
    """An analyzer that had its say about a medium."""

    analyzer: str
    version: str
    results: Count
    """How many results of it were folded."""


class DossierMedium(DossierPart):
    """One content, whatever it was called, and everything that was found in it."""

    id: str
    sha256: Hex64
    size_bytes: Count
    type: MediumType
    mime_type: str
    container: str
    duration_seconds: Seconds | None
    width: int | None = None
    height: int | None = None
    frames_per_second: float | None = None
    video_codec: str | None = None
    audio_codec: str | None = None
    start_offset_seconds: float = 0.0
    """The container's own start time; 0 in this dossier is this moment in the file."""
    file_names: list[str]
    """Every name it came under in this case, in the order of arrival."""
    status: Status
    near_duplicates: list[NearDuplicate] = []
    findings: list[DossierFinding]
    missing: list[Missing] = []
    problems: list[str] = []
    analyses: list[Analysis] = []


class ExactDuplicates(DossierPart):
    """Items that hold the very same bytes."""

    medium_id: str | None
    sha256: Hex64
    item_ids: list[str]
    """In the order of arrival."""
    file_names: list[str]


class Rejection(DossierPart):
    """An item that was not analysed, for the summary."""

    file_name: str
    status: Status
    reason: str
    remedy: str = ""


class Summary(DossierPart):
    """The case in numbers."""

    items: Count
    media: Count
    films: Count
    stills: Count
    recordings: Count
    duration_seconds: Annotated[float, Field(ge=0)]
    """Playing time of all media together."""
    shots: Count
    faces: Count
    """Appearances of faces; whose they are is not told."""
    speech_lines: Count
    speech_seconds: Annotated[float, Field(ge=0)]
    text_lines: Count
    labels: list[str]
    """Every label that was given, most often seen first."""
    languages: list[str]
    exact_duplicates: Count
    """Items whose content had been there already."""
    near_duplicates: Count
    """Pairs of media that show the same picture."""
    analysed: Count
    rejected: Count
    failed: Count
    cancelled: Count
    erased: Count
    running: Count
    rejections: list[Rejection] = []


class Dossier(DossierPart):
    """A version of the document about a case."""

    model_config = ConfigDict(
        title="AIMA dossier",
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
        protected_namespaces=(),
    )

    schema_name: Literal["urn:aima:dossier:1"] = Field(default="urn:aima:dossier:1", alias="schema")
    version: Annotated[int, Field(ge=1)]
    created_at: AwareDatetime
    complete: bool
    """Whether every item had come to its end when this version was written."""
    case: CaseHeading
    summary: Summary
    items: list[DossierItem]
    """In the order of arrival."""
    media: list[DossierMedium]
    """In the order in which their first items arrived."""
    exact_duplicates: list[ExactDuplicates] = []

    def to_json(self) -> bytes:
        """Write it as `dossier.json`."""
        return self.model_dump_json(indent=1).encode()


def utc(moment: datetime.datetime) -> datetime.datetime:
    """Give a moment in UTC, to the second, as people write it."""
    return moment.astimezone(datetime.UTC).replace(microsecond=0)
