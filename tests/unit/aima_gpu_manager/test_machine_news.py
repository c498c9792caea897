from dataclasses import replace

from aima_gpu_manager.domain import Gpu, Inventory, is_news
from aima_gpu_manager.inventory import read_inventory

SEEN = Inventory("m", 2.0, 8 << 30, (Gpu(0, "H200", 141 << 30, "GPU-1"),))


def test_a_machine_is_news_once() -> None:
    assert is_news(None, SEEN)
    assert not is_news(SEEN.body(), SEEN)
    assert not is_news({**SEEN.body(), "seen_at": "now", "utilisation": {"cpu": 0.5}}, SEEN)


def test_every_change_of_capacity_is_news() -> None:
    for changed in (replace(SEEN, cpus=4.0), replace(SEEN, memory_bytes=1), replace(SEEN, gpus=())):
        assert is_news(SEEN.body(), changed)


def test_this_machine_has_cores_memory_and_a_name() -> None:
    here = read_inventory()
    assert here.machine
    assert here.cpus >= 1
    assert here.memory_bytes > 1 << 28
