"""How much one client, and all clients together, may ask at once. Pure; time is passed in."""

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from aima_common.problems import later
from aima_gateway.pace import Pace, spend


@dataclass(frozen=True)
class Limits:
    """Bounds that keep one client from taking everything."""

    requests_per_second: float = 100.0
    burst: int = 400
    concurrent_requests: int = 512
    """Of all clients together; above it everybody is asked to come back (503)."""
    concurrent_requests_per_key: int = 64
    """Above it this client is asked to come back (429)."""
    remembered_keys: int = 10_000

    @property
    def pace(self) -> Pace:
        """How fast one key may send requests."""
        return Pace(self.requests_per_second, self.burst)


class Rate:
    """The pace of many keys in one process: one number per key, an exact time to come back."""

    def __init__(self, remembered_keys: int = Limits.remembered_keys) -> None:
        self._remembered = remembered_keys
        self._due: dict[str, float] = {}

    def wait_seconds(self, key: str, now: float, pace: Pace) -> float:
        """Take one request of `key` at `now`; 0.0 when it may pass, else the seconds until it may."""
        spent = spend(pace, self._due.pop(key, now), now)
        self._due[key] = spent.due
        if len(self._due) > self._remembered:
            # The first is the one unheard of for longest: forgetting it forgives at most one burst.
            self._due.pop(next(iter(self._due)))
        return spent.wait_seconds


class Admission:
    """Counts requests under way and refuses what is too much."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._rate = Rate(limits.remembered_keys)
        self._under_way: Counter[str] = Counter()

    @property
    def under_way(self) -> int:
        """Requests being answered now."""
        return self._under_way.total()

    def check_room(self) -> None:
        """Raise `ProblemError` (503) when all clients together ask for too much."""
        if self.under_way >= self._limits.concurrent_requests:
            raise later(503, "too_busy", "AIMA answers as many requests as it can", 2)

    @contextmanager
    def admitted(self, key: str, now: float) -> Iterator[None]:
        """Hold a place while a request is answered; raise `ProblemError` (429, or 503 as above) when there is none."""
        self.check_room()
        if self._under_way[key] >= self._limits.concurrent_requests_per_key:
            raise later(429, "too_many_at_once", "this key has too many requests under way", 1)
        wait = self._rate.wait_seconds(key, now, self._limits.pace)
        if wait > 0:
            raise later(429, "too_many_requests", "this key sends requests too fast", math.ceil(wait))
        self._under_way[key] += 1
        try:
            yield
        finally:
            self._under_way[key] -= 1
            if not self._under_way[key]:
                del self._under_way[key]
