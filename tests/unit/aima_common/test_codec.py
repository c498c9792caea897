import datetime
from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aima_common.contracts import codec
from aima_common.contracts.codec import MAX_DEPTH, MAX_MESSAGE_BYTES, decode
from aima_common.contracts.messages import MediumErased, MediumRejected
from aima_common.contracts.telling import tell
from aima_common.errors import MalformedMessageError
from aima_common.ports.bus import Record

NOW = datetime.datetime(2026, 11, 23, 12, tzinfo=datetime.UTC)


def record() -> Record:
    said = MediumRejected(medium="m1", code="truncated", reason="the file is cut off")
    return tell(said, tenant="default", key="m1", cause="job-1", time=NOW)


def with_body(**changes: object) -> Record:
    whole = record()
    return replace(whole, value=orjson.dumps({**orjson.loads(whole.value), **changes}))


def with_header(name: str, value: str | None) -> Record:
    whole = record()
    headers = {k: v for k, v in whole.headers.items() if k != name}
    return replace(whole, headers=headers if value is None else {**headers, name: value})


def test_what_was_said_is_what_is_read() -> None:
    envelope = decode(record())
    assert envelope.body == MediumRejected(medium="m1", code="truncated", reason="the file is cut off")
    assert (envelope.tenant, envelope.key, envelope.cause, envelope.time) == ("default", "m1", "job-1", NOW)
    assert (envelope.type, envelope.version) == ("MediumRejected", 1)


def test_the_same_fact_has_the_same_id_and_another_fact_another() -> None:
    def identity(medium: str = "m1", cause: str = "c1", hour: int = 1) -> str:
        said = tell(MediumErased(medium=medium), tenant="t", key=medium, cause=cause, time=NOW.replace(hour=hour))
        return said.headers["ce_id"]

    assert identity() == identity(hour=2)
    assert len({identity(), identity(medium="m2"), identity(cause="c2")}) == 3


def test_a_field_from_the_future_is_ignored() -> None:
    assert decode(with_body(added_in_version_9=[1])).body == decode(record()).body


@pytest.mark.parametrize(
    ("broken", "word"),
    [
        (replace(record(), value=b"\xff\xfe"), "not JSON"),
        (replace(record(), value=b""), "not JSON"),
        (replace(record(), value=b"[]"), "schema"),
        (with_body(medium=7), "schema"),
        (with_body(failed="yes"), "schema"),
        (with_body(code=None), "schema"),
        (with_header("ce_type", "aima.Unheard.v1"), "unknown"),
        (with_header("ce_type", "aima.MediumRejected.v2"), "version"),
        (with_header("ce_type", "other.MediumRejected.v1"), "unknown"),
        (with_header("ce_type", None), "unknown"),
        (with_header("ce_id", None), "ce_id"),
        (with_header("aima_tenant", None), "aima_tenant"),
        (with_header("ce_time", "yesterday"), "schema"),
    ],
)
def test_anything_else_is_refused_with_its_reason(broken: Record, word: str) -> None:
    with pytest.raises(MalformedMessageError, match=word):
        decode(broken)


@pytest.mark.parametrize("version", ["v2", "v10", "v999999999"])
def test_a_message_of_a_newer_version_says_so_and_what_to_do(version: str) -> None:
    with pytest.raises(MalformedMessageError, match="newer version: upgrade this service") as caught:
        decode(with_header("ce_type", f"aima.MediumRejected.{version}"))
    assert caught.value.code == codec.NEWER
    assert f"{version!r}; this reader knows v1" in str(caught.value)


@pytest.mark.parametrize("version", ["v0", "v01", "v-2", "v2.5", "v٢", "2", "v", "v1000000000"])
def test_a_version_that_is_none_is_not_taken_for_a_newer_one(version: str) -> None:
    with pytest.raises(MalformedMessageError) as caught:
        decode(with_header("ce_type", f"aima.MediumRejected.{version}"))
    assert caught.value.code == "malformed_message"


def test_a_message_of_the_largest_size_is_read_and_a_byte_more_is_not() -> None:
    room = MAX_MESSAGE_BYTES - len(with_body(reason="").value)
    assert decode(with_body(reason="x" * room)).body.reason == "x" * room
    with pytest.raises(MalformedMessageError, match="more than"):
        decode(with_body(reason="x" * (room + 1)))


def test_nesting_is_bounded() -> None:
    def nested(depth: int) -> object:
        return [nested(depth - 1)] if depth else "end"

    assert decode(with_body(extra=nested(MAX_DEPTH - 4))).body == decode(record()).body
    with pytest.raises(MalformedMessageError, match="deeper"):
        decode(with_body(extra=nested(MAX_DEPTH)))


@given(st.binary(max_size=300), st.dictionaries(st.sampled_from(["ce_type", "ce_id", "ce_time"]), st.text(max_size=30)))
def test_garbage_is_refused_and_nothing_worse(value: bytes, headers: dict[str, str]) -> None:
    with pytest.raises(MalformedMessageError):
        decode(Record("aima.medium.rejected", "k", value, headers))


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_text_survives_the_journey(reason: str, remedy: str) -> None:
    said = MediumRejected(medium="m", code="c", reason=reason, remedy=remedy)
    assert decode(tell(said, tenant="t", key="m", cause="c", time=NOW)).body == said


def test_keys_are_sorted_so_that_equal_values_are_equal_bytes() -> None:
    assert codec.dumps({"b": 1, "a": [1, 2]}) == b'{"a":[1,2],"b":1}'
