"""What can be wrong with a model file, each with what to do about it."""

from aima_common.errors import PermanentError, UnavailableError


class MissingModelError(PermanentError):
    """A file of a model is not on this machine."""

    def __init__(self, name: str, *, reason: str = "", remedy: str = "run `aima models build`") -> None:
        detail = f": {reason}" if reason else ""
        super().__init__(f"the model {name!r} is not on this machine{detail}", code="model_missing", remedy=remedy)
        self.name = name


class UnknownModelError(PermanentError):
    """No manifest has this name."""

    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(
            f"no manifest describes a model {name!r}", code="model_unknown", remedy=f"use one of {', '.join(known)}"
        )
        self.name = name


class WrongHashError(PermanentError):
    """A file is not the one that its manifest pins; it is neither loaded nor kept."""

    def __init__(self, subject: str, *, expected: str, found: str, remedy: str) -> None:
        super().__init__(
            f"{subject} has SHA-256 {found}, but the manifest pins {expected}", code="model_wrong_hash", remedy=remedy
        )
        self.subject = subject
        self.expected = expected
        self.found = found


class UnsafeWeightsError(PermanentError):
    """A weights file asks for code or memory that plain tensors do not need."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="model_unsafe_weights", remedy="do not use this file")


class DamagedArchiveError(PermanentError):
    """A package archive lacks a member, or the member is larger than any model of ours."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="model_damaged_archive", remedy="delete the archive and build again")


class DownloadError(UnavailableError):
    """The package manager could not bring an archive; what was made before is kept."""

    def __init__(self, requirement: str, output: str) -> None:
        super().__init__(
            f"pip could not download {requirement}: {output}\n"
            "Check the network and pip's index settings, then run `aima models build` again: "
            "it goes on where it stopped.",
            code="model_download",
        )
        self.requirement = requirement
