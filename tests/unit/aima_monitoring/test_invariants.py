"""Every rule of the checker is silent in a healthy house and speaks up for the fault it is there for."""

import base64
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from aima_common.collections import COLLECTIONS
from aima_common.ports.documents import Document, HistoryLine
from aima_common.runtime.failures import KEPT_BYTES
from aima_monitoring.belongings import ORPHAN_SECONDS
from aima_monitoring.completeness import DRAIN_SECONDS, MOST_GROWN, SETTLE_SECONDS
from aima_monitoring.invariants import Footprint, Sent, Snapshot, StoredObject, check
from aima_monitoring.transitions import CUT_AFTER, LEGAL
from tests.unit.aima_monitoring.healthy_house import (
    GONE,
    NOW,
    SHA,
    ago,
    changed,
    document,
    healthy,
    job_history,
    line,
    reference,
    with_documents,
    with_history,
    with_object,
    with_objects,
)

DAY = ORPHAN_SECONDS
SMALL = Footprint(rss_bytes=100 << 20, descriptors=40, children=2)
LARGEST = base64.b64encode(bytes(KEPT_BYTES)).decode()

PLANTED: dict[str, tuple[str, Callable[[], Snapshot]]] = {
    "an accepted item is nowhere": ("I1", lambda: changed(accepted=["item", "vanished"])),
    "no run was opened": ("I1", lambda: _without_run(1)),
    "no run was opened for long": ("I1", lambda: _running(_without_run(SETTLE_SECONDS + 1))),
    "a run hangs at rest": ("I1", lambda: with_documents("runs", document("run", "fusing", medium="film"))),
    "a second run of the medium hangs": (
        "I1",
        lambda: with_documents("runs", document("run-2", "analysing", medium="film")),
    ),
    "a dossier without a case": ("I2", lambda: with_documents("dossiers", document("x", "current", case="gone"))),
    "a version was written twice": ("I2", lambda: _versions(1, 2, 2)),
    "a version was skipped": ("I2", lambda: _versions(1, 3)),
    "a run without a medium": ("I2", lambda: with_documents("runs", document("x", "analysed", medium="nowhere"))),
    "a picture without a run": ("I2", lambda: with_documents("pictures", document("gone", "complete", medium="film"))),
    "two holders at once": ("I3", lambda: with_history(*_granted_twice())),
    "an old epoch wrote": (
        "I4",
        lambda: with_history(*job_history()[:5], line(6, "leased", "done", 1, 20, holder="a")),
    ),
    "an old holder renewed": (
        "I4",
        lambda: with_history(*job_history()[:4], line(5, "leased", "leased", 1, 30, lease=30, holder="a")),
    ),
    "a version is missing": ("I5", lambda: with_history(*job_history()[:3], *job_history()[4:])),
    "a version came twice": ("I5", lambda: with_history(*job_history(), job_history()[-1])),
    "a job was committed twice": ("I5", lambda: with_history(*job_history(), line(7, "done", "done", 2, 10))),
    "a run came back from its verdict": (
        "I5",
        lambda: with_history(
            line(1, None, "accepted", 0, 99),
            line(2, "accepted", "rejected", 0, 60),
            line(3, "rejected", "fusing", 0, 9),
            collection="runs",
        ),
    ),
    "a state nobody knows": ("I5", lambda: with_history(line(1, None, "lost", 0, 9))),
    "a message counted twice": (
        "I6",
        lambda: with_history(
            line(1, None, "open", 0, 99, inbox="m"), line(2, "open", "open", 0, 9, inbox="m"), collection="rollups"
        ),
    ),
    "an object is gone": ("I7", lambda: with_objects(picture=None)),
    "an original is gone": ("I7", lambda: with_objects(original=None)),
    "an object is shorter": ("I7", lambda: with_objects(dossier=StoredObject(9, 50.0))),
    "an object is nobody's": ("I7", lambda: with_object("t/default/pictures/film/x", StoredObject(1, DAY + 1))),
    "a vector is not there": ("I8", lambda: changed(missing_vectors=["images/x"])),
    "the outbox is not empty at rest": ("I9", lambda: changed(outbox_written_at=[ago(1)])),
    "the outbox waits for too long": (
        "I9",
        lambda: changed(outbox_written_at=[ago(SETTLE_SECONDS + 1)], at_rest=False),
    ),
    "a consumer lags behind at rest": ("I10", lambda: changed(lag={"dossier": 1})),
    "an original's bytes changed": ("I11", lambda: with_objects(original=StoredObject(10, 50.0, "0" * 64))),
    "a picture's bytes changed": ("I11", lambda: with_objects(picture=StoredObject(10, 50.0, "0" * 64))),
    "too many attempts": ("I12", lambda: with_documents("jobs", _job("done", attempts=6))),
    "a job hangs at rest": ("I12", lambda: with_documents("jobs", _job("leased", attempts=1))),
    "memory leaks": ("I13", lambda: _grown(rss_bytes=MOST_GROWN.rss_bytes + 1)),
    "descriptors leak": ("I13", lambda: _grown(descriptors=MOST_GROWN.descriptors + 1)),
    "children stay": ("I13", lambda: _grown(children=MOST_GROWN.children + 1)),
    "temporary files stay": ("I13", lambda: _grown(scratch_files=MOST_GROWN.scratch_files + 1)),
    "a lease outlives its work": ("I13", lambda: with_documents("jobs", replace(_job("done", 1), lease_until=ago(-9)))),
    "a dead letter without a reason": ("I14", lambda: with_documents("dead_letters", _letter(reason=""))),
    "a dead letter without an explanation": ("I14", lambda: with_documents("dead_letters", _letter(detail=""))),
    "a dead letter from nowhere": ("I14", lambda: with_documents("dead_letters", _letter(offset=None))),
    "a dead letter that is cut": ("I14", lambda: with_documents("dead_letters", _letter(size_bytes=6))),
    "a dead letter in no alphabet": ("I14", lambda: with_documents("dead_letters", _letter(value="*"))),
    "a dead letter of the outbox without bytes": (
        "I14",
        lambda: with_documents("dead_letters", _letter(value=None, offset=None, token="7")),
    ),
    "a rejection without a dead letter": ("I14", lambda: with_documents("preparations", document("noise", "rejected"))),
    "a job of another tenant": (
        "I15",
        lambda: with_documents("jobs", _stranger("job", "done", medium="film", attempts=1)),
    ),
    "a relation to another tenant's medium": (
        "I15",
        lambda: with_documents("relations", _stranger("r", "near_duplicate", medium="unknown", other="film")),
    ),
    "a document that refers to another tenant's object": (
        "I15",
        lambda: with_documents("locations", _stranger("x", "present", **reference("picture"))),
    ),
    "a derivative in another tenant's folder": (
        "I15",
        lambda: with_object("t/other/derivatives/film/x", StoredObject(1, 60.0)),
    ),
    "an erased original is there": ("I16", lambda: with_object(GONE["key"], StoredObject(10, 60.0))),
    "a derivative of an erased medium is there": (
        "I16",
        lambda: with_object("t/default/derivatives/gone/x", StoredObject(1, 60.0)),
    ),
    "a result of an erased medium is there": (
        "I16",
        lambda: with_object("t/default/results/gone/x", StoredObject(1, 60.0)),
    ),
    "a picture of an erased medium is there": (
        "I16",
        lambda: with_object("t/default/pictures/gone/x", StoredObject(1, 60.0)),
    ),
    "a job of an erased medium is there": (
        "I16",
        lambda: with_documents("jobs", document("x", "done", kind="analyse", attempts=1, medium="gone")),
    ),
    "a run of an erased medium is told of as analysed": (
        "I16",
        lambda: with_documents("runs", document("gone-run", "analysed", medium="gone")),
    ),
    "an erased item keeps its name": (
        "I16",
        lambda: with_documents("items", document("gone-item", "erased", medium="gone", file_name="secret.txt")),
    ),
    "an erased picture keeps its parts": (
        "I16",
        lambda: with_documents("pictures", document("gone", "erased", medium="gone", parts={"job": {}})),
    ),
    "a passage of an erased medium is found": ("I16", lambda: changed(left_behind=["passage p of gone"])),
    "what a client was told of is lost": ("I17", lambda: changed(sent=[Sent("case", "x", "ok", "vanished")])),
    "what a client sent became something else": (
        "I17",
        lambda: changed(sent=[Sent("case", "film.mp4", "ok", "item", sha256="0" * 64)]),
    ),
    "what was refused is there": ("I17", lambda: changed(sent=[Sent("case", "film.mp4", "fail")])),
    "what was sent once is there twice": ("I17", lambda: _twice(Sent("case", "film.mp4", "ok", "item"))),
    "what got no answer is there twice": ("I17", lambda: _twice(Sent("case", "film.mp4", "unknown"))),
    "a job hangs after the faults": (
        "I18",
        lambda: _hanging("jobs", _old("job", "parked", kind="analyse", attempts=1)),
    ),
    "a run hangs after the faults": ("I18", lambda: _hanging("runs", _old("run", "fusing", medium="film"))),
    "an erasure hangs after the faults": (
        "I18",
        lambda: _hanging("erasures", document("e", "requested", medium="film")),
    ),
}

HARMLESS: dict[str, Callable[[], Snapshot]] = {
    "nothing at all": lambda: Snapshot(ago(0), {}, {}, {}, at_rest=True),
    "an item accepted just now": lambda: _running(_without_run(SETTLE_SECONDS - 1)),
    "work under way": lambda: _running(with_documents("jobs", _job("leased", attempts=1))),
    "a run under way": lambda: _running(with_documents("runs", document("run", "fusing", medium="film"))),
    "a cancelled item without a run": lambda: with_documents(
        "items", document("never", "cancelled", case="case", medium="film", accepted_at=ago(9).isoformat())
    ),
    "an erased dossier marker": lambda: with_documents("dossiers", document("x", "erased", case="")),
    "a grant after the lease ran out": lambda: with_history(
        *job_history()[:2], line(3, "leased", "leased", 2, 50, lease=30, holder="b")
    ),
    "a picture whose medium was erased": lambda: with_documents(
        "pictures", document("run", "erased", medium="film", picture=reference("picture"))
    ),
    "a process that grew a little": lambda: _grown(rss_bytes=1, descriptors=1, children=1, scratch_files=1),
    "a process that nobody has looked at twice": lambda: changed(footprints={"gateway": [], "upload": [SMALL]}),
    "a dead letter that is whole": lambda: with_documents("dead_letters", _letter()),
    "a dead letter that is longer than what is kept": lambda: with_documents(
        "dead_letters", _letter(LARGEST, KEPT_BYTES + 1)
    ),
    "a dead letter of what kills its reader": lambda: with_documents(
        "dead_letters", _letter(value=None, size_bytes=None)
    ),
    "a dead letter from the outbox": lambda: with_documents("dead_letters", _letter(offset=None, token="7")),
    "a rejection with its dead letter": lambda: replace(
        with_documents("dead_letters", document("d", "open", reason="r", detail="d", medium="noise")),
        at_rest=False,
    ),
    "a tenant's own": lambda: with_documents("jobs", document("job", "done", medium="film", attempts=1)),
    "an erasure under way": lambda: _with_original(
        erasures=[document("erasure", "erased", medium="gone"), document("again", "requested", medium="gone")]
    ),
    "a medium that was uploaded again after its erasure": lambda: _with_original(
        media=[
            document("film", "stored", sha256=SHA["original"], object=reference("original")),
            document("noise", "erased"),
            document("gone", "stored", object=GONE),
        ]
    ),
    "an answer for every file": lambda: changed(
        sent=[Sent("case", "film.mp4", "unknown"), Sent("case", "film.mp4", "ok", "item", SHA["original"])]
    ),
    "a refusal before a success": lambda: changed(
        sent=[Sent("case", "film.mp4", "fail"), Sent("case", "film.mp4", "ok", "item")]
    ),
    "no answer, and nothing there": lambda: changed(sent=[Sent("case", "never.mp4", "unknown")]),
    "no answer, and it is there": lambda: changed(sent=[Sent("case", "film.mp4", "unknown")]),
    "a refusal, and nothing there": lambda: changed(sent=[Sent("case", "never.mp4", "fail")]),
    "a job that still has time after the faults": lambda: replace(
        _hanging("jobs", _old("job", "leased", kind="analyse", attempts=1)), faults_ended_at=ago(DRAIN_SECONDS - 1)
    ),
    "a job that was begun after the faults": lambda: _hanging(
        "jobs", document("job", "leased", kind="analyse", attempts=1, submitted_at=ago(5).isoformat())
    ),
    "a job that hangs where nobody made a fault": lambda: _running(
        with_documents("jobs", _old("job", "parked", kind="analyse", attempts=1))
    ),
    "a history whose beginning was dropped": lambda: with_history(
        *(line(n, "open", "open", 0, 99) for n in range(500, 502 + CUT_AFTER)), collection="rollups"
    ),
    "an object that is about to be referred to": lambda: with_object(
        "t/default/pictures/film/x", StoredObject(1, 60.0)
    ),
    "a result that is kept to be found again": lambda: with_object(
        "t/default/results/film/x", StoredObject(1, 9 * DAY)
    ),
    "bytes that nobody read": lambda: with_objects(original=StoredObject(10, 50.0, None)),
    "an outbox entry on its way": lambda: changed(outbox_written_at=[ago(1)], at_rest=False),
    "a lag while work goes on": lambda: changed(lag={"dossier": 7}, at_rest=False),
    "the last attempt allowed": lambda: with_documents("jobs", _job("dead", attempts=5)),
    "different messages": lambda: with_history(
        line(1, None, "open", 0, 99, inbox="m"), line(2, "open", "open", 0, 9, inbox="n"), collection="rollups"
    ),
}


def _job(state: str, attempts: int) -> Document:
    return document("job", state, kind="analyse", attempts=attempts)


def _grown(**by: int) -> Snapshot:
    after = replace(SMALL, **{name: getattr(SMALL, name) + more for name, more in by.items()})
    return changed(footprints={"gateway": [SMALL, after]})


def _letter(value: str | None = "YWJj", size_bytes: int | None = 3, **more: Any) -> Document:
    """Write a dead letter of the log; three bytes, unless something else is said."""
    body = {"reason": "malformed_message", "detail": "not JSON", "topic": "t", "partition": 0, "offset": 0}
    return document("letter", "open", **{**body, "value": value, "size_bytes": size_bytes, **more})


def _stranger(identity: str, state: str, **body: Any) -> Document:
    return replace(document(identity, state, **body), tenant="other")


def _twice(*sent: Sent) -> Snapshot:
    again = document("again", "accepted", case="case", medium="film", file_name="film.mp4", accepted_at=NOW.isoformat())
    return replace(with_documents("items", again), sent=sent)


def _old(identity: str, state: str, **body: Any) -> Document:
    begun = ago(DRAIN_SECONDS + 99).isoformat()
    return document(identity, state, accepted_at=begun, submitted_at=begun, **body)


def _hanging(collection: str, found: Document) -> Snapshot:
    ended = ago(DRAIN_SECONDS + 1)
    return replace(with_documents(collection, found), at_rest=False, faults_ended_at=ended)


def _with_original(**documents: list[Document]) -> Snapshot:
    """Lay the original of what was erased down again."""
    snapshot = with_object(GONE["key"], StoredObject(10, 60.0))
    return replace(snapshot, documents={**snapshot.documents, **documents})


def _versions(*numbers: int) -> Snapshot:
    return with_documents(
        "dossiers", document("case", "current", case="case", versions=[{"version": n} for n in numbers])
    )


def _granted_twice() -> list[HistoryLine]:
    return [*job_history()[:2], line(3, "leased", "leased", 2, 80, lease=30, holder="b")]


def _running(snapshot: Snapshot) -> Snapshot:
    return replace(snapshot, at_rest=False)


def _without_run(accepted: float) -> Snapshot:
    item = document("new", "accepted", case="case", medium="new", accepted_at=ago(accepted).isoformat())
    return with_documents("items", item)


def test_a_healthy_house_has_nothing_to_complain_of() -> None:
    assert check(healthy()) == []


@pytest.mark.parametrize("fault", PLANTED)
def test_a_fault_is_found_by_its_rule_and_by_no_other(fault: str) -> None:
    invariant, plant = PLANTED[fault]
    assert {violation.invariant for violation in check(plant())} == {invariant}


@pytest.mark.parametrize("circumstance", HARMLESS)
def test_what_is_harmless_is_passed_over(circumstance: str) -> None:
    assert check(HARMLESS[circumstance]()) == []


def test_every_rule_has_a_fault_that_it_finds() -> None:
    assert {invariant for invariant, _ in PLANTED.values()} == {f"I{n}" for n in range(1, 19)}


@pytest.mark.parametrize("collection", LEGAL)
def test_the_table_of_transitions_speaks_of_every_state_and_of_no_other(collection: str) -> None:
    (declared,) = (c.states for c in COLLECTIONS if c.name == collection)
    assert LEGAL[collection].keys() - {None} == set(declared)
    assert set().union(*LEGAL[collection].values()) <= set(declared)


def test_a_violation_says_what_is_wrong_and_with_what() -> None:
    (violation,) = check(with_objects(picture=StoredObject(10, 50.0, "0" * 64)))
    assert violation.subject == reference("picture")["key"]
    assert violation.detail == f"stored bytes hash to {'0' * 64}, {SHA['picture']} expected"
