"""Rules of work: what was accepted ends, once and in time, and what is to be told is told.

I1, I2, I9, I10, I12, I13, I14, I17 and I18. Pure.
"""

import base64
import binascii
import datetime
from collections import defaultdict
from collections.abc import Iterator

from aima_common.collections import JOB_TERMINAL, RUN_TERMINAL
from aima_common.jobs.failure import MAX_ATTEMPTS
from aima_common.ports.documents import Document
from aima_common.runtime.failures import KEPT_BYTES
from aima_monitoring.evidence import Footprint, Sent, Snapshot, Violation

SETTLE_SECONDS = 120.0
"""How long a fact may travel (outbox, bus, handler) before its absence counts as a loss."""

DRAIN_SECONDS = 300.0
"""How long after the last fault work that was held up may take to its end (issue 4: "within 5 minutes")."""

MOST_GROWN = Footprint(rss_bytes=300 << 20, descriptors=64, children=4, scratch_files=16)
"""What a process may take up more after faults than before; more is a leak."""

OPEN = (
    ("runs", RUN_TERMINAL, "accepted_at"),
    ("jobs", JOB_TERMINAL, "submitted_at"),
    ("preparations", ("prepared", "rejected", "erased"), ""),
    ("erasures", ("erased",), ""),
)
"""Collections whose documents come to an end, the states in which they have, and the field that says since when."""

COORDINATES = ({"topic", "partition", "offset"}, {"topic", "token"}, {"medium"})
"""Fields of a dead letter that say where it came from: the log, the outbox, or what somebody uploaded."""


def check_completeness(s: Snapshot) -> Iterator[Violation]:
    """Apply the rules of this file."""
    for rule in (_i1, _i2, _i9, _i10, _i12, _i13, _i14, _i17, _i18):
        yield from rule(s)


def _i1(s: Snapshot) -> Iterator[Violation]:
    """Every accepted item reaches exactly one terminal state."""
    runs: dict[str, list[Document]] = defaultdict(list)
    for run in s.of("runs"):
        runs[run.body["medium"]].append(run)
    items = {item.id: item for item in s.of("items")}
    for identity in s.accepted:
        if identity not in items:
            yield Violation("I1", identity, "a client was told that this item was accepted, and there is none")
    for item in items.values():
        if item.state != "accepted":
            continue
        found = runs.get(item.body["medium"], [])
        waited = s.age_seconds(item.body["accepted_at"])
        if not found and (s.at_rest or waited > SETTLE_SECONDS):
            yield Violation("I1", item.id, f"accepted {waited:.0f} s ago, and no run was opened")
        for run in found:
            if s.at_rest and run.state not in RUN_TERMINAL:
                yield Violation("I1", item.id, f"at rest, and its run {run.id} is {run.state}")


def _i2(s: Snapshot) -> Iterator[Violation]:
    """No dossier without a case, no run or picture without a medium; versions count up one by one."""
    cases = {case.id for case in s.of("cases")}
    media = {medium.id for medium in s.of("media")}
    runs = {run.id for run in s.of("runs")}
    for dossier in s.of("dossiers"):
        if dossier.body.get("case") and dossier.body["case"] not in cases:
            yield Violation("I2", dossier.id, "a dossier without a case")
        versions = [version["version"] for version in dossier.body.get("versions", [])]
        if versions and versions != list(range(versions[0], versions[0] + len(versions))):
            yield Violation("I2", dossier.id, f"versions {versions} do not count up one by one")
    for run in s.of("runs"):
        if run.body["medium"] not in media:
            yield Violation("I2", run.id, "a run without a medium")
    for picture in s.of("pictures"):
        if picture.state == "complete" and picture.id not in runs:
            yield Violation("I2", picture.id, "a picture without a run")


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


def _i12(s: Snapshot) -> Iterator[Violation]:
    """Bound the attempts; every one has an end."""
    for job in s.of("jobs"):
        if job.body["attempts"] > MAX_ATTEMPTS:
            yield Violation("I12", job.id, f"{job.body['attempts']} attempts")
        if s.at_rest and job.state not in JOB_TERMINAL:
            yield Violation("I12", job.id, f"at rest, and the job is {job.state}")


def _i13(s: Snapshot) -> Iterator[Violation]:
    """Memory, descriptors, children, temporary files and leases are bounded: faults leave none behind."""
    for process, samples in s.footprints.items():
        for name, most in vars(MOST_GROWN).items():
            grown = getattr(samples[-1], name) - getattr(samples[0], name) if samples else 0
            if grown > most:
                yield Violation("I13", process, f"{name} grew by {grown}; {most} are allowed")
    for job in s.of("jobs"):
        if job.state in JOB_TERMINAL and job.lease_until is not None:
            yield Violation("I13", job.id, f"{job.state}, and {job.holder} still has a lease on it")


def _i14(s: Snapshot) -> Iterator[Violation]:
    """Keep of a dead letter what is needed to understand it and to try it again."""
    for letter in s.of("dead_letters"):
        body = letter.body
        if not body.get("reason") or not body.get("detail"):
            yield Violation("I14", letter.id, "a dead letter without a reason")
        if not any(all(body.get(name) not in (None, "") for name in names) for names in COORDINATES):
            yield Violation("I14", letter.id, "a dead letter that does not say where it came from")
        if "medium" not in body and (lack := _lacks_bytes(letter)):
            yield Violation("I14", letter.id, lack)
    letters = {letter.body.get("medium") for letter in s.of("dead_letters")}
    for preparation in s.of("preparations"):
        if preparation.state == "rejected" and preparation.id not in letters:
            yield Violation("I14", preparation.id, "rejected, and there is no dead letter")


def _lacks_bytes(letter: Document) -> str:
    """Tell what is wrong with the bytes that a dead letter keeps; none at all are kept of what kills its reader."""
    value, size = letter.body.get("value"), int(letter.body.get("size_bytes") or 0)
    if value is None or (value == "" and size):
        in_the_log = all(letter.body.get(name) is not None for name in ("topic", "partition", "offset"))
        return "" if in_the_log else "a dead letter without its bytes, and without a place where they lie"
    try:
        kept = len(base64.b64decode(value, validate=True))
    except (binascii.Error, TypeError):
        return "the bytes of a dead letter cannot be read"
    expected = min(size, KEPT_BYTES)
    return "" if kept == expected else f"a dead letter keeps {kept} bytes; {expected} were to be kept"


def _i17(s: Snapshot) -> Iterator[Violation]:
    """Follow a 2xx by no loss, leave no hidden work behind a refusal, do what got no answer once or not at all."""
    items = {item.id: item for item in s.of("items")}
    named: dict[tuple[str, str], set[str]] = defaultdict(set)
    for item in items.values():
        named[str(item.body.get("case")), str(item.body.get("file_name"))].add(item.id)
    told: dict[tuple[str, str], list[Sent]] = defaultdict(list)
    for sent in s.sent:
        told[sent.case, sent.file_name].append(sent)
    for (case, name), answers in told.items():
        promised = {sent.item for sent in answers if sent.outcome == "ok" and sent.item}
        for sent in answers:
            if sent.outcome == "ok" and (fault := _broken_promise(sent, items)):
                yield Violation("I17", sent.item or name, fault)
        most = max(len(promised), int(any(sent.outcome == "unknown" for sent in answers)))
        found = named[case, name]
        if len(found | promised) > most:
            outcomes = sorted({sent.outcome for sent in answers})
            yield Violation("I17", name, f"{len(found)} items where at most {most} may be after {', '.join(outcomes)}")


def _broken_promise(sent: Sent, items: dict[str, Document]) -> str:
    item = items.get(sent.item or "")
    if item is None:
        return "a client was told that it was accepted, and it is not there"
    if sent.sha256 and item.body.get("sha256") != sent.sha256:
        return "other bytes than were sent"
    return ""


def _i18(s: Snapshot) -> Iterator[Violation]:
    """Once faults stopped, everything comes to its end in time."""
    if s.faults_ended_at is None:
        return
    quiet = (s.now - s.faults_ended_at).total_seconds()
    for collection, terminal, since in OPEN:
        begun = {line.document: line.at for line in reversed(s.histories.get(collection, ()))}
        for document in s.of(collection):
            if document.state in terminal:
                continue
            at = datetime.datetime.fromisoformat(document.body[since]) if since else begun.get(document.id)
            age = quiet if at is None else min(quiet, (s.now - at).total_seconds())
            if age > DRAIN_SECONDS:
                yield Violation("I18", document.id, f"{collection}: {document.state}, {age:.0f} s after the last fault")
