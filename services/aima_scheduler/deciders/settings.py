"""By which rules it is decided: the usual ones, the founding document's, and those that let short jobs go first."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from aima_scheduler.deciders.model import Mode
from aima_scheduler.deciders.ordering import USUAL, Order, Ordering
from aima_scheduler.deciders.placement import DEFAULT_PRICES, Prices
from aima_scheduler.deciders.preemption import Preemption
from aima_scheduler.deciders.scoring import Scoring


@dataclass(frozen=True, slots=True)
class Settings:
    """By which rules it is decided."""

    ordering: Ordering = USUAL
    scoring: Scoring = Scoring.AIMA
    prices: Prices = DEFAULT_PRICES
    data_location: str = "local"
    """Where originals, derivatives and results lie; what runs elsewhere has its input sent there."""
    fair: bool = True
    """Whether tenants share a class by weighted dominant shares."""
    weights: Mapping[str, float] = field(default_factory=dict)
    half_life: float = 3600.0
    reservations: int = 1
    """Starts that are kept free for the first blocked jobs."""
    critical_reservations: int = 16
    """Starts that are kept free for blocked critical jobs besides, at most."""
    starvation_after: float = 6000.0
    """From this wait on, s, age counts for no more (spec 4.1); the guarantee below takes over."""
    starvation_every: int = 10
    """Every so many placements one is for the job that has waited for longest, where that is too long; 0: never."""
    drain_after: float = 36_000.0
    """From this wait on, s, the oldest job has machines drained for it, where nothing else begins; more often it would
    cost more than it gives (measured by `python -m benchmarks.scheduler.policies`)."""
    head_blocks: bool = False
    """Whether nobody overtakes a job that has to wait; for comparison."""
    preemption: Preemption | None = None
    """Who may make whom give way, where `Engine.preempt` is asked; None: nobody, as in the founding document."""


SEED_RULES = Settings(
    ordering=Ordering(mode=Mode.SEED), scoring=Scoring.FIRST_FIT, fair=False, reservations=0, critical_reservations=0,
    starvation_every=0,
)  # fmt: skip
"""What the founding document has of all this."""


SHORT_FIRST = Settings(ordering=Ordering(order=Order.SEED_SHORT), reservations=4)
"""Short jobs go first, by estimates that may be far from the truth. More starts are kept free, as whoever needs a whole
machine is passed by others all the time (measured by `python -m benchmarks.scheduler.policies`)."""
