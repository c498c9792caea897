"""Metrics, each declared once, and the set-up of logs."""

import contextlib
import logging
import sys
from typing import TextIO, cast

import structlog
from prometheus_client import Counter, Gauge, Histogram

MESSAGES_HANDLED = Counter("aima_messages_handled_total", "Messages handled", ["service", "message"])
MESSAGES_IN_FLIGHT = Gauge("aima_messages_in_flight", "Messages that wait in a process or are handled", ["service"])
MESSAGES_RETRIED = Counter("aima_messages_retried_total", "Attempts at a message that failed", ["service"])
DEAD_LETTERS = Counter("aima_dead_letters_total", "Messages and media set aside", ["service", "reason"])
OUTBOX_PUBLISHED = Counter("aima_outbox_published_total", "Outbox entries published")
JOBS_FINISHED = Counter("aima_jobs_finished_total", "Jobs that left a worker", ["kind", "outcome"])
JOB_SECONDS = Histogram(
    "aima_job_seconds",
    "Time from claim to commit",
    ["kind"],
    buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000),
)
LEASES_LOST = Counter("aima_fence_rejected_total", "Writes refused because somebody else held the job", ["kind"])
JOBS_PREEMPTED = Counter("aima_jobs_preempted_total", "Jobs that gave way to a more urgent one")
ANALYZER_CALLS = Counter(
    "aima_analyzer_calls_total", "Calls of analyzers (results found again do not count)", ["analyzer"]
)
READY_JOBS = Gauge("aima_ready_jobs", "Ready, unleased jobs in the store", ["kind"])
VIOLATIONS = Counter("aima_invariant_violations_total", "Broken invariants found by the auditor", ["invariant"])


class _PatientStream:
    """Standard error that loses what cannot be written: a disk that is full of logs must not end the work."""

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            sys.stderr.flush()


def configure_logs(level: str = "INFO", *, machine_readable: bool | None = None) -> None:
    """Send structured logs to standard error: JSON lines when nobody watches, colours when somebody does."""
    # What it has to say reaches us as errors; by itself it repeats every attempt of a reconnection.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    as_json = not sys.stderr.isatty() if machine_readable is None else machine_readable
    renderer = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _PatientStream())),
        cache_logger_on_first_use=False,
    )
