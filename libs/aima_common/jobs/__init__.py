"""Jobs: work that is owned by leases with fencing epochs in the store (design.md, 3).

`ledger` the transitions of a job · `failure` what follows an error (pure) · `runner` the loop that
claims, renews and commits · `leadership` one of several equal processes.
"""

from aima_common.jobs.failure import Failure, Verdict, after_failure
from aima_common.jobs.leadership import Leadership
from aima_common.jobs.ledger import (
    AFRESH,
    HEARTBEAT_SECONDS,
    LEASE_SECONDS,
    Held,
    JobKind,
    Ledger,
    attempt,
    errors_of,
    new_job,
    rest_until,
)
from aima_common.jobs.runner import Done, JobRunner

__all__ = [
    "AFRESH",
    "HEARTBEAT_SECONDS",
    "LEASE_SECONDS",
    "Done",
    "Failure",
    "Held",
    "JobKind",
    "JobRunner",
    "Leadership",
    "Ledger",
    "Verdict",
    "after_failure",
    "attempt",
    "errors_of",
    "new_job",
    "rest_until",
]
