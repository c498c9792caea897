"""The published schema: real dossiers fit it, damaged ones do not."""

import copy
import json
from typing import Any

import jsonschema
import pytest

from aima_dossier.schema import DIALECT, dossier_schema
from tests.unit.aima_dossier.dossier_sample import Sample, hostile, sample

VALIDATOR = jsonschema.Draft202012Validator(dossier_schema(), format_checker=jsonschema.FormatChecker())


def as_json(case: Sample) -> Any:
    return json.loads(case.dossier().to_json())


def test_it_is_a_valid_schema_of_2020_12() -> None:
    jsonschema.Draft202012Validator.check_schema(dossier_schema())
    assert dossier_schema()["$schema"] == DIALECT


@pytest.mark.parametrize("case", [sample(), hostile(), Sample()], ids=["sample", "hostile", "empty"])
def test_dossiers_fit_it(case: Sample) -> None:
    VALIDATOR.validate(as_json(case))


@pytest.mark.parametrize(
    "path",
    [
        "schema",
        "case.id",
        "case.name",
        *(f"items.0.{name}" for name in ("id", "file_name", "size_bytes", "medium_id", "status", "reason")),
        *(f"media.0.{name}" for name in ("id", "sha256", "type", "duration_seconds", "near_duplicates", "findings")),
        "media.5.missing.0.capability",
        "media.5.missing.0.reason",
        "media.1.near_duplicates.0.medium_id",
        "media.1.near_duplicates.0.similarity",
        *(
            f"media.0.findings.0.{name}"
            for name in (
                "id",
                "kind",
                "start_seconds",
                "end_seconds",
                "precision_seconds",
                "region",
                "text",
                "label",
                "confidence",
                "analyzer",
                "model",
                "language",
            )
        ),
        *(f"media.0.findings.0.model.{name}" for name in ("name", "version", "sha256")),
    ],
)
def test_a_dossier_without_a_promised_name_does_not_fit(path: str) -> None:
    value = as_json(sample())
    damaged = copy.deepcopy(value)
    node = damaged
    *parents, last = path.split(".")
    for name in parents:
        node = node[int(name) if name.isdigit() else name]
    del node[last]

    assert VALIDATOR.is_valid(value)
    assert not VALIDATOR.is_valid(damaged)


@pytest.mark.parametrize(
    ("path", "value"),
    [("media.0.sha256", "ABC"), ("items.0.status", "lost"), ("media.0.findings.0.confidence", 1.5), ("version", 0)],
)
def test_impossible_values_do_not_fit(path: str, value: object) -> None:
    damaged = as_json(sample())
    node = damaged
    *parents, last = path.split(".")
    for name in parents:
        node = node[int(name) if name.isdigit() else name]
    node[last] = value

    assert not VALIDATOR.is_valid(damaged)


def test_what_a_later_version_adds_still_fits() -> None:
    value = as_json(sample())
    value["media"][0]["voices"] = 3

    VALIDATOR.validate(value)
