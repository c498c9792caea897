import pytest

from aima_common.errors import SettingsError
from aima_scheduler.deciders.engine import SEED_RULES, SHORT_FIRST, Settings
from aima_scheduler.deciders.ordering import Order
from aima_scheduler.deciders.placement import DEFAULT_PRICES
from aima_scheduler.deciders.preemption import BUDGET_SECONDS, Preemption
from aima_scheduler.deciders.scoring import Scoring
from aima_scheduler.rules import rules_of


def test_what_nobody_set_is_the_usual() -> None:
    said = {"AIMA_RULES": "corrected", "AIMA_ORDER": " ", "AIMA_PREEMPTION": "off"}
    assert rules_of({}) == rules_of(said) == Settings()


@pytest.mark.parametrize("order", [Order.SEED, Order.SEED_SHORT])
@pytest.mark.parametrize("scoring", list(Scoring))
def test_order_and_scoring_are_chosen_each_for_itself(order: Order, scoring: Scoring) -> None:
    found = rules_of({"AIMA_ORDER": order.value, "AIMA_SCORING": scoring.value})
    assert (found.ordering.order, found.scoring) == (order, scoring)
    assert found.reservations == (SHORT_FIRST if order is Order.SEED_SHORT else Settings()).reservations


def test_the_founding_documents_rules_come_as_a_whole() -> None:
    assert rules_of({"AIMA_RULES": "seed"}) == SEED_RULES != Settings()


def test_who_gives_way_is_chosen_with_what_it_may_cost() -> None:
    assert rules_of({}).preemption is None
    assert rules_of({"AIMA_PREEMPTION": "on"}).preemption == Preemption(budget=BUDGET_SECONDS)
    assert rules_of({"AIMA_PREEMPTION": "on", "AIMA_PREEMPTION_BUDGET": "0"}).preemption == Preemption(budget=0)


@pytest.mark.parametrize("off", [{}, {"AIMA_PREEMPTION": "off"}])
def test_a_budget_for_what_is_off_is_refused(off: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="AIMA_PREEMPTION is off"):
        rules_of({**off, "AIMA_PREEMPTION_BUDGET": "60"})


@pytest.mark.parametrize("budget", ["-1", "10 min", "nan"])
def test_a_budget_that_is_no_number_of_seconds_is_refused(budget: str) -> None:
    with pytest.raises(SettingsError, match=r"AIMA_PREEMPTION_BUDGET is .*seconds of work"):
        rules_of({"AIMA_PREEMPTION": "on", "AIMA_PREEMPTION_BUDGET": budget})


@pytest.mark.parametrize("name", ["AIMA_ORDER", "AIMA_PREEMPTION", "AIMA_SCORING"])
def test_a_choice_that_those_rules_do_not_leave_is_refused(name: str) -> None:
    value = {"AIMA_ORDER": "seed", "AIMA_PREEMPTION": "on", "AIMA_SCORING": "fgd"}[name]
    rules_of({name: value})
    with pytest.raises(SettingsError, match=f"leave {name} out"):
        rules_of({"AIMA_RULES": "seed", name: value})


@pytest.mark.parametrize("name", ["AIMA_RULES", "AIMA_ORDER", "AIMA_PREEMPTION", "AIMA_SCORING"])
def test_a_word_that_is_none_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is 'best'.*(seed|fgd|off)"):
        rules_of({name: "best"})


def test_tenants_have_their_shares_and_everybody_else_one() -> None:
    assert rules_of({}).weights == {}
    assert rules_of({"AIMA_TENANT_WEIGHTS": "news=3, archive = 0.5"}).weights == {"news": 3.0, "archive": 0.5}


@pytest.mark.parametrize("said", ["news", "news=", "=3", "news=3,news=4", "news=0", "news=-1", "news=many", "news=1e9"])
def test_shares_that_are_none_are_refused(said: str) -> None:
    with pytest.raises(SettingsError, match="AIMA_TENANT_WEIGHTS says"):
        rules_of({"AIMA_TENANT_WEIGHTS": said})


def test_where_the_bucket_lies_and_how_fast_one_gets_there_are_said() -> None:
    usual, said = rules_of({}), rules_of({"AIMA_DATA_LOCATION": "paris", "AIMA_BANDWIDTH_MBIT": "80"})
    assert (usual.data_location, usual.prices) == ("local", DEFAULT_PRICES)
    assert (said.data_location, said.prices.default_bandwidth) == ("paris", 10e6)


@pytest.mark.parametrize(
    ("name", "value"),
    [("AIMA_DATA_LOCATION", "two words"), ("AIMA_BANDWIDTH_MBIT", "0"), ("AIMA_BANDWIDTH_MBIT", "fast")],
)
def test_a_place_or_a_bandwidth_that_is_none_is_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        rules_of({name: value})
