from dataclasses import replace

import pytest

from aima_common.errors import SettingsError
from aima_gpu_manager.domain import Gpu, Inventory, is_news
from aima_gpu_manager.inventory import read_inventory, site_of

SEEN = Inventory("m", 2.0, 8 << 30, (Gpu(0, "H200", 141 << 30, "GPU-1"),))


def test_a_machine_is_news_once() -> None:
    assert is_news(None, SEEN)
    assert not is_news(SEEN.body(), SEEN)
    assert not is_news({**SEEN.body(), "seen_at": "now", "utilisation": {"cpu": 0.5}}, SEEN)


def test_every_change_of_capacity_is_news() -> None:
    site = (replace(SEEN, location="cloud"), replace(SEEN, cost_per_hour=2.5))
    for changed in (replace(SEEN, cpus=4.0), replace(SEEN, memory_bytes=1), replace(SEEN, gpus=()), *site):
        assert is_news(SEEN.body(), changed)


def test_this_machine_has_cores_memory_and_a_name() -> None:
    here = read_inventory()
    assert here.machine
    assert here.cpus >= 1
    assert here.memory_bytes > 1 << 28


def test_an_operator_says_where_a_machine_is_and_what_it_costs() -> None:
    assert site_of({}) == {"location": "local", "cost_per_hour": 0.0}
    assert site_of({"AIMA_LOCATION": "eu-west", "AIMA_COST_PER_HOUR": "2.5"}) == {
        "location": "eu-west",
        "cost_per_hour": 2.5,
    }


@pytest.mark.parametrize(
    ("name", "value"), [("AIMA_LOCATION", "here/there"), ("AIMA_COST_PER_HOUR", "-1"), ("AIMA_COST_PER_HOUR", "nan")]
)
def test_a_place_or_a_price_that_is_none_is_refused(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        site_of({name: value})
