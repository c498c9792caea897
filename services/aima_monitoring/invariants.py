"""What must be true of the stores at any time, and what must be true once all work has come to rest.

Pure: a snapshot goes in, violations come out. The auditor runs it beside the work, the crash harness
after every fault; there is one checker (notes: reliability, 2.1). Numbers I1 to I12 are that note's.
"""

import datetime
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from aima_common.collections import JOB_TERMINAL, RUN_TERMINAL
from aima_common.jobs.failure import MAX_ATTEMPTS
from aima_common.ports.documents import Document, HistoryLine
from aima_common.references import RESULTS, references

SETTLE_SECONDS = 120.0
"""How long a fact may travel (outbox, bus, handler) before its absence counts as a loss."""

ORPHAN_SECONDS = 48 * 3600.0
"""Objects younger than this may belong to a commit that is about to happen, or wait for storage's sweep."""

LEGAL: Mapping[str, Mapping[str | None, frozenset[str]]] = {
    "jobs": {
        None: frozenset({"ready", "parked", "unschedulable", "unavailable"}),
        "ready": frozenset({"ready", "leased", "cancelled", "parked", "unschedulable"}),
        "leased": frozenset({"leased", "ready", "done", "dead", "cancelled"}),
        "parked": frozenset({"ready", "cancelled"}),
        "unschedulable": frozenset(),
        "unavailable": frozenset(),
        "done": frozenset({"ready"}),
        "dead": frozenset({"ready"}),
        "cancelled": frozenset({"ready"}),
    },
    "runs": {
        None: frozenset({"accepted"}),
        "accepted": frozenset({"accepted", "preparing", "analysing", "fusing", *RUN_TERMINAL}),
        "preparing": frozenset({"preparing", "analysing", "fusing", *RUN_TERMINAL}),
        "analysing": frozenset({"analysing", "fusing", *RUN_TERMINAL}),
        "fusing": frozenset({"fusing", *RUN_TERMINAL}),
        "analysed": frozenset({"analysed", "erased"}),
        "rejected": frozenset({"rejected", "erased"}),
        "failed": frozenset({"failed", "accepted", "erased"}),
        "cancelled": frozenset({"cancelled", "accepted", "erased"}),
        "erased": frozenset({"erased", "accepted"}),
    },
    "preparations": {
        None: frozenset({"preparing", "erased"}),
        "preparing": frozenset({"preparing", "prepared", "rejected", "erased"}),
        "prepared": frozenset({"erased"}),
        "rejected": frozenset({"erased"}),
        "erased": frozenset({"erased", "preparing"}),
    },
}
"""State -> states that may follow it. A job that is done is taken up again only after an erasure."""


@dataclass(frozen=True)
class Violation:
    """Something that must never be."""

    invariant: str
    subject: str
    detail: str


@dataclass(frozen=True)
class StoredObject:
    """An object that somebody refers to, or that lies there."""

    size_bytes: int
    age_seconds: float
    sha256: str | None = None
    """What its bytes hash to now, where they were read."""


@dataclass(frozen=True)
class Snapshot:
    """What the checker looks at."""

    now: datetime.datetime
    documents: Mapping[str, Sequence[Document]]
    """Collection -> its documents."""
    histories: Mapping[str, Sequence[HistoryLine]]
    objects: Mapping[str, StoredObject]
    outbox_written_at: Sequence[datetime.datetime] = ()
    lag: Mapping[str, int] = field(default_factory=dict)
    """Consumer group -> records it has not committed."""
    missing_vectors: Sequence[str] = ()
    """Vectors that a committed result has and the vector store has not."""
    accepted: Sequence[str] = ()
    """Items that some client was told were accepted (the client-side ledger)."""
    at_rest: bool = False
    """Whether all work has come to an end, so that "not yet" is no excuse."""


def check(snapshot: Snapshot) -> list[Violation]:
    """List what is wrong; nothing, in a system that keeps its promises."""
    rules = (_i1, _i2, _i3, _i4, _i5, _i6, _i7, _i8, _i9, _i10, _i11, _i12)
    return [violation for rule in rules for violation in rule(snapshot)]


def _of(snapshot: Snapshot, collection: str) -> Sequence[Document]:
    return snapshot.documents.get(collection, ())


def _age(snapshot: Snapshot, text: str) -> float:
    return (snapshot.now - datetime.datetime.fromisoformat(text)).total_seconds()


def _i1(s: Snapshot) -> Iterator[Violation]:
    """Every accepted item reaches exactly one terminal state."""
    runs: dict[str, list[Document]] = defaultdict(list)
    for run in _of(s, "runs"):
        runs[run.body["medium"]].append(run)
    items = {item.id: item for item in _of(s, "items")}
    for identity in s.accepted:
        if identity not in items:
            yield Violation("I1", identity, "a client was told that this item was accepted, and there is none")
    for item in items.values():
        if item.state != "accepted":
            continue
        found = runs.get(item.body["medium"], [])
        waited = _age(s, item.body["accepted_at"])
        if not found and (s.at_rest or waited > SETTLE_SECONDS):
            yield Violation("I1", item.id, f"accepted {waited:.0f} s ago, and no run was opened")
        for run in found:
            if s.at_rest and run.state not in RUN_TERMINAL:
                yield Violation("I1", item.id, f"at rest, and its run {run.id} is {run.state}")


def _i2(s: Snapshot) -> Iterator[Violation]:
    """No dossier without a case, no run or picture without a medium; versions count up one by one."""
    cases = {case.id for case in _of(s, "cases")}
    media = {medium.id for medium in _of(s, "media")}
    runs = {run.id for run in _of(s, "runs")}
    for dossier in _of(s, "dossiers"):
        if dossier.body.get("case") and dossier.body["case"] not in cases:
            yield Violation("I2", dossier.id, "a dossier without a case")
        versions = [version["version"] for version in dossier.body.get("versions", [])]
        if versions and versions != list(range(versions[0], versions[0] + len(versions))):
            yield Violation("I2", dossier.id, f"versions {versions} do not count up one by one")
    for run in _of(s, "runs"):
        if run.body["medium"] not in media:
            yield Violation("I2", run.id, "a run without a medium")
    for picture in _of(s, "pictures"):
        if picture.state == "complete" and picture.id not in runs:
            yield Violation("I2", picture.id, "a picture without a run")


def _per_document(lines: Iterable[HistoryLine]) -> dict[str, list[HistoryLine]]:
    grouped: dict[str, list[HistoryLine]] = defaultdict(list)
    for line in lines:
        grouped[line.document].append(line)
    return grouped


def _i3(s: Snapshot) -> Iterator[Violation]:
    """Never two holders with a valid lease: a job is granted only when it is free."""
    for job, lines in _per_document(s.histories.get("jobs", ())).items():
        for before, line in pairwise(lines):
            granted = line.state_after == "leased" and line.epoch > before.epoch
            valid = before.lease_until is not None and before.lease_until > line.at
            if granted and line.state_before == "leased" and valid:
                yield Violation("I3", job, f"granted at epoch {line.epoch} while epoch {before.epoch} held it")


def _i4(s: Snapshot) -> Iterator[Violation]:
    """No write by epoch e after epoch e + 1 wrote."""
    for job, lines in _per_document(s.histories.get("jobs", ())).items():
        newest = 0
        for line in lines:
            if line.epoch < newest:
                yield Violation("I4", job, f"epoch {line.epoch} wrote after epoch {newest}")
            newest = max(newest, line.epoch)


def _i5(s: Snapshot) -> Iterator[Violation]:
    """Versions strictly increase by one; only legal transitions."""
    for collection, lines in s.histories.items():
        for document, ordered in _per_document(lines).items():
            versions = [line.version for line in ordered]
            if versions != list(range(1, len(versions) + 1)):
                yield Violation("I5", document, f"versions {versions[:20]} of {collection} have a gap or a repeat")
            for line in ordered:
                if collection in LEGAL and line.state_after not in LEGAL[collection].get(line.state_before, ()):
                    yield Violation("I5", document, f"{collection}: {line.state_before} became {line.state_after}")


def _i6(s: Snapshot) -> Iterator[Violation]:
    """Let a message have its effect on a document once, however often it comes."""
    for collection, lines in s.histories.items():
        counted = Counter((line.document, line.inbox) for line in lines if line.inbox)
        for (document, message), times in counted.items():
            if times > 1:
                yield Violation("I6", document, f"message {message} changed {collection} {times} times")


def _i7(s: Snapshot) -> Iterator[Violation]:
    """No document points at a missing object; no object is old and nobody's."""
    referred = references(s.documents)
    erased = {m.body["object"]["key"] for m in _of(s, "media") if m.state == "erased" and "object" in m.body}
    for key, (size, _) in referred.items():
        if key in erased:
            continue
        there = s.objects.get(key)
        if there is None:
            yield Violation("I7", key, "a document refers to it, and it is not there")
        elif there.size_bytes != size:
            yield Violation("I7", key, f"{there.size_bytes} bytes, {size} expected")
    for key, there in s.objects.items():
        if key not in referred and there.age_seconds > ORPHAN_SECONDS and RESULTS not in key:
            yield Violation("I7", key, "nobody refers to it")


def _i8(s: Snapshot) -> Iterator[Violation]:
    """Every vector of a committed result is in the vector store."""
    for vector in s.missing_vectors:
        yield Violation("I8", vector, "the result was committed, and its vector is not there")


def _i9(s: Snapshot) -> Iterator[Violation]:
    """Every outbox entry is published in time."""
    for written_at in s.outbox_written_at:
        age = (s.now - written_at).total_seconds()
        if s.at_rest or age > SETTLE_SECONDS:
            yield Violation("I9", "outbox", f"an entry waits for {age:.0f} s")


def _i10(s: Snapshot) -> Iterator[Violation]:
    """At rest every consumer has committed everything, and everything committed had its effect."""
    for group, records in s.lag.items():
        if s.at_rest and records:
            yield Violation("I10", group, f"{records} records are not committed")


def _i11(s: Snapshot) -> Iterator[Violation]:
    """Bytes in = bytes stored, of originals and of everything made from them."""
    for key, (_, sha256) in references(s.documents).items():
        there = s.objects.get(key)
        if there and there.sha256 and there.sha256 != sha256:
            yield Violation("I11", key, f"stored bytes hash to {there.sha256}, {sha256} expected")


def _i12(s: Snapshot) -> Iterator[Violation]:
    """Bound the attempts; every one has an end."""
    for job in _of(s, "jobs"):
        if job.body["attempts"] > MAX_ATTEMPTS:
            yield Violation("I12", job.id, f"{job.body['attempts']} attempts")
        if s.at_rest and job.state not in JOB_TERMINAL:
            yield Violation("I12", job.id, f"at rest, and the job is {job.state}")
