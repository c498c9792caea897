"""Why a medium is not taken: what happened, and what a person can do about it."""

from aima_common.errors import PermanentError, UnavailableError


class MediumRefusedError(PermanentError):
    """This content cannot be analysed, today or later; the other media of the case go on.

    `code` is stable, `reason` says what was found, `remedy` what to do.
    """

    def __init__(self, code: str, reason: str, remedy: str) -> None:
        super().__init__(reason, code=code, remedy=remedy)
        self.reason = reason


class LimitExceededError(MediumRefusedError):
    """The medium is larger in some respect than the operator allows; `code` is `limit_<name of the limit>`."""

    def __init__(self, limit: str, reason: str) -> None:
        super().__init__(
            f"limit_{limit}",
            f"{reason} (limit: {limit})",
            f"Shorten, scale down or split the medium, or ask the operator to raise the limit `{limit}`.",
        )
        self.limit = limit


class SandboxMissingError(UnavailableError):
    """This machine cannot lock decoding up, and nobody has agreed in writing to go without.

    The medium is not to blame: it waits until the machine is put right.
    """

    def __init__(self, missing: str) -> None:
        super().__init__(
            f"media are not decoded on this machine, because the sandbox lacks: {missing}. "
            "Use a Linux kernel with Landlock (5.13 or newer) and seccomp, and install libseccomp2; "
            "or accept the risk with AIMA_UNSANDBOXED=yes",
            code="sandbox_missing",
        )


def truncated(what: str) -> MediumRefusedError:
    """Say that the end of a file is missing, and with it what makes the rest readable."""
    return MediumRefusedError(
        "truncated",
        f"the file is cut off: {what}",
        "The copy or upload broke off: send the whole file again, or repair it with its original program.",
    )


def undecodable(what: str) -> MediumRefusedError:
    """Say that a file looks like a medium and yields not one picture and not one sound."""
    return MediumRefusedError(
        "undecodable",
        f"the file could not be decoded: {what}",
        "Check that it plays elsewhere; if it does, convert it to MP4 (H.264 and AAC), JPEG or FLAC and send it again.",
    )
