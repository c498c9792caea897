"""Hostile and broken messages are refused with a reason, and with nothing but that; a good one passes beside them."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aima_common.contracts import codec
from aima_common.contracts.messages import MediumUploaded
from aima_common.contracts.topics import BY_MESSAGE
from aima_common.errors import MalformedMessageError
from aima_common.ports.bus import Record

EXAMPLES = {
    path.stem: json.loads(path.read_text("utf-8"))
    for path in sorted((Path(__file__).parent / "examples").glob("*.json"))
}
GOOD = EXAMPLES["MediumUploaded"]
TOPIC = BY_MESSAGE[MediumUploaded].name


def record(payload: Any = None, *, value: bytes | None = None, **headers: str | None) -> Record:
    """Make the good record, but with this payload or value, and with headers replaced, or left out where None."""
    changed = {name.replace("__", "-"): text for name, text in headers.items()}
    kept = {name: text for name, text in {**GOOD["headers"], **changed}.items() if text is not None}
    body = orjson.dumps(GOOD["payload"] if payload is None else payload)
    return Record(TOPIC, GOOD["key"], body if value is None else value, kept)


def changed(path: str, value: Any) -> dict[str, Any]:
    """Return the good payload with one field replaced."""
    payload = copy.deepcopy(GOOD["payload"])
    *parents, leaf = path.split(".")
    place = payload
    for name in parents:
        place = place[name]
    place[leaf] = value
    return dict(payload)


def nested(levels: int) -> Any:
    value: Any = 0
    for _ in range(levels):
        value = [value]
    return value


def padded(size: int) -> bytes:
    """Write the good payload with an unknown field that brings it to exactly this size."""
    bare = len(orjson.dumps(GOOD["payload"] | {"padding": ""}))
    return orjson.dumps(GOOD["payload"] | {"padding": "x" * (size - bare)})


def test_the_good_message_is_read() -> None:
    envelope = codec.decode(record())
    assert envelope.body == MediumUploaded.model_validate_json(orjson.dumps(GOOD["payload"]))
    assert (envelope.id, envelope.tenant) == (GOOD["headers"]["ce_id"], GOOD["headers"]["aima_tenant"])


def test_a_message_of_the_largest_size_is_read_and_one_byte_more_is_refused() -> None:
    assert codec.decode(record(value=padded(codec.MAX_MESSAGE_BYTES))).body.medium == GOOD["payload"]["medium"]
    with pytest.raises(MalformedMessageError, match="more than the"):
        codec.decode(record(value=padded(codec.MAX_MESSAGE_BYTES + 1)))


def test_a_message_of_the_greatest_depth_is_read_and_one_level_more_is_refused() -> None:
    # The payload itself is the first level, the innermost number the last.
    deepest = codec.MAX_DEPTH - 2
    assert codec.decode(record(GOOD["payload"] | {"unknown": nested(deepest)})).type == "MediumUploaded"
    with pytest.raises(MalformedMessageError, match="nested deeper"):
        codec.decode(record(GOOD["payload"] | {"unknown": nested(deepest + 1)}))


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"{",
        b"not json",
        b"null",
        b"[]",
        b'"text"',
        b"\xff\xfe\x00",
        b'{"case": "\xc3\x28"}',
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"case": NaN}',
        b'{"case": "\\ud800"}',
        b"\x1f\x8b\x08\x00",
    ],
    ids=lambda value: repr(value[:12]),
)
def test_bytes_that_are_no_message_are_refused(value: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        codec.decode(record(value=value))


@pytest.mark.parametrize(
    "kind",
    [
        None,
        "",
        "aima",
        "aima.MediumUploaded",
        "aima.Nothing.v1",
        "aima.Message.v1",
        "aima.__class__.v1",
        "other.MediumUploaded.v1",
        "aima.MediumUploaded.v1.more",
        "aima.mediumuploaded.v1",
        "MediumUploaded",
        "." * 10_000,
    ],
)
def test_a_message_of_an_unknown_type_is_refused_in_few_words(kind: str | None) -> None:
    with pytest.raises(MalformedMessageError, match="unknown message type") as refused:
        codec.decode(record(ce_type=kind))
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("version", ["v0", "v2", "v99", "1", "v", "", "v1 ", "v" + "9" * 10_000])
def test_a_message_of_an_unknown_version_is_refused_in_few_words(version: str) -> None:
    with pytest.raises(MalformedMessageError, match="this reader knows v1") as refused:
        codec.decode(record(ce_type=f"aima.MediumUploaded.{version}"))
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("header", ["ce_id", "ce_time", "aima_tenant"])
def test_a_message_without_a_header_it_needs_is_refused(header: str) -> None:
    with pytest.raises(MalformedMessageError, match=header):
        codec.decode(record(**{header: None}))


@pytest.mark.parametrize("header", ["aima_cause", "traceparent", "ce_source", "content__type"])
def test_a_message_without_a_header_it_can_do_without_is_read(header: str) -> None:
    assert codec.decode(record(**{header: None})).body.medium == GOOD["payload"]["medium"]


@pytest.mark.parametrize(
    "time", ["", "yesterday", "2026-13-01T00:00:00+00:00", "1e9", "2026-11-23T09:30:00+99:00", "2026-11-23T09:30:00"]
)
def test_a_time_that_is_no_time_or_of_no_zone_is_refused(time: str) -> None:
    with pytest.raises(MalformedMessageError):
        codec.decode(record(ce_time=time))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("case", 7),
        ("case", None),
        ("case", ["a"]),
        ("medium", {"$ne": None}),
        ("priority", "utmost"),
        ("priority", 1),
        ("confidentiality", "secret"),
        ("profile", ""),
        ("original", "t/acme/originals/x"),
        ("original", None),
        ("original.size_bytes", "12"),
        ("original.size_bytes", -1),
        ("original.size_bytes", 1.5),
        ("original.size_bytes", True),
        ("original.sha256", "ABCDEF"),
        ("original.sha256", "0" * 63),
        ("original.sha256", "0" * 64 + "\n"),
        ("original.sha256", "../" * 21 + "x"),
    ],
)
def test_a_field_of_the_wrong_type_or_range_is_refused(path: str, value: Any) -> None:
    with pytest.raises(MalformedMessageError, match="does not fit its schema"):
        codec.decode(record(changed(path, value)))


def test_of_two_fields_of_the_same_name_one_wins_and_nothing_breaks() -> None:
    text = orjson.dumps(GOOD["payload"])
    twice = b'{"item":"another",' + text[1:]
    assert codec.decode(record(value=twice)).body.item in {"another", GOOD["payload"]["item"]}


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_no_bytes_at_all_bring_up_anything_but_a_refusal(value: bytes) -> None:
    with pytest.raises(MalformedMessageError):
        codec.decode(record(value=value))


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    if isinstance(value, dict):
        for name, child in value.items():
            yield from places(child, (*path, name))
    if isinstance(value, list):
        for index, child in enumerate(value):
            yield from places(child, (*path, index))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.data())
def test_a_message_with_any_one_value_replaced_is_read_or_refused(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(EXAMPLES)))
    payload = {"root": copy.deepcopy(EXAMPLES[name]["payload"])}
    *parents, leaf = data.draw(st.sampled_from([("root", *path) for path in places(payload["root"])]))
    place: Any = payload
    for step in parents:
        place = place[step]
    place[leaf] = data.draw(JSON)
    try:
        text = orjson.dumps(payload["root"])
    except orjson.JSONEncodeError:
        return
    made = Record(TOPIC, EXAMPLES[name]["key"], text, EXAMPLES[name]["headers"])
    try:
        envelope = codec.decode(made)
    except MalformedMessageError:
        return
    again = codec.decode(codec.encode(TOPIC, envelope))
    assert again == envelope
