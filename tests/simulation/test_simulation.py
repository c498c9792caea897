"""Thousands of seeds of kills, pauses, outages and lost answers; and proof that the checker notices every weakness."""

import statistics
from collections import Counter
from collections.abc import Iterator

import pytest

from aima_common.ports.documents import Outcome as Kind
from tests.simulation.faults import KINDS, SCHEDULERS, Fault
from tests.simulation.many import Players
from tests.simulation.memory_store import Protections
from tests.simulation.world import MEDIA, Outcome, play

SEEDS = range(2000)
FEWER = range(100)
"""Enough where one find in many would do."""

CONTROLS = [
    ("fencing", {"I3", "I4", "I5"}, 20),
    ("inbox", {"I6"}, 50),
    ("outbox_kept", {"I1", "I18"}, 10),
    ("durable", {"I1", "I17"}, 2),
    ("manual_commits", {"I1", "I18"}, 2),
    ("reaping", {"I12", "I18"}, 10),
]
"""What is switched off, what of it the checker finds broken, and in how many of the seeds at least."""


@pytest.fixture(scope="module")
def players() -> Iterator[Players]:
    with Players() as found:
        yield found


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_whatever_happens_every_invariant_holds_and_everything_ends(players: Players) -> None:
    outcomes = players.play(SEEDS)
    assert [str(outcome) for outcome in outcomes if outcome.violations or outcome.deaths] == []
    for outcome in outcomes:
        assert outcome.counted.get("MediumUploaded", 0) == len(outcome.jobs) / 2
        assert outcome.counted.get("AnalysisCompleted", 0) == sum(job.state == "done" for job in outcome.jobs)
    _are_worth_something(outcomes)
    # A seed is a replay, in another process, too.
    for outcome in outcomes[:5]:
        assert play(outcome.seed) == outcome


def _are_worth_something(outcomes: list[Outcome]) -> None:
    transitions = sum((outcome.transitions for outcome in outcomes), Counter[Kind]())
    assert transitions[Kind.REFUSED] > len(outcomes) / 2, "late holders and losers of a race came, and were refused"
    assert transitions[Kind.REPEATED] > len(outcomes), "messages came again, and were known"
    assert sum(job.epoch > 1 for outcome in outcomes for job in outcome.jobs) > len(outcomes) / 2
    assert any(job.state == "dead" for outcome in outcomes for job in outcome.jobs)
    answers = Counter(sent.outcome for outcome in outcomes for sent in outcome.sent)
    assert answers["unknown"] > len(outcomes) / 10
    assert answers["ok"] > len(outcomes) * MEDIA * 0.9
    assert {kind for kind in KINDS for outcome in outcomes if kind in str(outcome)} == set(KINDS)
    assert len({outcome.trace for outcome in outcomes}) == len(outcomes)
    assert statistics.median(outcome.drained_after for outcome in outcomes) < 60


@pytest.mark.parametrize(("protection", "invariants", "least"), CONTROLS, ids=[control[0] for control in CONTROLS])
def test_without_a_protection_the_checker_finds_what_breaks(
    players: Players, protection: str, invariants: set[str], least: int
) -> None:
    outcomes = players.play(FEWER, Protections(**{protection: False}))
    broken = [{violation.invariant for violation in outcome.violations} for outcome in outcomes]
    assert sum(bool(found & invariants) for found in broken) >= least


def test_the_same_seed_is_the_same_run_and_another_is_another() -> None:
    assert play(7) == play(7)
    assert play(7).trace != play(8).trace


def test_a_house_without_faults_does_everything_at_once_and_on_time() -> None:
    outcome = play(1, faults=[])
    assert outcome.violations == []
    assert [sent.outcome for sent in outcome.sent] == ["ok"] * MEDIA
    assert outcome.counted["MediumUploaded"] == MEDIA


def test_work_is_not_held_up_by_a_scheduler_whose_clock_is_hours_ahead() -> None:
    jumps = [Fault("clock jump", 0.0, 1.0, role, flag=True) for role in SCHEDULERS]
    assert play(1, faults=jumps).violations == []


def test_a_holder_that_stood_still_for_longer_than_its_lease_is_refused() -> None:
    frozen = [Fault("freeze", 6.0, 60.0, role) for role in ("worker-0", "worker-1")]
    outcomes = [play(seed, faults=frozen) for seed in range(10)]
    assert [violation for outcome in outcomes for violation in outcome.violations] == []
    assert sum(outcome.transitions[Kind.REFUSED] for outcome in outcomes) > 0
    unfenced = [play(seed, Protections(fencing=False), frozen) for seed in range(10)]
    assert {violation.invariant for outcome in unfenced for violation in outcome.violations} >= {"I4"}
