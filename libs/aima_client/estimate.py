"""How far a case is, and how long it will still take. Pure; time is passed in."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

ENDS = frozenset({"analysed", "rejected", "failed", "cancelled", "erased"})

PREPARING_SHARE = 0.3
"""Of a medium's work, roughly, is decoding and cutting; the rest is analysis."""

STILL_SECONDS = 2.0
"""A still costs about as much as this much film."""

UNKNOWN_SECONDS_PER_MEGABYTE = 4.0
"""Until a medium has been probed: film at about 2 Mbit/s."""

MOST_OPEN_FRACTION = 0.99
"""What is not finished is never shown as done: after its last part a medium is still put together."""

LEAST_FRACTION = 0.02
LEAST_ELAPSED_SECONDS = 2.0
"""Below these a remaining time would be a guess."""

SMOOTHING = 0.25
"""Weight of the newest estimate, so that the time shown does not jump."""

FEW_SECONDS = 5.0
"""Less than this is not counted down: nobody knows it that well."""


@dataclass(frozen=True)
class Share:
    """How far one medium is, and how heavy it is among the others."""

    fraction: float
    weight: float


def share(medium: Mapping[str, Any], size_bytes: int = 0) -> Share:
    """Judge one medium of a case as the gateway shows it."""
    weight = _weight(medium, size_bytes)
    if medium["stage"] in ENDS:
        return Share(1.0, weight)
    duration, total = medium.get("duration_seconds"), medium.get("parts_total")
    prepared = min(1.0, (medium.get("prepared_seconds") or 0.0) / duration) if duration else 0.0
    if medium["stage"] in {"analysing", "fusing"}:
        prepared = 1.0
    analysed = min(1.0, medium["parts_done"] / total) if total else 0.0
    done = PREPARING_SHARE * prepared + (1 - PREPARING_SHARE) * analysed
    return Share(min(MOST_OPEN_FRACTION, done), weight)


def overall(shares: Iterable[Share]) -> float:
    """Tell how much of the whole work is done, from 0 to 1."""
    weights = done = 0.0
    for one in shares:
        weights += one.weight
        done += one.weight * one.fraction
    return done / weights if weights else 0.0


@dataclass(frozen=True)
class _Sight:
    """A share as it was seen at a time."""

    fraction: float
    at: float


@dataclass
class Remaining:
    """Estimates the remaining time from the pace so far, smoothly.

    The longest of three answers counts: what is left of all media at the pace of them all; what is left of
    one medium at the pace of its own parts, since work on the last ones cannot be shared out; and the time
    for which nothing has ended, since a part that takes long already is not expected to end just now.
    """

    _first: dict[str, _Sight] = field(default_factory=dict, repr=False)
    _start: _Sight | None = field(default=None, repr=False)
    _moved: _Sight = field(default=_Sight(0.0, 0.0), repr=False)
    _told: tuple[float, float] | None = field(default=None, repr=False)

    def seconds(self, shares: Mapping[str, Share], now: float) -> float | None:
        """Tell how many seconds are left at `now`; None while nobody can know, 0 only when all media have ended."""
        whole = _Sight(overall(shares.values()), now)
        if all(share.fraction >= 1.0 for share in shares.values()):
            return 0.0
        if self._start is None:
            self._start = self._moved = whole
        if whole.fraction > self._moved.fraction:
            self._moved = whole
        of_all = _at_pace(self._start, whole)
        of_each = [self._of_one(name, _Sight(share.fraction, now)) for name, share in shares.items()]
        if of_all is None:
            return None
        stalled = now - self._moved.at
        return self._smooth(max(of_all, stalled, *(one or 0.0 for one in of_each)), now)

    def _of_one(self, name: str, sight: _Sight) -> float | None:
        if not 0.0 < sight.fraction < 1.0:
            return None
        return _at_pace(self._first.setdefault(name, sight), sight)

    def _smooth(self, fresh: float, now: float) -> float:
        seconds = fresh
        if self._told is not None:
            before, at = self._told
            # The old estimate has run down meanwhile; only what it was wrong by is smoothed.
            run_down = max(0.0, before - (now - at))
            seconds = run_down + SMOOTHING * (fresh - run_down)
        self._told = (seconds, now)
        return seconds


def _at_pace(before: _Sight, after: _Sight) -> float | None:
    """Tell how long the rest takes at the pace between two sights; None when that is too little to tell."""
    elapsed, done = after.at - before.at, after.fraction - before.fraction
    if elapsed < LEAST_ELAPSED_SECONDS or done < LEAST_FRACTION:
        return None
    return elapsed * (1.0 - after.fraction) / done


def left(seconds: float | None) -> str:
    """Say how much time is left, no more exactly than it is known."""
    if seconds is None:
        return "working out the time left"
    return "a few seconds left" if seconds < FEW_SECONDS else f"{clock(seconds)} left"


def clock(seconds: float) -> str:
    """Write a duration as people say it."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _weight(medium: Mapping[str, Any], size_bytes: int) -> float:
    if medium.get("type") == "image":
        return STILL_SECONDS
    if duration := medium.get("duration_seconds"):
        return STILL_SECONDS + float(duration)
    return STILL_SECONDS + UNKNOWN_SECONDS_PER_MEGABYTE * size_bytes / 1e6
