"""An offer is read strictly, and belongs to the tenant of its topic, whatever it says."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aima_common.contracts.outside import MAX_OFFER_BYTES, MAX_OFFER_DEPTH, OfferedCase
from aima_upload import ingress_domain as domain
from aima_upload.ingress_domain import OfferRefusedError

TENANT = "default"
EXAMPLES = {
    path.stem: json.loads(path.read_text("utf-8"))
    for path in sorted((Path(__file__).parents[2] / "contract/examples/outside").glob("Offer.*.json"))
}
GOOD: dict[str, Any] = EXAMPLES["Offer.object"]["payload"]


def refusal(value: Any, tenant: str = TENANT) -> OfferRefusedError:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    with pytest.raises(OfferRefusedError) as refused:
        domain.read_offer(data, tenant)
    assert str(refused.value)
    assert refused.value.remedy
    return refused.value


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_documented_offer_is_read(name: str) -> None:
    payload = EXAMPLES[name]["payload"]
    offer = domain.read_offer(json.dumps(payload).encode(), TENANT)
    assert offer.id == payload["id"]
    assert domain.read_offer(json.dumps(payload, indent=4).encode(), TENANT) == offer


def test_an_offer_of_the_largest_size_is_read_and_one_byte_more_is_refused() -> None:
    text = json.dumps(GOOD)
    assert domain.read_offer(text.ljust(MAX_OFFER_BYTES).encode(), TENANT).id == GOOD["id"]
    assert "more than" in str(refusal(text.ljust(MAX_OFFER_BYTES + 1).encode()))


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"not json",
        b"null",
        b"[]",
        b'"text"',
        b"\xff\xfe\x00",
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b"[" * 30_000 + b"]" * 30_000,
        b"\x1f\x8b\x08\x00",
        json.dumps(GOOD).encode().replace(b"1048576", b"NaN"),
        json.dumps(GOOD).encode().replace(b"1048576", b"Infinity"),
        json.dumps(GOOD).encode().replace(b"1048576", b"1" * 5000),
        json.dumps(GOOD).encode().replace(b"gate3-0930.mp4", b"\\ud800.mp4"),
        b'{"id": "another",' + json.dumps(GOOD).encode()[1:],
        json.dumps(GOOD).encode().replace(b'"sha256"', b'"size_bytes": 1, "sha256"'),
        json.dumps({**GOOD, "file_name": "x"}).encode() + b"{}",
    ],
    ids=lambda value: repr(value[:12]),
)
def test_what_is_no_strict_json_is_refused(value: bytes) -> None:
    assert refusal(value).code == "malformed_offer"


def test_depth_is_bounded() -> None:
    value: Any = 0
    for _ in range(MAX_OFFER_DEPTH):
        value = [value]
    assert "nested deeper" in str(refusal({**GOOD, "extra": value}))
    assert "nested deeper" not in str(refusal({**GOOD, "extra": value[0][0]})), "refused for its name alone"


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"version": "1"},
        {"version": True},
        {"version": 1.0},
        {"version": None},
        {"id": ""},
        {"id": "x" * 201},
        {"id": 7},
        {"colour": "red"},
        {"case": {}},
        {"case": {"id": "c", "name": "n"}},
        {"case": {"id": "c", "key": "k"}},
        {"case": {"key": "k"}},
        {"case": "Gate 3"},
        {"case": {"id": "c"}},
        {"file_name": None},
        {"file_name": ""},
        {"object": None},
        {"url": {"url": "https://example.org/x"}},
        {"object": {**GOOD["object"], "size_bytes": -1}},
        {"object": {**GOOD["object"], "size_bytes": "12"}},
        {"object": {**GOOD["object"], "size_bytes": 1.5}},
        {"object": {**GOOD["object"], "sha256": "ABC"}},
        {"object": {**GOOD["object"], "sha256": GOOD["object"]["sha256"].upper()}},
        {"object": {**GOOD["object"], "bucket": "other"}},
        {"options": {"priority": "utmost"}},
        {"options": {"deadlin": "2027-01-01T00:00:00Z"}},
    ],
    ids=str,
)
def test_an_offer_with_a_fault_is_refused_and_its_id_told_where_it_is_legible(change: dict[str, Any]) -> None:
    offer = {**GOOD, **change}
    error = refusal(offer)
    assert error.code == "malformed_offer"
    legible = isinstance(offer["id"], str) and 0 < len(offer["id"]) <= 200
    assert error.offer_id == (offer["id"] if legible else None)


def test_another_tenant_in_the_body_is_refused_and_the_topics_own_is_not() -> None:
    assert domain.read_offer(json.dumps({**GOOD, "tenant": TENANT}).encode(), TENANT).tenant == TENANT
    foreign = refusal({**GOOD, "tenant": "other"})
    assert (foreign.code, foreign.offer_id) == ("foreign_tenant", GOOD["id"])
    assert str(foreign) == "tenant: it names 'other' on the topic of 'default'"
    assert "`tenant`" in foreign.remedy
    assert refusal({**GOOD, "tenant": ""}).code == "foreign_tenant"


@pytest.mark.parametrize(
    "key",
    [
        "ingress/other/x",
        "ingress/default",
        "ingress/default/",
        "ingress/default//x",
        "ingress/default/../other/x",
        "ingress/default/./x",
        "ingress/default/x\n",
        "ingress/defaults/x",
        "/ingress/default/x",
        "t/default/originals/x",
        "t/other/originals/x",
        "installation",
    ],
)
def test_an_object_outside_the_tenants_own_folder_is_refused(key: str) -> None:
    offer = {**GOOD, "object": {**GOOD["object"], "key": key}}
    assert refusal(offer).code == "foreign_object"
    inside = {**GOOD, "object": {**GOOD["object"], "key": "ingress/default/a/b c/ü.mp4"}}
    assert domain.read_offer(json.dumps(inside).encode(), TENANT).object is not None


def test_the_tenant_is_the_topics() -> None:
    assert domain.tenant_of("aima.ingress.press-1") == "press-1"
    for topic in ("aima.ingress.", "aima.ingress", "aima.results.press", "aima.ingress.a.b", "aima.ingress.a b"):
        with pytest.raises(ValueError, match="ingress topic"):
            domain.tenant_of(topic)


def test_a_case_is_the_same_by_its_key_else_by_its_name() -> None:
    def of(**case: str) -> str:
        return domain.case_id(TENANT, OfferedCase(**case))

    assert of(id="c") == "c"
    assert of(name="a") == of(name="a")
    assert of(name="a") != of(name="b")
    assert of(name="a", key="k") == of(name="b", key="k")
    assert of(name="k") != of(name="a", key="k")
    assert domain.case_id("other", OfferedCase(name="a")) != of(name="a")


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", True),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\n", False),
        ("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", False),
        ("x", False),
        ("", False),
    ],
)
def test_only_a_trace_context_is_carried_on(text: str, good: bool) -> None:
    assert domain.traceparent({"traceparent": text}) == (text if good else None)


def test_other_options_are_another_offer() -> None:
    def of(offer: dict[str, Any]) -> str:
        return domain.fingerprint(domain.read_offer(json.dumps(offer).encode(), TENANT))

    assert of(GOOD) == of(dict(reversed(GOOD.items())))
    assert of(GOOD) != of({**GOOD, "options": {"priority": "low"}})


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_bring_up_anything_but_a_refusal(value: bytes) -> None:
    with pytest.raises(OfferRefusedError):
        domain.read_offer(value, TENANT)
