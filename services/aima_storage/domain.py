"""Who must have erased a medium before its bytes may go, and what counts as an orphan. Pure."""

from collections.abc import Iterable

from aima_common.ids import MediumId, Sha256, TenantId, medium_id

OWNERS = frozenset({"upload", "preprocessing", "scheduler", "fusion", "dossier"})
"""Services that own documents, vectors or passages about a medium."""

ORPHAN_SECONDS = 24 * 3600.0
"""An object younger than this may belong to a document that is about to be written."""

LATE_SECONDS = 120.0
"""Whoever still worked on a medium when it was erased has been fenced by then (four times the lease)."""


def all_erased(owners: Iterable[str]) -> bool:
    """Tell whether every owner has erased its part."""
    return set(owners) >= OWNERS


def folders_of(tenant: str, medium: str) -> list[str]:
    """Name the folders that hold nothing but this medium's objects."""
    return [f"t/{tenant}/derivatives/{medium}/"]


def medium_of(key: str) -> str | None:
    """Name the medium whose derivative lies under a key; None for other objects."""
    parts = key.split("/")
    return parts[3] if len(parts) > 4 and parts[2] == "derivatives" else None


def medium_of_original(key: str) -> MediumId | None:
    """Name the medium whose original lies under a key; None for other objects."""
    parts = key.split("/")
    is_original = len(parts) == 4 and parts[2] == "originals"
    return medium_id(TenantId(parts[1]), Sha256(parts[3])) if is_original else None
