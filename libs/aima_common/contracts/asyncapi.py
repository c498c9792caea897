"""The spine as an AsyncAPI 3.0 document, for people who speak to AIMA over its topics."""

from collections.abc import Mapping
from typing import Any

from pydantic.json_schema import models_json_schema

from aima_common.contracts import asyncapi_outside as outside
from aima_common.contracts.base import Contract
from aima_common.contracts.codec import MAX_MESSAGE_BYTES, VERSION
from aima_common.contracts.topics import LANES, TOPICS, Topic

Json = dict[str, Any]

DESCRIPTION = (
    "Every message that AIMA's services say to each other, as CloudEvents in Kafka's binary mode: the circumstances "
    "are in the headers, the value is the body as JSON. A message may come twice, late, or after its answer; `ce_id` "
    "is the same whenever the same fact is told again. Unknown fields are to be ignored: fields are added, never "
    f"changed. A value above {MAX_MESSAGE_BYTES} bytes is refused; media and findings travel as references to objects."
)

KEYS = {
    "medium": "Id of the medium: all messages about one medium stay in order.",
    "case": "Id of the case: all messages about one case stay in order.",
    "machine": "Name of the machine.",
    "service": "Name of the service.",
    "subject": "What the message is about.",
    "offer": "Id of the offer that a producer outside made.",
}


def document(version: str, examples: Mapping[str, Json], outside_examples: Mapping[str, Json]) -> Json:
    """Describe all topics; the examples give `{headers, payload}` by the name of a message.

    Of what is said to and by those outside there are several examples, `<Message>.<what it shows>`.
    """
    schemas = _schemas()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "AIMA",
            "version": version,
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {**{topic.name: _channel(topic) for topic in TOPICS}, **outside.channels()},
        "operations": {
            **{name: operation for topic in TOPICS for name, operation in _operations(topic).items()},
            **outside.operations(),
        },
        "components": {
            "messages": {
                **{_name(topic): _message(topic, examples) for topic in TOPICS},
                **outside.messages(outside_examples, _headers("Notice")),
            },
            "schemas": schemas,
        },
    }


def first_sentence(message: type[Contract]) -> str:
    """Say what a message means, from its docstring."""
    return (message.__doc__ or "").strip().split("\n\n", maxsplit=1)[0].replace("\n", " ")


def _name(topic: Topic) -> str:
    return topic.message.__name__


def _schemas() -> dict[str, Json]:
    _, definitions = models_json_schema(
        [(shape, "validation") for shape in (*(topic.message for topic in TOPICS), *outside.SHAPES)],
        ref_template="#/components/schemas/{model}",
    )
    schemas: dict[str, Json] = definitions["$defs"]
    return schemas


def _channel(topic: Topic) -> Json:
    by_lane: Json = {"parameters": {"lane": {"enum": list(LANES), "description": "The kind of medium."}}}
    return {
        "address": f"{topic.name}.{{lane}}" if topic.by_lane else topic.name,
        **(by_lane if topic.by_lane else {}),
        "messages": {_name(topic): {"$ref": f"#/components/messages/{_name(topic)}"}},
        "bindings": {
            "kafka": {
                **({} if topic.by_lane else {"topic": topic.name}),
                "partitions": topic.partitions,
                "topicConfiguration": {"retention.ms": topic.retention_seconds * 1000},
                "bindingVersion": "0.5.0",
            }
        },
    }


def _operations(topic: Topic) -> dict[str, Json]:
    said = {f"{topic.producer.replace(' ', '_')}_says_{_name(topic)}": _operation("send", topic, topic.producer)}
    heard = {f"{service}_hears_{_name(topic)}": _operation("receive", topic, service) for service in topic.consumers}
    return said | heard


def _operation(action: str, topic: Topic, service: str) -> Json:
    channel = f"#/channels/{topic.name}"
    return {
        "action": action,
        "channel": {"$ref": channel},
        "messages": [{"$ref": f"{channel}/messages/{_name(topic)}"}],
        "tags": [{"name": service}],
    }


def _message(topic: Topic, examples: Mapping[str, Json]) -> Json:
    name = _name(topic)
    described: Json = {
        "name": name,
        "title": name,
        "summary": first_sentence(topic.message),
        "contentType": "application/json",
        "headers": _headers(name),
        "payload": {"$ref": f"#/components/schemas/{name}"},
        "bindings": {"kafka": {"key": {"type": "string", "description": KEYS[topic.key]}, "bindingVersion": "0.5.0"}},
    }
    if name in examples:
        described["examples"] = [
            {"name": name, "headers": examples[name]["headers"], "payload": examples[name]["payload"]}
        ]
    return described


def _headers(name: str) -> Json:
    text = {"type": "string"}
    return {
        "type": "object",
        "required": ["ce_specversion", "ce_id", "ce_type", "ce_source", "ce_time", "ce_subject", "aima_tenant"],
        "properties": {
            "ce_specversion": {"type": "string", "const": "1.0"},
            "ce_id": text | {"description": "The same whenever the same fact is told again."},
            "ce_type": {"type": "string", "const": f"aima.{name}.v{VERSION}"},
            "ce_source": text,
            "ce_time": {"type": "string", "format": "date-time"},
            "ce_subject": text | {"description": "The record's key."},
            "content-type": {"type": "string", "const": "application/json"},
            "aima_tenant": text | {"description": "Whose data this is about."},
            "aima_cause": text | {"description": "Id of the message or job that led to this one."},
            "traceparent": text | {"description": "W3C trace context."},
        },
    }
