"""What a stranger's record may be, and what it asks for. Pure."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from aima_common.contracts.codec import check_depth, dumps, loads
from aima_common.contracts.outside import (
    INGRESS,
    MAX_OFFER_BYTES,
    MAX_OFFER_DEPTH,
    Offer,
    OfferedCase,
    ingress_folder,
)
from aima_common.errors import MalformedMessageError, PermanentError
from aima_common.ids import CaseId, derive
from aima_common.problems import ProblemError

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_TENANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,63}")

SEE_OFFER = "See docs/generated/asyncapi.json, message Offer; correct it and send it again."

REASONS = {"sha256_mismatch": "hash_mismatch", "not_found": "no_such_case", "idempotency_key_reused": "id_reused"}
"""How the upload's own words for a refusal read to somebody who sent a record and no request."""

FOREIGN = frozenset({"foreign_tenant", "foreign_object"})
"""Refusals that are written into the security audit."""


class OfferRefusedError(PermanentError):
    """This record is no offer that can be taken; `offer_id` is the producer's own name for it, where it was legible."""

    def __init__(self, code: str, reason: str, remedy: str, offer_id: str | None = None) -> None:
        super().__init__(reason, code=code, remedy=remedy)
        self.offer_id = offer_id


def tenant_of(topic: str) -> str:
    """Tell whose topic it is; nothing that a record says changes that."""
    tenant = topic.removeprefix(f"{INGRESS}.")
    if tenant == topic or not can_be_named(tenant):
        raise ValueError(f"{topic!r} is no tenant's ingress topic")
    return tenant


def can_be_named(tenant: str) -> bool:
    """Tell whether a topic can bear this tenant's name."""
    return _TENANT.fullmatch(tenant) is not None


def read_offer(value: bytes, tenant: str) -> Offer:
    """Read an offer strictly; raise `OfferRefusedError` that says what is wrong with it."""
    content = _strict_json(value)
    offer_id = content.get("id")
    legible = offer_id if isinstance(offer_id, str) and 0 < len(offer_id) <= 200 else None
    try:
        offer = Offer.model_validate_json(value)
    except ValidationError as error:
        raise OfferRefusedError("malformed_offer", _in_words(error), SEE_OFFER, legible) from error
    _check_belonging(offer, tenant)
    return offer


def _strict_json(value: bytes) -> dict[str, Any]:
    remedy = "Send one JSON object in UTF-8, as message Offer in docs/generated/asyncapi.json is."
    if len(value) > MAX_OFFER_BYTES:
        reason = f"{len(value)} bytes are more than the {MAX_OFFER_BYTES} that an offer may have"
        raise OfferRefusedError("malformed_offer", reason, "Send references, not content.")
    try:
        # orjson refuses what is no JSON at all, NaN and lone surrogates; nothing deep is left for the second reader.
        content = loads(value)
        check_depth(content, MAX_OFFER_DEPTH)
        json.loads(value, object_pairs_hook=_no_repeats)
    except (MalformedMessageError, ValueError) as error:
        raise OfferRefusedError("malformed_offer", str(error)[:500], remedy) from error
    if not isinstance(content, dict):
        raise OfferRefusedError("malformed_offer", "it is not a JSON object", remedy)
    return content


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {repeated[:100]!r} occurs twice in one object")
    return found


def _in_words(error: ValidationError) -> str:
    faults = []
    for fault in error.errors(include_url=False, include_input=False)[:5]:
        place = ".".join(str(part) for part in fault["loc"]) or "the offer"
        faults.append(f"{place}: {fault['msg']}")
    return "; ".join(faults)[:1000]


def _check_belonging(offer: Offer, tenant: str) -> None:
    """Refuse what names another tenant, or a place that is not this tenant's to write to."""
    if offer.tenant is not None and offer.tenant != tenant:
        reason = f"tenant: it names {offer.tenant!r} on the topic of {tenant!r}"
        remedy = "Leave `tenant` out, or write to the topic of the tenant that you mean."
        raise OfferRefusedError("foreign_tenant", reason, remedy, offer.id)
    if offer.object is None:
        return
    key, folder = offer.object.key, ingress_folder(tenant)
    parts = key.split("/")
    if not key.startswith(folder) or any(part in {"", ".", ".."} for part in parts) or not key.isprintable():
        reason = f"object.key: {key[:200]!r} does not lie below {folder}"
        raise OfferRefusedError("foreign_object", reason, f"Put the object below {folder} first.", offer.id)


def arrival_id(tenant: str, offer_id: str) -> str:
    """Name an offer: however often a producer sends it, it is one."""
    return derive("arrival", tenant, offer_id)


def record_id(topic: str, partition: int, offset: int) -> str:
    """Name a record that is no offer."""
    return derive("offer", topic, partition, offset)


def case_id(tenant: str, case: OfferedCase) -> CaseId:
    """Name the case of an offer: the one that exists, or the one that its key, else its name, stands for."""
    if case.id is not None:
        return CaseId(case.id)
    by_key = case.key is not None
    return CaseId(derive("case", tenant, "key" if by_key else "name", case.key if by_key else case.name))


def fingerprint(offer: Offer) -> str:
    """Tell one offer from another one under the same id."""
    return hashlib.sha256(dumps(offer.model_dump(mode="json"))).hexdigest()


def session_key(offer: Offer) -> str:
    """Make the idempotency key of an offer's upload, which no HTTP header can spell."""
    return f"\x1f{offer.id}\x1f{fingerprint(offer)}"


def traceparent(headers: Mapping[str, str]) -> str | None:
    """Read the W3C trace context that a producer sent along, when it is one."""
    found = headers.get("traceparent", "")
    return found if _TRACEPARENT.fullmatch(found) else None


def options(offer: Offer) -> dict[str, Any]:
    """Write what is chosen for the case as a request over HTTP would."""
    chosen = offer.options.model_dump(mode="json") if offer.options else {}
    return {name: value for name, value in chosen.items() if value is not None}


def reason_of(error: PermanentError) -> tuple[str, str, str]:
    """Tell code, reason and remedy of a refusal as its producer reads them."""
    code = REASONS.get(error.code, error.code)
    fields = error.problem.errors if isinstance(error, ProblemError) else ()
    named = "; ".join(f"{fault.field} {fault.message}" for fault in fields)
    return code, f"{error}: {named}" if named else str(error), error.remedy
