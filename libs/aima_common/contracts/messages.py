"""Every message, in the order of the path of a medium (model.md, "Messages")."""

from typing import Annotated

from pydantic import Field

from aima_common.contracts.base import Message
from aima_common.contracts.media import (
    AwareTime,
    Confidentiality,
    MediumType,
    MissingCapability,
    ObjectReference,
    Priority,
    Probe,
    Profile,
    SegmentDerivatives,
)
from aima_common.contracts.outside import Notice

Count = Annotated[int, Field(ge=0)]


class MediumUploaded(Message):
    """An item of a case is whole: its medium's bytes are durable and hash-verified.

    The file's name stays in the item: a log keeps what is erased on request elsewhere.
    """

    case: str
    item: str
    medium: str
    original: ObjectReference
    priority: Priority = Priority.NORMAL
    deadline: AwareTime | None = None
    """Aware UTC time, ISO 8601."""
    confidentiality: Confidentiality = Confidentiality.CONFIDENTIAL
    profile: Profile = Profile.DEFAULT


class OfferRejected(Message):
    """A file that a producer outside offered became no item."""

    offer: str
    id: str | None = None
    """The producer's own name for it, where it could be read."""
    case: str | None = None
    code: str
    reason: str
    remedy: str = ""
    topic: str
    partition: Count
    offset: Count


class MediumRejected(Message):
    """A medium cannot be analysed; it is kept in quarantine with the reason."""

    medium: str
    code: str
    reason: str
    remedy: str = ""
    failed: bool = False
    """True when AIMA could not do it, False when the input is at fault."""


class PreparationRequested(Message):
    """Somebody wants a medium that was rejected prepared once more."""

    medium: str
    requested_by: str


class MediumReadmitted(Message):
    """A medium that was rejected is being prepared once more; its runs are open again."""

    medium: str


class SegmentPrepared(Message):
    """A segment's derivatives are durable; its analysis may begin before the rest is prepared."""

    medium: str
    type: MediumType
    original_sha256: str
    derivatives: SegmentDerivatives
    probe: Probe


class MediumPrepared(Message):
    """All segments of a medium are prepared."""

    medium: str
    type: MediumType
    original_sha256: str
    probe: Probe
    segments: list[SegmentDerivatives]
    poster: ObjectReference | None = None
    """JPEG <= 1280 px: the picture itself, or a frame of the film."""
    thumbnail: ObjectReference | None = None
    perceptual_hash: str | None = None
    """64-bit pHash of a still, 16 hex digits."""
    problems: list[str] = []
    """What was odd but did not prevent preparation, for the dossier."""


class PlannedPart(Message):
    """One analysis that is to be expected."""

    job: str
    analyzer: str
    capability: str
    segment: Count | None = None


class AnalysisPlanned(Message):
    """The complete list of parts of a run, and what is known to be missing from the start."""

    medium: str
    run: str
    parts: list[PlannedPart]
    missing: list[MissingCapability] = []


class AnalysisRequested(Message):
    """A hint that a job was placed on a machine; the store is the truth."""

    medium: str
    job: str
    lane: MediumType
    machine: str


class AnalysisCompleted(Message):
    """A part is done; its result lies in an object."""

    medium: str
    run: str
    job: str
    analyzer: str
    segment: Count | None = None
    result: ObjectReference
    finding_count: Count
    computed: bool = True
    """False when an earlier result was found under the same key."""


class AnalysisFailed(Message):
    """An attempt at a part failed; the scheduler decides what follows."""

    medium: str
    run: str
    job: str
    epoch: Count
    code: str
    reason: str
    transient: bool


class AnalysisAbandoned(Message):
    """A part is given up; fusion counts it as known to be missing."""

    medium: str
    run: str
    job: str
    analyzer: str
    capability: str
    segment: Count | None = None
    reason: str


class PictureUpdated(Message):
    """More of a medium is known."""

    medium: str
    run: str
    parts_done: Count
    parts_expected: Count


class PictureCompleted(Message):
    """All parts of a medium are in or known to be missing."""

    medium: str
    run: str
    picture: ObjectReference


class DossierPublished(Message):
    """A version of a dossier is readable."""

    case: str
    version: Count
    complete: bool
    """Whether every item of the case was in a terminal state when it was written."""
    dossier: ObjectReference
    items: Count


class NoticeGiven(Message):
    """Those outside are to be told something new about an item, a case or an offer."""

    subject: str
    notice: Notice


class CaseChanged(Message):
    """How urgent or how confidential a case is was changed; what waits for it takes its place anew."""

    case: str
    priority: Priority
    deadline: AwareTime | None = None
    """Aware UTC time, ISO 8601."""
    confidentiality: Confidentiality = Confidentiality.CONFIDENTIAL


class CancelRequested(Message):
    """Somebody wants the work on an item, or on a whole case, to stop."""

    case: str
    medium: str | None = None
    reason: str = ""


class CorrectionMade(Message):
    """A person corrected a statement."""

    medium: str
    finding: str
    field: str
    value: str
    author: str


class ErasureRequested(Message):
    """A medium and everything derived from it must go."""

    medium: str
    requested_by: str


class PartErased(Message):
    """One owner has erased what it owned of a medium."""

    medium: str
    owner: str


class MediumErased(Message):
    """Every owner has erased its part."""

    medium: str


class CapacityRequested(Message):
    """Work waits that no machine here can take."""

    reason: str
    gpus: Count = 0
    memory_bytes: Count = 0


class CapacityChanged(Message):
    """A machine came, changed or went."""

    machine: str
    cpus: float
    memory_bytes: Count
    gpus: Count
    available: bool


class ProgressMade(Message):
    """A run went on by a step that people can see; `stage` is the run's state, the last one terminal."""

    medium: str
    run: str
    stage: str
    done: Count
    total: Count


class ScalingAdvised(Message):
    """Monitoring suggests a number of replicas."""

    service: str
    replicas: Count
    reason: str


class ViolationFound(Message):
    """An invariant does not hold."""

    invariant: str
    subject: str
    detail: str


PATH: tuple[type[Message], ...] = (
    MediumUploaded,
    OfferRejected,
    MediumRejected,
    PreparationRequested,
    MediumReadmitted,
    SegmentPrepared,
    MediumPrepared,
    AnalysisPlanned,
    AnalysisRequested,
    AnalysisCompleted,
    AnalysisFailed,
    AnalysisAbandoned,
    PictureUpdated,
    PictureCompleted,
    DossierPublished,
    NoticeGiven,
    CaseChanged,
    CancelRequested,
    CorrectionMade,
    ErasureRequested,
    PartErased,
    MediumErased,
    CapacityRequested,
    CapacityChanged,
    ProgressMade,
    ScalingAdvised,
    ViolationFound,
)
