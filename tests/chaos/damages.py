"""What a fault could have done, done to what it left: the control that the checker would have told.

A fault after which nothing is wrong shows that AIMA lives through it only if the checker sees what would be wrong
otherwise. Each fault therefore names what it threatens; that is done to the snapshot which was just found whole, and
the checker has to find it by its rule.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from aima_common.ports.documents import Document, HistoryLine
from aima_monitoring.evidence import Snapshot, StoredObject, Violation
from aima_monitoring.invariants import check


@dataclass(frozen=True)
class Damage:
    """Something that must never be."""

    name: str
    invariant: str
    """The rule that has to find it."""
    done_to: Callable[[Snapshot, Sequence[Document]], Snapshot]
    """Gives the snapshot as it would be; the items are those of the case that was worked on."""

    def noticed(self, seen: Snapshot, items: Sequence[Document], already: Sequence[Violation]) -> bool:
        """Tell whether the checker finds it in what was seen, beside what it found there `already`."""
        found = check(self.done_to(seen, items))
        return any(violation.invariant == self.invariant and violation not in already for violation in found)


def _lost(seen: Snapshot, items: Sequence[Document]) -> Snapshot:
    return _with(seen, "items", [item for item in seen.of("items") if item.id != items[-1].id])


def _twice(seen: Snapshot, items: Sequence[Document]) -> Snapshot:
    return _with(seen, "items", [*seen.of("items"), replace(items[-1], id=f"{items[-1].id}-again")])


def _unended(seen: Snapshot, items: Sequence[Document]) -> Snapshot:
    medium = items[-1].body["medium"]
    runs = [replace(run, state="fusing") if run.body["medium"] == medium else run for run in seen.of("runs")]
    return _with(seen, "runs", runs)


def _held_twice(seen: Snapshot, items: Sequence[Document]) -> Snapshot:
    def again(line: HistoryLine) -> HistoryLine | None:
        # Another takes it while the first still has it.
        held = line.state_after == "leased" and line.lease_until is not None and line.lease_until > line.at
        return replace(line, state_before="leased", epoch=line.epoch + 1, holder="another") if held else None

    return _with_line_behind(seen, "jobs", _jobs_of(seen, items), again)


def _late_write(seen: Snapshot, items: Sequence[Document]) -> Snapshot:
    def late(line: HistoryLine) -> HistoryLine | None:
        return replace(line, version=line.version + 1, epoch=line.epoch - 1) if line.state_after == "done" else None

    return _with_line_behind(seen, "jobs", _jobs_of(seen, items), late)


def _done_twice(seen: Snapshot, items: Sequence[Document]) -> Snapshot:
    media = {item.body["medium"] for item in items}
    runs = {run.id for run in seen.of("runs") if run.body["medium"] in media}
    return _with_line_behind(seen, "runs", runs, lambda line: line if line.inbox else None)


def _object_gone(seen: Snapshot, items: Sequence[Document]) -> Snapshot:
    gone = _original(seen, items)["key"]
    return replace(seen, objects={key: there for key, there in seen.objects.items() if key != gone})


def _object_cut(seen: Snapshot, items: Sequence[Document]) -> Snapshot:
    cut = _original(seen, items)
    return replace(seen, objects={**seen.objects, cut["key"]: StoredObject(cut["size_bytes"] - 1, 0.0)})


def _letter_emptied(seen: Snapshot, _items: Sequence[Document]) -> Snapshot:
    *others, last = seen.of("dead_letters")
    # As one from an outbox, which has no place in the log: bytes that lie there need not be kept.
    emptied = replace(last, body={**last.body, "value": None, "offset": None, "token": "of an outbox"})
    return _with(seen, "dead_letters", [*others, emptied])


def _untold(seen: Snapshot, _items: Sequence[Document]) -> Snapshot:
    return replace(seen, outbox_written_at=[seen.now - timedelta(hours=1)])


def _unread(seen: Snapshot, _items: Sequence[Document]) -> Snapshot:
    return replace(seen, lag={**seen.lag, min(seen.lag): 1})


def _left_behind(seen: Snapshot, items: Sequence[Document]) -> Snapshot:
    return replace(seen, left_behind=[f"passage of {items[-1].body['medium']}"])


def _grown(seen: Snapshot, _items: Sequence[Document]) -> Snapshot:
    process, samples = next((name, samples) for name, samples in seen.footprints.items() if samples)
    leaked = replace(samples[-1], rss_bytes=samples[0].rss_bytes + (301 << 20))
    return replace(seen, footprints={**seen.footprints, process: [*samples, leaked]})


LOST = Damage("an upload that was acknowledged is not there", "I17", _lost)
TWICE = Damage("an upload became two items", "I17", _twice)
UNENDED = Damage("a run stands still", "I1", _unended)
HELD_TWICE = Damage("a job was given away while it was held", "I3", _held_twice)
LATE_WRITE = Damage("a holder from before wrote", "I4", _late_write)
DONE_TWICE = Damage("a message counted twice", "I6", _done_twice)
OBJECT_GONE = Damage("an original is gone", "I7", _object_gone)
OBJECT_CUT = Damage("an original lacks a byte", "I7", _object_cut)
LETTER_EMPTIED = Damage("a dead letter lost its bytes", "I14", _letter_emptied)
UNTOLD = Damage("something was never told", "I9", _untold)
UNREAD = Damage("a message was never handled", "I10", _unread)
LEFT_BEHIND = Damage("something erased can still be found", "I16", _left_behind)
GROWN = Damage("a process grew without bound", "I13", _grown)

AT_REST = (LOST, TWICE, UNENDED, HELD_TWICE, LATE_WRITE, DONE_TWICE, OBJECT_GONE, OBJECT_CUT, UNTOLD, UNREAD,
           LEFT_BEHIND, GROWN)  # fmt: skip
"""What can be done to every cluster that rests."""

OF_SERVICES: Mapping[str, tuple[Damage, ...]] = {
    "gateway": (LOST, TWICE),
    "upload": (LOST, TWICE, OBJECT_GONE),
    "preprocessing": (HELD_TWICE, UNENDED),
    "analysis-image": (HELD_TWICE, LATE_WRITE),
    "fusion": (HELD_TWICE, UNENDED),
    "scheduler": (HELD_TWICE, DONE_TWICE),
    "storage": (LEFT_BEHIND, OBJECT_GONE),
}
"""What the sudden end of a process threatens; of the others that nothing goes on, or nothing is told."""

OF_SERVERS: Mapping[str, tuple[Damage, ...]] = {
    "kafka": (UNTOLD, UNREAD, DONE_TWICE),
    "mongod": (LOST, UNENDED, LATE_WRITE),
    "s3": (OBJECT_GONE, OBJECT_CUT, LOST),
    "vectors": (LEFT_BEHIND, UNENDED),
}
"""What it threatens that a server is away, slow, cut off, or answers nothing."""


def of_service(kind: str) -> tuple[Damage, ...]:
    """Tell what the sudden end of a process of a service threatens."""
    return OF_SERVICES.get(kind, (UNENDED, UNTOLD))


def _with(seen: Snapshot, collection: str, documents: Sequence[Document]) -> Snapshot:
    return replace(seen, documents={**seen.documents, collection: documents})


def _original(seen: Snapshot, items: Sequence[Document]) -> Mapping[str, Any]:
    media = {item.body["medium"] for item in items}
    chosen = next(medium for medium in seen.of("media") if medium.id in media and medium.state == "stored")
    original: Mapping[str, Any] = chosen.body["object"]
    return original


def _jobs_of(seen: Snapshot, items: Sequence[Document]) -> set[str]:
    media = {item.body["medium"] for item in items}
    return {job.id for job in seen.of("jobs") if job.body.get("medium") in media}


def _with_line_behind(
    seen: Snapshot, collection: str, whose: set[str], line_behind: Callable[[HistoryLine], HistoryLine | None]
) -> Snapshot:
    """Add one line behind the first that has one, in a history of one of these documents."""
    lines = list(seen.histories[collection])
    for number, line in enumerate(lines):
        if line.document in whose and (added := line_behind(line)) is not None:
            lines.insert(number + 1, added)
            return replace(seen, histories={**seen.histories, collection: lines})
    return seen
