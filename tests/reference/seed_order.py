"""The founding document's order, word for word: a reference, and nothing more."""

from collections.abc import Iterable

from aima_scheduler.deciders.model import Job

SEED_WEIGHTS = {"critical": 100, "high": 50, "normal": 10, "low": 5, "batch": 1}


def seed_score(job: Job, now: float) -> float:
    """Weight x wait factor x deadline factor."""
    waited = now - job.queued_at
    wait_factor = min(10, max(1, waited / 600))
    deadline_factor = 1.0
    if job.deadline is not None:
        seconds_left = job.deadline - now
        if seconds_left > 0:
            deadline_factor = max(1, 100 / max(1, seconds_left / 60))
    return SEED_WEIGHTS[job.priority.value] * wait_factor * deadline_factor


def seed_sorted(jobs: Iterable[Job], now: float) -> list[Job]:
    """Sort as the document does; what it leaves to chance goes by age, then id."""
    return sorted(jobs, key=lambda job: (-seed_score(job, now), job.queued_at, job.id))
