"""The part of the AsyncAPI document for producers outside: what they may say, and what they are told."""

from collections.abc import Mapping, Sequence
from typing import Any

from aima_common.contracts.base import Contract
from aima_common.contracts.outside import INGRESS, MAX_OFFER_BYTES, MAX_OFFER_DEPTH, PARTITIONS, RESULTS, Notice, Offer

Json = dict[str, Any]
Examples = Mapping[str, Json]
"""`<Message>.<what it shows>` -> `{key, headers, payload}`."""

SHAPES: tuple[type[Contract], ...] = (Offer, Notice)

TENANT: Json = {"description": "Whose topic it is, in the letters, digits and hyphens that its key was made for."}

INGRESS_ABOUT = (
    "Where a tenant's producers offer files: references, never content. The value is one JSON object of at most "
    f"{MAX_OFFER_BYTES} bytes, nested at most {MAX_OFFER_DEPTH} deep, without unknown or repeated names. Whose a file "
    "is, the topic alone says. No header is needed; `traceparent` is carried on. The key is the producer's choice. "
    "What cannot be taken becomes a dead letter, and a "
    "notice on the results topic that names the partition and the offset which the producer was told."
)
RESULTS_ABOUT = (
    "What becomes of a tenant's files. The topic is compacted: the newest notice of each item, case and rejected offer "
    "stays. A notice may come twice; of two notices with one key, the one with the higher `sequence` holds."
)


def channels() -> Json:
    """Describe the two topics that every tenant has."""
    return {
        INGRESS: _channel(INGRESS, "Offer", INGRESS_ABOUT, {"cleanup.policy": ["delete"]}),
        RESULTS: _channel(RESULTS, "Notice", RESULTS_ABOUT, {"cleanup.policy": ["compact"]}),
    }


def operations() -> Json:
    """Describe who says and who hears."""
    return {
        "upload_hears_Offer": _operation("receive", INGRESS, "Offer", "upload"),
        "gateway_says_Notice": _operation("send", RESULTS, "Notice", "gateway"),
    }


def messages(examples: Examples, notice_headers: Json) -> Json:
    """Describe the two messages, with all their examples."""
    trace = {"type": "string", "description": "W3C trace context; carried on."}
    offer_headers: Json = {"type": "object", "properties": {"traceparent": trace}}
    offered = "The producer's choice; files are taken in by their urgency, in no certain order."
    told = "Id of the item, of the case, or of the offer that became no item."
    return {
        "Offer": _message(Offer, offer_headers, offered, examples),
        "Notice": _message(Notice, notice_headers, told, examples),
    }


def _channel(name: str, message: str, about: str, configuration: Json) -> Json:
    return {
        "address": f"{name}.{{tenant}}",
        "description": about,
        "parameters": {"tenant": TENANT},
        "messages": {message: {"$ref": f"#/components/messages/{message}"}},
        "bindings": {
            "kafka": {"partitions": PARTITIONS, "topicConfiguration": configuration, "bindingVersion": "0.5.0"}
        },
    }


def _operation(action: str, channel: str, message: str, service: str) -> Json:
    place = f"#/channels/{channel}"
    return {
        "action": action,
        "channel": {"$ref": place},
        "messages": [{"$ref": f"{place}/messages/{message}"}],
        "tags": [{"name": service}],
    }


def _message(shape: type[Contract], headers: Json, key: str, examples: Examples) -> Json:
    name = shape.__name__
    return {
        "name": name,
        "title": name,
        "summary": (shape.__doc__ or "").strip().split("\n\n", maxsplit=1)[0].replace("\n", " "),
        "contentType": "application/json",
        "headers": headers,
        "payload": {"$ref": f"#/components/schemas/{name}"},
        "bindings": {"kafka": {"key": {"type": "string", "description": key}, "bindingVersion": "0.5.0"}},
        "examples": _examples(name, examples),
    }


def _examples(name: str, examples: Examples) -> Sequence[Json]:
    return [
        {"name": label, "headers": example["headers"], "payload": example["payload"]}
        for label, example in sorted(examples.items())
        if label.partition(".")[0] == name
    ]
