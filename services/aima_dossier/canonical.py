"""The canonical form of a dossier: the same media, analysed the same way, give the same bytes.

RFC 8785 JSON (sorted keys, one way to write a number) of what a dossier says, without what is different each
time it is said: ids that are random or come from the order of arrival, versions, and wall-clock times.
"""

import hashlib
from collections.abc import Callable
from typing import Any

import rfc8785

from aima_dossier.model import Dossier

DECIMALS = 4
"""Numbers are rounded to 10^-4: a tenth of a millisecond, a tenth of a pixel in a thousand."""

LEFT_OUT: dict[str, tuple[str, ...]] = {
    "": ("version", "created_at"),
    "case": ("id", "created_at"),
    "items": ("id", "duplicate_of"),
    "exact_duplicates": ("item_ids",),
    "media.findings.corrections": ("made_at",),
}
"""Dotted path of an object -> its fields that are left out.

`version`, `created_at`, `made_at`: when and how often it was written. `case.id` is random, item ids come from it and
from the order of arrival, and so do `duplicate_of` and `item_ids`; which files are the same is still told by
`exact_duplicates.file_names`.
"""

SORTED_BY: dict[str, Callable[[Any], Any]] = {
    "items": lambda item: (item["file_name"], item["sha256"] or "", item["status"], item["size_bytes"]),
    "media": lambda medium: medium["sha256"],
    "media.file_names": lambda name: name,
    "media.near_duplicates": lambda near: near["medium_id"],
    "media.findings": lambda finding: (finding["start_seconds"], finding["kind"], finding["id"]),
    "media.findings.corrections": lambda made: (made["field"], made["value"], made["author"]),
    "media.missing": lambda lack: (lack["capability"], lack["reason"]),
    "media.missing.stretches": lambda stretch: stretch,
    "media.problems": lambda problem: problem,
    "media.analyses": lambda analysis: (analysis["analyzer"], analysis["version"]),
    "exact_duplicates": lambda same: same["sha256"],
    "exact_duplicates.file_names": lambda name: name,
    "summary.labels": lambda label: label,
    "summary.languages": lambda language: language,
    "summary.rejections": lambda one: (one["file_name"], one["reason"]),
}
"""Dotted path of an array -> the key it is sorted by; every array of a dossier is listed."""


def canonical(dossier: Dossier) -> bytes:
    """Write the canonical form."""
    return rfc8785.dumps(_canonical(dossier.model_dump(mode="json"), ""))


def digest(dossier: Dossier) -> str:
    """Tell the SHA-256 of the canonical form; equal for equal content, whenever it was written."""
    return hashlib.sha256(canonical(dossier)).hexdigest()


def _canonical(value: Any, path: str) -> Any:
    if isinstance(value, dict):
        left_out = LEFT_OUT.get(path, ())
        return {key: _canonical(child, _below(path, key)) for key, child in value.items() if key not in left_out}
    if isinstance(value, list):
        children = [_canonical(child, path) for child in value]
        return sorted(children, key=SORTED_BY[path]) if path in SORTED_BY else children
    if isinstance(value, float):
        return round(value, DECIMALS) + 0.0
    return value


def _below(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
