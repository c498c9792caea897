"""Dead letters as people see them, and what trying one again means. Pure."""

import base64
import datetime
from collections.abc import Mapping
from typing import Any

from aima_common.contracts.messages import PreparationRequested
from aima_common.contracts.telling import tell
from aima_common.ports.bus import Record
from aima_common.ports.documents import Document
from aima_common.problems import ProblemError, refuse

STATES = ("open", "retried", "discarded")

SHOWN = ("service", "reason", "detail", "at", "topic", "partition", "offset", "medium", "key", "size_bytes", "case")
"""What a list shows of a letter; its bytes and headers are shown one letter at a time."""

UNREAD = "kills_its_consumer"


def letter_view(letter: Document) -> dict[str, Any]:
    """Show a letter in short."""
    body = letter.body
    closed = {name: body.get(name) for name in ("closed_at", "closed_by", "note")}
    return {
        "id": letter.id,
        "tenant": letter.tenant,
        "state": letter.state,
        **{name: body.get(name) for name in SHOWN},
        **closed,
    }


def letter_in_full(letter: Document) -> dict[str, Any]:
    """Show a letter with its headers and its bytes (Base64), as far as they were kept."""
    body = letter.body
    more = {"headers": body.get("headers", {}), "value": body.get("value"), "original": body.get("original")}
    return {**letter_view(letter), **more, "retriable": not _hindrance(body)}


def retried(letter: Document, actor: str, now: datetime.datetime) -> Record:
    """Make the record that tries a letter again: its own message once more, or the wish to prepare its medium.

    Raises `ProblemError` (409) when too little of it was kept for that.
    """
    body = letter.body
    if hindrance := _hindrance(body):
        raise _not_retriable(*hindrance)
    if "topic" in body:
        return Record(body["topic"], body["key"], base64.b64decode(body["value"]), dict(body["headers"]))
    told = PreparationRequested(medium=body["medium"], requested_by=actor)
    # The version makes every wish a message of its own, and the same wish the same message.
    cause = f"{letter.id}-{letter.version}"
    return tell(told, tenant=letter.tenant, key=body["medium"], cause=cause, time=now)


def _hindrance(body: Mapping[str, Any]) -> tuple[str, str] | None:
    """Tell why a letter cannot be tried again, and what to do instead."""
    again = "Have whoever sent it send it again, then discard this letter."
    if "topic" not in body:
        return None if body.get("medium") else ("nothing of it was kept", again)
    if body.get("value") is None or (body["reason"] == UNREAD and not body["size_bytes"]):
        return "its bytes were never read, because reading them ends processes", again
    kept = len(base64.b64decode(body["value"]))
    if kept < body["size_bytes"]:
        return f"it has {body['size_bytes']} bytes, of which {kept} were kept", again
    return None


def _not_retriable(why: str, remedy: str) -> ProblemError:
    return refuse(409, "not_retriable", f"this letter cannot be tried again: {why}", remedy)
