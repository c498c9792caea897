"""Who must have erased a medium before its bytes may go, and what counts as an orphan. Pure."""

from collections.abc import Iterable

OWNERS = frozenset({"upload", "preprocessing", "scheduler", "fusion", "dossier"})
"""Services that own documents, vectors or passages about a medium."""

ORPHAN_SECONDS = 24 * 3600.0
"""An object younger than this may belong to a document that is about to be written."""

LATE_SECONDS = 120.0
"""Whoever still worked on a medium when it was erased has been fenced by then (four times the lease)."""


def all_erased(owners: Iterable[str]) -> bool:
    """Tell whether every owner has erased its part."""
    return set(owners) >= OWNERS
