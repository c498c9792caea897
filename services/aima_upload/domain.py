"""Which cases and uploads are acceptable, and when one is complete. Pure."""

import base64
import binascii
import datetime
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, TypeVar

from aima_common import object_keys
from aima_common.contracts.media import Confidentiality, Priority, Profile
from aima_common.ids import Sha256
from aima_common.problems import FieldError, ProblemError, refuse

MAX_NAME_BYTES = 255
"""What file systems allow for one name; longer ones did not come from a file."""

MAX_CASE_NAME_CHARACTERS = 200

MAX_KEY_CHARACTERS = 255
"""Of an Idempotency-Key; twice what a pair of UUIDs and a hash need."""

_HEX64 = re.compile(r"[0-9a-f]{64}")
_OPTIONS = ("priority", "deadline", "confidentiality", "profile")
_CHANGEABLE = ("priority", "deadline", "confidentiality")

Choice = TypeVar("Choice", bound=StrEnum)


@dataclass(frozen=True)
class Limits:
    """How much one upload may be."""

    max_upload_bytes: int = 64 << 30
    """64 GiB: about ten hours of broadcast-quality film."""


@dataclass(frozen=True)
class Origin:
    """The offer of a producer outside that an item comes from."""

    offer: str
    """The producer's own name for it."""
    traceparent: str | None = None


@dataclass(frozen=True)
class Declared:
    """What a client says of an upload before sending it."""

    case: str
    file_name: str
    size_bytes: int | None = None
    sha256: Sha256 | None = None
    idempotency_key: str | None = None
    origin: Origin | None = None


@dataclass(frozen=True)
class Content:
    """Bytes that have arrived and are durable."""

    sha256: Sha256
    size_bytes: int


@dataclass(frozen=True)
class CaseOptions:
    """What people may choose for a case."""

    priority: Priority = Priority.NORMAL
    deadline: str | None = None
    confidentiality: Confidentiality = Confidentiality.CONFIDENTIAL
    profile: Profile = Profile.DEFAULT

    def body(self) -> dict[str, Any]:
        """Write the options as they are stored."""
        return {name: str(value) if isinstance(value, StrEnum) else value for name, value in asdict(self).items()}


def file_name(name: str) -> str:
    """Check one file's name; return it unchanged, whatever script or brackets it is written in."""
    try:
        size = len(name.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise _bad_name("it is not valid Unicode", "Send the name as UTF-8.") from error
    if not name or name in {".", ".."}:
        raise _bad_name("it is empty", "Give the file a name.")
    if "/" in name or "\x00" in name:
        raise _bad_name("it holds a slash or a zero character", "Send the file's own name, without its folders.")
    if size > MAX_NAME_BYTES:
        raise _bad_name(f"it has {size} bytes", f"Shorten it to at most {MAX_NAME_BYTES} bytes of UTF-8.")
    return name


def case_name(name: object) -> str:
    """Check a case's name; surrounding space is dropped."""
    if not isinstance(name, str) or not name.strip():
        raise _bad_case("it is missing or empty", 'Send a "name" that is not empty.')
    trimmed = name.strip()
    if len(trimmed) > MAX_CASE_NAME_CHARACTERS:
        raise _bad_case(f"it has {len(trimmed)} characters", f"Shorten it to at most {MAX_CASE_NAME_CHARACTERS}.")
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in trimmed):
        raise _bad_case("it holds control characters", "Remove them.")
    return trimmed


def case_options(
    asked: Mapping[str, Any], now: datetime.datetime, *, changing: Mapping[str, Any] | None = None
) -> CaseOptions:
    """Read the options of a case from a request, on top of those that it has.

    Raises one `ProblemError` that names every field that is wrong.
    """
    allowed = {"name", *_OPTIONS} if changing is None else set(_CHANGEABLE)
    errors = [FieldError(field, f"is not one of {sorted(allowed)}") for field in asked if field not in allowed]
    merged = {name: value for name, value in {**(changing or {}), **asked}.items() if value is not None}
    priority = _choice(merged, "priority", Priority, Priority.NORMAL, errors)
    confidentiality = _choice(merged, "confidentiality", Confidentiality, Confidentiality.CONFIDENTIAL, errors)
    profile = _choice(merged, "profile", Profile, Profile.DEFAULT, errors)
    deadline = _deadline(asked.get("deadline", merged.get("deadline")), now, errors, asked="deadline" in asked)
    if errors:
        raise refuse(422, "bad_options", "some options cannot be used", "Correct the named fields.", errors)
    return CaseOptions(priority, deadline, confidentiality, profile)


def sha256(text: str | None) -> Sha256 | None:
    """Read a SHA-256 in hexadecimal, in either case; nothing stays None."""
    if not text:
        return None
    lowered = text.lower()
    if not _HEX64.fullmatch(lowered):
        raise refuse(
            422, "bad_sha256", "sha256 is not 64 hexadecimal digits", "Send the SHA-256 of the file's bytes, or none."
        )
    return Sha256(lowered)


def idempotency_key(text: str | None) -> str | None:
    """Check an Idempotency-Key."""
    if text is not None and not (0 < len(text) <= MAX_KEY_CHARACTERS and text.isprintable()):
        raise refuse(
            400,
            "bad_idempotency_key",
            f"the Idempotency-Key is empty, unprintable or longer than {MAX_KEY_CHARACTERS} characters",
            "Send a UUID, or a hash of what makes the request unique.",
        )
    return text


def byte_count(text: str | None) -> int | None:
    """Read a number of bytes; nothing stays None."""
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise refuse(400, "bad_size", f"{text[:40]!r} is not a number of bytes", "Send a decimal number.")
    return int(text)


def check_size(size_bytes: int | None, limits: Limits) -> None:
    """Refuse what is larger than allowed; an unknown size is counted while it arrives."""
    if size_bytes is not None and size_bytes > limits.max_upload_bytes:
        raise refuse(
            413,
            "too_large",
            f"{size_bytes} bytes are more than the {limits.max_upload_bytes} bytes that one upload may have",
            "Cut the file into parts, or ask the operator to raise AIMA_MAX_UPLOAD_BYTES.",
        )


def check_complete(declared: Declared, content: Content) -> None:
    """Refuse an upload whose bytes are not those that were declared."""
    if declared.size_bytes is not None and content.size_bytes != declared.size_bytes:
        raise refuse(
            422,
            "size_mismatch",
            f"{content.size_bytes} bytes arrived where {declared.size_bytes} were declared",
            "The file changed while it was sent, or the declaration is wrong: send it again.",
        )
    if declared.sha256 is not None and content.sha256 != declared.sha256:
        raise refuse(
            422,
            "sha256_mismatch",
            f"the bytes that arrived have SHA-256 {content.sha256}, not the declared {declared.sha256}",
            "The file changed while it was sent, or was damaged on its way: send it again.",
        )


def check_repeat(session: Mapping[str, Any], declared: Declared) -> None:
    """Refuse an Idempotency-Key that was used for another upload of this case."""
    known = session.get("sha256") or session.get("declared_sha256")
    other_name = session["file_name"] != declared.file_name
    other_content = bool(known and declared.sha256 and known != declared.sha256)
    if other_name or other_content:
        raise key_reused()


def key_reused() -> ProblemError:
    """Make the answer for a key that was used for something else."""
    return refuse(
        422,
        "idempotency_key_reused",
        "this Idempotency-Key was used for another file of this case",
        "Use a new key for every new upload.",
    )


def check_offset(expected: int, offset: int | None) -> None:
    """Refuse a part that does not begin where the upload ends (tus 1.0, PATCH)."""
    if offset is None:
        raise refuse(400, "no_offset", "Upload-Offset is missing", "Send the offset that HEAD answers with.")
    if offset != expected:
        raise refuse(
            409, "wrong_offset", f"the upload has {expected} bytes, not {offset}", "Ask with HEAD and go on from there."
        )


def upload_metadata(header: str | None) -> dict[str, str]:
    """Read tus' Upload-Metadata: pairs of a key and a Base64 value, separated by commas."""
    found: dict[str, str] = {}
    for pair in (header or "").split(","):
        key, _, value = pair.strip().partition(" ")
        if not key:
            continue
        try:
            found[key] = base64.b64decode(value, validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise refuse(
                400, "bad_metadata", f"Upload-Metadata {key[:40]!r} is not Base64 of UTF-8", "Encode every value."
            ) from error
    return found


def direct_key(tenant: str, digest: str, session: str) -> str:
    """Tell under which key bytes lie that a client sent past us: beside those of the same name, never in their place.

    Until they were read nobody knows whether they are what their name says.
    """
    return f"{object_keys.original(tenant, digest)}.{session}"


def _choice(
    merged: Mapping[str, Any], field: str, choices: type[Choice], default: Choice, errors: list[FieldError]
) -> Choice:
    value = merged.get(field, default)
    try:
        return choices(value)
    except ValueError:
        errors.append(FieldError(field, f"is not one of {[str(choice) for choice in choices]}"))
        return default


def _deadline(value: object, now: datetime.datetime, errors: list[FieldError], *, asked: bool) -> str | None:
    if value is None:
        return None
    try:
        # In UTC at once: a time in the year 9999 may lie beyond all years there.
        deadline = _in_utc(datetime.datetime.fromisoformat(str(value)))
    except (ValueError, OverflowError):
        errors.append(FieldError("deadline", "is not an ISO 8601 time"))
        return None
    if deadline.tzinfo is None:
        errors.append(FieldError("deadline", "has no time zone; end it with Z or an offset"))
    elif asked and deadline <= now:
        errors.append(FieldError("deadline", "lies in the past"))
    else:
        return deadline.isoformat()
    return None


def _in_utc(time: datetime.datetime) -> datetime.datetime:
    """Turn a time into UTC; one without a time zone stays what it is."""
    return time if time.tzinfo is None else time.astimezone(datetime.UTC)


def _bad_name(why: str, remedy: str) -> ProblemError:
    return refuse(422, "bad_file_name", f"the file's name cannot be used: {why}", remedy)


def _bad_case(why: str, remedy: str) -> ProblemError:
    return refuse(422, "bad_case_name", f"the case's name cannot be used: {why}", remedy, [FieldError("name", why)])
