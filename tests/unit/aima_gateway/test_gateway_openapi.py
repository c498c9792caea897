"""The interface's description says what the application does."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from aima_gateway.openapi import TAGS, document
from aima_gateway.schemas import SCHEMAS
from aima_gateway.table import ROUTES


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        found = {value["$ref"].rsplit("/", 1)[-1]} if "$ref" in value else set()
        return found.union(*(references(child) for child in value.values()))
    return set().union(*(references(child) for child in value)) if isinstance(value, list) else set()


def test_the_document_is_openapi_3_1() -> None:
    assert document()["openapi"] == "3.1.0"
    validate(document())


def test_a_document_that_is_none_is_noticed() -> None:
    broken = document()
    del broken["info"]["title"]
    with pytest.raises(Exception, match="title"):
        validate(broken)


def test_every_route_is_described_once() -> None:
    described = [(method.upper(), path) for path, methods in document()["paths"].items() for method in methods]
    assert sorted(described) == sorted((route.method, route.path) for route in ROUTES)
    assert len({route.operation for route in ROUTES}) == len(ROUTES)
    assert {route.tag for route in ROUTES} == set(TAGS)


def test_every_shape_is_there_and_is_used() -> None:
    used = references(document())
    assert used <= set(SCHEMAS)
    assert set(SCHEMAS) - used == set()


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_every_shape_is_a_json_schema(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name])


def test_what_asks_for_no_key_shows_nothing_of_a_tenant() -> None:
    free = {route.operation for route in ROUTES if route.role is None}
    assert free == {
        "livez", "readyz", "startupz", "metrics", "openapi", "page", "page_file", "upload_capabilities",
        "read_dossier_page",
    }  # fmt: skip
