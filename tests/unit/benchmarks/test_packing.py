"""The measurement of packing, on a trace small enough to know the answer."""

from pathlib import Path

import pytest

from aima_scheduler.deciders.model import Shape
from aima_scheduler.deciders.scoring import Scoring
from benchmarks.scheduler import openb
from benchmarks.scheduler.packing import Trial, summary, table, verdict

NODES = "sn,cpu_milli,memory_mib,gpu,model\nn0,64000,262144,2,T4\nn1,64000,262144,2,G2\nn2,96000,262144,4,G2\n"
PODS = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / openb.NODES).write_text(NODES)
    (tmp_path / openb.PODS.format("small")).write_text(
        PODS + "p0,1000,1024,1,1000,\np1,1000,1024,1,500,\np2,1000,1024,0,0,\np3,2000,1024,2,1000,G2|V100\n"
    )
    (tmp_path / openb.PODS.format("untyped")).write_text(
        "name,cpu_milli,memory_mib,num_gpu,gpu_milli\np0,1000,1024,1,1000\n"
    )
    return tmp_path


def test_a_trace_is_read_as_it_is_written(folder: Path) -> None:
    assert openb.traces(folder) == ["small", "untyped"]
    assert [len(machine.gpus) for machine in openb.machines(folder)] == [2, 2, 4]
    assert openb.shapes(folder, "small") == [
        Shape(1000, 1024, 1),
        Shape(1000, 1024, 1, 500),
        Shape(1000, 1024),
        Shape(2000, 1024, 2, gpu_types=("G2", "V100")),
    ]
    assert openb.shapes(folder, "untyped") == [Shape(1000, 1024, 1)]


@pytest.mark.parametrize("missing", [openb.NODES, openb.PODS.format("*")])
def test_a_folder_without_a_trace_says_what_belongs_there(folder: Path, missing: str) -> None:
    for path in folder.glob(missing):
        path.unlink()
    with pytest.raises(openb.NoTraceError, match=openb.NODES):
        openb.traces(folder)


@pytest.mark.parametrize("times", [1, 100], ids=["too few pods", "too many pods"])
def test_a_little_less_than_130_per_cent_arrives_and_the_seed_decides_what(folder: Path, times: int) -> None:
    pods, capacity = openb.shapes(folder, "small") * times, 8000
    drawn = [openb.arrivals(pods, capacity, seed) for seed in (42, 42, 43)]
    assert drawn[0] == drawn[1] != drawn[2]
    for arriving in drawn:
        assert 1.3 * capacity - 2000 < sum(map(openb.gpu_milli, arriving)) <= 1.3 * capacity


@pytest.mark.parametrize("rule", list(Scoring))
def test_a_fleet_that_everything_fits_is_filled(folder: Path, rule: Scoring) -> None:
    found = Trial(folder, "untyped", rule, 42).run()
    assert (found["100"], found["130"]) == (100.0, 100.0)


def test_what_is_within_two_deviations_is_a_tie() -> None:
    rows = [
        {"100": 95.0, "130": 97.0, "decisions_per_second": 9.0},
        {"100": 97.0, "130": 97.0, "decisions_per_second": 9.0},
    ]
    mine = summary(rows)
    assert mine["100"] == 96.0
    assert verdict(mine, {"100": 93.5, "130": 96.9}) == "tie / ahead"
    assert verdict(mine, {"100": 99.5, "130": 97.1}) == "behind / behind"
    assert "| – |" in table({"own": {rule.value: mine for rule in Scoring}})[-1]
