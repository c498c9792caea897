"""What people are shown of cases, media and jobs. Pure: documents in, plain data out."""

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aima_common.collections import RUN_TERMINAL
from aima_common.jobs import errors_of
from aima_common.ports.documents import Document
from aima_common.problems import FieldError
from aima_common.urgency import readable_time, urgency_of


def newest_runs(runs: Iterable[Document]) -> dict[str, Document]:
    """Choose, for every medium, the run that was accepted last."""
    newest: dict[str, Document] = {}
    for run in sorted(runs, key=lambda run: (str(run.body["accepted_at"]), run.id)):
        newest[str(run.body["medium"])] = run
    return newest


def item_state(item: Document, run: Document | None) -> str:
    """Tell an item's state: its own end, else the state of its medium's run."""
    if item.state != "accepted":
        return item.state
    return run.state if run else "accepted"


def item_view(item: Document, run: Document | None) -> dict[str, Any]:
    """Show an item."""
    body = item.body
    return {
        "id": item.id,
        "ordinal": body["ordinal"],
        "file_name": body["file_name"],
        "size_bytes": body["size_bytes"],
        "medium": body["medium"],
        "status": item_state(item, run),
        "reason": run.body.get("reason") if run else None,
    }


def counts(items: Sequence[Document], runs: Mapping[str, Document]) -> dict[str, int]:
    """Count items by how they ended; accepted = the ends + running, at any time."""
    counted = dict.fromkeys(("items", *RUN_TERMINAL, "running"), 0)
    for item in items:
        state = item_state(item, runs.get(str(item.body["medium"])))
        counted["items"] += 1
        counted[state if state in RUN_TERMINAL else "running"] += 1
    return counted


def stages(
    items: Sequence[Document], runs: Mapping[str, Document], preparations: Mapping[str, Document]
) -> list[dict[str, Any]]:
    """Show how far every medium of a case is, in the order in which they arrived."""
    shown: dict[str, dict[str, Any]] = {}
    for item in sorted(items, key=lambda item: int(item.body["ordinal"])):
        medium = str(item.body["medium"])
        if medium in shown:
            shown[medium]["items"].append(item.id)
            continue
        run, preparation = runs.get(medium), preparations.get(medium)
        shown[medium] = {
            "medium": medium,
            "items": [item.id],
            "file_name": item.body["file_name"],
            "stage": item_state(item, run),
            **parts(run),
            **shape(preparation),
            "reason": run.body.get("reason") if run else None,
        }
    return list(shown.values())


def parts(run: Document | None) -> dict[str, Any]:
    """Show how many parts of a run are done; the total is None until it is known."""
    if run is None:
        return {"parts_done": 0, "parts_total": None}
    return {"parts_done": run.body["parts_done"], "parts_total": run.body["parts_total"]}


def shape(preparation: Document | None) -> dict[str, Any]:
    """Show what kind of medium it is, how long, and how much of it has been prepared."""
    body = preparation.body if preparation else {}
    probe = body.get("probe") or {}
    segments = body.get("segments") or []
    prepared = max((part["segment"]["core_end"] for part in segments), default=0.0)
    return {
        "type": body.get("type"),
        "duration_seconds": probe.get("duration_seconds"),
        "prepared_seconds": prepared,
    }


def case_view(
    case: Document, items: Sequence[Document], runs: Mapping[str, Document], dossier: Document | None
) -> dict[str, Any]:
    """Show a case as a whole."""
    live = [runs[medium] for medium in {str(item.body["medium"]) for item in items} if medium in runs]
    return {
        "id": case.id,
        "name": case.body["name"],
        "state": case.state,
        "created_at": case.body["created_at"],
        "options": case.body["options"],
        "counts": counts(items, runs),
        "progress": {
            "parts_done": sum(int(run.body["parts_done"]) for run in live),
            "parts_total": sum(int(run.body["parts_total"] or 0) for run in live),
        },
        "dossier": dossier_view(dossier),
    }


def dossier_view(dossier: Document | None) -> dict[str, Any] | None:
    """Show which version of a dossier is current; None when there is none yet."""
    current = dossier.body.get("current") if dossier and dossier.state == "current" else None
    if not current:
        return None
    return {"version": current["version"], "complete": current["complete"], "items": current["items"]}


def medium_view(
    medium: Document, items: Sequence[Document], run: Document | None, preparation: Document | None
) -> dict[str, Any]:
    """Show a medium."""
    body = preparation.body if preparation else {}
    return {
        "id": medium.id,
        "sha256": medium.body["sha256"],
        "size_bytes": medium.body["size_bytes"],
        "state": medium.state,
        "stage": run.state if run else "accepted",
        **parts(run),
        **shape(preparation),
        "probe": body.get("probe"),
        "reason": run.body.get("reason") if run else None,
        "items": [
            {"id": item.id, "case": item.body["case"], "file_name": item.body["file_name"], "state": item.state}
            for item in items
        ],
    }


def job_view(job: Document) -> dict[str, Any]:
    """Show a job, without where its results lie."""
    body = job.body
    fields = ("kind", "run", "medium", "case", "analyzer", "capability", "lane", "machine", "priority", "deadline")
    return {
        "id": job.id,
        "state": job.state,
        **{field: body.get(field) for field in fields},
        "segment": body["segment"]["index"] if body.get("segment") else None,
        **{name: body.get(name) for name in ("submitted_at", "claimed_at", "finished_at")},
        "attempts": body.get("attempts", 0),
        "errors": [{name: error.get(name) for name in ("at", "code", "reason")} for error in errors_of(job)],
    }


def explain(
    job: Document,
    queue: Sequence[Document] | None,
    workers: int,
    pace: float | None,
    now: datetime.datetime,
    unknown: str = "",
) -> dict[str, Any]:
    """Tell a job's place in its queue, what blocks it, and when it may start.

    `queue` are all jobs that wait for the same, whosever they are; None where they cannot be told, for the reason
    `unknown`: then nobody knows the place, and none is told. `workers` is how many such jobs run now, `pace` how many
    seconds one takes as a rule (None when none has ended yet).
    """
    explained: dict[str, Any] = {
        "job": job.id,
        "state": job.state,
        "position": None,
        "blocked_by": [],
        "dimension": None,
        "would_help": [],
        "estimated_start_seconds": None,
        "start_interval_seconds": None,
        "deadline_outlook": None,
        "placed_because": job.body.get("placed_because"),
    }
    if job.state != "ready":
        return {**explained, "blocked_by": [_why(job)] if job.state in _WHY else []}
    reasons = []
    start = readable_time(job.body.get("not_before")) or now
    if start > now:
        reasons.append(f"it is tried again at {start.isoformat()} after a failure")
    if queue is None:
        return {**explained, "blocked_by": [*reasons, unknown]}
    own = _rank(job, now)
    ahead = sum(_rank(other, now) < own for other in queue)
    if ahead:
        reasons.append(f"{ahead} more urgent or older jobs come first")
    if workers:
        reasons.append(f"{workers} jobs of its kind are running")
    estimate = None if pace is None else max((start - now).total_seconds(), ahead * pace / max(workers, 1), 0.0)
    return {**explained, "position": ahead + 1, "blocked_by": reasons, "estimated_start_seconds": estimate}


def by_urgency(jobs: Iterable[Document], now: datetime.datetime) -> list[Document]:
    """Put jobs in the order of their classes, waits and deadlines, as far as that can be told without the scheduler."""
    return sorted(jobs, key=lambda job: _rank(job, now))


def _rank(job: Document, now: datetime.datetime) -> tuple[float, str, str]:
    return -urgency_of(job.body, now), str(job.body.get("submitted_at")), job.id


def queued_job_view(job: Document, place: Mapping[str, Any], now: datetime.datetime) -> dict[str, Any]:
    """Show a job that waits for a machine; `place` is what the scheduler says of it, empty where it says nothing."""
    waited = now - (readable_time(job.body.get("submitted_at")) or now)
    return {
        "job": job.id,
        **{name: job.body.get(name) for name in ("analyzer", "medium", "priority", "deadline", "submitted_at")},
        "waited_seconds": max(0.0, waited.total_seconds()),
        "position": place.get("position"),
        "estimated_start_seconds": place.get("starts_in_seconds"),
    }


def explain_by_scheduler(explained: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """Put what the scheduler says in the place of what the store lets one guess."""
    start = told["start"]
    later = [reason for reason in explained["blocked_by"] if "tried again" in reason]
    return {
        **explained,
        "position": told["position"],
        "blocked_by": [*later, *told["reasons"]],
        "dimension": told["dimension"],
        "would_help": list(told["would_help"]),
        "estimated_start_seconds": start["middle"] if start else explained["estimated_start_seconds"],
        "start_interval_seconds": [start["low"], start["high"]] if start else None,
        "deadline_outlook": told.get("deadline_outlook"),
    }


def field_error(error: Mapping[str, Any]) -> FieldError:
    """Read what is wrong with a field from a problem that another service answered with."""
    return FieldError(str(error.get("field")), str(error.get("message")))


_WHY = {
    "parked": "it waits for something that is away",
    "unschedulable": "no machine here can run it",
    "unavailable": "its model is not installed",
    "dead": "it failed too often",
}


def _why(job: Document) -> str:
    errors = errors_of(job)
    return f"{_WHY[job.state]}: {errors[-1]['reason']}" if errors else _WHY[job.state]
