"""Errors as RFC 9457 problem details: what happened, why, and what to do. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from aima_common.errors import (
    AimaError,
    ObjectMissingError,
    PermanentError,
    StaleLeaseError,
    StorageFullError,
    TransientError,
    UnavailableError,
)

CONTENT_TYPE = "application/problem+json"

RETRY_SECONDS = 5
"""When to come back where nothing better is known: a restart of a store takes about this long."""


STORES = {
    "mongodb": "the document store (MongoDB)",
    "kafka": "the bus (Kafka)",
    "s3": "the object store (S3)",
    "s3_login": "the object store (S3)",
    "vectors": "the vector store",
    "vector_process_gone": "the vector store",
    "closed": "the document store",
    "documents_slow": "the document store",
    "counter_slow": "the document store",
    "storage_failed": "the disk",
}
"""What is away when an error has this code; the error's own words name machines, and are for the log."""


@dataclass(frozen=True)
class FieldError:
    """What is wrong with one field of a request."""

    field: str
    message: str


@dataclass(frozen=True)
class Problem:
    """An answer that says no."""

    status: int
    code: str
    """Stable and machine-readable."""
    detail: str
    remedy: str
    """What a person can do about it."""
    errors: Sequence[FieldError] = ()
    retry_after_seconds: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self, trace: str | None = None) -> dict[str, Any]:
        """Write the problem as RFC 9457 JSON; `trace` names the request in the logs."""
        body: dict[str, Any] = {
            "type": f"urn:aima:problem:{self.code}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "remedy": self.remedy,
        }
        if self.errors:
            body["errors"] = [{"field": error.field, "message": error.message} for error in self.errors]
        if trace:
            body["instance"] = f"urn:aima:request:{trace}"
        return body


class ProblemError(PermanentError):
    """Carries a problem up to the edge that answers with it."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail, code=problem.code, remedy=problem.remedy)
        self.problem = problem


def refuse(status: int, code: str, detail: str, remedy: str, errors: Sequence[FieldError] = ()) -> ProblemError:
    """Make the error that answers a request with `status`."""
    return ProblemError(Problem(status, code, detail, remedy, errors))


def later(status: int, code: str, detail: str, seconds: int = RETRY_SECONDS) -> ProblemError:
    """Make the error that asks a client to come back: 429 is their doing, 503 ours, 409 somebody else's turn."""
    remedy = f"Try again in {seconds} seconds."
    return ProblemError(Problem(status, code, detail, remedy, retry_after_seconds=seconds))


def away(error: TransientError) -> str:
    """Say what is away, for somebody outside."""
    return f"{STORES[error.code]} is away or does not answer" if error.code in STORES else str(error)


def from_error(error: AimaError) -> Problem:
    """Translate an error for a client; the store's own words are for people who can act on them."""
    if isinstance(error, ProblemError):
        return error.problem
    if isinstance(error, StorageFullError):
        wait = round(error.retry_after_seconds or RETRY_SECONDS)
        remedy = "Free space where AIMA keeps its data, then send it again: nothing half-written was kept."
        return Problem(507, "storage_full", "There is no room left to store this.", remedy, (), wait)
    if isinstance(error, ObjectMissingError):
        return Problem(404, "not_found", "The bytes are not here.", "They may have been erased; upload the file again.")
    if isinstance(error, UnavailableError) and error.code in STORES:
        wait = round(error.retry_after_seconds or RETRY_SECONDS)
        detail = f"{away(error)}; what was accepted is not lost, and waits"
        return Problem(503, "store_away", detail, f"Try again in {wait} s.", (), wait)
    if isinstance(error, TransientError | StaleLeaseError):
        seconds = error.retry_after_seconds if isinstance(error, TransientError) else None
        wait = round(seconds or RETRY_SECONDS)
        return Problem(503, "unavailable", f"A part of AIMA is away: {error}", f"Try again in {wait} s.", (), wait)
    if isinstance(error, PermanentError):
        return Problem(422, error.code, str(error), error.remedy or "Change the request.")
    return Problem(500, "internal", "AIMA made a mistake.", "Try again; if it stays, report the request's name.")
