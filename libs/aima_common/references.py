"""Which objects documents refer to. Pure."""

from collections.abc import Iterable, Mapping

from aima_common.ports.documents import Document

REFERRING = ("locations", "media", "pictures", "preparations", "dossiers", "jobs")
"""Collections whose documents refer to objects: those first that know most of them, last the one that has most."""

LETTING_GO = frozenset({"erased", "missing", "quarantined"})
"""States in which a document no longer answers for what it names."""


def references(documents: Mapping[str, Iterable[Document]]) -> dict[str, tuple[int, str]]:
    """Map the key of every object that a document refers to, to its size and its hash."""
    found: dict[str, tuple[int, str]] = {}

    def walk(value: object) -> None:
        if isinstance(value, Mapping):
            if {"key", "sha256", "size_bytes"} <= value.keys():
                found[str(value["key"])] = int(value["size_bytes"]), str(value["sha256"])
            for child in value.values():
                walk(child)
        elif isinstance(value, list):
            for child in value:
                walk(child)

    for collection in REFERRING:
        for document in documents.get(collection, ()):
            if document.state not in LETTING_GO:
                walk(document.body)
    return found
