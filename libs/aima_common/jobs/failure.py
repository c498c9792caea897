"""What follows when an attempt at a job fails (spec 4.4, the part that one machine needs). Pure."""

import random
from dataclasses import dataclass, replace

from aima_common.errors import PermanentError, StorageFullError, TransientError, UnavailableError

MAX_RETRIES = 3
"""Transient failures are tried again this often, then count as persistent (spec 4.4)."""

LONGEST_BACKOFF_SECONDS = 60.0

MAX_ATTEMPTS = 5
"""Attempts in total, whatever ended them: a job that keeps killing its worker is the input's fault."""

KEPT_ERRORS = 20
"""Length of a job's error history (spec 4.4)."""

MAX_INTERRUPTIONS = 20
"""How often a whole process may end while it holds a job before the job counts as the cause."""

WAITING_SECONDS = (30.0, 30.0)
"""How long a job waits, from and to, before it looks again whether an operator has put right what it needs."""

WAITING_CODES = frozenset({"sandbox_missing"})
"""What an operator must put right; neither the input nor the attempt is to blame."""

SERVER_CODES = frozenset({"kafka", "mongodb", "s3", "s3_login", "vectors"})
"""Servers that are away, or do not let us in: the same would befall any other job."""

SERVER_SECONDS = (5.0, 10.0)
"""The same for a server that was away: not all ask at once when it comes back."""

LONGEST_AWAY_SECONDS = 7 * 24 * 3600.0
"""How long one job may be refused by servers, and by nothing else, before its attempts count again.

Longer than a long weekend with nobody there, as accepted work waits for what is away. What goes on for longer is no
longer an outage: as a rule it is this job that a server will not have, and somebody has to look at it.
"""


@dataclass(frozen=True)
class Failure:
    """One failed attempt."""

    code: str
    reason: str
    transient: bool
    retry_after_seconds: float | None = None
    waits_seconds: tuple[float, float] | None = None
    """Accepted work waits for what is away instead of failing (spec 5): the pause, from and to."""

    @classmethod
    def of(cls, error: BaseException) -> "Failure":
        """Judge an error by its class first, as structured causes speak louder than words."""
        if isinstance(error, PermanentError):
            return cls(error.code, str(error), transient=False)
        if isinstance(error, StorageFullError) or (isinstance(error, TransientError) and error.code in WAITING_CODES):
            return cls(error.code or "storage_full", str(error), transient=True, waits_seconds=WAITING_SECONDS)
        if isinstance(error, UnavailableError) and error.code in SERVER_CODES:
            return cls(error.code, str(error), transient=True, waits_seconds=SERVER_SECONDS)
        if isinstance(error, TransientError):
            return cls(
                error.code or "transient", str(error), transient=True, retry_after_seconds=error.retry_after_seconds
            )
        if isinstance(error, TimeoutError):
            return cls("timeout", str(error) or "it took too long", transient=True)
        if isinstance(error, MemoryError):
            return cls("out_of_memory", "the machine ran out of memory", transient=True)
        # Unknown: one retry, then persistent (spec 4.4).
        return cls("unknown", repr(error)[:500], transient=False)

    @property
    def by_server(self) -> bool:
        """Whether a server was away, or did not let us in."""
        return self.transient and self.code in SERVER_CODES

    def lasting(self, seconds: float) -> "Failure":
        """Judge it anew, knowing for how long servers have refused the job without a break."""
        if not (self.by_server and self.waits_seconds) or seconds < LONGEST_AWAY_SECONDS:
            return self
        days = int(seconds // (24 * 3600))
        reason = f"for {days} days without a break, so that it is not waited for any longer: {self.reason}"
        return replace(self, reason=reason, waits_seconds=None)


@dataclass(frozen=True)
class Verdict:
    """What happens to the job: `ready` again after a delay, or `dead`."""

    state: str
    delay_seconds: float = 0.0
    counts: bool = True
    """Whether the attempt counts against the job."""


def after_failure(attempts: int, failure: Failure, rng: random.Random) -> Verdict:
    """Decide what follows attempt number `attempts` (from 1)."""
    retries = attempts - 1
    if failure.waits_seconds:
        return Verdict("ready", rng.uniform(*failure.waits_seconds), counts=False)
    if failure.code == "unknown":
        return Verdict("ready", 1.0) if retries < 1 else Verdict("dead")
    if not failure.transient or retries >= MAX_RETRIES or attempts >= MAX_ATTEMPTS:
        return Verdict("dead")
    backoff = min(LONGEST_BACKOFF_SECONDS, 2.0**attempts)
    jittered = rng.uniform(backoff / 2, backoff)
    return Verdict("ready", max(jittered, failure.retry_after_seconds or 0.0))
