"""What is generated is as the contracts say, and can be used."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import validate
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from aima_common.contracts import __main__ as generator

REPORTS = ("crash_report", "cluster_report", "heart_report")
MEASURED = {"benchmarks", *(f"{name}.{form}" for name in REPORTS for form in ("json", "md"))}
"""Written by the campaigns of `make chaos` and by measurements, not by the contracts."""


@pytest.fixture(scope="module")
def asyncapi(root: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((root / "docs/generated/asyncapi.json").read_text("utf-8"))
    return document


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for child in node.values():
            yield from references(child)
    elif isinstance(node, list):
        for child in node:
            yield from references(child)


def test_the_generated_files_are_what_the_contracts_say(capsys: pytest.CaptureFixture[str]) -> None:
    assert generator.main(["--check"]) == 0, capsys.readouterr().err


def test_an_edited_file_is_seen_and_written_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generator.main(["--out", str(tmp_path)]) == 0
    assert generator.main(["--out", str(tmp_path), "--check"]) == 0
    page = tmp_path / "messages.md"
    page.write_text(page.read_text("utf-8") + "by hand\n", "utf-8")
    assert generator.main(["--out", str(tmp_path), "--check"]) == 1
    assert "messages.md" in capsys.readouterr().err
    assert generator.main(["--out", str(tmp_path)]) == 0
    assert "by hand" not in page.read_text("utf-8")


def test_every_kind_of_document_is_there(root: Path) -> None:
    names = {path.name for path in (root / "docs/generated").iterdir()}
    assert names - MEASURED == {"asyncapi.json", "messages.md", "settings.md", *generator.DOCUMENTS}


def test_every_reference_in_asyncapi_leads_somewhere(asyncapi: dict[str, Any]) -> None:
    found = set(references(asyncapi))
    assert len(found) > 50
    for reference in found:
        node = asyncapi
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]


def test_every_example_in_asyncapi_fits_its_schema(asyncapi: dict[str, Any]) -> None:
    registry: Registry[Any] = Registry().with_resource(
        "urn:asyncapi", Resource.from_contents(asyncapi, default_specification=DRAFT202012)
    )
    for name, message in asyncapi["components"]["messages"].items():
        assert message["examples"], f"{name} has no example"
        schema = jsonschema.Draft202012Validator(
            {"$ref": f"urn:asyncapi#/components/schemas/{name}"}, registry=registry
        )
        for example in message["examples"]:
            schema.validate(example["payload"])
            jsonschema.Draft202012Validator(message["headers"]).validate(example["headers"])
        assert not schema.is_valid({}), f"{name} accepts anything"


def test_openapi_is_a_valid_description(root: Path) -> None:
    document = json.loads((root / "docs/generated/openapi.json").read_text("utf-8"))
    assert document["openapi"].startswith("3.1")
    assert document["paths"]
    validate(document)
