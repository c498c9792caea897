"""Hundreds of seeds of kills, pauses, stale reads and redeliveries; and proof that the checker would notice."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from aima_common.adapters.embedded.documents import SqliteDocuments
from tests.simulation.lease_model import JOBS, Outcome, Simulation, VirtualClock

SEEDS = range(400)
FEWER = range(40)
"""Enough where one find in many would do."""


@asynccontextmanager
async def store(
    folder: Path, *, fencing: bool = True, inbox: bool = True
) -> AsyncIterator[tuple[SqliteDocuments, VirtualClock]]:
    clock = VirtualClock()
    async with SqliteDocuments.open(folder / "documents.db", clock=clock, fencing=fencing, inbox=inbox) as documents:
        yield documents, clock


async def outcomes(folder: Path, seeds: range, *, fencing: bool = True, inbox: bool = True) -> list[Outcome]:
    async with store(folder, fencing=fencing, inbox=inbox) as (documents, clock):
        return [await Simulation(documents, clock, seed).run() for seed in seeds]


@pytest.mark.slow
async def test_whatever_happens_no_job_is_committed_twice_and_every_invariant_holds(tmp_path: Path) -> None:
    found = await outcomes(tmp_path, SEEDS)
    assert [violation for outcome in found for violation in outcome.violations] == []
    for outcome in found:
        done = [job.id for job in outcome.jobs if job.state == "done"]
        assert len(outcome.jobs) == JOBS
        assert dict(outcome.commits) == dict.fromkeys(done, 1)
        assert outcome.counted == len(done)
    # The seeds are worth something: jobs were granted again, and some were given up.
    assert sum(job.epoch > 1 for outcome in found for job in outcome.jobs) > len(SEEDS)
    assert any(job.state == "dead" for outcome in found for job in outcome.jobs)


async def test_without_fencing_jobs_are_committed_twice_and_the_checker_finds_every_seed_in_which_they_are(
    tmp_path: Path,
) -> None:
    found = await outcomes(tmp_path, FEWER, fencing=False)
    doubled = [outcome for outcome in found if max(outcome.commits.values(), default=0) > 1]
    assert len(doubled) > len(FEWER) / 4
    for outcome in doubled:
        assert {violation.invariant for violation in outcome.violations} & {"I3", "I4", "I5"}


async def test_without_the_inbox_messages_count_twice_and_the_checker_finds_every_seed_in_which_they_do(
    tmp_path: Path,
) -> None:
    found = await outcomes(tmp_path, FEWER, inbox=False)
    over = [outcome for outcome in found if outcome.counted > sum(outcome.commits.values())]
    assert len(over) > len(FEWER) / 4
    for outcome in over:
        assert "I6" in {violation.invariant for violation in outcome.violations}


async def test_a_seed_is_a_replay(tmp_path: Path) -> None:
    def story(outcome: Outcome) -> object:
        return outcome.trace, outcome.commits, [(job.id, job.state, job.epoch, job.version) for job in outcome.jobs]

    first = await outcomes(tmp_path / "first", range(7, 8))
    second = await outcomes(tmp_path / "second", range(7, 8))
    third = await outcomes(tmp_path / "third", range(8, 9))
    assert story(first[0]) == story(second[0]) != story(third[0])
