"""Problems that AIMA answers with (RFC 9457), as typed errors."""

from collections.abc import Mapping
from typing import Any


class ClientError(Exception):
    """The root of everything the client raises on purpose."""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class NotRunningError(ClientError):
    """No AIMA answers where one was expected."""


class ProblemError(ClientError):
    """AIMA understood the request and refused it.

    `code` is stable and machine-readable, `status` the HTTP status, `remedy` tells a person what to do.
    """

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        title = str(problem.get("title") or f"HTTP status {status}")
        detail = str(problem.get("detail") or "")
        super().__init__(f"{title}: {detail}" if detail else title, remedy=str(problem.get("remedy") or ""))
        self.status = status
        self.code = str(problem.get("code") or "")
        self.problem = dict(problem)


class BusyError(ProblemError):
    """AIMA is too busy or a part of it is away (429, 503), and stayed so through all retries."""


class UnauthorizedError(ProblemError):
    """The key is missing, unknown, revoked, or its role does not allow this (401, 403)."""


class MissingError(ProblemError):
    """Nothing of this id is visible with this key (404)."""


class FullError(ProblemError):
    """AIMA has no room for this (507)."""


BY_STATUS: dict[int, type[ProblemError]] = {
    401: UnauthorizedError,
    403: UnauthorizedError,
    404: MissingError,
    429: BusyError,
    503: BusyError,
    507: FullError,
}


def from_response(status: int, problem: Mapping[str, Any]) -> ProblemError:
    """Make the error that fits an answer."""
    return BY_STATUS.get(status, ProblemError)(status, problem)
