"""A small house in which everything is as it should be, and ways to plant faults in it."""

import datetime
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aima_common.ports.documents import Document, HistoryLine
from aima_monitoring.invariants import Snapshot, StoredObject

NOW = datetime.datetime(2026, 11, 23, 12, tzinfo=datetime.UTC)
SHA = {name: digit * 64 for name, digit in (("original", "a"), ("picture", "b"), ("dossier", "c"), ("result", "d"))}


def ago(seconds: float) -> datetime.datetime:
    return NOW - datetime.timedelta(seconds=seconds)


def document(identity: str, state: str, **body: Any) -> Document:
    return Document(identity, "default", state, 0, 1, body)


def reference(name: str) -> dict[str, Any]:
    return {"key": f"t/default/{name}s/{SHA[name]}", "sha256": SHA[name], "size_bytes": 10}


def line(version: int, before: str | None, after: str, epoch: int, at: float, **more: Any) -> HistoryLine:
    """Write a line of the history of job `job` (or `document=`), `at` seconds ago; `lease` is its rest then."""
    lease = more.get("lease")
    until = ago(at - lease) if lease else None
    name, inbox = more.get("document", "job"), more.get("inbox")
    return HistoryLine(name, version, before, after, epoch, more.get("holder"), inbox, ago(at), until)


GONE: dict[str, Any] = {"key": "t/default/originals/gone", "sha256": "e" * 64, "size_bytes": 10}
"""The original of what was erased."""


def job_history() -> list[HistoryLine]:
    """A job whose first holder fell silent, and whose second one finished it."""
    return [
        line(1, None, "ready", 0, 100),
        line(2, "ready", "leased", 1, 90, lease=30, holder="a"),
        line(3, "leased", "ready", 1, 50, holder="a"),
        line(4, "ready", "leased", 2, 40, lease=30, holder="b"),
        line(5, "leased", "leased", 2, 30, lease=30, holder="b"),
        line(6, "leased", "done", 2, 20, holder="b"),
    ]


def healthy() -> Snapshot:
    """Take a house at rest: one film analysed, one file rejected, one erased."""
    film = {"case": "case", "medium": "film", "file_name": "film.mp4", "sha256": SHA["original"]}
    documents = {
        "cases": [document("case", "open")],
        "items": [
            document("item", "accepted", **film, accepted_at=ago(100).isoformat()),
            document("broken", "accepted", case="case", medium="noise", accepted_at=ago(100).isoformat()),
            document("gone-item", "erased", case="case", medium="gone", file_name="", accepted_at=ago(100).isoformat()),
        ],
        "media": [
            document("film", "stored", sha256=SHA["original"], object=reference("original")),
            document("noise", "erased"),
            document("gone", "erased", object=GONE),
        ],
        "erasures": [document("erasure", "erased", medium="gone")],
        "runs": [
            document("run", "analysed", medium="film"),
            document("other", "rejected", medium="noise"),
            document("gone-run", "erased", medium="gone"),
        ],
        "jobs": [document("job", "done", kind="analyse", attempts=2, result=reference("result"))],
        "pictures": [document("run", "complete", medium="film", picture=reference("picture"))],
        "dossiers": [
            document(
                "case", "current", case="case", versions=[{"version": 4}, {"version": 5, "json": reference("dossier")}]
            )
        ],
    }
    return Snapshot(
        now=NOW,
        documents=documents,
        histories={
            "jobs": job_history(),
            "runs": [
                line(1, None, "accepted", 0, 99, document="run"),
                line(2, "accepted", "analysing", 0, 60, document="run", inbox="message-1"),
                line(3, "analysing", "analysed", 0, 10, document="run", inbox="message-2"),
            ],
        },
        objects={reference(n)["key"]: StoredObject(10, 50.0, SHA[n]) for n in SHA},
        lag={"scheduler": 0, "dossier": 0},
        accepted=["item", "broken"],
        at_rest=True,
    )


def with_documents(collection: str, *changed: Document) -> Snapshot:
    """Put documents in the place of those with the same id, or beside the others."""
    snapshot = healthy()
    kept = {d.id: d for d in snapshot.documents.get(collection, ())} | {d.id: d for d in changed}
    return replace(snapshot, documents={**snapshot.documents, collection: list(kept.values())})


def with_history(*lines: HistoryLine, collection: str = "jobs") -> Snapshot:
    """Put another history in the place of a collection's."""
    snapshot = healthy()
    return replace(snapshot, histories={**snapshot.histories, collection: list(lines)})


def with_objects(**changed: StoredObject | None) -> Snapshot:
    """Change or, with None, remove the object of this name."""
    snapshot = healthy()
    objects = dict(snapshot.objects)
    for name, there in changed.items():
        key = reference(name)["key"]
        if there is None:
            del objects[key]
        else:
            objects[key] = there
    return replace(snapshot, objects=objects)


def with_object(key: str, there: StoredObject) -> Snapshot:
    """Lay another object down."""
    snapshot = healthy()
    return replace(snapshot, objects={**snapshot.objects, key: there})


def changed(**fields: Any) -> Snapshot:
    """Change fields of the snapshot itself."""
    known: Mapping[str, Any] = fields
    return replace(healthy(), **known)
