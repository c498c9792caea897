"""Bytes to messages and back: strict, bounded, and the only module that knows orjson."""

import datetime
import re
from typing import Any

import orjson
from pydantic import ValidationError

from aima_common.contracts.base import Message
from aima_common.contracts.envelope import Envelope
from aima_common.contracts.messages import PATH
from aima_common.errors import MalformedMessageError
from aima_common.ports.bus import Record

MAX_MESSAGE_BYTES = 1 << 20
"""A message above this is refused unread. Messages carry references, never media."""

MAX_DEPTH = 16
"""Deeper JSON than this is an attack on the parser, not a message."""

BY_NAME: dict[str, type[Message]] = {message.__name__: message for message in PATH}

VERSION = 1

NEWER = "newer_version"
"""Why a message is set aside that a later release of AIMA wrote: it is whole, and the reader too old for it."""

BY_TYPE: dict[str, str] = {f"aima.{name}.v{VERSION}": name for name in BY_NAME}


def dumps(value: Any) -> bytes:
    """Write a value as compact JSON with sorted keys."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def loads(data: bytes | str) -> Any:
    """Read JSON; raise `MalformedMessageError` for anything else."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise MalformedMessageError(f"not JSON: {error}") from error


def encode(topic: str, envelope: Envelope[Any]) -> Record:
    """Make the record that carries an envelope: CloudEvents headers, the body as JSON."""
    headers = {
        "ce_specversion": "1.0",
        "ce_id": envelope.id,
        "ce_type": f"aima.{envelope.type}.v{envelope.version}",
        "ce_source": "aima",
        "ce_time": envelope.time.astimezone(datetime.UTC).isoformat(),
        "ce_subject": envelope.key,
        "content-type": "application/json",
        "aima_tenant": envelope.tenant,
    }
    if envelope.cause:
        headers["aima_cause"] = envelope.cause
    if envelope.traceparent:
        headers["traceparent"] = envelope.traceparent
    return Record(topic, envelope.key, dumps(envelope.body.model_dump(mode="json")), headers)


def decode(record: Record) -> Envelope[Any]:
    """Read the envelope that a record carries; raise `MalformedMessageError` with the reason."""
    if len(record.value) > MAX_MESSAGE_BYTES:
        raise MalformedMessageError(f"{len(record.value)} bytes are more than the {MAX_MESSAGE_BYTES} allowed")
    name, version = _type_of(record)
    body = loads(record.value)
    # What opens fewer than so many brackets cannot be nested deeper; only the rest is looked through.
    if record.value.count(b"{") + record.value.count(b"[") > MAX_DEPTH:
        check_depth(body)
    try:
        return Envelope(
            id=record.headers["ce_id"],
            type=name,
            version=version,
            tenant=record.headers["aima_tenant"],
            key=record.key,
            cause=record.headers.get("aima_cause"),
            time=datetime.datetime.fromisoformat(record.headers["ce_time"]),
            traceparent=record.headers.get("traceparent"),
            body=BY_NAME[name].model_validate_json(record.value),
        )
    except KeyError as error:
        raise MalformedMessageError(f"header {error} is missing") from error
    except (ValidationError, ValueError) as error:
        raise MalformedMessageError(f"{name} does not fit its schema: {error}") from error


def _type_of(record: Record) -> tuple[str, int]:
    known = BY_TYPE.get(record.headers.get("ce_type", ""))
    if known is not None:
        return known, VERSION
    parts = record.headers.get("ce_type", "").split(".")
    if len(parts) != 3 or parts[0] != "aima" or parts[1] not in BY_NAME:
        raise MalformedMessageError(f"unknown message type {'.'.join(parts)[:100]!r}")
    if parts[2] == f"v{VERSION}":
        return parts[1], VERSION
    refusal = f"{parts[1]} has version {parts[2][:20]!r}; this reader knows v{VERSION}"
    # The number is short, so that reading it costs nothing whatever a stranger writes there.
    if re.fullmatch(r"v[1-9][0-9]{0,8}", parts[2]) and int(parts[2][1:]) > VERSION:
        advice = "it is of a newer version: upgrade this service, then `aima dead-letters retry` the letter"
        raise MalformedMessageError(f"{refusal}; {advice}", code=NEWER)
    raise MalformedMessageError(refusal)


def check_depth(value: Any, most: int = MAX_DEPTH) -> None:
    """Raise `MalformedMessageError` for a value that is nested too deep."""
    layer, depth = [value], 0
    while layer:
        depth += 1
        if depth > most:
            raise MalformedMessageError(f"nested deeper than {most} levels")
        layer = [
            child
            for node in layer
            if isinstance(node, dict | list)
            for child in (node.values() if isinstance(node, dict) else node)
        ]
