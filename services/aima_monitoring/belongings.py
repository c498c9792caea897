"""Rules of data: a reference leads to its bytes, belongs to its tenant, and is gone when erased (I7, 8, 11, 15, 16)."""

from collections.abc import Iterator, Mapping, Sequence

from aima_common.object_keys import is_result, medium_of
from aima_common.ports.documents import Document
from aima_common.references import references
from aima_monitoring.evidence import Snapshot, Violation

ORPHAN_SECONDS = 48 * 3600.0
"""Objects younger than this may belong to a commit that is about to happen, or wait for storage's sweep."""

EMPTIED: Mapping[str, Sequence[str]] = {
    "runs": (),
    "items": ("file_name",),
    "preparations": ("segments", "poster", "thumbnail", "probe"),
    "pictures": ("parts", "picture", "expected"),
    "dossiers": ("versions", "current"),
}
"""Collections that keep a marker of what was erased, in the state of that name, and the fields that must be empty."""

GONE = ("jobs", "relations", "appearances", "corrections", "locations")
"""Collections that keep nothing of what was erased."""


def check_belongings(s: Snapshot) -> Iterator[Violation]:
    """Apply the rules of this file."""
    for rule in (_i7, _i8, _i11, _i15, _i16):
        yield from rule(s)


def _i7(s: Snapshot) -> Iterator[Violation]:
    """No document points at a missing object; no object is old and nobody's."""
    referred = references(s.documents)
    erased = {m.body["object"]["key"] for m in s.of("media") if m.state == "erased" and "object" in m.body}
    for key, (size, _) in referred.items():
        if key in erased or (s.asked is not None and key not in s.asked):
            continue
        there = s.objects.get(key)
        if there is None:
            yield Violation("I7", key, "a document refers to it, and it is not there")
        elif there.size_bytes != size:
            yield Violation("I7", key, f"{there.size_bytes} bytes, {size} expected")
    for key, there in s.objects.items():
        if key not in referred and there.age_seconds > ORPHAN_SECONDS and not is_result(key):
            yield Violation("I7", key, "nobody refers to it")


def _i8(s: Snapshot) -> Iterator[Violation]:
    """Every vector of a committed result is in the vector store."""
    for vector in s.missing_vectors:
        yield Violation("I8", vector, "the result was committed, and its vector is not there")


def _i11(s: Snapshot) -> Iterator[Violation]:
    """Bytes in = bytes stored, of originals and of everything made from them."""
    for key, (_, sha256) in references(s.documents).items():
        there = s.objects.get(key)
        if there and there.sha256 and there.sha256 != sha256:
            yield Violation("I11", key, f"stored bytes hash to {there.sha256}, {sha256} expected")


def _i15(s: Snapshot) -> Iterator[Violation]:
    """Keep what is made of a medium with the medium's tenant, object and document alike."""
    owners = {medium.id: medium.tenant for medium in s.of("media")}
    for collection, documents in s.documents.items():
        for document in documents:
            for name in ("medium", "other"):
                owner = owners.get(str(document.body.get(name)))
                if owner is not None and owner != document.tenant:
                    detail = f"a document of {document.tenant!r} in {collection} about a medium of {owner!r}"
                    yield Violation("I15", document.id, detail)
            for key in references({collection: [document]}):
                if not key.startswith(f"t/{document.tenant}/"):
                    yield Violation("I15", document.id, f"a document of {document.tenant!r} refers to {key}")
    for key in s.objects:
        owner = owners.get(medium_of(key) or "")
        if owner is not None and not key.startswith(f"t/{owner}/"):
            yield Violation("I15", key, f"made of a medium of {owner!r}")


def _i16(s: Snapshot) -> Iterator[Violation]:
    """Erased means absent: in documents, objects, vectors and passages."""
    erased = _erased(s)
    for medium in erased.values():
        original = medium.body.get("object", {}).get("key")
        if original in s.objects:
            yield Violation("I16", medium.id, "erased, and its original is there")
    for key in s.objects:
        if (medium_id := medium_of(key)) is not None and medium_id in erased:
            yield Violation("I16", medium_id, f"erased, and {key} is there")
    for collection in (*EMPTIED, *GONE):
        for document in s.of(collection):
            if document.body.get("medium") in erased and (left := _left_in(collection, document)):
                yield Violation("I16", document.body["medium"], f"erased, and {collection} {document.id} {left}")
    for left in s.left_behind:
        yield Violation("I16", left, "its medium was erased, and it is there")


def _erased(s: Snapshot) -> dict[str, Document]:
    """List the media that are erased, with every erasure of them ended: while one runs, things are on their way out."""
    ended = {erasure.body["medium"] for erasure in s.of("erasures") if erasure.state == "erased"}
    running = {erasure.body["medium"] for erasure in s.of("erasures") if erasure.state != "erased"}
    media = {medium.id: medium for medium in s.of("media") if medium.state == "erased"}
    return {identity: medium for identity, medium in media.items() if identity in ended - running}


def _left_in(collection: str, document: Document) -> str:
    if collection in GONE:
        return "is there"
    if document.state != "erased":
        return f"is {document.state}"
    kept = [name for name in EMPTIED[collection] if document.body.get(name)]
    return f"keeps its {', '.join(kept)}" if kept else ""
