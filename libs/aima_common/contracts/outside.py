"""What is said to those outside and heard from them: one topic in and one topic out for every tenant.

A producer offers files on `aima.ingress.<tenant>`, as references; whose they are is said by the topic alone. What
becomes of them is told on `aima.results.<tenant>`, a compacted topic: the newest notice of each item and case stays.
Media and findings never travel here.
"""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from aima_common.contracts.base import Contract
from aima_common.contracts.media import Confidentiality, Hex64, Priority, Profile

INGRESS = "aima.ingress"
RESULTS = "aima.results"

PARTITIONS = 12
"""Of each of the two topics: at least the replicas of upload, and of gateways."""

MAX_OFFER_BYTES = 64 * 1024
"""A larger offer is refused unread (notes: reliability, 3.4)."""

MAX_OFFER_DEPTH = 16

Count = Annotated[int, Field(ge=0)]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Place = Annotated[str, Field(min_length=1, max_length=1024)]


def ingress_topic(tenant: str) -> str:
    """Name the topic on which a tenant's producers offer files."""
    return f"{INGRESS}.{tenant}"


def results_topic(tenant: str) -> str:
    """Name the topic on which a tenant is told what becomes of its files."""
    return f"{RESULTS}.{tenant}"


def ingress_folder(tenant: str) -> str:
    """Name the place in the bucket where a tenant's producers may put objects."""
    return f"ingress/{tenant}/"


class Offered(Contract):
    """A shape that comes from outside: a field that nobody knows is a mistake of its sender, who is told so."""

    model_config = ConfigDict(extra="forbid")


class OfferedCase(Offered):
    """The case that a file belongs to: one that exists, or one that is made at its first mention.

    A case that is named is the same one whenever its `key` is the same; without a key, whenever its name is.
    """

    id: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    name: Name | None = None
    key: Name | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.id is None) == (self.name is None):
            raise ValueError("a case has either an id or a name")
        if self.key is not None and self.name is None:
            raise ValueError("a key belongs to a case that is named")
        return self


class OfferedObject(Offered):
    """Bytes that the producer has put into the bucket, below `ingress/<tenant>/`."""

    key: Place
    sha256: Hex64
    size_bytes: Count


class OfferedUrl(Offered):
    """Bytes that are to be fetched over HTTPS, from a host that the operator allows."""

    url: Annotated[str, Field(min_length=1, max_length=8192)]
    sha256: Hex64 | None = None
    size_bytes: Count | None = None


class OfferedOptions(Offered):
    """What is chosen for the case; it counts when this offer is the one that makes the case."""

    priority: Priority | None = None
    deadline: Annotated[str, Field(max_length=64)] | None = None
    """Aware time, ISO 8601, in the future."""
    confidentiality: Confidentiality | None = None
    profile: Profile | None = None


class Offer(Offered):
    """A producer outside offers a file: where its bytes lie, and which case it belongs to.

    `id` is the producer's own name for this very offer: however often it is sent, it becomes one item. An offer that
    was rejected may be sent again under its id, corrected.
    """

    version: Annotated[int, Field(ge=1, le=1)]
    id: Name
    tenant: Annotated[str, Field(max_length=64)] | None = None
    """Need not be said. Where it is, it must be the topic's own; another one is refused and written down."""
    case: OfferedCase
    file_name: Annotated[str, Field(min_length=1, max_length=255)]
    object: OfferedObject | None = None
    url: OfferedUrl | None = None
    options: OfferedOptions | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.object is None) == (self.url is None):
            raise ValueError("an offer names either an object or a url")
        if self.options is not None and self.case.id is not None:
            raise ValueError("options are chosen when a case is made; this one exists")
        return self


class NoticeType(StrEnum):
    """What a notice tells."""

    ACCEPTED = "accepted"
    PROGRESS = "progress"
    ANALYSED = "analysed"
    REJECTED = "rejected"
    FAILED = "failed"
    CANCELLED = "cancelled"
    ERASED = "erased"
    DOSSIER_PUBLISHED = "dossier_published"


class NoticedDossier(Contract):
    """A version of a case's dossier that can be read now."""

    version: Count
    complete: bool
    """Whether every item of the case had ended when it was written."""
    path: str
    """Where the current version is, below the gateway's address; a key of the tenant is needed."""


class NoticedProgress(Contract):
    """How far an item is."""

    stage: str
    done: Count
    total: Count


class NoticedPlace(Contract):
    """The record that an offer was read from."""

    topic: str
    partition: Count
    offset: Count


class Notice(Contract):
    """The newest there is to tell of an item, of a case, or of an offer that became no item.

    The record's key is the id of that item, case or offer. `sequence` grows with every notice of a key: of two, the
    one with the higher number holds, in whatever order they come. The same notice may come more than once.
    """

    version: int = 1
    type: NoticeType
    sequence: Annotated[int, Field(ge=1)]
    time: str
    """When it happened: aware UTC time, ISO 8601."""
    id: str | None = None
    """The producer's own name for the offer, where the item came from one."""
    case: str | None = None
    item: str | None = None
    medium: str | None = None
    progress: NoticedProgress | None = None
    dossier: NoticedDossier | None = None
    code: str | None = None
    """Why it was rejected or failed: stable and machine-readable."""
    reason: str | None = None
    remedy: str | None = None
    offer: NoticedPlace | None = None
    """Where the offer lies that was rejected; its producer was told partition and offset when it was written."""
