"""Every rule of the checker is silent in a healthy house and speaks up for the fault it is there for."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from aima_common.collections import COLLECTIONS
from aima_common.ports.documents import Document, HistoryLine
from aima_monitoring.invariants import LEGAL, ORPHAN_SECONDS, SETTLE_SECONDS, Snapshot, StoredObject, check
from tests.unit.aima_monitoring.healthy_house import (
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
    "a run without a medium": ("I2", lambda: with_documents("runs", document("x", "analysed", medium="gone"))),
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
    "an object is nobody's": ("I7", lambda: with_object("t/default/pictures/x", StoredObject(1, DAY + 1))),
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
    "an object that is about to be referred to": lambda: with_object("t/default/pictures/x", StoredObject(1, 60.0)),
    "a result that is kept to be found again": lambda: with_object("t/default/results/x", StoredObject(1, 9 * DAY)),
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
    assert {invariant for invariant, _ in PLANTED.values()} == {f"I{n}" for n in range(1, 13)}


@pytest.mark.parametrize("collection", LEGAL)
def test_the_table_of_transitions_speaks_of_every_state_and_of_no_other(collection: str) -> None:
    (declared,) = (c.states for c in COLLECTIONS if c.name == collection)
    assert LEGAL[collection].keys() - {None} == set(declared)
    assert set().union(*LEGAL[collection].values()) <= set(declared)


def test_a_violation_says_what_is_wrong_and_with_what() -> None:
    (violation,) = check(with_objects(picture=StoredObject(10, 50.0, "0" * 64)))
    assert violation.subject == reference("picture")["key"]
    assert violation.detail == f"stored bytes hash to {'0' * 64}, {SHA['picture']} expected"
