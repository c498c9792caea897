"""Names of things, derived from what they are, so that anything may happen twice.

Every id but a case's is a UUIDv5 over the parts given in `model.md`, "Things": two processes
that meet the same content independently give it the same id.
"""

import uuid
from typing import NewType

TenantId = NewType("TenantId", str)
CaseId = NewType("CaseId", str)
ItemId = NewType("ItemId", str)
MediumId = NewType("MediumId", str)
SegmentId = NewType("SegmentId", str)
RunId = NewType("RunId", str)
JobId = NewType("JobId", str)
FindingId = NewType("FindingId", str)
MessageId = NewType("MessageId", str)
Sha256 = NewType("Sha256", str)
ObjectKey = NewType("ObjectKey", str)

NAMESPACE = uuid.UUID("6f4b7b0e-2d0a-5c1c-9a39-41494d410001")
"""The root of all AIMA ids. Changing it renames everything ever stored."""


def derive(kind: str, *parts: object) -> str:
    """Name a thing of `kind` by its parts.

    Parts are joined with their lengths, so ("ab", "c") and ("a", "bc") stay different.
    """
    text = "/".join(f"{len(str(part))}:{part}" for part in parts)
    return str(uuid.uuid5(NAMESPACE, f"{kind}/{text}"))


def new_case_id() -> CaseId:
    """Make the one random id there is: a case is named once, by nothing but itself."""
    return CaseId(str(uuid.uuid4()))


def item_id(case: CaseId, ordinal: int) -> ItemId:
    """Name the item that arrived in this place of its case."""
    return ItemId(derive("item", case, ordinal))


def medium_id(tenant: TenantId, sha256: Sha256) -> MediumId:
    """Name content within a tenant; tenants never share a medium."""
    return MediumId(derive("medium", tenant, sha256))


def segment_id(medium: MediumId, index: int, plan_version: int) -> SegmentId:
    """Name a stretch of a medium under one way of cutting it."""
    return SegmentId(derive("segment", medium, index, plan_version))


def run_id(medium: MediumId, pipeline_digest: str) -> RunId:
    """Name the passage of a medium through one pipeline."""
    return RunId(derive("run", medium, pipeline_digest))


def job_id(run: str, kind: str, analyzer: str = "", segment: str = "") -> JobId:
    """Name a piece of work of a run (or of a medium or case, for the other kinds)."""
    return JobId(derive("job", run, kind, analyzer, segment))


def finding_id(result_key: str, ordinal: int) -> FindingId:
    """Name a statement by its place in an immutable result."""
    return FindingId(derive("finding", result_key, ordinal))


def message_id(cause: str, state: object, name: str) -> MessageId:
    """Name a message by what caused it, so that saying it again is the same message."""
    return MessageId(derive("message", cause, state, name))
