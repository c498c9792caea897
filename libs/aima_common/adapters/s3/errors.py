"""What an S3 server's refusal means for what happens next. Pure; codes are of S3, MinIO and versitygw alike."""

from http import HTTPStatus

from aima_common.adapters.object_keys import key_refused
from aima_common.errors import AimaError, ObjectMissingError, StorageFullError, UnavailableError

RETRY_AFTER_SECONDS = 30.0
"""How long a person needs, at best, to make room."""

ABSENT = frozenset({"NoSuchKey", "NoSuchVersion"})
TAKEN = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})
"""Something lies there, or is being put there at this moment: look again."""

_FULL = frozenset({"InsufficientStorage", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded", "XMinioStorageFull"})
_FOLDERS = frozenset({"ExistingObjectIsDirectory", "ObjectParentIsFile", "XMinioParentIsObject"})
_NO_KEYS = frozenset({"KeyTooLongError", "XMinioInvalidObjectName"})
_STRANGERS = frozenset({"InvalidAccessKeyId", "InvalidTokenId", "SignatureDoesNotMatch", "XAdminUserNotFound"})
_ELSEWHERE = frozenset({"AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "PermanentRedirect"})


def setting_at_fault(code: str | None) -> str | None:
    """Name the setting that has to be changed before the server takes anything from us; None for other reasons."""
    if code in _STRANGERS:
        return (
            f"it does not know AIMA_S3_ACCESS_KEY with AIMA_S3_SECRET_KEY ({code}); set both to a key that may read and"
            " write the bucket"
        )
    if code in {"AccessDenied", "AllAccessDisabled"}:
        return f"AIMA_S3_ACCESS_KEY may not use the bucket AIMA_S3_BUCKET ({code}); permit it, or set another key"
    if code in _ELSEWHERE:
        return f"AIMA_S3_REGION is not the region of the bucket AIMA_S3_BUCKET ({code}); set the bucket's"
    if code == "InvalidBucketName":
        return "AIMA_S3_BUCKET cannot name a bucket; three or more small letters, digits and hyphens can"
    if code == "BucketAlreadyExists":
        return "the bucket AIMA_S3_BUCKET is somebody else's; set another name"
    return None


def refused(code: str | None, status: int, doing: str, said: str, key: str = "") -> AimaError:
    """Name a refusal for what happens next."""
    if code in ABSENT:
        return ObjectMissingError(key)
    if code in _FULL or status == HTTPStatus.INSUFFICIENT_STORAGE:
        message = f"the S3 server has no room left while {doing} ({code}); nothing half-written was kept; make room"
        return StorageFullError(message, code="storage_full", retry_after_seconds=RETRY_AFTER_SECONDS)
    if code in _FOLDERS:
        return key_refused(key, "it is the folder of other keys, or a part of it is an object itself")
    if code in _NO_KEYS:
        return key_refused(key, "the S3 server takes no such name")
    at_fault = setting_at_fault(code)
    if at_fault:
        # An operator can make it right again while work waits: it must not become a dead letter.
        return UnavailableError(f"the S3 server refuses us while {doing}: {at_fault}", code="s3_login")
    return UnavailableError(f"the S3 server did not take part while {doing}: {said}", code="s3")


def away(doing: str, reason: object) -> UnavailableError:
    """Make the error for a server that does not answer."""
    return UnavailableError(f"the S3 server (AIMA_S3) is away, the outcome is unknown: {doing}: {reason}", code="s3")
