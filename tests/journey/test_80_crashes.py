"""A shorter form of `make chaos`: a small film and seven other files, three kills."""

from pathlib import Path

import pytest

from tests.chaos.campaign import Plan, in_peace, under_fire
from tests.chaos.media import make_short

PLAN = Plan(seed=3, kills=3, patience_seconds=400.0, analyzers="faces,labels,shots")


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_killed_again_and_again_aima_finishes_what_it_accepted_and_says_the_same(tmp_path: Path) -> None:
    files = make_short(tmp_path / "media", film_seconds=75.0)
    peace = await in_peace(tmp_path / "peace", files, PLAN)
    outcome = await under_fire(tmp_path / "fire", files, PLAN, peace)
    assert outcome.failures() == []
    assert len(outcome.kills) == PLAN.kills
    assert len(outcome.book.accepted) == len(files)
    # The controls: what protects is switched off on a copy, and the checker notices.
    assert {control.name for control in outcome.controls if control.without_it} == {"fencing", "inbox"}
