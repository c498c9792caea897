"""How urgent a job is: weight x ageing x deadline (spec 4.1).

Pure: the time is passed in. All times are aware UTC, all durations seconds.
"""

import datetime
from collections.abc import Mapping
from typing import Any, Literal

from aima_common.contracts.media import Priority

Mode = Literal["seed", "corrected"]

WEIGHTS: dict[Priority, int] = {
    Priority.CRITICAL: 100,
    Priority.HIGH: 50,
    Priority.NORMAL: 10,
    Priority.LOW: 5,
    Priority.BATCH: 1,
}

WAIT_STEP_SECONDS = 600
LARGEST_WAIT_FACTOR = 10.0
DEADLINE_MINUTES = 100.0


def wait_factor(waited_seconds: float) -> float:
    """Grow linearly with the wait: 1 up to 600 s, 10 from 6000 s on."""
    return min(LARGEST_WAIT_FACTOR, max(1.0, waited_seconds / WAIT_STEP_SECONDS))


def deadline_factor(deadline: datetime.datetime | None, now: datetime.datetime, mode: Mode = "corrected") -> float:
    """Grow as the deadline nears: 100 / minutes left, between 1 and 100.

    A missed deadline keeps 100; in mode "seed" it falls back to 1, as the founding document has it.
    """
    if deadline is None:
        return 1.0
    minutes = (deadline - now).total_seconds() / 60
    if minutes <= 0 and mode == "seed":
        return 1.0
    return max(1.0, DEADLINE_MINUTES / max(1.0, minutes))


def effective_priority(
    priority: Priority,
    submitted_at: datetime.datetime,
    deadline: datetime.datetime | None,
    now: datetime.datetime,
    mode: Mode = "corrected",
) -> float:
    """Tell how urgent a job is; the higher goes first."""
    waited = (now - submitted_at).total_seconds()
    return WEIGHTS[priority] * wait_factor(waited) * deadline_factor(deadline, now, mode)


def urgency_of(body: Mapping[str, Any], now: datetime.datetime) -> float:
    """Tell how urgent a job is by its document.

    What cannot be read there counts as what is usual (normal, new, without a deadline): one document that says nonsense
    must not keep anybody from putting all the others in order.
    """
    submitted = readable_time(body.get("submitted_at")) or now
    return effective_priority(_class_of(body), submitted, readable_time(body.get("deadline")), now)


def readable_time(said: object) -> datetime.datetime | None:
    """Read an aware time in ISO 8601; None for anything else."""
    if not isinstance(said, str):
        return None
    try:
        time = datetime.datetime.fromisoformat(said)
    except ValueError:
        return None
    return time if time.utcoffset() is not None else None


def _class_of(body: Mapping[str, Any]) -> Priority:
    try:
        return Priority(str(body.get("priority")))
    except ValueError:
        return Priority.NORMAL
