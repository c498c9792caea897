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

LEAST_FRACTION = 0.02
LEAST_ELAPSED_SECONDS = 2.0
"""Below these a remaining time would be a guess."""

SMOOTHING = 0.25
"""Weight of the newest estimate, so that the time shown does not jump."""


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
    return Share(PREPARING_SHARE * prepared + (1 - PREPARING_SHARE) * analysed, weight)


def overall(shares: Iterable[Share]) -> float:
    """Tell how much of the whole work is done, from 0 to 1."""
    weights = done = 0.0
    for one in shares:
        weights += one.weight
        done += one.weight * one.fraction
    return done / weights if weights else 0.0


@dataclass
class Remaining:
    """Estimates the remaining time from the pace so far, smoothly."""

    began: float
    fraction_at_start: float = 0.0
    _seconds: float | None = field(default=None, repr=False)
    _at: float = field(default=0.0, repr=False)

    def seconds(self, fraction: float, now: float) -> float | None:
        """Tell how many seconds are left at `now`; None while nobody can know."""
        elapsed, done = now - self.began, fraction - self.fraction_at_start
        if fraction >= 1.0:
            return 0.0
        if elapsed < LEAST_ELAPSED_SECONDS or done < LEAST_FRACTION:
            return None
        fresh = elapsed * (1.0 - fraction) / done
        if self._seconds is None:
            self._seconds = fresh
        else:
            # The old estimate has run down meanwhile; only what it was wrong by is smoothed.
            run_down = max(0.0, self._seconds - (now - self._at))
            self._seconds = run_down + SMOOTHING * (fresh - run_down)
        self._at = now
        return self._seconds


def clock(seconds: float | None) -> str:
    """Write a duration as people say it."""
    if seconds is None:
        return "working out the time left"
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
