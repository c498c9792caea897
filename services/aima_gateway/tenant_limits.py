"""How much a tenant may ask for, and how much of it is still to be had. Pure; times are passed in."""

import datetime
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from aima_gateway.pace import Pace

BURST_SECONDS = 4.0
"""A tenant that was quiet may send at once what it may send in this time."""


@dataclass(frozen=True)
class TenantLimits:
    """What all keys of one tenant together may do, through all gateways together. None: no limit."""

    requests_per_second: int | None = None
    uploads_at_once: int | None = None
    items_per_day: int | None = None
    bytes_per_day: int | None = None
    """A day is one of UTC. Items count when they are accepted, each with the size of its file, wherever its bytes
    came from; what is refused or breaks off counts nothing, and an item that is erased later was still accepted."""

    @property
    def pace(self) -> Pace | None:
        """How fast the tenant may send requests."""
        if self.requests_per_second is None:
            return None
        return Pace(self.requests_per_second, max(1, round(self.requests_per_second * BURST_SECONDS)))

    @property
    def bounds_uploads(self) -> bool:
        """Whether uploads have to be counted."""
        return any(limit is not None for limit in (self.uploads_at_once, self.items_per_day, self.bytes_per_day))

    @property
    def has_quota(self) -> bool:
        """Whether what was accepted today has to be counted."""
        return self.items_per_day is not None or self.bytes_per_day is not None

    def changed_by(self, body: Mapping[str, Any]) -> Self:
        """Put the limits that an operator set for one tenant over those of the installation; 0 is "no limit"."""
        chosen = {name: body[name] for name in NAMES if name in body}
        return type(self)(**{**self.body(), **{name: value or None for name, value in chosen.items()}})

    def body(self) -> dict[str, int | None]:
        """Write the limits as they are stored."""
        return {name: getattr(self, name) for name in NAMES}


NAMES = tuple(field.name for field in fields(TenantLimits))


@dataclass(frozen=True)
class Amount:
    """Uploads under way, and the items and bytes that they are or may become."""

    uploads: int = 0
    items: int = 0
    bytes: int = 0

    def __add__(self, other: "Amount") -> "Amount":
        return Amount(self.uploads + other.uploads, self.items + other.items, self.bytes + other.bytes)

    def __sub__(self, other: "Amount") -> "Amount":
        return Amount(self.uploads - other.uploads, self.items - other.items, self.bytes - other.bytes)

    def within(self, other: "Amount") -> bool:
        """Tell whether no part of this is larger than in `other`."""
        return self.uploads <= other.uploads and self.items <= other.items and self.bytes <= other.bytes


NOTHING = Amount()

Holders = Mapping[str, Mapping[str, Any]]
"""Gateway -> what it holds of a tenant's limits and until when, as it is stored."""


def held_by_others(holders: Holders, me: str, now: float) -> Amount:
    """Add up what other gateways hold; what one that fell silent held is free again."""
    living = (held for name, held in holders.items() if name != me and held["until"] > now)
    return sum((Amount(held["uploads"], held["items"], held["bytes"]) for held in living), NOTHING)


def holders_with(holders: Holders, me: str, held: Amount, until: float, now: float) -> dict[str, Any]:
    """Write down what one gateway holds, and forget those that fell silent."""
    others = {name: dict(one) for name, one in holders.items() if name != me and one["until"] > now}
    if held == NOTHING:
        return others
    mine = {"uploads": held.uploads, "items": held.items, "bytes": held.bytes, "until": until}
    return {**others, me: mine}


@dataclass(frozen=True)
class Shortage:
    """Why a tenant gets no more."""

    of: str
    """The field of `TenantLimits` that would be exceeded."""
    limit: int
    accepted: int
    """Of a quota: what was accepted today."""
    under_way: bool
    """Whether it would fit if uploads under way in other gateways ended without an item."""


def grant(limits: TenantLimits, accepted: Amount, others: Amount, needed: Amount) -> Amount | Shortage:
    """Give one gateway what it needs, and some more for what comes next, as long as the limits hold for all.

    `accepted` is today's, `others` what the other gateways hold, `needed` the whole of what this one needs from now
    on. The sum of what was accepted and all that is held never exceeds a limit: that is the promise.
    """
    most: dict[str, int] = {}
    for part, name in (("uploads", "uploads_at_once"), ("items", "items_per_day"), ("bytes", "bytes_per_day")):
        limit, wants, used = getattr(limits, name), getattr(needed, part), getattr(accepted, part)
        if limit is None:
            most[part] = wants + _spare(wants, None)
            continue
        left = limit - used - getattr(others, part)
        if wants > left:
            return Shortage(name, limit, used, under_way=part == "uploads" or wants <= limit - used)
        most[part] = wants + _spare(wants, left - wants)
    return Amount(**most)


def _spare(wants: int, left: int | None) -> int:
    """As much again, so that a busy gateway asks seldom; never more than a quarter of what is left for all."""
    return wants if left is None else min(wants, left // 4)


def day_of(now: datetime.datetime) -> str:
    """Name the day of UTC that `now` is in: every time of that day, as ISO 8601, begins with it."""
    return now.astimezone(datetime.UTC).date().isoformat()


def day_after(day: str) -> str:
    """Name the next day."""
    return (datetime.date.fromisoformat(day) + datetime.timedelta(days=1)).isoformat()


def seconds_left(now: datetime.datetime) -> float:
    """Tell how long the day of `now` still lasts."""
    begin = datetime.datetime.combine(now.astimezone(datetime.UTC).date(), datetime.time(), datetime.UTC)
    return (begin + datetime.timedelta(days=1) - now).total_seconds()


@dataclass(frozen=True)
class Accepted:
    """One accepted item, as far as quotas are concerned."""

    item: str
    at: str
    bytes: int


class Tally:
    """The sum of a tenant's items of one day, kept up by reading what is new.

    Items appear in the store a little after the time that is written on them, so the last stretch is read again.
    """

    def __init__(self, day: str, overlap_seconds: float) -> None:
        self.day = day
        self.sum = NOTHING
        self._overlap = datetime.timedelta(seconds=overlap_seconds)
        self._newest = day
        self._recent: dict[str, str] = {}

    @property
    def reads_from(self) -> str:
        """The time from which items have to be read, as it is written on them."""
        if self._newest == self.day:
            return self.day
        since = datetime.datetime.fromisoformat(self._newest) - self._overlap
        return max(self.day, since.isoformat())

    def add(self, items: Iterable[Accepted]) -> int:
        """Count items, each once; tell how many were new. All from `reads_from` on are to be given, oldest first."""
        new = [one for one in items if one.item not in self._recent]
        for one in new:
            self.sum += Amount(items=1, bytes=one.bytes)
            self._recent[one.item] = one.at
            self._newest = max(self._newest, one.at)
        return len(new)

    @property
    def remembered(self) -> int:
        """How many of the items that have to be read are counted already."""
        return len(self._recent)

    def forget(self) -> None:
        """Let go of the names of items that will not be read again."""
        begin = self.reads_from
        self._recent = {item: at for item, at in self._recent.items() if at >= begin}
