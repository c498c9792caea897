"""Requests about one bucket, blocking, for worker threads. The only module that knows minio.

minio-py signs, sends and reads XML; what it does not offer is added here: conditional writes, the steps of a
multipart upload one by one, and a checksum that is cheaper than hashing every byte twice.
"""

import base64
import contextlib
import datetime
import os
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

import certifi
import urllib3
from minio import Minio
from minio.datatypes import ListMultipartUploadsResult, ListPartsResult, Object, parse_copy_object
from minio.deleteobjects import DeleteObject
from minio.error import MinioException, S3Error
from urllib3.response import BaseHTTPResponse

from aima_common.adapters.s3.errors import ABSENT, TAKEN, away, refused, setting_at_fault
from aima_common.adapters.s3.settings import S3Settings
from aima_common.adapters.s3.stored import Part, Stored
from aima_common.errors import ObjectMissingError, PermanentError, SettingsError

LIST_PAGE = 1000
RETRIES = urllib3.Retry(total=3, connect=2, read=1, redirect=0, status=0, other=0, backoff_factor=0.1)
"""Of one request. A PUT may be sent twice by this: it is conditional, or repeating it does no harm."""

QUICK_BYTES = 1 << 30
"""Parts of so many bytes are put together well within the time for any request."""

ONCE = {"If-None-Match": "*"}


class Body:
    """The bytes of an answer; one thread reads, any thread may close."""

    def __init__(self, response: BaseHTTPResponse, what: str) -> None:
        self._response = response
        self._what = what
        self.size_bytes = int(response.headers["Content-Length"])
        self._turn = threading.Lock()
        self._ended = False

    def read(self, amount: int | None = None) -> bytes:
        """Read on; nothing at the end, and nothing after `close`."""
        with self._turn, translated(f"reading {self._what}"):
            # Taken as it comes: nothing here is compressed, and unpacking nothing would copy everything twice.
            return b"" if self._ended else bytes(self._response.read(amount, decode_content=False))

    def close(self) -> None:
        """Let go of the connection; it is used again when everything was read."""
        with self._turn:
            if not self._ended:
                self._ended = True
                self._response.close()
                self._response.release_conn()


class _Client(Minio):
    """Minio, with its general request made public and bodies that are not hashed for their signature."""

    def send(
        self,
        method: str,
        bucket: str,
        key: str | None = None,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        whole: bool = True,
    ) -> BaseHTTPResponse:
        """Send one signed request; raise what minio raises."""
        return self._execute(
            method,
            bucket,
            key,
            body=body,
            headers=dict(headers or {}),
            query_params=dict(query or {}),
            preload_content=whole,
            no_body_trace=True,
        )

    def begin(self, bucket: str, key: str, headers: Mapping[str, str]) -> str:
        """Begin a multipart upload; return its id."""
        return self._create_multipart_upload(bucket, key, dict(headers))

    def _build_headers(
        self, host: str, headers: Any = None, body: bytes | None = None, creds: Any = None
    ) -> tuple[Any, datetime.datetime]:
        # SHA-256 over every body would cost as much as sending it. TLS, or the checksum that goes with the body,
        # guards it on its way, and the content's own hash guards it for good.
        made, date = super()._build_headers(host, headers, None, creds)
        if body:
            made["Content-Length"] = str(len(body))
            made["x-amz-content-sha256"] = "UNSIGNED-PAYLOAD"
        return made, date


class S3Connection:
    """One bucket. Raises the errors of AIMA, never the driver's."""

    def __init__(self, settings: S3Settings) -> None:
        self._settings = settings
        self._bucket = settings.bucket
        self._client = self._connect(settings.endpoint, settings.timeout_seconds)
        self._patient = self._connect(settings.endpoint, settings.assembly_seconds)
        self._public = self._connect(settings.public_endpoint or settings.endpoint, settings.timeout_seconds)

    def prepare(self) -> None:
        """Find the bucket, or make it; raise `SettingsError` for what no waiting makes better."""
        with translated(f"opening the bucket {self._bucket!r} at {self._settings.endpoint}"):
            try:
                self._find_or_make_bucket()
            except S3Error as error:
                at_fault = setting_at_fault(error.code)
                if at_fault is None:
                    raise
                raise SettingsError(f"the S3 server at {self._settings.endpoint} refuses us: {at_fault}") from error

    def put(self, key: str, data: bytes, *, once: bool) -> str | None:
        """Store an object and return its tag; with `once` leave what is there alone, and return None."""
        headers = {"x-amz-checksum-crc32": checksum(data), **(ONCE if once else {})}
        with translated(f"storing {key!r}", key):
            try:
                response = self._client.send("PUT", self._bucket, key, headers=headers, body=data)
            except S3Error as error:
                if error.code in TAKEN:
                    return None
                raise
        return _tag(response)

    def stat(self, key: str) -> Stored | None:
        """Look at an object; None when nothing lies there."""
        with translated(f"looking at {key!r}", key):
            try:
                return _stored(self._client.stat_object(self._bucket, key))
            except S3Error as error:
                if error.code in ABSENT:
                    return None
                raise

    def read(self, key: str, start: int = 0, end: int | None = None) -> Body | None:
        """Open a range that is not empty; None when it begins behind the end of the object."""
        headers = {} if (start, end) == (0, None) else {"Range": f"bytes={start}-{'' if end is None else end - 1}"}
        with translated(f"reading {key!r}", key):
            try:
                response = self._client.send("GET", self._bucket, key, headers=headers, whole=False)
            except S3Error as error:
                if error.code == "InvalidRange":
                    return None
                if error.code in ABSENT:
                    raise ObjectMissingError(key) from error
                raise
        return Body(response, repr(key))

    def walk(self, prefix: str) -> Iterator[Stored]:
        """Walk the objects below a prefix, in the order of their keys."""
        with translated(f"listing {prefix!r}"):
            for found in self._client.list_objects(self._bucket, prefix=prefix, recursive=True):
                yield _stored(found)

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; those that are gone already are no mistake."""
        with translated("removing objects"):
            for error in self._client.remove_objects(self._bucket, map(DeleteObject, keys)):
                if error.code not in ABSENT:
                    raise PermanentError(f"{error.name!r} was not removed: {error.message}", code="object_not_removed")

    def begin(self, key: str, *, checked: bool) -> str:
        """Begin a multipart upload and return its id; `checked` parts carry a checksum that the store verifies."""
        headers = {"x-amz-checksum-algorithm": "CRC32"} if checked else {}
        with translated(f"beginning {key!r}", key):
            return self._client.begin(self._bucket, key, headers)

    def part(self, key: str, upload: str, number: int, data: bytes) -> Part:
        """Send a part of a checked upload."""
        crc32 = checksum(data)
        query = {"partNumber": str(number), "uploadId": upload}
        with translated(f"storing part {number} of {key!r}", key):
            headers = {"x-amz-checksum-crc32": crc32}
            response = self._client.send("PUT", self._bucket, key, query=query, headers=headers, body=data)
        return Part(number, len(data), _tag(response), crc32)

    def copy_part(self, key: str, upload: str, number: int, source: Stored, start: int, end: int) -> Part:
        """Have the store copy a range of an object, unless that has changed, into a part of an unchecked upload."""
        headers = {
            "x-amz-copy-source": quote(f"/{self._bucket}/{source.key}"),
            "x-amz-copy-source-if-match": source.tag,
            "x-amz-copy-source-range": f"bytes={start}-{end - 1}",
        }
        query = {"partNumber": str(number), "uploadId": upload}
        with translated(f"copying {source.key!r}", source.key):
            response = self._client.send("PUT", self._bucket, key, query=query, headers=headers)
            # Copying takes long enough for the answer to begin before its outcome is known.
            _raise_told_error(response)
            return Part(number, end - start, str(parse_copy_object(response)[0]))

    def parts(self, key: str, upload: str) -> list[Part] | None:
        """List the parts that are in; None when the upload is not known (any more)."""
        found: list[Part] = []
        marker: str | None = "0"
        with translated(f"looking at the parts of {key!r}", key):
            while marker is not None:
                query = {"uploadId": upload, "max-parts": str(LIST_PAGE), "part-number-marker": marker}
                try:
                    page = ListPartsResult(self._client.send("GET", self._bucket, key, query=query))
                except S3Error as error:
                    if error.code in {*ABSENT, "NoSuchUpload"}:
                        return None
                    raise
                found += [Part(part.part_number, part.size or 0, part.etag) for part in page.parts]
                marker = page.next_part_number_marker if page.is_truncated else None
        return found

    def complete(self, key: str, upload: str, parts: Sequence[Part], *, once: bool = True) -> bool | None:
        """Make the parts the object: True; False when something lies there; None when the upload is not known."""
        listed = "".join(
            f'<Part><PartNumber>{part.number}</PartNumber><ETag>"{part.tag}"</ETag>'
            + (f"<ChecksumCRC32>{part.checksum}</ChecksumCRC32>" if part.checksum else "")
            + "</Part>"
            for part in parts
        )
        body = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
        # Some stores copy all parts before they say a word.
        is_large = sum(part.size_bytes for part in parts) > QUICK_BYTES
        client = self._patient if is_large else self._client
        headers = {"Content-Type": "application/xml", **(ONCE if once else {})}
        with translated(f"completing {key!r}", key):
            try:
                response = client.send(
                    "POST", self._bucket, key, query={"uploadId": upload}, headers=headers, body=body
                )
                _raise_told_error(response)
            except S3Error as error:
                if error.code in TAKEN:
                    return False
                if error.code == "NoSuchUpload":
                    return None
                raise
        return True

    def abort(self, key: str, upload: str) -> None:
        """Throw a multipart upload away; one that is not known is no mistake."""
        with translated(f"abandoning {key!r}", key):
            try:
                self._client.send("DELETE", self._bucket, key, query={"uploadId": upload})
            except S3Error as error:
                if error.code not in {*ABSENT, "NoSuchUpload"}:
                    raise

    def uploads(self) -> list[tuple[str, str, float]]:
        """List the multipart uploads that are not complete: key, id, time of their beginning.

        Of a key that has very many some may be missing: where a page ends, the next one begins with the next key.
        """
        found: list[tuple[str, str, float]] = []
        query = {"uploads": "", "max-uploads": str(LIST_PAGE)}
        with translated("listing what was begun"):
            while True:
                page = ListMultipartUploadsResult(self._client.send("GET", self._bucket, query=query))
                for upload in page.uploads:
                    began = upload.initiated_time or datetime.datetime.now(datetime.UTC)
                    found.append((str(upload.object_name), str(upload.upload_id), began.timestamp()))
                if not page.is_truncated:
                    return found
                query["key-marker"] = str(page.next_key_marker)

    def links(self, key: str, upload: str, numbers: Sequence[int], seconds: int) -> Sequence[str]:
        """Make the URLs to which parts of an unchecked upload are to be PUT."""
        expires = datetime.timedelta(seconds=seconds)
        queries = ({"partNumber": str(number), "uploadId": upload} for number in numbers)
        sign = self._public.get_presigned_url
        return [sign("PUT", self._bucket, key, expires, extra_query_params=dict(query)) for query in queries]

    def _connect(self, endpoint: str, timeout_seconds: float) -> _Client:
        where, settings = urlsplit(endpoint), self._settings
        return _Client(
            where.netloc,
            settings.access_key,
            settings.secret_key,
            secure=where.scheme == "https",
            region=settings.region,
            http_client=urllib3.PoolManager(
                maxsize=settings.threads,
                timeout=urllib3.Timeout(connect=settings.connect_seconds, read=timeout_seconds),
                retries=RETRIES,
                cert_reqs="CERT_REQUIRED",
                ca_certs=os.environ.get("SSL_CERT_FILE") or certifi.where(),
            ),
        )

    def _find_or_make_bucket(self) -> None:
        try:
            # Not HEAD, whose refusals have no reasons.
            self._client.send("GET", self._bucket, query={"list-type": "2", "max-keys": "1"})
        except S3Error as error:
            if error.code != "NoSuchBucket":
                raise
            try:
                self._client.make_bucket(self._bucket)
            except S3Error as made:
                if made.code != "BucketAlreadyOwnedByYou":
                    raise


@contextlib.contextmanager
def translated(doing: str, key: str = "") -> Iterator[None]:
    """Turn the driver's errors into ours."""
    try:
        yield
    except S3Error as error:
        raise refused(error.code, error.response.status, doing, str(error), key) from error
    except MinioException as error:
        # Not an answer of S3's: a proxy's page, or a status without a word.
        raise refused(None, int(getattr(error, "status_code", 0)), doing, str(error), key) from error
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise away(doing, error) from error


def checksum(data: bytes) -> str:
    """Write a CRC-32 as S3 does."""
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def _stored(found: Object) -> Stored:
    modified = found.last_modified.timestamp() if found.last_modified else 0.0
    return Stored(str(found.object_name), found.size or 0, modified, found.etag or "")


def _tag(response: BaseHTTPResponse) -> str:
    return str(response.headers.get("etag", "")).replace('"', "")


def _raise_told_error(response: BaseHTTPResponse) -> None:
    """Raise the error that an answer of status 200 may hold: it was begun before its outcome was known."""
    told = S3Error.fromxml(response)
    if told.code:
        raise told
