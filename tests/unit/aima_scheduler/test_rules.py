import pytest

from aima_common.errors import SettingsError
from aima_scheduler.deciders.engine import SEED_RULES, Settings
from aima_scheduler.deciders.ordering import Order
from aima_scheduler.deciders.scoring import Scoring
from aima_scheduler.rules import rules_of


def test_what_nobody_set_is_the_usual() -> None:
    assert rules_of({}) == rules_of({"AIMA_RULES": "corrected", "AIMA_ORDER": " "}) == Settings()


@pytest.mark.parametrize("order", [Order.SEED, Order.SEED_SHORT])
@pytest.mark.parametrize("scoring", list(Scoring))
def test_order_and_scoring_are_chosen_each_for_itself(order: Order, scoring: Scoring) -> None:
    found = rules_of({"AIMA_ORDER": order.value, "AIMA_SCORING": scoring.value})
    assert (found.ordering.order, found.scoring) == (order, scoring)


def test_the_founding_documents_rules_come_as_a_whole() -> None:
    assert rules_of({"AIMA_RULES": "seed"}) == SEED_RULES != Settings()


@pytest.mark.parametrize("name", ["AIMA_ORDER", "AIMA_SCORING"])
def test_a_choice_that_those_rules_do_not_leave_is_refused(name: str) -> None:
    value = {"AIMA_ORDER": "seed", "AIMA_SCORING": "fgd"}[name]
    rules_of({name: value})
    with pytest.raises(SettingsError, match=f"leave {name} out"):
        rules_of({"AIMA_RULES": "seed", name: value})


@pytest.mark.parametrize("name", ["AIMA_RULES", "AIMA_ORDER", "AIMA_SCORING"])
def test_a_word_that_is_none_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(SettingsError, match=f"{name} is 'best'.*seed|{name} is 'best'.*fgd"):
        rules_of({name: "best"})
