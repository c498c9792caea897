"""What was once said can still be read. An example is never edited: a new field gets a new example beside the old."""

import json
from pathlib import Path
from typing import Any

import pytest

from aima_common.contracts import codec
from aima_common.contracts.messages import PATH
from aima_common.contracts.topics import BY_MESSAGE
from aima_common.errors import MalformedMessageError
from aima_common.ports.bus import Record

EXAMPLES = sorted((Path(__file__).parent / "examples").glob("*.json"))
NAMES = {message.__name__: message for message in PATH}


def record_of(example: dict[str, Any]) -> Record:
    name = example["headers"]["ce_type"].split(".")[1]
    topic = BY_MESSAGE[NAMES[name]].name
    return Record(topic, example["key"], codec.dumps(example["payload"]), example["headers"])


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_read_and_written_again_without_loss(path: Path) -> None:
    example = json.loads(path.read_text("utf-8"))
    record = record_of(example)
    again = codec.encode(record.topic, codec.decode(record))
    assert again.key == example["key"]
    assert dict(again.headers) == example["headers"]
    written = json.loads(again.value)
    assert {name: written[name] for name in example["payload"]} == example["payload"]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_field_of_a_newer_writer_is_passed_over(path: Path) -> None:
    example = json.loads(path.read_text("utf-8"))
    newer = example | {"payload": example["payload"] | {"said_by_a_newer_writer": [1, {"deep": None}]}}
    assert codec.decode(record_of(newer)) == codec.decode(record_of(example))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_message_without_one_of_its_required_fields_is_refused(path: Path) -> None:
    example = json.loads(path.read_text("utf-8"))
    message = NAMES[example["headers"]["ce_type"].split(".")[1]]
    for name, field in message.model_fields.items():
        if field.is_required():
            poorer = {key: value for key, value in example["payload"].items() if key != name}
            with pytest.raises(MalformedMessageError, match=name):
                codec.decode(record_of(example | {"payload": poorer}))
