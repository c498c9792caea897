"""What happens to a seed's house: drawn before it begins, so that a seed can be printed, and replayed."""

import random
from dataclasses import dataclass

SCHEDULERS = ("scheduler-0", "scheduler-1", "scheduler-2")
WORKERS = ("worker-0", "worker-1")
ROLES = (*SCHEDULERS, *WORKERS, "monitoring")

LAST_BEGINS = 20.0
"""Faults begin within so many seconds."""

KINDS = ("crash", "crash at a call", "stop", "freeze", "store away", "bus away", "lossy", "clock jump", "rebalance")


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong, when, and for how long."""

    kind: str
    at: float
    seconds: float
    role: str = ""
    call: int = 0
    """At which of its calls to a server a process dies."""
    flag: bool = False
    """Done before death rather than only sent; silent rather than refusing; the store rather than the bus."""

    def __str__(self) -> str:
        """Write it down for whoever replays a seed."""
        what = " ".join(str(part) for part in (self.kind, self.role, self.call or "", self.flag or "") if part)
        return f"{self.at:.1f}s {what} ({self.seconds:.1f} s)"


def draw(rng: random.Random) -> list[Fault]:
    """Draw one to four faults."""
    return [_one(rng, rng.choice(KINDS)) for _ in range(rng.randint(1, 4))]


def _one(rng: random.Random, kind: str) -> Fault:
    # Those who hold leases are the ones whose fate is worth looking at; a wrong clock hurts who makes jobs.
    likely = SCHEDULERS if kind == "clock jump" else WORKERS
    role = rng.choice(likely if rng.random() < 0.6 else ROLES)
    lasting = {
        "freeze": rng.choice([rng.uniform(1, 12), rng.uniform(32, 70)]),
        "lossy": rng.uniform(5, 20),
        "store away": rng.uniform(1, 28),
        "bus away": rng.uniform(1, 28),
    }
    seconds = lasting.get(kind, rng.uniform(0.5, 10))
    begins = rng.uniform(0, LAST_BEGINS)
    return Fault(
        kind, begins, seconds, role, rng.randint(1, 40) if kind == "crash at a call" else 0, rng.random() < 0.5
    )
