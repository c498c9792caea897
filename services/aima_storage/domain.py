"""Who must have erased a medium before its bytes may go, and what counts as an orphan. Pure."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from aima_common import object_keys
from aima_common.ids import derive

OWNERS = frozenset({"upload", "preprocessing", "scheduler", "fusion", "dossier"})
"""Services that own documents, vectors or passages about a medium."""

ORPHAN_SECONDS = 24 * 3600.0
"""An object younger than this may belong to a document that is about to be written."""

LATE_SECONDS = 120.0
"""Whoever still worked on a medium when it was erased has been fenced by then (four times the lease)."""


def all_erased(owners: Iterable[str]) -> bool:
    """Tell whether every owner has erased its part."""
    return set(owners) >= OWNERS


def is_named(key: str) -> bool:
    """Tell whether a key says which medium or case its object is about."""
    return _medium(key) is not None or object_keys.case_of(key) is not None


def where_referred(collection: str, keys: Collection[str]) -> Mapping[str, Any] | None:
    """Tell which documents of a collection can refer to any of these objects; None where none can."""
    if collection == "locations":
        return {"id": [derive("location", key) for key in keys]} if keys else None
    if collection == "dossiers":
        cases = sorted({case for key in keys if (case := object_keys.case_of(key)) is not None})
        return {"case": cases} if cases else None
    media = sorted({medium for key in keys if (medium := _medium(key)) is not None})
    if not media:
        return None
    return {"id": media} if collection == "media" else {"medium": media}


def _medium(key: str) -> str | None:
    return object_keys.medium_of(key) or object_keys.medium_of_original(key)
