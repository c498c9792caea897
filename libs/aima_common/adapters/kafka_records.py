"""Records as Kafka carries them: keys and headers are bytes there, and may come from strangers."""

from typing import Any

from aima_common.errors import PermanentError
from aima_common.ports.bus import Delivery, Record

MAX_RECORD_BYTES = (1 << 20) + (64 << 10)
"""The largest message that is ever written, with its key and headers."""


def headers_of(record: Record) -> list[tuple[str, bytes]]:
    """Encode a record's headers."""
    return [(name, value.encode()) for name, value in record.headers.items()]


def check_size(record: Record) -> None:
    """Raise `PermanentError` for a record that no broker would take."""
    headers = sum(len(name) + len(value) for name, value in headers_of(record))
    size = len(record.value) + len(record.key.encode()) + headers + 512
    if size > MAX_RECORD_BYTES:
        said = f"a record of {size} bytes for {record.topic} is larger than {MAX_RECORD_BYTES}"
        raise PermanentError(said, code="message_too_large", remedy="Put the content into an object and refer to it.")


def delivery_of(found: Any) -> Delivery:
    """Make a delivery of what aiokafka found.

    Foreign producers may leave key and value out and write headers that are not text.
    """
    try:
        key, headers = (found.key or b"").decode(), {name: value.decode() for name, value in found.headers}
    except (AttributeError, UnicodeDecodeError):
        key = (found.key or b"").decode(errors="replace")
        headers = {name: (value or b"").decode(errors="replace") for name, value in found.headers}
    return Delivery(Record(found.topic, key, found.value or b"", headers), found.partition, found.offset)
