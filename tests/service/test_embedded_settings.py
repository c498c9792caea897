"""AIMA on one machine reads the same table of settings as the services of a cluster, as strictly."""

from argparse import Namespace
from pathlib import Path

import pytest

from aima_client.embedded import StartError, started
from aima_embedded.__main__ import _options
from aima_embedded.composition import build
from aima_scheduler.deciders.engine import Settings
from aima_scheduler.rules import rules_of
from aima_scheduler.service import Scheduler

ECHO = ["--analyzers", "echo"]
CHOSEN = {"AIMA_ORDER": "seed_short", "AIMA_PREEMPTION": "on", "AIMA_PREEMPTION_BUDGET": "60"}

WRONG = [
    ({"AIMA_ORDER": "shortest"}, "AIMA_ORDER is 'shortest'"),
    ({"AIMA_PREEMPTION": "sometimes"}, "AIMA_PREEMPTION is 'sometimes'"),
    ({"AIMA_PREEMPTION_BUDGET": "60"}, "AIMA_PREEMPTION is off"),
    ({"AIMA_RULES": "seed", "AIMA_SCORING": "fgd"}, "leave AIMA_SCORING out"),
    ({"AIMA_UNSANDBOXED": "perhaps"}, "AIMA_UNSANDBOXED is 'perhaps'"),
    ({"AIMA_LOG_LEVEL": "loud"}, "AIMA_LOG_LEVEL is 'loud'"),
    ({"AIMA_ODER": "seed_short"}, "did you mean AIMA_ORDER?"),
]


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIMA_STATE", str(tmp_path / "state"))


@pytest.mark.parametrize(("chosen", "told"), WRONG)
def test_a_setting_that_cannot_be_meant_ends_the_start_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: dict[str, str], told: str
) -> None:
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StartError) as caught, started(tmp_path / "data", ECHO):
        pass
    assert told in str(caught.value)
    assert "Traceback" not in (tmp_path / "data" / "aima.log").read_text("utf-8")


def test_with_right_settings_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**CHOSEN, "AIMA_LOG_LEVEL": "error", "AIMA_UNSANDBOXED": "no"}.items():
        monkeypatch.setenv(name, value)
    with started(tmp_path / "data", ECHO) as (instance, process):
        assert instance.pid == process.pid


@pytest.mark.parametrize("environment", [CHOSEN, {}])
async def test_jobs_are_placed_by_the_rules_that_were_chosen(tmp_path: Path, environment: dict[str, str]) -> None:
    arguments = Namespace(data=tmp_path / "data", host="127.0.0.1", port=0, analyzers="echo")
    async with build(_options(arguments, environment)) as house:
        [scheduler] = [one for one in house.services if isinstance(one, Scheduler)]
        decides_by = scheduler._dispatcher._board.engine.settings
    assert decides_by == rules_of(environment)
    assert (decides_by == Settings()) == (environment == {})
