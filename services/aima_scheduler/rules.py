"""By which rules a scheduler decides, as its operator set it."""

import dataclasses
from collections.abc import Mapping

from aima_common import settings
from aima_common.errors import SettingsError
from aima_scheduler.deciders.engine import SEED_RULES, SHORT_FIRST, Settings
from aima_scheduler.deciders.model import Mode
from aima_scheduler.deciders.ordering import Order
from aima_scheduler.deciders.placement import Prices
from aima_scheduler.deciders.preemption import BUDGET_SECONDS, Preemption
from aima_scheduler.deciders.scoring import Scoring

CHOICES = ("AIMA_ORDER", "AIMA_PREEMPTION", "AIMA_PREEMPTION_BUDGET", "AIMA_SCORING", "AIMA_TENANT_WEIGHTS")

LEAST_WEIGHT, MOST_WEIGHT = 0.001, 1000.0
"""A tenant's share may be so many times that of others: less is nothing, more is everything."""

BYTES_PER_MBIT = 125_000
MOST_MBIT = 1e6


def rules_of(environment: Mapping[str, str]) -> Settings:
    """Read the rules; raise `SettingsError` for a word that is none, and for two settings that contradict each other.

    The founding document's rules come as a whole, so that what is compared with them is they.
    """
    mode = settings.choice(environment, "AIMA_RULES", (Mode.CORRECTED.value, Mode.SEED.value))
    order = settings.choice(environment, "AIMA_ORDER", (Order.SEED.value, Order.SEED_SHORT.value))
    scorings = (Scoring.AIMA, *(one for one in Scoring if one is not Scoring.AIMA))
    scoring = settings.choice(environment, "AIMA_SCORING", tuple(one.value for one in scorings))
    preemption, weights = _preemption_of(environment), _weights_of(environment)
    mbit = settings.decimal(environment, "AIMA_BANDWIDTH_MBIT", 1000.0, least=0.001, most=MOST_MBIT)
    data_location = settings.place(environment, "AIMA_DATA_LOCATION")
    if mode == Mode.CORRECTED.value:
        rules = SHORT_FIRST if order == Order.SEED_SHORT.value else Settings()
        return dataclasses.replace(
            rules,
            scoring=Scoring(scoring),
            preemption=preemption,
            weights=weights,
            prices=Prices(default_bandwidth=mbit * BYTES_PER_MBIT),
            data_location=data_location,
        )
    for name in CHOICES:
        if environment.get(name, "").strip():
            raise SettingsError(
                f"AIMA_RULES is seed, and the founding document's rules leave no choice of {name}: "
                f"leave {name} out, or set AIMA_RULES to corrected"
            )
    return SEED_RULES


def _weights_of(environment: Mapping[str, str]) -> dict[str, float]:
    """Read the tenants' shares: names with a number each."""
    weights: dict[str, float] = {}
    for said in settings.words(environment, "AIMA_TENANT_WEIGHTS"):
        tenant, _, weight = (part.strip() for part in said.partition("="))
        if not tenant or not weight or tenant in weights:
            raise SettingsError(
                f"AIMA_TENANT_WEIGHTS says {said!r}, and each tenant once with its weight is wanted: news=3,archive=0.5"
            )
        weights[tenant] = settings.decimal_of(weight, "AIMA_TENANT_WEIGHTS", LEAST_WEIGHT, MOST_WEIGHT)
    return weights


def _preemption_of(environment: Mapping[str, str]) -> Preemption | None:
    """Read whether critical jobs may make others give way, and at what price."""
    wanted = settings.choice(environment, "AIMA_PREEMPTION", ("off", "on"))
    budget = settings.number(environment, "AIMA_PREEMPTION_BUDGET", round(BUDGET_SECONDS))
    if wanted == "on":
        return Preemption(budget=budget)
    if environment.get("AIMA_PREEMPTION_BUDGET", "").strip():
        raise SettingsError(
            "AIMA_PREEMPTION_BUDGET is set, and AIMA_PREEMPTION is off, so that there is nothing to spend it on: "
            "set AIMA_PREEMPTION to on, or leave AIMA_PREEMPTION_BUDGET out"
        )
    return None
