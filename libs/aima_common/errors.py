"""Errors named for what happens next: try again, set aside, or stop."""


class AimaError(Exception):
    """The root of everything AIMA raises on purpose."""


class TransientError(AimaError):
    """Trying again later may work. `retry_after_seconds` is a wish, not a promise."""

    def __init__(self, message: str, *, code: str = "", retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after_seconds = retry_after_seconds


class PermanentError(AimaError):
    """Trying again cannot work; set the input aside with this reason.

    `code` is stable and machine-readable, `remedy` tells a person what to do.
    """

    def __init__(self, message: str, *, code: str = "permanent", remedy: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.remedy = remedy


class SettingsError(AimaError):
    """The process was started with settings it cannot use; it must not start."""


class UnavailableError(TransientError):
    """A store, broker or child process is away; accepted work waits."""


class ObjectMissingError(PermanentError):
    """No object lies under this key."""

    def __init__(self, key: str) -> None:
        super().__init__(f"no object lies under {key!r}", code="object_missing")
        self.key = key


class ObjectExistsError(PermanentError):
    """Another content lies under this key already; keys are written once."""

    def __init__(self, key: str) -> None:
        super().__init__(f"{key!r} holds other bytes already", code="object_exists")
        self.key = key


class StorageFullError(UnavailableError):
    """The disk or quota is full; nothing half-written was kept."""


class MalformedMessageError(PermanentError):
    """Bytes that are not a message we know."""

    def __init__(self, message: str, *, code: str = "malformed_message") -> None:
        super().__init__(message, code=code)


class StaleLeaseError(AimaError):
    """Somebody else holds the job now: drop what was made, tell nobody."""
