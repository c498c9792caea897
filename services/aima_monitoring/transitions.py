"""Rules over histories: who held what, who wrote when, what became what, and what counted twice (I3 to I6). Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise

from aima_common.collections import RUN_TERMINAL
from aima_common.ports.documents import HistoryLine, has_expired
from aima_monitoring.evidence import Snapshot, Violation

CUT_AFTER = 1000
"""A history longer than this may have lost its beginning: a store keeps a bounded number of lines per document."""

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
        "rejected": frozenset({"rejected", "accepted", "erased"}),
        "failed": frozenset({"failed", "accepted", "erased"}),
        "cancelled": frozenset({"cancelled", "accepted", "erased"}),
        "erased": frozenset({"erased", "accepted"}),
    },
    "preparations": {
        None: frozenset({"preparing", "erased"}),
        "preparing": frozenset({"preparing", "prepared", "rejected", "erased"}),
        "prepared": frozenset({"erased"}),
        "rejected": frozenset({"preparing", "erased"}),
        "erased": frozenset({"erased", "preparing"}),
    },
}
"""State -> states that may follow it. A job that is done is taken up again only after an erasure or a rejection."""


def check_transitions(s: Snapshot) -> Iterator[Violation]:
    """Apply the rules of this file."""
    for rule in (_i3, _i4, _i5, _i6):
        yield from rule(s)


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
            valid = before.lease_until is not None and not has_expired(before.lease_until, line.at)
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
            first = versions[0] if len(versions) > CUT_AFTER else 1
            if versions != list(range(first, first + len(versions))):
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
