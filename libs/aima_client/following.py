"""Server-sent events, and what they say about a case. Pure but for the reading of lines."""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

MAX_LINE_BYTES = 1 << 20
"""A longer line is not one of AIMA's events."""


@dataclass(frozen=True)
class Event:
    """Something that happened to a case."""

    sequence: int
    name: str
    """The message's name, such as "MediumPrepared"."""
    data: Mapping[str, Any]


async def events(lines: AsyncIterator[bytes]) -> AsyncIterator[Event]:
    """Read events from the lines of a stream (WHATWG HTML, "Server-sent events")."""
    fields: dict[str, str] = {}
    async for raw in lines:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if line:
            name, _, value = line.partition(":")
            if name:
                fields[name] = value.removeprefix(" ")
            continue
        if "data" in fields:
            yield Event(int(fields.get("id", "0") or 0), fields.get("event", "message"), json.loads(fields["data"]))
        fields = {}


def finished(case: Mapping[str, Any]) -> bool:
    """Tell whether everything in a case has come to an end and its dossier tells of all of it."""
    counts, dossier = case["counts"], case["dossier"]
    if not counts["items"] or counts["running"]:
        return False
    return bool(dossier and dossier["complete"] and dossier["items"] >= counts["items"] - counts["erased"])
