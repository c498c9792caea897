import pytest

from aima_common.adapters.s3.errors import away, refused, setting_at_fault
from aima_common.errors import ObjectMissingError, PermanentError, StorageFullError, UnavailableError


@pytest.mark.parametrize(
    ("code", "status", "kind", "named"),
    [
        ("NoSuchKey", 404, ObjectMissingError, "object_missing"),
        ("QuotaExceeded", 403, StorageFullError, "storage_full"),
        ("InsufficientStorage", 507, StorageFullError, "storage_full"),
        ("XMinioStorageFull", 507, StorageFullError, "storage_full"),
        (None, 507, StorageFullError, "storage_full"),
        ("ObjectParentIsFile", 400, PermanentError, "object_key_refused"),
        ("KeyTooLongError", 400, PermanentError, "object_key_refused"),
        ("SlowDown", 503, UnavailableError, "s3"),
        ("InternalError", 500, UnavailableError, "s3"),
        ("BadDigest", 400, UnavailableError, "s3"),
        ("NoSuchBucket", 404, UnavailableError, "s3"),
        (None, 502, UnavailableError, "s3"),
        ("SignatureDoesNotMatch", 403, UnavailableError, "s3_login"),
        ("AccessDenied", 403, UnavailableError, "s3_login"),
    ],
)
def test_a_refusal_is_named_for_what_happens_next(
    code: str | None, status: int, kind: type[Exception], named: str
) -> None:
    error = refused(code, status, "storing 'a'", "its words", "a")
    assert type(error) is kind
    assert getattr(error, "code", "") == named


@pytest.mark.parametrize(
    ("code", "setting"),
    [
        ("InvalidAccessKeyId", "AIMA_S3_ACCESS_KEY"),
        ("SignatureDoesNotMatch", "AIMA_S3_SECRET_KEY"),
        ("XAdminUserNotFound", "AIMA_S3_ACCESS_KEY"),
        ("AccessDenied", "AIMA_S3_BUCKET"),
        ("InvalidBucketName", "AIMA_S3_BUCKET"),
        ("BucketAlreadyExists", "AIMA_S3_BUCKET"),
        ("AuthorizationHeaderMalformed", "AIMA_S3_REGION"),
    ],
)
def test_a_setting_at_fault_is_named_with_what_to_do(code: str, setting: str) -> None:
    told = setting_at_fault(code)
    assert told is not None
    assert setting in told
    assert code in told or "set another name" in told or "can" in told


def test_other_refusals_blame_no_setting() -> None:
    assert setting_at_fault("SlowDown") is None
    assert setting_at_fault(None) is None
    assert "outcome is unknown" in str(away("storing 'a'", "connection refused"))
